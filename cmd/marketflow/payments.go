package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

func newPaymentsCommand() *cobra.Command {
	return group("payments", "Find and look at payments, and accept Stripe's side of a contradiction",
		newPaymentsListCommand(), newPaymentsIndexCommand(), newPaymentsShowCommand(), newPaymentsAcceptCommand())
}

func newPaymentsAcceptCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "accept ID --reason TEXT",
		Short: "Make a payment what Stripe says, where it contradicts our records",
		Long: `Reads the payment's intent at Stripe and takes over its status, also if ours is final,
its amount and what was captured. Events that are parked as contradictions of this
payment are dismissed. The reason is recorded, with what was there before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				accepted, err := tools.AcceptPayment.Do(ctx, id, by.decision())
				if err != nil {
					return named(err, "payment", args[0])
				}

				return printAnswer(cmd, json.RawMessage(edge.EncodePayment(accepted)), func(w io.Writer) { printPayment(w, accepted) })
			})
		},
	}
	by.add(command, true)
	addOwnerFlag(command, &by.whose)

	return command
}

func newPaymentsShowCommand() *cobra.Command {
	var (
		key   string
		whose operation.Tenant
	)

	command := &cobra.Command{
		Use:   "show ID | pi_… | --key KEY",
		Short: "Show a payment's whole history: operation, transitions, Stripe's events, decisions",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := paymentName(args, key)
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				name.Tenant = whose

				story, err := tools.ShowPayment.Do(ctx, name)
				if err != nil {
					return err
				}

				return printAnswer(cmd, newStory(story), func(w io.Writer) { printStory(w, story) })
			})
		},
	}
	command.Flags().StringVar(&key, "key", "", "the client's idempotency key, instead of an id")
	addOwnerFlag(command, &whose)

	return command
}

func paymentName(args []string, key string) (payments.Name, error) {
	if len(args) == 1 && key == "" && strings.HasPrefix(args[0], "pi_") {
		return payments.Name{IntentID: args[0]}, nil
	}

	id, clientKey, err := idOrKey(args, key)

	return payments.Name{ID: id, Key: clientKey}, err
}

// idOrKey reads the one that is given.
func idOrKey(args []string, key string) (uuid.UUID, operation.Key, error) {
	switch {
	case len(args) == 1 && key != "":
		return uuid.Nil, "", errors.New("give an id or --key, not both")
	case len(args) == 1:
		id, err := parseID(args[0])

		return id, "", err
	case key != "":
		parsed, err := operation.ParseKey(key)

		return uuid.Nil, parsed, err
	default:
		return uuid.Nil, "", errors.New("an id is needed, or --key")
	}
}

// parseID accepts ids only in the form that we print.
func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) {
		return uuid.Nil, fmt.Errorf("%q is not an id such as 0199c8c6-0000-7000-8000-000000000000", text)
	}

	return id, nil
}

// storyRow is a payment's story in JSON.
type storyRow struct {
	Payment   json.RawMessage   `json:"payment"`
	Operation *operationRow     `json:"operation"`
	Timeline  []timelineRow     `json:"timeline"`
	Truncated bool              `json:"truncated"`
	Refunds   []json.RawMessage `json:"refunds"`
	Disputes  []json.RawMessage `json:"disputes"`
}

type timelineRow struct {
	At        time.Time      `json:"at"`
	Kind      string         `json:"kind"`
	Title     string         `json:"title"`
	Actor     *string        `json:"actor"`
	RequestID *string        `json:"request_id"`
	TraceID   *string        `json:"trace_id"`
	Data      map[string]any `json:"data"`
}

func newStory(story payments.Story) storyRow {
	row := storyRow{
		Timeline: rowsOf(story.Timeline, newTimelineRow), Truncated: story.Cut, Refunds: rowsOf(story.Refunds, refundJSON),
		Disputes: rowsOf(story.Disputes, func(d dispute.Dispute) json.RawMessage { return edge.EncodeDispute(d) }),
	}

	if story.Payment != nil {
		row.Payment = edge.EncodePayment(*story.Payment)
	}

	if story.Operation != nil {
		row.Operation = new(newOperationRow(*story.Operation))
	}

	return row
}

func newTimelineRow(e payments.TimelineEntry) timelineRow {
	return timelineRow{
		At: e.At, Kind: string(e.Kind), Title: e.Title, Actor: orNull(e.Actor),
		RequestID: orNull(e.RequestID), TraceID: orNull(e.TraceID), Data: e.Data,
	}
}

func printStory(w io.Writer, story payments.Story) {
	if p := story.Payment; p != nil {
		printPayment(w, *p)
		fmt.Fprintln(w)
	}

	if o := story.Operation; o != nil {
		printOperation(w, *o)
		fmt.Fprintln(w)
	}

	if len(story.Disputes) > 0 {
		printDisputes(w, story.Disputes)
		fmt.Fprintln(w)
	}

	if len(story.Refunds) > 0 {
		printRefunds(w, story.Refunds)
		fmt.Fprintln(w)
	}

	printTable(w, "AT\tKIND\tWHAT\tBY\tDETAIL", func(w io.Writer) {
		for _, e := range story.Timeline {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n",
				e.At.Format(time.RFC3339Nano), e.Kind, e.Title, cmp.Or(e.Actor, "-"), storyDetail(e))
		}
	})

	if story.Cut {
		fmt.Fprintln(w, "There is more; the oldest is left out.")
	}
}

func printPayment(w io.Writer, p payment.Payment) {
	printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "payment\t%s\n", p.ID)
		fmt.Fprintf(w, "status\t%s\n", p.Status)
		fmt.Fprintf(w, "amount\t%s\n", p.Amount)
		fmt.Fprintf(w, "captured\t%s\n", p.Captured)
		printTaken(w, p)
		fmt.Fprintf(w, "intent\t%s (%s)\n", p.IntentID, cmp.Or(string(p.IntentStatus), "-"))
		fmt.Fprintf(w, "allowed\t%s\n", cmp.Or(kindsText(p.Allowed()), "-"))
		fmt.Fprintf(w, "created\t%s\n", stamp(p.CreatedAt))

		if p.Description != "" {
			fmt.Fprintf(w, "description\t%s\n", oneLine(p.Description))
		}

		if p.Method.Type != "" {
			fmt.Fprintf(w, "paid by\t%s\n", methodText(p.Method))
		}

		if d := p.Decline; !d.IsZero() {
			fmt.Fprintf(w, "declined\t%s: %s\n", cmp.Or(d.DeclineCode, d.Code), oneLine(d.Message))
		}
	})
}

// kindsText lists kinds of operations.
func kindsText(kinds []operation.Kind) string {
	words := make([]string, len(kinds))
	for i, kind := range kinds {
		words[i] = string(kind)
	}

	return strings.Join(words, ", ")
}

// methodText is how a payment was, or was to be, paid.
func methodText(m payment.Method) string {
	if m.Card == (payment.Card{}) {
		return m.Type
	}

	return fmt.Sprintf("%s %s, ends in %s, expires %02d/%d", m.Card.Brand, m.Type, m.Card.Last4, m.Card.ExpMonth, m.Card.ExpYear)
}

// storyDetail is the part of an entry's data that fits into a line.
func storyDetail(e payments.TimelineEntry) string {
	switch e.Kind {
	case payments.TimelineStripeEvent:
		return fmt.Sprintf("%s %s", e.Data["id"], e.Data["outcome"])
	case payments.TimelineAudit:
		return fmt.Sprint(e.Data["reason"])
	case payments.TimelineOperation:
		if status, ok := e.Data["response_status"]; ok {
			return fmt.Sprintf("answered %d", status)
		}

		if last, ok := e.Data["last_error"]; ok {
			return oneLine(fmt.Sprint(last))
		}

		return cmp.Or(e.RequestID, "-")
	default:
		return "-"
	}
}
