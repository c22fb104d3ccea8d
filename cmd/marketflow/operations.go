package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newOperationsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "operations",
		Short: "Look at what was asked of Stripe, and decide what nobody else can",
		Long: `An op is one request for a payment, from the moment that it was written
down to its frozen answer. It has its payment's id.`,
		Args: cobra.NoArgs,
		Run:  showHelp,
	}
	command.AddCommand(newOperationsListCommand(), newOperationsShowCommand(), newOperationsCloseCommand(),
		newOperationsAdoptCommand())

	return command
}

// statesToList are those that --state asks for: without it, what is not finished.
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
		limit          int
	)

	command := &cobra.Command{
		Use:   "list",
		Short: "List what is not finished, the oldest first",
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
				operations, err := tools.Decisions.Operations(ctx, states, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, operationRows(operations), func(w io.Writer) error {
					return printOperations(w, operations)
				})
			})
		},
	}

	flags := command.Flags()
	flags.BoolVar(&needsAttention, "needs-attention", false, "only those that wait for a person")
	flags.StringVar(&state, "state", "", "only those in this state: pending, needs_attention, rejected or finished")
	addLimitFlag(command, &limit)

	return command
}

func printOperations(w io.Writer, operations []ports.OperationDetails) error {
	return printTable(w, "CREATED\tID\tSTATE\tAMOUNT\tATTEMPTS\tRETRY\tKEY\tLAST ERROR", func(w io.Writer) {
		for _, o := range operations {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
				o.CreatedAt.Format(time.RFC3339), o.PaymentID, o.State, o.Order.Amount, o.Attempts,
				timeOrDash(o.RetryAt), textOrDash(string(o.Key)), oneLine(o.LastError))
		}
	})
}

func newOperationsShowCommand() *cobra.Command {
	var key string

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
				op, err := findOperation(ctx, tools, id, clientKey)
				if err != nil {
					return err
				}

				return showOperation(ctx, cmd, tools, op)
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "the client's idempotency key, instead of the id")

	return command
}

func findOperation(
	ctx context.Context, tools bootstrap.Tools, id uuid.UUID, key operation.Key,
) (ports.OperationDetails, error) {
	if key != "" {
		op, err := tools.Decisions.OperationByKey(ctx, key)

		return op, named(err, "operation under the key", string(key))
	}

	op, err := tools.Decisions.Operation(ctx, id)

	return op, named(err, "operation", id.String())
}

func showOperation(ctx context.Context, cmd *cobra.Command, tools bootstrap.Tools, op ports.OperationDetails) error {
	decisions, err := tools.Audit.AuditOf(ctx, op.PaymentID.String())
	if err != nil {
		return err
	}

	shown := shownOperation{newOperationRow(op), op.Order.Metadata, problemOf(op), auditRows(decisions)}

	return printAnswer(cmd, shown, func(w io.Writer) error {
		if err := printOperation(w, op); err != nil {
			return err
		}

		return printDecisions(w, decisions)
	})
}

func printOperation(w io.Writer, o ports.OperationDetails) error {
	return printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "operation\t%s\n", o.PaymentID)
		fmt.Fprintf(w, "state\t%s\n", o.State)

		if o.Finished() {
			fmt.Fprintf(w, "answered\t%d\n", o.Response.Status)
		}

		fmt.Fprintf(w, "amount\t%s\n", o.Order.Amount)
		fmt.Fprintf(w, "key\t%s\n", textOrDash(string(o.Key)))
		fmt.Fprintf(w, "attempts\t%d\n", o.Attempts)
		fmt.Fprintf(w, "last error\t%s\n", textOrDash(oneLine(o.LastError)))
		fmt.Fprintf(w, "tried again\t%s\n", timeOrDash(o.RetryAt))
		fmt.Fprintf(w, "created\t%s\n", o.CreatedAt.Format(time.RFC3339))
		fmt.Fprintf(w, "updated\t%s\n", o.UpdatedAt.Format(time.RFC3339))
		fmt.Fprintf(w, "request\t%s\n", textOrDash(o.Origin.RequestID))
		fmt.Fprintf(w, "Stripe's key\t%s\n", o.Request.IdempotencyKey)

		if problem := problemOf(o); problem != nil {
			fmt.Fprintf(w, "answer\t%s\n", problem)
		}
	})
}

func newOperationsCloseCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "close ID --reason TEXT",
		Short: "End an operation of which nothing came, after a look at Stripe",
		Long: `Ends an op that needs attention, or is pending and over 23 hours old. Stripe
is asked first: where it has an intent of this payment, nothing is closed. From then
on the key is answered with a problem document which says that nothing was made and
that a new key is safe. The reason is kept.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				closed, err := tools.CloseOperation.Do(ctx, id, by.decision())
				if err != nil {
					return named(err, "operation", args[0])
				}

				return showOperation(ctx, cmd, tools, closed)
			})
		},
	}
	by.add(command, true)

	return command
}

func newOperationsAdoptCommand() *cobra.Command {
	var (
		by       decisionFlags
		intentID string
	)

	command := &cobra.Command{
		Use:   "adopt ID --reason TEXT",
		Short: "Finish an operation with the intent that Stripe has of it",
		Long: `Finishes an op that needs attention, or is pending and over 23 hours old, with
the intent whose metadata names its payment. The intent must be for the same amount
and currency. The reason is kept.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				adopted, err := tools.AdoptOperation.Do(ctx, id, intentID, by.decision())
				if err != nil {
					return named(err, "operation", args[0])
				}

				return showOperation(ctx, cmd, tools, adopted)
			})
		},
	}
	command.Flags().StringVar(&intentID, "intent", "", "the intent (pi_…), where Stripe has several")
	by.add(command, true)

	return command
}

// operationRow is an operation as JSON has it.
type operationRow struct {
	ID             string      `json:"id"`
	Kind           string      `json:"kind"`
	PaymentID      string      `json:"payment_id"`
	IdempotencyKey *string     `json:"idempotency_key"`
	Amount         json.Number `json:"amount"`
	Currency       string      `json:"currency"`
	State          string      `json:"state"`
	Attempts       int         `json:"attempts"`
	LastError      *string     `json:"last_error"`
	RetryAt        *time.Time  `json:"retry_at"`
	ResponseStatus *int        `json:"response_status"`
	RequestID      *string     `json:"request_id"`
	CreatedAt      time.Time   `json:"created_at"`
	UpdatedAt      time.Time   `json:"updated_at"`
}

type shownOperation struct {
	operationRow

	Metadata payment.Metadata `json:"metadata"`
	// Response is the frozen problem document. That of a payment is not shown: it
	// has the client's secret.
	Response json.RawMessage `json:"response"`
	Audit    []auditRow      `json:"audit"`
}

func newOperationRow(o ports.OperationDetails) operationRow {
	return operationRow{
		ID: o.PaymentID.String(), Kind: "create", PaymentID: o.PaymentID.String(), IdempotencyKey: orNull(string(o.Key)),
		Amount: json.Number(o.Order.Amount.Decimal()), Currency: o.Order.Amount.Currency().Code(), State: string(o.State),
		Attempts: o.Attempts, LastError: orNull(o.LastError), RetryAt: orNull(o.RetryAt),
		ResponseStatus: orNull(o.Response.Status), RequestID: orNull(o.Origin.RequestID),
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}
}

func operationRows(operations []ports.OperationDetails) []operationRow {
	rows := make([]operationRow, 0, len(operations))
	for _, o := range operations {
		rows = append(rows, newOperationRow(o))
	}

	return rows
}

func problemOf(o ports.OperationDetails) json.RawMessage {
	if o.Response.Status < http.StatusBadRequest {
		return nil
	}

	return rawJSON(o.Response.Body)
}
