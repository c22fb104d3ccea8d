package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newAuditCommand() *cobra.Command {
	return group("audit", "Look at who has done what", newAuditListCommand(), newAuditExportCommand())
}

// auditFlags narrow the audit. A person at a command sees all tenants' entries unless whose says
// otherwise.
type auditFlags struct {
	whose        operation.Tenant
	filter       ports.AuditFilter
	action       string
	since, until time.Duration
}

func (f *auditFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.filter.Actor, "actor", "", "only what this actor did, such as 'key:mf_test_abcd1234 Shop'")
	flags.StringVar(&f.action, "action", "", "only this action, such as payment.capture")
	flags.StringVar(&f.filter.ObjectID, "object", "", "only what was done to the object of this id")
	flags.DurationVar(&f.since, "since", 0, "only what is at most so old, such as 24h")
	flags.DurationVar(&f.until, "until", 0, "only what is at least so old")
	addOwnerFlag(command, &f.whose)
}

func (f *auditFlags) read() (ports.AuditFilter, ports.AuditPosition) {
	var before ports.AuditPosition

	f.filter.Action = ports.AuditAction(f.action)

	if f.since > 0 {
		f.filter.From = time.Now().Add(-f.since)
	}

	if f.until > 0 {
		before.At = time.Now().Add(-f.until)
	}

	return f.filter, before
}

func newAuditListCommand() *cobra.Command {
	var (
		flags auditFlags
		limit int
	)

	command := &cobra.Command{
		Use:   listCommand,
		Short: "List what people decided and clients did, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				filter, before := flags.read()

				page, err := tools.ReadAudit.Do(ctx, flags.whose, filter, before, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(page.Entries, newEntryRow), func(w io.Writer) { printAudit(w, page.Entries) })
			})
		},
	}
	flags.add(command)
	addLimitFlag(command, &limit)

	return command
}

func newEntryRow(e ports.AuditEntry) json.RawMessage { return edge.EncodeAuditEntry(e) }

func printAudit(w io.Writer, entries []ports.AuditEntry) {
	printTable(w, "AT\tACTOR\tFOR\tACTION\tOBJECT\tREQUEST\tREASON", func(w io.Writer) {
		for _, e := range entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(e.At), cmp.Or(oneLine(e.Actor), "-"),
				cmp.Or(oneLine(e.OnBehalfOf), "-"), e.Action, e.ObjectID, cmp.Or(e.RequestID, "-"), oneLine(e.Reason))
		}
	})
}

func newAuditExportCommand() *cobra.Command {
	var (
		flags    auditFlags
		from, to string
	)

	format := listFormat(asCSV)

	command := &cobra.Command{
		Use:   "export",
		Short: "Write the audit as CSV or as JSON lines, all that fits",
		Long: `Writes the audit, the newest first, as CSV, or with -o json as one object a line. It ends
where it is complete: no entry of before that time appears any more. That time is told on
stderr, and is where the next export begins: --from takes it. So exports that follow each
other have each entry once, while requests go on. What reconciliation brings home after a
loss of the database is the exception: it has the time at which it was asked for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, before := flags.read()
			if err := bounds(from, to, &filter.From, &before.At); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				until, err := tools.ReadAudit.Until(ctx)
				if err != nil {
					return err
				}

				if before.At.IsZero() || before.At.After(until) {
					before.At = until
				}

				written, write := auditWriter(cmd.OutOrStdout(), format)

				if err := tools.ReadAudit.Export(ctx, flags.whose, filter, before, write); err != nil {
					return fmt.Errorf("the export is not whole, it ends after %d entries: %w", written(), err)
				}

				cmd.PrintErrf("%d entries. The next export: --from %s\n", written(), before.At.UTC().Format(time.RFC3339Nano))

				return nil
			})
		},
	}
	flags.add(command)
	command.Flags().StringVar(&from, "from", "", "only what is not before this time, such as 2026-01-31T12:00:00Z")
	command.Flags().StringVar(&to, "to", "", "only what is before this time")
	command.Flags().VarP(&format, outputFlag, "o", "as csv or json")
	command.MarkFlagsMutuallyExclusive("from", "since")
	command.MarkFlagsMutuallyExclusive("to", "until")

	return command
}

// bounds reads the times of --from and --to that are given.
func bounds(from, to string, first, before *time.Time) error {
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"--from", from, first}, {"--to", to, before}} {
		if bound.text == "" {
			continue
		}

		at, err := time.Parse(time.RFC3339Nano, bound.text)
		if err != nil {
			return fmt.Errorf("%s must be a time such as 2026-01-31T12:00:00Z, not %q", bound.flag, bound.text)
		}

		*bound.at = at
	}

	return nil
}

// auditWriter writes pages of the audit, and tells how many entries it has written.
func auditWriter(out io.Writer, format listFormat) (written func() int, write func([]ports.AuditEntry) error) {
	if format != listFormat(asJSON) {
		table := edge.NewAuditCSV(out)

		return table.Rows, table.Write
	}

	n := 0

	return func() int { return n }, func(entries []ports.AuditEntry) error {
		for _, e := range entries {
			if _, err := fmt.Fprintf(out, "%s\n", edge.EncodeAuditEntry(e)); err != nil {
				return fmt.Errorf("writing entries: %w", err)
			}

			n++
		}

		return nil
	}
}
