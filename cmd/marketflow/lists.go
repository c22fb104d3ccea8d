package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/domain/list"
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

// values are the parameters of a list, as a request would have them.
type values = map[string][]string

// foundPage is a page of a list.
type foundPage struct {
	// encoded is the page as the API answers it, and print prints it as a table.
	encoded []byte
	print   func(io.Writer)
	// next is the cursor of the next page; empty if there are no more.
	next string
}

// listOf says how a list is read: F is what its parameters are read into, and T is an entry.
type listOf[F, T any] struct {
	// name is what is listed, such as payments.
	name, short, long string
	parameters        []list.Parameter[F]
	page              func(ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values) (foundPage, error)
	export            func(
		ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values, each func([]T) error,
	) error
	table func(io.Writer) *edge.CSV[T]
	// others adds flags of its own, and returns how they are read. It may be nil.
	others func(command *cobra.Command) func(v values) error
}

func newListCommand[F, T any](l listOf[F, T]) *cobra.Command {
	var whose operation.Tenant

	format, others := listFormat(asTable), func(values) error { return nil }

	command := &cobra.Command{
		Use: listCommand + " [flags]", Short: l.short, Long: l.long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := flagValues(cmd, l.parameters)
			if err := others(v); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				if format == asCSV {
					return l.write(ctx, cmd.OutOrStdout(), tools, whose, v)
				}

				page, err := l.page(ctx, tools, whose, v)
				if err != nil {
					return err
				}

				return printAnswer(cmd, json.RawMessage(page.encoded), func(w io.Writer) {
					page.print(w)

					if page.next != "" {
						fmt.Fprintf(w, "There are more: --cursor %s\n", page.next)
					}
				})
			})
		},
	}

	flags := command.Flags()
	flags.VarP(&format, outputFlag, "o", "answer as a table, as json, or as csv with all that fit")

	for _, p := range l.parameters {
		flags.String(flagOf(p.Name), "", p.Help)
	}

	if l.others != nil {
		others = l.others(command)
	}

	addTenantFlag(command, &whose)
	flags.String(list.ParamLimit, "", "how many "+l.name+" a page has at most, 1 to 100")
	flags.String(list.ParamCursor, "", "where to go on: next_cursor of the page before")

	return command
}

// write writes all that fits as CSV.
func (l listOf[F, T]) write(
	ctx context.Context, out io.Writer, tools bootstrap.Tools, whose operation.Tenant, v values,
) error {
	table := l.table(out)

	err := l.export(ctx, tools, whose, v, table.Write)
	if err != nil && table.Rows() > 0 {
		return fmt.Errorf("the list is not whole, it ends after %d %s: %w", table.Rows(), l.name, err)
	}

	return err
}

// flagOf is a parameter's flag: --created-gte for created[gte].
func flagOf(parameter string) string {
	return strings.NewReplacer("[", "-", "]", "", "_", "-").Replace(parameter)
}

// flagValues are the parameters as a request would have them.
func flagValues[F any](cmd *cobra.Command, parameters []list.Parameter[F]) values {
	v := values{}
	names := make([]string, 0, len(parameters)+2) //nolint:mnd // limit and cursor
	names = append(names, list.ParamLimit, list.ParamCursor)

	for _, p := range parameters {
		names = append(names, p.Name)
	}

	for _, name := range names {
		if flag := cmd.Flag(flagOf(name)); flag.Changed {
			v[name] = []string{flag.Value.String()}
		}
	}

	return v
}
