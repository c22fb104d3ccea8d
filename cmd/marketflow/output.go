package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// outputFlag says in which form a command answers.
const outputFlag = "output"

const (
	asText outputFormat = "text"
	asJSON outputFormat = "json"
)

// outputFormat is the value of -o. As a pflag.Value it rejects any other word before a
// command does anything.
type outputFormat string

func (f *outputFormat) String() string { return string(*f) }

// Type implements pflag.Value: what help shows.
func (*outputFormat) Type() string { return "format" }

// Set implements pflag.Value.
func (f *outputFormat) Set(text string) error {
	if text != string(asText) && text != string(asJSON) {
		return errors.New("must be text or json")
	}

	*f = outputFormat(text)

	return nil
}

// addOutputFlag gives -o to root and everything below it.
func addOutputFlag(root *cobra.Command) {
	format := asText

	root.PersistentFlags().VarP(&format, outputFlag, "o", "answer as text (for people) or json (for programs)")
}

func wantsJSON(cmd *cobra.Command) bool {
	flag := cmd.Flag(outputFlag)

	return flag != nil && flag.Value.String() == string(asJSON)
}

// printAnswer writes the answer to stdout: value as JSON, or what text writes for
// people. Nothing else is written to stdout.
func printAnswer(cmd *cobra.Command, value any, text func(io.Writer)) error {
	out := bufio.NewWriter(cmd.OutOrStdout()) // it keeps the first error for Flush

	if wantsJSON(cmd) {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")

		if err := encoder.Encode(value); err != nil {
			return fmt.Errorf("printing the answer: %w", err)
		}
	} else {
		text(out)
	}

	if err := out.Flush(); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}

	return nil
}

// printTable writes rows under a heading; cells are separated by tabs.
func printTable(w io.Writer, heading string, rows func(io.Writer)) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)

	if heading != "" {
		fmt.Fprintln(table, heading)
	}

	rows(table)

	_ = table.Flush() // w keeps the error
}

// rowsOf makes JSON's rows: of nothing an empty list, not null.
func rowsOf[T, R any](list []T, row func(T) R) []R {
	rows := make([]R, 0, len(list))
	for _, one := range list {
		rows = append(rows, row(one))
	}

	return rows
}

// orNull makes JSON's null of a value that is not there.
func orNull[T comparable](value T) *T {
	if value == *new(T) {
		return nil
	}

	return &value
}

// rawJSON is a body as it came; one that is not JSON becomes a string.
func rawJSON(body []byte) json.RawMessage {
	if json.Valid(body) {
		return body
	}

	text, err := json.Marshal(string(body))
	if err != nil {
		panic(err) // a string has a JSON form
	}

	return text
}

// stamp is a time in a table.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}

	return t.Format(time.RFC3339)
}

// oneLine keeps a table's row on its line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
