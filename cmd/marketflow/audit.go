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
	var flags auditFlags

	command := &cobra.Command{
		Use:   "export",
		Short: "Write the audit as CSV, all that fits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				filter, before := flags.read()
				table := edge.NewAuditCSV(cmd.OutOrStdout())

				err := tools.ReadAudit.Export(ctx, flags.whose, filter, before, table.Write)
				if err != nil && table.Rows() > 0 {
					return fmt.Errorf("the table is not whole, it ends after %d entries: %w", table.Rows(), err)
				}

				return err
			})
		},
	}
	flags.add(command)

	return command
}
