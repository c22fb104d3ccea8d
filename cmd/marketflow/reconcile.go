package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

const (
	// exitDiscrepancies is the exit code when something waits for a person.
	exitDiscrepancies = 2
	// progressEvery is how often a long run says how far it is.
	progressEvery = 2 * time.Second
	// leastSince and mostSince bound how far back a run may look. What is younger than a
	// minute may still be on its way.
	leastSince, mostSince = 2 * time.Minute, 10 * 365 * 24 * time.Hour
)

func newReconcileCommand() *cobra.Command {
	var (
		since  string
		dryRun bool
	)

	command := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare our records with Stripe's and repair the differences",
		Long: `Looks for events that never arrived, for intents of ours without a payment or with
another status, and for open payments that are final at Stripe. What is younger than
a minute is left alone: it may still be on its way.

Exit code 0: nothing is left. 2: something waits for a person, from this run or from
before: a difference, an operation that needs attention, a parked event. 1: the run
did not get to its end. What it did until then is kept.

It waits while another run is under way, such as that of a running service.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := reconcileOptions(since)
			if err != nil {
				return err
			}

			options.DryRun = dryRun
			options.Progress = progressLine(cmd)
			options.Waiting = func() { cmd.PrintErrln("another reconciliation is under way: waiting for its end") }

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				report, err := tools.Reconcile.Do(ctx, options)

				return errors.Join(printReport(cmd, report, err, dryRun), reconcileError(report, err))
			})
		},
	}
	command.Flags().StringVar(&since, "since", "24h",
		"how far back to look: a duration, or a time such as 2024-01-15T12:00:00Z")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "only print the differences, repair nothing")

	return command
}

func reconcileOptions(since string) (reconcile.Options, error) {
	if at, err := time.Parse(time.RFC3339, since); err == nil && time.Since(at) <= mostSince {
		return reconcile.Options{Since: at}, nil
	}

	back, err := time.ParseDuration(since)
	if err != nil || back < leastSince || back > mostSince {
		return reconcile.Options{}, fmt.Errorf(
			"--since must be a duration from 2m to 87600h, or a time such as 2024-01-15T12:00:00Z of the last ten years, not %q", since)
	}

	return reconcile.Options{Back: back}, nil
}

// reconcileError is nil if nothing is left for a person.
func reconcileError(report reconcile.Report, err error) error {
	switch {
	case err == nil && report.Clean():
		return nil
	case err == nil:
		var left []string
		if n := report.Left(); n > 0 {
			left = append(left, counted(int64(n), "difference is left", "differences are left"))
		}

		for _, w := range waiting(report) {
			left = append(left, w.what)
		}

		return &exitError{errors.New(strings.Join(left, "; ")), exitDiscrepancies}
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}

	if report.Until.IsZero() { // the run did not begin
		return err
	}

	return fmt.Errorf("%w\nwhat was done is kept; to go on: marketflow reconcile --since %s",
		err, report.Until.Format(time.RFC3339))
}

// wait is what waits for a person, and the command that shows it.
type wait struct{ what, look string }

// waiting lists what waits for a person, from this run or from before.
func waiting(r reconcile.Report) []wait {
	var waits []wait

	if n := r.NeedsAttention; n > 0 {
		waits = append(waits, wait{
			what: counted(n, "operation needs attention", "operations need attention"),
			look: "marketflow operations list --needs-attention",
		})
	}

	if n := r.Parked; n > 0 {
		waits = append(waits, wait{counted(n, "event is parked", "events are parked"), "marketflow inbox list --parked"})
	}

	return waits
}

func counted(n int64, one, many string) string {
	switch {
	case n == 1:
		return "1 " + one
	case n >= ports.BacklogMost:
		return fmt.Sprintf("%d or more %s", n, many)
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}

// progressLine prints to stderr now and then.
func progressLine(cmd *cobra.Command) func(reconcile.Report) {
	next := time.Now().Add(progressEvery)

	return func(r reconcile.Report) {
		if time.Now().Before(next) {
			return
		}

		next = time.Now().Add(progressEvery)

		cmd.PrintErrf("%d events, %d intents, %d open payments looked at, until %s; %d differences left\n",
			r.Events, r.Intents, r.Payments, r.Until.Format(time.RFC3339), r.Left())
	}
}

// reconciled is the report in JSON. NeedsAttention and Parked are null if the run did
// not get to its end.
type reconciled struct {
	Since          time.Time             `json:"since"`
	Until          time.Time             `json:"until"`
	Cursor         *time.Time            `json:"cursor"`
	DryRun         bool                  `json:"dry_run"`
	Events         int                   `json:"events"`
	Intents        int                   `json:"intents"`
	OpenPayments   int                   `json:"open_payments"`
	Differences    map[string]difference `json:"differences"`
	Left           int                   `json:"left"`
	NeedsAttention *int64                `json:"needs_attention"`
	Parked         *int64                `json:"parked"`
	Clean          bool                  `json:"clean"`
	Refunds        int                   `json:"refunds"`
}

type difference struct {
	Found    int `json:"found"`
	Repaired int `json:"repaired"`
}

func printReport(cmd *cobra.Command, r reconcile.Report, failed error, dryRun bool) error {
	if failed != nil && r.Until.IsZero() { // the run did not begin
		return nil
	}

	return printAnswer(cmd, reportValue(r, failed, dryRun), func(w io.Writer) { reportText(w, r, failed, dryRun) })
}

func reportText(out io.Writer, r reconcile.Report, failed error, dryRun bool) {
	fmt.Fprintf(out, "looked at %d events and %d intents from %s until %s, and at %d open payments\n",
		r.Events, r.Intents, r.Since.Format(time.RFC3339), r.Until.Format(time.RFC3339), r.Payments)

	if !dryRun && !r.Cursor.IsZero() && r.Since.After(r.Cursor) {
		fmt.Fprintf(out, "before that everything until %[1]s was looked at; for the rest: marketflow reconcile --since %[1]s\n",
			r.Cursor.Format(time.RFC3339))
	}

	for _, kind := range slices.Sorted(maps.Keys(r.Found)) {
		if dryRun {
			fmt.Fprintf(out, "%s: %d found\n", kind, r.Found[kind])
		} else {
			fmt.Fprintf(out, "%s: %d found, %d repaired\n", kind, r.Found[kind], r.Repaired[kind])
		}
	}

	for _, w := range waiting(r) {
		fmt.Fprintf(out, "%s: %s\n", w.what, w.look)
	}

	if failed == nil && r.Clean() {
		fmt.Fprintln(out, "clean")
	}
}

func reportValue(r reconcile.Report, failed error, dryRun bool) reconciled {
	value := reconciled{
		Since: r.Since, Until: r.Until, DryRun: dryRun, Events: r.Events, Intents: r.Intents, OpenPayments: r.Payments,
		Refunds:     r.Refunds,
		Differences: map[string]difference{}, Left: r.Left(), Clean: failed == nil && r.Clean(),
	}

	for kind, found := range r.Found {
		value.Differences[string(kind)] = difference{Found: found, Repaired: r.Repaired[kind]}
	}

	if !r.Cursor.IsZero() {
		value.Cursor = &r.Cursor
	}

	if failed == nil {
		value.NeedsAttention, value.Parked = &r.NeedsAttention, &r.Parked
	}

	return value
}
