package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
)

func newEventsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "events",
		Short: "Look at Stripe's events and apply them again",
		Args:  cobra.NoArgs,
		Run:   showHelp,
	}
	command.AddCommand(newEventsListCommand(), newEventsShowCommand(), newEventsReplayCommand())

	return command
}

// withTools runs fn with the use cases, configured as `serve` would be.
func withTools(cmd *cobra.Command, fn func(context.Context, bootstrap.Tools) error) error {
	settings, err := config.Load()
	if err != nil {
		return err
	}

	return bootstrap.WithTools(cmd.Context(), settings, bootstrap.Version(version), fn)
}

func newEventsListCommand() *cobra.Command {
	var (
		parked bool
		limit  int
	)

	command := &cobra.Command{
		Use:   "list",
		Short: "List events, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 10_000 {
				return fmt.Errorf("--limit must be from 1 to 10000, not %d", limit)
			}

			filter := ports.EventFilter{}
			if parked {
				filter.Outcome = ports.EventParked
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				events, err := tools.Inbox.Events(ctx, filter, limit)
				if err != nil {
					return err
				}

				return printEvents(cmd, events)
			})
		},
	}
	command.Flags().BoolVar(&parked, "parked", false, "only those that wait for their payment or contradict it")
	command.Flags().IntVar(&limit, "limit", 100, "at most this many")

	return command
}

func printEvents(cmd *cobra.Command, events []ports.StoredEvent) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RECEIVED\tID\tTYPE\tOBJECT\tOUTCOME\tREASON")

	for _, e := range events {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			e.ReceivedAt.Format(time.RFC3339), e.ID, e.Type, e.ObjectID, e.Outcome, e.Reason)
	}

	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the events: %w", err)
	}

	return nil
}

func newEventsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Print an event as Stripe signed it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				event, err := tools.Inbox.Event(ctx, args[0])
				if err != nil {
					return err
				}

				if err := printEvents(cmd, []ports.StoredEvent{event}); err != nil {
					return err
				}

				cmd.Printf("\n%s\n", event.Raw)

				return nil
			})
		},
	}
}

func newEventsReplayCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "replay ID",
		Short: "Apply a stored event once more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				applied, err := tools.ReplayEvent.Do(ctx, args[0])
				if err != nil {
					return err
				}

				cmd.Printf("%s: %s", args[0], applied.Outcome)

				if applied.Reason != "" {
					cmd.Printf(" (%s)", applied.Reason)
				}

				if applied.PaymentID != uuid.Nil {
					cmd.Printf(", payment %s", applied.PaymentID)
				}

				cmd.Println()

				return nil
			})
		},
	}
}
