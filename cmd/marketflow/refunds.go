package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

func newRefundsCommand() *cobra.Command {
	return group("refunds", "Find and look at refunds", newRefundsListCommand(), newRefundsShowCommand(),
		newRefundsOverdrawnCommand())
}

func newRefundsShowCommand() *cobra.Command {
	var (
		key   string
		whose operation.Tenant
	)

	command := &cobra.Command{
		Use:   "show ID | --key KEY",
		Short: "Show a refund, and what was decided about it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, clientKey, err := idOrKey(args, key)
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				r, err := findRefund(ctx, tools, id, whose, clientKey)
				if err != nil {
					return err
				}

				decisions, err := tools.Audit.AuditOf(ctx, r.ID.String())
				if err != nil {
					return err
				}

				shown := shownRefund{refundJSON(r), rowsOf(decisions, newAuditRow)}

				return printAnswer(cmd, shown, func(w io.Writer) {
					printRefund(w, r)
					printDecisions(w, decisions)
				})
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "the client's idempotency key, instead of the id")
	addTenantFlag(command, &whose)

	return command
}

// findRefund finds a refund by its id, or by the key of a tenant under which it was asked for.
func findRefund(
	ctx context.Context, tools bootstrap.Tools, id uuid.UUID, whose operation.Tenant, key operation.Key,
) (refund.Refund, error) {
	if key != "" {
		op, err := findOperation(ctx, tools, id, whose, key)

		switch {
		case err != nil:
			return refund.Refund{}, err
		case op.Kind != operation.Refund:
			return refund.Refund{}, fmt.Errorf("under the key %s no refund was asked for, but a %s", key, op.Kind)
		}

		id = op.ID
	}

	r, err := tools.Refunds.Refund(ctx, id)
	if key != "" && fault.KindOf(err) == fault.NotFound {
		return r, fmt.Errorf("the refund under the key %s was never made: marketflow operations show %s", key, id)
	}

	return r, named(err, "refund", id.String())
}

type shownRefund struct {
	Refund json.RawMessage `json:"refund"`
	Audit  []auditRow      `json:"audit"`
}

func refundJSON(r refund.Refund) json.RawMessage { return edge.EncodeRefund(r) }

func printRefund(w io.Writer, r refund.Refund) {
	printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "refund\t%s\n", r.ID)
		fmt.Fprintf(w, "payment\t%s\n", r.PaymentID)
		fmt.Fprintf(w, "Stripe's\t%s\n", cmp.Or(r.ProviderID, "-"))
		fmt.Fprintf(w, "status\t%s\n", r.Status)
		fmt.Fprintf(w, "amount\t%s\n", r.Amount)
		fmt.Fprintf(w, "reason\t%s\n", cmp.Or(r.Reason, "-"))
		fmt.Fprintf(w, "failed because\t%s\n", cmp.Or(r.FailureReason, "-"))
		fmt.Fprintf(w, "asked for\t%s\n", r.Origin)
		fmt.Fprintf(w, "bank's reference\t%s\n", cmp.Or(oneLine(r.Reference.Value), "-"))
		fmt.Fprintf(w, "created\t%s\n", stamp(r.CreatedAt))
		fmt.Fprintf(w, "updated\t%s\n", stamp(r.UpdatedAt))
	})
}

func printRefunds(w io.Writer, refunds []refund.Refund) {
	printTable(w, "CREATED\tREFUND\tAMOUNT\tSTATUS\tREASON\tFROM\tSTRIPE", func(w io.Writer) {
		for _, r := range refunds {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(r.CreatedAt), r.ID, r.Amount, r.Status,
				cmp.Or(r.FailureReason, r.Reason, "-"), r.Origin, cmp.Or(r.ProviderID, "-"))
		}
	})
}

// printTaken tells what refunds and disputes take of a payment, if anything.
func printTaken(w io.Writer, p payment.Payment) {
	for _, one := range []struct {
		what string
		sum  money.Money
	}{
		{"refunds on their way", p.RefundPending}, {"refunded", p.Refunded}, {"disputed", p.Disputed}, {"overdrawn", p.Overdrawn},
	} {
		if one.sum.Minor() != 0 {
			fmt.Fprintf(w, "%s\t%s\n", one.what, one.sum)
		}
	}

	if p.DisputeStatus != "" {
		fmt.Fprintf(w, "dispute\t%s\n", p.DisputeStatus)
	}
}

func newRefundsOverdrawnCommand() *cobra.Command {
	var limit int

	command := &cobra.Command{
		Use:   "overdrawn",
		Short: "List the payments of which refunds and disputes take more than was captured",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				found, err := tools.Refunds.Overdrawn(ctx, limit)
				if err != nil {
					return err
				}

				rows := rowsOf(found, func(p payment.Payment) overdrawnRow {
					return overdrawnRow{edge.EncodePayment(p), json.Number(p.Overdrawn.Decimal())}
				})

				return printAnswer(cmd, rows, func(w io.Writer) { printOverdrawn(w, found) })
			})
		},
	}
	addLimitFlag(command, &limit)

	return command
}

type overdrawnRow struct {
	Payment   json.RawMessage `json:"payment"`
	Overdrawn json.Number     `json:"overdrawn"`
}

func printOverdrawn(w io.Writer, found []payment.Payment) {
	printTable(w, "PAYMENT\tCAPTURED\tON THEIR WAY\tREFUNDED\tDISPUTED\tOVERDRAWN\tINTENT", func(w io.Writer) {
		for _, p := range found {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Captured, p.RefundPending, p.Refunded, p.Disputed,
				p.Overdrawn, p.IntentID)
		}
	})
}
