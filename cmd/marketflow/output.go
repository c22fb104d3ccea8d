package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// outputFlag is how every command is told in which form to answer.
const outputFlag = "output"

// The forms.
const (
	asText outputFormat = "text"
	asJSON outputFormat = "json"
)

// outputFormat is the value of -o. It implements pflag.Value, so that another
// word is refused before a command does anything.
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

// wantsJSON tells whether cmd was asked for JSON.
func wantsJSON(cmd *cobra.Command) bool {
	flag := cmd.Flag(outputFlag)

	return flag != nil && flag.Value.String() == string(asJSON)
}

// printAnswer writes an answer to stdout, which has nothing else: value as JSON,
// or what text writes for people.
func printAnswer(cmd *cobra.Command, value any, text func(io.Writer) error) error {
	if !wantsJSON(cmd) {
		return text(cmd.OutOrStdout())
	}

	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")

	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}

	return nil
}

// printTable writes rows under a heading; cells are separated by tabs.
func printTable(w io.Writer, heading string, rows func(io.Writer)) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)

	if heading != "" {
		fmt.Fprintln(table, heading)
	}

	rows(table)

	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing a table: %w", err)
	}

	return nil
}
