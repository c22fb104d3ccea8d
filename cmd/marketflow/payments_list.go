package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newPaymentsListCommand() *cobra.Command {
	return newListCommand(listOf[ports.PaymentFilter, payment.Payment]{
		name:  "payments",
		short: "Find payments, the newest first",
		long: `Finds payments as GET /payments does. A page looks at a bounded number of payments, so
it may be short, or empty, although there are more: --cursor goes on. With -o csv all
payments that fit are written, however many there are.`,
		parameters: payments.FilterParameters(),
		page: func(ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values) (foundPage, error) {
			page, err := tools.ListPayments.Do(ctx, whose, v)

			return foundPage{
				encoded: edge.EncodeList(page), next: page.Next,
				print: func(w io.Writer) { printPayments(w, page.Payments) },
			}, err
		},
		export: func(
			ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values, each func([]payment.Payment) error,
		) error {
			return tools.ListPayments.Export(ctx, whose, v, each)
		},
		table:  edge.NewPaymentsCSV,
		others: metadataFlag,
	})
}

// metadataFlag adds the parameters metadata[NAME].
func metadataFlag(command *cobra.Command) func(v values) error {
	var metadata []string

	command.Flags().StringArrayVar(&metadata, "metadata", nil, "NAME=VALUE, for names in METADATA_INDEX")

	return func(v values) error {
		for _, entry := range metadata {
			name, value, found := strings.Cut(entry, "=")
			if !found || name == "" {
				return fmt.Errorf("--metadata %q must be NAME=VALUE", entry)
			}

			name = "metadata[" + name + "]"
			v[name] = append(v[name], value)
		}

		return nil
	}
}

func printPayments(w io.Writer, list []payment.Payment) {
	printTable(w, "CREATED\tPAYMENT\tAMOUNT\tSTATUS\tAT STRIPE\tKEY", func(w io.Writer) {
		for _, p := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(p.CreatedAt), p.ID, p.Amount, p.Status,
				cmp.Or(string(p.IntentStatus), "-"), oneLine(cmp.Or(string(p.Key), "-")))
		}
	})
}
