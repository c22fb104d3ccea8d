package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newInboxCommand() *cobra.Command {
	return group("inbox", "Look at Stripe's events, apply them again, or dismiss them",
		newInboxListCommand(), newInboxShowCommand(), newInboxReprocessCommand("reprocess"), newInboxDismissCommand())
}

// newEventsCommand is the inbox under its name of the first release.
func newEventsCommand() *cobra.Command {
	command := group("events", "The old name of inbox",
		newInboxListCommand(), newInboxShowCommand(), newInboxReprocessCommand("replay"))
	command.Hidden = true
	command.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		cmd.PrintErrln("`marketflow events` will be removed: use `marketflow inbox` (replay is called reprocess there).")
	}

	return command
}

// withTools runs fn with the use cases, configured as for `serve`.
func withTools(cmd *cobra.Command, fn func(context.Context, bootstrap.Tools) error) error {
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}

	return bootstrap.WithTools(cmd.Context(), settings, bootstrap.Version(version), fn)
}

// outcomes are what --outcome takes.
func outcomes() []ports.EventOutcome {
	return []ports.EventOutcome{
		ports.EventApplied, ports.EventStale, ports.EventIgnored, ports.EventUnhandled, ports.EventHint, ports.EventParked,
		ports.EventDismissed, ports.EventForeign,
	}
}

func newInboxListCommand() *cobra.Command {
	var (
		parked  bool
		outcome string
		filter  ports.EventFilter
		limit   int
	)

	command := &cobra.Command{
		Use:   listCommand,
		Short: "List events, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			switch filter.Outcome = ports.EventOutcome(outcome); {
			case outcome != "" && !slices.Contains(outcomes(), filter.Outcome):
				return fmt.Errorf("--outcome must be one of %v, not %s", outcomes(), outcome)
			case parked && outcome != "" && filter.Outcome != ports.EventParked:
				return fmt.Errorf("--parked and --outcome %s exclude each other", outcome)
			case parked:
				filter.Outcome = ports.EventParked
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				events, err := tools.Inbox.Events(ctx, filter, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(events, newEventRow), func(w io.Writer) { printEvents(w, events) })
			})
		},
	}

	flags := command.Flags()
	flags.BoolVar(&parked, "parked", false, "only those that wait for their payment or contradict it")
	flags.StringVar(&outcome, "outcome", "",
		"only those with this outcome: applied, stale, ignored, unhandled, hint, parked, dismissed or foreign")
	flags.StringVar(&filter.Type, "type", "", "only those of this type, such as payment_intent.succeeded")
	flags.StringVar(&filter.ObjectID, "object", "", "only those about this object at Stripe, such as pi_…")
	addLimitFlag(command, &limit)

	return command
}

func printEvents(w io.Writer, events []ports.StoredEvent) {
	printTable(w, "RECEIVED\tID\tTYPE\tOBJECT\tOUTCOME\tREASON", func(w io.Writer) {
		for _, e := range events {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
				stamp(e.ReceivedAt), e.ID, e.Type, e.ObjectID, e.Outcome, e.Reason)
		}
	})
}

func newInboxShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Print an event as Stripe signed it (it may hold personal data)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				event, err := tools.Inbox.Event(ctx, args[0])
				if err != nil {
					return named(err, "event", args[0])
				}

				decisions, err := tools.Audit.AuditOf(ctx, event.ID)
				if err != nil {
					return err
				}

				cmd.PrintErrln("The payload may hold personal data and a client secret: be careful where you paste it.")

				return printAnswer(cmd, shownEvent{newEventRow(event), rawJSON(event.Raw), rowsOf(decisions, newAuditRow)},
					func(w io.Writer) {
						printEvents(w, []ports.StoredEvent{event})
						printDecisions(w, decisions)
						fmt.Fprintf(w, "\n%s\n", event.Raw)
					})
			})
		},
	}
}

func newInboxReprocessCommand(use string) *cobra.Command {
	var (
		by        decisionFlags
		eventType string
	)

	command := &cobra.Command{
		Use:   use + " ID | --type TYPE",
		Short: "Apply a stored event once more, or all that were not handled when they came",
		Long: `Applies a stored event once more. An event that was applied already changes nothing.
An event that was dismissed is parked again first; that needs a --reason.

With --type it applies all stored events of that type whose outcome is unhandled, the
oldest first: those that came before this release has learned to handle the type.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && eventType != "":
				return errors.New("give an id or --type, not both")
			case len(args) == 0 && eventType == "":
				return errors.New("an id is needed, or --type")
			case eventType != "":
				return reprocessType(cmd, eventType)
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				applied, err := tools.ReprocessEvent.Do(ctx, args[0], by.decision())
				if err != nil {
					return named(err, "event", args[0])
				}

				return printAnswer(cmd, newAppliedRow(args[0], applied), func(w io.Writer) { printApplied(w, args[0], applied) })
			})
		},
	}
	by.add(command, false)
	command.Flags().StringVar(&eventType, "type", "", "all unhandled events of this type, such as charge.refunded")

	return command
}

// reprocessType prints what was done also if some events failed.
func reprocessType(cmd *cobra.Command, eventType string) error {
	return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
		done, err := tools.ReprocessType.Do(ctx, eventType)
		if err != nil && done.Events() == 0 {
			return err
		}

		row := reprocessedRow{Type: eventType, Events: done.Events(), Outcomes: done.Outcomes, Failed: done.Failed}

		return errors.Join(printAnswer(cmd, row, func(w io.Writer) { printReprocessed(w, row) }), err)
	})
}

func printReprocessed(w io.Writer, row reprocessedRow) {
	fmt.Fprintf(w, "%s: %d unhandled events", row.Type, row.Events)

	between := ": "

	for _, outcome := range slices.Sorted(maps.Keys(row.Outcomes)) {
		fmt.Fprintf(w, "%s%d %s", between, row.Outcomes[outcome], outcome)

		between = ", "
	}

	if row.Failed > 0 {
		fmt.Fprintf(w, "%s%d failed", between, row.Failed)
	}

	fmt.Fprintln(w)
}

// reprocessedRow is what became of the events of a type, in JSON.
type reprocessedRow struct {
	Type     string                     `json:"type"`
	Events   int                        `json:"events"`
	Outcomes map[ports.EventOutcome]int `json:"outcomes"`
	Failed   int                        `json:"failed"`
}

func printApplied(w io.Writer, id string, applied ports.Applied) {
	fmt.Fprintf(w, "%s: %s", id, applied.Outcome)

	if applied.Reason != "" {
		fmt.Fprintf(w, " (%s)", applied.Reason)
	}

	if applied.PaymentID != uuid.Nil {
		fmt.Fprintf(w, ", payment %s", applied.PaymentID)
	}

	fmt.Fprintln(w)
}

func newInboxDismissCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "dismiss ID --reason TEXT",
		Short: "End a parked event that needs no action: it is not applied and no longer counted",
		Long: `Ends a parked event that needs no action. It is not applied and no longer counted,
even if Stripe sends it again. The reason is recorded. "reprocess" undoes it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				event, err := tools.DismissEvent.Do(ctx, args[0], by.decision())
				if err != nil {
					return named(err, "event", args[0])
				}

				return printAnswer(cmd, newEventRow(event), func(w io.Writer) {
					fmt.Fprintf(w, "%s: %s\n", event.ID, event.Outcome)
				})
			})
		},
	}
	by.add(command, true)

	return command
}

// eventRow is an inbox event in JSON.
type eventRow struct {
	ID           string     `json:"id"`
	Type         string     `json:"type"`
	ObjectID     string     `json:"object_id"`
	Outcome      string     `json:"outcome"`
	ParkedReason *string    `json:"parked_reason"`
	CreatedAt    *time.Time `json:"created_at"`
	ReceivedAt   time.Time  `json:"received_at"`
	ProcessedAt  time.Time  `json:"processed_at"`
}

type shownEvent struct {
	eventRow

	Payload json.RawMessage `json:"payload"`
	Audit   []auditRow      `json:"audit"`
}

func newEventRow(e ports.StoredEvent) eventRow {
	return eventRow{
		ID: e.ID, Type: e.Type, ObjectID: e.ObjectID, Outcome: string(e.Outcome), ParkedReason: orNull(string(e.Reason)),
		CreatedAt: orNull(e.CreatedAt), ReceivedAt: e.ReceivedAt, ProcessedAt: e.ProcessedAt,
	}
}

// appliedRow is what an event did, in JSON.
type appliedRow struct {
	ID           string  `json:"id"`
	Outcome      string  `json:"outcome"`
	ParkedReason *string `json:"parked_reason"`
	PaymentID    *string `json:"payment_id"`
}

func newAppliedRow(id string, applied ports.Applied) appliedRow {
	row := appliedRow{ID: id, Outcome: string(applied.Outcome), ParkedReason: orNull(string(applied.Reason))}
	if applied.PaymentID != uuid.Nil {
		row.PaymentID = new(applied.PaymentID.String())
	}

	return row
}
