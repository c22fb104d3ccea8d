package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

const (
	asTable = "table"
	asCSV   = "csv"
)

// listFormat is the value of a list's own -o, which also takes csv.
type listFormat string

func (f *listFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (*listFormat) Type() string { return "format" }

// Set implements pflag.Value.
func (f *listFormat) Set(text string) error {
	switch text {
	case string(asText): // as other commands call it
		text = asTable
	case asTable, asCSV, string(asJSON):
	default:
		return errors.New("must be table, json or csv")
	}

	*f = listFormat(text)

	return nil
}

func newPaymentsListCommand() *cobra.Command {
	var (
		format   = listFormat(asTable)
		whose    operation.Tenant
		metadata []string
	)

	command := &cobra.Command{
		Use:   "list [flags]",
		Short: "Find payments, the newest first",
		Long: `Finds payments as GET /payments does. A page looks at a bounded number of payments, so
it may be short, or empty, although there are more: --cursor goes on. With -o csv all
payments that fit are written, however many there are.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			values, err := listValues(cmd, metadata)
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				if format == asCSV {
					return exportPayments(ctx, cmd, tools, whose, values)
				}

				page, err := tools.ListPayments.Do(ctx, whose, values)
				if err != nil {
					return err
				}

				return printAnswer(cmd, json.RawMessage(edge.EncodeList(page)), func(w io.Writer) { printPayments(w, page) })
			})
		},
	}

	flags := command.Flags()
	flags.VarP(&format, outputFlag, "o", "answer as a table, as json, or as csv with all that fit")

	for _, p := range payments.FilterParameters() {
		flags.String(flagOf(p.Name), "", p.Help)
	}

	flags.StringArrayVar(&metadata, "metadata", nil, "NAME=VALUE, for names in METADATA_INDEX")
	addTenantFlag(command, &whose)
	flags.String("limit", "", "how many payments a page has at most, 1 to 100")
	flags.String("cursor", "", "where to go on: next_cursor of the page before")

	return command
}

// flagOf is a parameter's flag: --created-gte for created[gte].
func flagOf(parameter string) string {
	return strings.NewReplacer("[", "-", "]", "", "_", "-").Replace(parameter)
}

// listValues are the parameters as a request would have them.
func listValues(cmd *cobra.Command, metadata []string) (map[string][]string, error) {
	values := map[string][]string{}

	parameters := append(payments.FilterParameters(),
		payments.FilterParameter{Name: "limit"}, payments.FilterParameter{Name: "cursor"})

	for _, p := range parameters {
		if flag := cmd.Flag(flagOf(p.Name)); flag.Changed {
			values[p.Name] = []string{flag.Value.String()}
		}
	}

	for _, entry := range metadata {
		name, value, found := strings.Cut(entry, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--metadata %q must be NAME=VALUE", entry)
		}

		name = "metadata[" + name + "]"
		values[name] = append(values[name], value)
	}

	return values, nil
}

func exportPayments(
	ctx context.Context, cmd *cobra.Command, tools bootstrap.Tools, whose operation.Tenant, values map[string][]string,
) error {
	table := edge.NewCSV(cmd.OutOrStdout())

	err := tools.ListPayments.Export(ctx, whose, values, table.Write)
	if err != nil && table.Rows() > 0 {
		return fmt.Errorf("the list is not whole, it ends after %d payments: %w", table.Rows(), err)
	}

	return err
}

func printPayments(w io.Writer, page payments.ListPage) {
	printTable(w, "CREATED\tPAYMENT\tAMOUNT\tSTATUS\tAT STRIPE\tKEY", func(w io.Writer) {
		for _, p := range page.Payments {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(p.CreatedAt), p.ID, p.Amount, p.Status,
				cmp.Or(string(p.IntentStatus), "-"), oneLine(cmp.Or(string(p.Key), "-")))
		}
	})

	if page.Next != "" {
		fmt.Fprintf(w, "There are more: --cursor %s\n", page.Next)
	}
}
