package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newPaymentsIndexCommand() *cobra.Command {
	var forget string

	command := &cobra.Command{
		Use:   "index",
		Short: "Show by which metadata payments are found, and how far older ones are indexed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				if forget != "" {
					if err := tools.IndexMetadata.Forget(ctx, forget); err != nil {
						return err
					}
				}

				names, err := tools.IndexMetadata.Names(ctx)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(names, newIndexRow), func(w io.Writer) { printIndex(w, names) })
			})
		},
	}
	command.Flags().StringVar(&forget, "forget", "",
		"first delete what is left of this name, which METADATA_INDEX does not list any more")

	return command
}

// indexRow is a name in JSON.
type indexRow struct {
	Name     string     `json:"name"`
	AddedAt  time.Time  `json:"added_at"`
	MissedAt *time.Time `json:"missed_at"`
	Through  *time.Time `json:"through"`
	Complete bool       `json:"complete"`
	Searched bool       `json:"searched"`
}

func newIndexRow(n ports.MetadataName) indexRow {
	return indexRow{
		Name: n.Name, AddedAt: n.AddedAt, MissedAt: orNull(n.MissedAt), Through: orNull(n.Through.CreatedAt),
		Complete: n.Complete, Searched: n.Searched(),
	}
}

func printIndex(w io.Writer, names []ports.MetadataName) {
	printTable(w, "NAME\tSEARCHED\tOLDER PAYMENTS\tADDED\tLAST MISSED BY A PROCESS", func(w io.Writer) {
		for _, n := range names {
			older := "all"
			if !n.Complete {
				older = "through " + stamp(n.Through.CreatedAt)
			}

			fmt.Fprintf(w, "%s\t%t\t%s\t%s\t%s\n", n.Name, n.Searched(), older, stamp(n.AddedAt), stamp(n.MissedAt))
		}
	})
}
