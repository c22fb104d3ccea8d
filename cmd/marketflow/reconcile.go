package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

const (
	// exitDrift is the exit code when drift is left.
	exitDrift = 2
	// progressEvery is how often a long run says how far it is.
	progressEvery = 2 * time.Second
)

func newReconcileCommand() *cobra.Command {
	var (
		since  time.Duration
		dryRun bool
	)

	command := &cobra.Command{
		Use:   "reconcile",
		Short: "Hold our books against Stripe's and repair what differs",
		Long: `Looks for events that never arrived, intents of ours without a payment or with
another status, and payments that are not final although Stripe's are. Exit code
0: clean; 2: drift is left.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 {
				return fmt.Errorf("--since must be more than 0, not %s", since)
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				report, err := tools.Reconcile.Do(ctx, app.ReconcileOptions{
					Since: time.Now().Add(-since), DryRun: dryRun, Progress: progressLine(cmd),
				})

				printReport(cmd, report, dryRun)

				switch {
				case err != nil:
					return err
				case report.Left() > 0:
					return &exitError{fmt.Errorf("%d differences are left", report.Left()), exitDrift}
				case len(report.Found) == 0:
					cmd.Println("clean")
				}

				return nil
			})
		},
	}
	command.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back to look at events and intents")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "find, and repair nothing")

	return command
}

// progressLine prints to stderr now and then.
func progressLine(cmd *cobra.Command) func(app.ReconcileReport) {
	next := time.Now().Add(progressEvery)

	return func(r app.ReconcileReport) {
		if time.Now().Before(next) {
			return
		}

		next = time.Now().Add(progressEvery)

		cmd.PrintErrf("%d events, %d intents, %d payments looked at, %d differences left\n",
			r.Events, r.Intents, r.Payments, r.Left())
	}
}

func printReport(cmd *cobra.Command, r app.ReconcileReport, dryRun bool) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "looked at %d events, %d intents, %d unsettled payments\n", r.Events, r.Intents, r.Payments)

	for _, kind := range slices.Sorted(maps.Keys(r.Found)) {
		if dryRun {
			fmt.Fprintf(out, "%s: %d found\n", kind, r.Found[kind])
		} else {
			fmt.Fprintf(out, "%s: %d found, %d repaired\n", kind, r.Found[kind], r.Repaired[kind])
		}
	}
}
