package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

//nolint:dupl // it is a table: newListCommand has what lists have in common
func newRefundsListCommand() *cobra.Command {
	return newListCommand(listOf[ports.RefundFilter, refund.Refund]{
		name:  "refunds",
		short: "Find refunds, the newest first",
		long: `Finds refunds as GET /refunds does. A page looks at a bounded number of refunds, so it may
be short, or empty, although there are more: --cursor goes on. With -o csv all refunds that
fit are written, however many there are.`,
		parameters: payments.RefundFilterParameters(),
		page: func(ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values) (foundPage, error) {
			page, err := tools.ListRefunds.Do(ctx, whose, v)

			return foundPage{
				encoded: edge.EncodeRefunds(page), next: page.Next,
				print: func(w io.Writer) { printRefundsOf(w, page.Refunds) },
			}, err
		},
		export: func(
			ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values, each func([]refund.Refund) error,
		) error {
			return tools.ListRefunds.Export(ctx, whose, v, each)
		},
		table: edge.NewRefundsCSV,
	})
}

// printRefundsOf prints refunds of several payments.
func printRefundsOf(w io.Writer, list []refund.Refund) {
	printTable(w, "CREATED\tREFUND\tPAYMENT\tAMOUNT\tSTATUS\tORIGIN\tREASON\tAT STRIPE", func(w io.Writer) {
		for _, r := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(r.CreatedAt), r.ID, r.PaymentID, r.Amount, r.Status,
				r.Origin, cmp.Or(r.FailureReason, r.Reason, "-"), cmp.Or(r.ProviderID, "-"))
		}
	})
}
