package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newDisputesCommand() *cobra.Command {
	return group("disputes", "Find and look at disputes", newDisputesListCommand(), newDisputesShowCommand())
}

//nolint:dupl // it is a table: newListCommand has what lists have in common
func newDisputesListCommand() *cobra.Command {
	return newListCommand(listOf[ports.DisputeFilter, dispute.Dispute]{
		name:  "disputes",
		short: "Find disputes, the newest first",
		long: `Finds disputes as GET /disputes does. With --sort evidence_due_by the first deadline comes
first. With -o csv all disputes that fit are written, however many there are.`,
		parameters: disputes.FilterParameters(),
		page: func(ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values) (foundPage, error) {
			page, err := tools.ListDisputes.Do(ctx, whose, v)

			return foundPage{
				encoded: edge.EncodeDisputes(page), next: page.Next,
				print: func(w io.Writer) { printDisputes(w, page.Disputes) },
			}, err
		},
		export: func(
			ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, v values, each func([]dispute.Dispute) error,
		) error {
			return tools.ListDisputes.Export(ctx, whose, v, each)
		},
		table: edge.NewDisputesCSV,
	})
}

func printDisputes(w io.Writer, list []dispute.Dispute) {
	printTable(w, "CREATED\tDISPUTE\tPAYMENT\tAMOUNT\tCOUNTED\tSTATUS\tREASON\tDUE BY", func(w io.Writer) {
		for _, d := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(d.CreatedAt), d.ID, d.PaymentID, d.Amount, d.Counted,
				cmp.Or(string(d.Status), "-"), cmp.Or(d.Reason, "-"), stamp(d.EvidenceDueBy))
		}
	})
}

func newDisputesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID | du_…",
		Short: "Show a dispute, and what it has moved on the balance at Stripe",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				d, err := findDispute(ctx, tools, args[0])
				if err != nil {
					return named(err, "dispute", args[0])
				}

				return printAnswer(cmd, json.RawMessage(edge.EncodeDispute(d)), func(w io.Writer) { printDispute(w, d) })
			})
		},
	}
}

func findDispute(ctx context.Context, tools bootstrap.Tools, name string) (dispute.Dispute, error) {
	if strings.HasPrefix(name, "du_") || strings.HasPrefix(name, "dp_") {
		found, err := tools.Disputes.DisputesByProviderID(ctx, []string{name})
		if d, ok := found[name]; ok || err != nil {
			return d, err
		}

		return dispute.Dispute{}, fault.New(fault.NotFound, "")
	}

	id, err := parseID(name)
	if err != nil {
		return dispute.Dispute{}, err
	}

	return tools.Disputes.Dispute(ctx, id)
}

func printDispute(w io.Writer, d dispute.Dispute) {
	printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "dispute\t%s (%s)\n", d.ID, d.ProviderID)
		fmt.Fprintf(w, "payment\t%s\n", d.PaymentID)
		fmt.Fprintf(w, "kind\t%s\n", d.Kind())
		fmt.Fprintf(w, "status\t%s\n", cmp.Or(string(d.Status), "-"))
		fmt.Fprintf(w, "amount\t%s\n", d.Amount)
		fmt.Fprintf(w, "counted\t%s\n", d.Counted)
		fmt.Fprintf(w, "reason\t%s (network: %s)\n", cmp.Or(d.Reason, "-"), cmp.Or(oneLine(d.NetworkReasonCode), "-"))
		fmt.Fprintf(w, "evidence due by\t%s\n", stamp(d.EvidenceDueBy))
		fmt.Fprintf(w, "evidence submitted\t%t\n", d.Submissions > 0)
		fmt.Fprintf(w, "created\t%s\n", stamp(d.CreatedAt))
	})

	if len(d.Balance) == 0 {
		fmt.Fprintln(w, "\nNo money has moved.")

		return
	}

	fmt.Fprintln(w)
	printTable(w, "AT\tAMOUNT\tFEE", func(w io.Writer) {
		for _, b := range d.Balance {
			fmt.Fprintf(w, "%s\t%s\t%s\n", stamp(b.At), b.Amount, b.Fee)
		}
	})
}
