package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newOperationsCommand() *cobra.Command {
	command := group("operations", "Look at what was asked of Stripe, and decide what the service cannot decide",
		newOperationsListCommand(), newOperationsShowCommand(), newOperationsCloseCommand(), newOperationsAdoptCommand())
	command.Long = `An operation is one request to do something at Stripe, such as to create, capture or
cancel a payment or to change a customer, from when it was recorded to its frozen
answer. What makes a payment or a customer has the id of that.`

	return command
}

// statesToList are those that --state asks for; without it, those that are not finished.
func statesToList(state string) ([]operation.State, error) {
	switch one := operation.State(state); one {
	case "":
		return []operation.State{operation.Pending, operation.NeedsAttention}, nil
	case operation.Pending, operation.NeedsAttention, operation.Rejected, operation.Finished:
		return []operation.State{one}, nil
	default:
		return nil, fmt.Errorf("--state must be pending, needs_attention, rejected or finished, not %s", state)
	}
}

func newOperationsListCommand() *cobra.Command {
	var (
		needsAttention bool
		state          string
		whose          operation.Tenant
		limit          int
	)

	command := &cobra.Command{
		Use:   listCommand,
		Short: "List the operations that are not finished, the oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			attention := string(operation.NeedsAttention)

			switch {
			case needsAttention && state != "" && state != attention:
				return fmt.Errorf("--needs-attention and --state %s exclude each other", state)
			case needsAttention:
				state = attention
			}

			states, err := statesToList(state)
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				found, err := tools.Decisions.Operations(ctx, whose, states, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(found, newOperationRow), func(w io.Writer) { printOperations(w, found) })
			})
		},
	}

	flags := command.Flags()
	flags.BoolVar(&needsAttention, "needs-attention", false, "only those that wait for a person")
	flags.StringVar(&state, "state", "", "only those in this state: pending, needs_attention, rejected or finished")
	addOwnerFlag(command, &whose)
	addLimitFlag(command, &limit)

	return command
}

func printOperations(w io.Writer, list []ports.OperationDetails) {
	printTable(w, "CREATED\tID\tKIND\tSTATE\tAMOUNT\tATTEMPTS\tRETRY\tKEY\tLAST ERROR", func(w io.Writer) {
		for _, o := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
				stamp(o.CreatedAt), o.ID, o.Kind, o.State, amountOf(o), o.Attempts,
				stamp(o.RetryAt), cmp.Or(string(o.Key), "-"), oneLine(o.LastError))
		}
	})
}

func newOperationsShowCommand() *cobra.Command {
	var (
		key   string
		whose operation.Tenant
	)

	command := &cobra.Command{
		Use:   "show ID | --key KEY",
		Short: "Show an operation and what was decided about it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, clientKey, err := idOrKey(args, key)
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				op, err := findOperation(ctx, tools, id, whose, clientKey)
				if err != nil {
					return err
				}

				return showOperation(ctx, cmd, tools, op)
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "the client's idempotency key, instead of the id")
	addOwnerFlag(command, &whose)

	return command
}

func findOperation(
	ctx context.Context, tools bootstrap.Tools, id uuid.UUID, whose operation.Tenant, key operation.Key,
) (ports.OperationDetails, error) {
	if key != "" {
		op, err := tools.Decisions.OperationByKey(ctx, cmp.Or(whose, operation.DefaultTenant), key)

		return op, named(err, "operation under the key", string(key))
	}

	op, err := tools.Decisions.Operation(ctx, id)

	return op, named(owned(whose, op.Tenant, err), "operation", id.String())
}

func showOperation(ctx context.Context, cmd *cobra.Command, tools bootstrap.Tools, op ports.OperationDetails) error {
	decisions, err := tools.Audit.AuditOf(ctx, op.ID.String())
	if err != nil {
		return err
	}

	shown := shownOperation{newOperationRow(op), op.Order.Metadata, problemOf(op), rowsOf(decisions, newAuditRow)}

	return printAnswer(cmd, shown, func(w io.Writer) {
		printOperation(w, op)
		printDecisions(w, decisions)
	})
}

func printOperation(w io.Writer, o ports.OperationDetails) {
	printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "operation\t%s\n", o.ID)
		fmt.Fprintf(w, "kind\t%s\n", o.Kind)

		if o.Kind.OnCustomer() {
			fmt.Fprintf(w, "customer\t%s\n", o.CustomerID())
		} else {
			fmt.Fprintf(w, "payment\t%s\n", o.PaymentID())
		}

		fmt.Fprintf(w, "state\t%s\n", o.State)

		if o.Finished() {
			fmt.Fprintf(w, "answered\t%d\n", o.Response.Status)
		}

		fmt.Fprintf(w, "amount\t%s\n", amountOf(o))
		fmt.Fprintf(w, "key\t%s\n", cmp.Or(string(o.Key), "-"))
		fmt.Fprintf(w, "attempts\t%d\n", o.Attempts)
		fmt.Fprintf(w, "last error\t%s\n", cmp.Or(oneLine(o.LastError), "-"))
		fmt.Fprintf(w, "next attempt\t%s\n", stamp(o.RetryAt))
		fmt.Fprintf(w, "created\t%s\n", stamp(o.CreatedAt))
		fmt.Fprintf(w, "updated\t%s\n", stamp(o.UpdatedAt))
		fmt.Fprintf(w, "request\t%s\n", cmp.Or(o.Origin.RequestID, "-"))
		fmt.Fprintf(w, "Stripe's key\t%s\n", o.Call.Key)

		if problem := problemOf(o); problem != nil {
			fmt.Fprintf(w, "answer\t%s\n", problem)
		}
	})
}

func newOperationsCloseCommand() *cobra.Command {
	return newOperationDecision(&cobra.Command{
		Use:   "close ID --reason TEXT",
		Short: "End an operation that was not done at Stripe",
		Long: `Ends an operation that needs attention, or is pending and over 23 hours old. Stripe
is asked first: if it has done what was asked, nothing is closed. From then on
the key is answered with a problem document: nothing was made, and a new key is safe.
The reason is recorded.`,
	}, func(ctx context.Context, tools bootstrap.Tools, id uuid.UUID, by operations.Decision) (ports.OperationDetails, error) {
		return tools.CloseOperation.Do(ctx, id, by)
	})
}

func newOperationsAdoptCommand() *cobra.Command {
	var intentID string

	command := newOperationDecision(&cobra.Command{
		Use:   "adopt ID --reason TEXT",
		Short: "Finish an operation with what it has made or done at Stripe",
		Long: `Finishes an operation that needs attention, or is pending and over 23 hours old. A
create is finished with the intent whose metadata names its payment, which must be for
the same amount and currency; anything else is finished if Stripe shows that it was
done. The reason is recorded.`,
	}, func(ctx context.Context, tools bootstrap.Tools, id uuid.UUID, by operations.Decision) (ports.OperationDetails, error) {
		return tools.AdoptOperation.Do(ctx, id, intentID, by)
	})
	command.Flags().StringVar(&intentID, "intent", "", "the intent (pi_…), if Stripe has several")

	return command
}

// newOperationDecision makes command one that decides about an operation and shows it.
func newOperationDecision(
	command *cobra.Command,
	decide func(context.Context, bootstrap.Tools, uuid.UUID, operations.Decision) (ports.OperationDetails, error),
) *cobra.Command {
	var by decisionFlags

	command.Args = cobra.ExactArgs(1)
	command.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID(args[0])
		if err != nil {
			return err
		}

		return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
			decided, err := decide(ctx, tools, id, by.decision())
			if err != nil {
				return named(err, "operation", args[0])
			}

			return showOperation(ctx, cmd, tools, decided)
		})
	}
	by.add(command, true)
	addOwnerFlag(command, &by.whose)

	return command
}

// operationRow is an operation in JSON.
type operationRow struct {
	ID             string       `json:"id"`
	Kind           string       `json:"kind"`
	PaymentID      *string      `json:"payment_id"`
	IdempotencyKey *string      `json:"idempotency_key"`
	Amount         *json.Number `json:"amount"`
	Currency       *string      `json:"currency"`
	State          string       `json:"state"`
	Attempts       int          `json:"attempts"`
	LastError      *string      `json:"last_error"`
	RetryAt        *time.Time   `json:"retry_at"`
	ResponseStatus *int         `json:"response_status"`
	RequestID      *string      `json:"request_id"`
	CreatedAt      time.Time    `json:"created_at"`
	UpdatedAt      time.Time    `json:"updated_at"`
	CustomerID     *string      `json:"customer_id"`
}

type shownOperation struct {
	operationRow

	Metadata payment.Metadata `json:"metadata"`
	// Response is the frozen problem document. A payment is not shown here: it holds the
	// client secret.
	Response json.RawMessage `json:"response"`
	Audit    []auditRow      `json:"audit"`
}

func newOperationRow(o ports.OperationDetails) operationRow {
	row := operationRow{
		ID: o.ID.String(), Kind: string(o.Kind), IdempotencyKey: orNull(string(o.Key)),
		State:    string(o.State),
		Attempts: o.Attempts, LastError: orNull(o.LastError), RetryAt: orNull(o.RetryAt),
		ResponseStatus: orNull(o.Response.Status), RequestID: orNull(o.Origin.RequestID),
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}

	if o.Kind.OnCustomer() {
		row.CustomerID = new(o.CustomerID().String())
	} else {
		row.PaymentID = new(o.PaymentID().String())
	}

	if amount := o.Order.Amount; !amount.IsZero() {
		row.Amount, row.Currency = new(json.Number(amount.Decimal())), new(amount.Currency().Code())
	}

	return row
}

// amountOf is what was asked for; a cancel, and a capture of all, name none.
func amountOf(o ports.OperationDetails) string {
	if o.Order.Amount.IsZero() {
		return "-"
	}

	return o.Order.Amount.String()
}

func problemOf(o ports.OperationDetails) json.RawMessage {
	if o.Response.Status < http.StatusBadRequest {
		return nil
	}

	return rawJSON(o.Response.Body)
}
