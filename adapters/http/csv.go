package http

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/payment"
)

const csvMedia = "text/csv"

// CSV writes payments as a table (RFC 4180). Its columns are the keys of a payment in their
// order; what is null is empty, and what is an object or a list is its JSON.
type CSV struct {
	out   *csv.Writer
	begun bool
	rows  int
}

// NewCSV returns a table without rows. Its heading is written with the first rows.
func NewCSV(w io.Writer) *CSV {
	out := csv.NewWriter(w)
	out.UseCRLF = true

	return &CSV{out: out}
}

// Rows is how many payments were written.
func (c *CSV) Rows() int { return c.rows }

// Write writes payments, and before the first ones the heading.
func (c *CSV) Write(list []payment.Payment) error {
	if !c.begun {
		c.begun = true
		heading, _ := cellsOf(payment.Payment{})
		_ = c.out.Write(heading) // Flush has its error
	}

	for _, p := range list {
		_, cells := cellsOf(p)
		_ = c.out.Write(cells)
		c.rows++
	}

	c.out.Flush()

	if err := c.out.Error(); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}

	return nil
}

// cellsOf reads a payment as GET answers it, so that a new key is a new column.
func cellsOf(p payment.Payment) (names, cells []string) {
	form := jsontext.NewDecoder(bytes.NewReader(encode(toPaymentBody(p))))
	must(form.ReadToken()) // {

	for form.PeekKind() != jsontext.KindEndObject {
		names = append(names, must(form.ReadToken()).String())
		value := must(form.ReadValue())

		switch value.Kind() {
		case jsontext.KindString:
			cells = append(cells, harmless(must(jsontext.AppendUnquote(nil, value))))
		case jsontext.KindNull:
			cells = append(cells, "")
		default:
			cells = append(cells, harmless(value))
		}
	}

	return names, cells
}

// must is for JSON that we have written.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}

	return value
}

// harmless keeps a spreadsheet from taking a text for a formula: it puts an apostrophe
// before it, as OWASP recommends (https://owasp.org/www-community/attacks/CSV_Injection).
func harmless(cell []byte) string {
	text := string(cell)
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}

	return text
}
