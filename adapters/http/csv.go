package http

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

const csvMedia = "text/csv"

// CSV writes a list as a table (RFC 4180). Its columns are the keys of an entry in their
// order; what is null is empty, and what is an object or a list is its JSON.
type CSV[T any] struct {
	out   *csv.Writer
	body  func(T) any
	begun bool
	rows  int
}

// NewPaymentsCSV returns a table without rows. Its heading is written with the first rows.
func NewPaymentsCSV(w io.Writer) *CSV[payment.Payment] { return newCSV(w, paymentAnswer) }

// NewRefundsCSV is NewPaymentsCSV for refunds.
func NewRefundsCSV(w io.Writer) *CSV[refund.Refund] { return newCSV(w, refundAnswer) }

// NewDisputesCSV is NewPaymentsCSV for disputes.
func NewDisputesCSV(w io.Writer) *CSV[dispute.Dispute] { return newCSV(w, disputeAnswer) }

func newCSV[T any](w io.Writer, body func(T) any) *CSV[T] {
	out := csv.NewWriter(w)
	out.UseCRLF = true

	return &CSV[T]{out: out, body: body}
}

// Rows is how many entries were written.
func (c *CSV[T]) Rows() int { return c.rows }

// Write writes entries, and before the first ones the heading.
func (c *CSV[T]) Write(list []T) error {
	if !c.begun {
		c.begun = true
		heading, _ := cellsOf(c.body(*new(T)))
		_ = c.out.Write(heading) // Flush has its error
	}

	for _, entry := range list {
		_, cells := cellsOf(c.body(entry))
		_ = c.out.Write(cells)
		c.rows++
	}

	c.out.Flush()

	if err := c.out.Error(); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}

	return nil
}

// cellsOf reads an entry as GET answers it, so that a new key is a new column.
func cellsOf(body any) (names, cells []string) {
	form := jsontext.NewDecoder(bytes.NewReader(encode(body)))
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
