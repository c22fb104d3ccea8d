package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newAccountCommand() *cobra.Command {
	return group("account", "Show which Stripe account and server the database belongs to, or change it",
		newAccountShowCommand(), newAccountAdoptCommand())
}

// withBinding runs fn, whether or not the database belongs to the settings.
func withBinding(cmd *cobra.Command, fn func(context.Context, *account.Binding) error) error {
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}

	return bootstrap.WithBinding(cmd.Context(), settings, bootstrap.Version(version), fn)
}

func newAccountShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print what was recorded, and what the settings lead to",
		Long: `Prints both sides, and whether they are the same. Exit code 0: they are, or
nothing was recorded yet. 1: they are not, or Stripe did not answer.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBinding(cmd, func(ctx context.Context, b *account.Binding) error {
				shown, err := b.Show(ctx)
				if err != nil {
					return err
				}

				return errors.Join(printBinding(cmd, shown), shown.Err)
			})
		},
	}
}

func newAccountAdoptCommand() *cobra.Command {
	var reason string

	command := &cobra.Command{
		Use:   "adopt",
		Short: "Record that the database belongs to these settings",
		Long: `For a database that was moved, renamed or restored on purpose. Stop every process
first. The reason is recorded with what the database belonged to before. If it is
not known to be the same Stripe account, pending operations are never sent: they
wait for a person.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBinding(cmd, func(ctx context.Context, b *account.Binding) error {
				adopted, err := b.Adopt(ctx, person(), reason)
				if err != nil {
					return err
				}

				return printAnswer(cmd, adoptedRow{bindingRow(adopted.From), bindingRow(adopted.To), adopted.GivenUp},
					func(w io.Writer) {
						fmt.Fprintf(w, "adopted; %d pending operations now wait for a person\n", adopted.GivenUp)
					})
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why; it is recorded")

	return command
}

// bindingRow is a binding in JSON.
type bindingRow struct {
	Host     string       `json:"stripe_host"`
	Mode     binding.Mode `json:"mode"`
	Account  string       `json:"stripe_account"`
	System   string       `json:"system_identifier"`
	Database string       `json:"database"`
}

type adoptedRow struct {
	From    bindingRow `json:"from"`
	To      bindingRow `json:"to"`
	GivenUp int        `json:"given_up"`
}

type shownRow struct {
	InstallationID string `json:"installation_id"`

	Recorded  bindingRow    `json:"recorded"`
	Now       bindingRow    `json:"now"`
	Holds     bool          `json:"holds"`
	Problem   string        `json:"problem,omitempty"`
	Adoptions []adoptionRow `json:"adoptions"`
}

type adoptionRow struct {
	At     time.Time  `json:"at"`
	Actor  string     `json:"actor"`
	Reason string     `json:"reason"`
	From   bindingRow `json:"from"`
}

func printBinding(cmd *cobra.Command, shown account.Shown) error {
	row := shownRow{
		InstallationID: shown.ID.ID.String(),
		Recorded:       bindingRow(shown.Recorded), Now: bindingRow(shown.Now), Holds: shown.Err == nil,
		Adoptions: rowsOf(shown.Adoptions, func(a ports.Adopted) adoptionRow {
			return adoptionRow{a.At, a.Actor, a.Reason, bindingRow(a.From)}
		}),
	}

	if shown.Err != nil {
		row.Problem = shown.Err.Error()
	}

	return printAnswer(cmd, row, func(w io.Writer) {
		fmt.Fprintf(w, "installation %s\n\n", row.InstallationID)
		printTable(w, "\tRECORDED\tNOW", func(w io.Writer) {
			for _, line := range [][3]string{
				{"Stripe's API", row.Recorded.Host, row.Now.Host},
				{"mode", string(row.Recorded.Mode), string(row.Now.Mode)},
				{"Stripe account", row.Recorded.Account, row.Now.Account},
				{"PostgreSQL system identifier", row.Recorded.System, row.Now.System},
				{"database", row.Recorded.Database, row.Now.Database},
			} {
				fmt.Fprintf(w, "%s\t%s\t%s\n", line[0], orUnknown(line[1]), orUnknown(line[2]))
			}
		})

		for _, a := range row.Adoptions {
			fmt.Fprintf(w, "\nadopted at %s by %s; before: %s, %s, account %s, server %s, database %s; reason: %s\n",
				stamp(a.At), a.Actor, orUnknown(a.From.Host), orUnknown(string(a.From.Mode)), orUnknown(a.From.Account),
				orUnknown(a.From.System), orUnknown(a.From.Database), cmp.Or(a.Reason, "none was given"))
		}
	})
}

func orUnknown(text string) string { return cmp.Or(text, "not known") }
