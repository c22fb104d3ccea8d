package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

func newAccountCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "account",
		Short: "Look at which Stripe account and server the database belongs to, and change it",
		Args:  cobra.NoArgs,
		Run:   showHelp,
	}
	command.AddCommand(newAccountShowCommand(), newAccountAdoptCommand())

	return command
}

// withBinding runs fn whether database and settings belong together or not.
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
		Short: "Print what was recorded and what the settings lead to",
		Long: `Prints both sides, and whether they belong together. Exit code 0: they do, or
nothing was recorded yet; 1: they do not, or Stripe did not answer.`,
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
		Short: "Record that the database belongs to what the settings lead to now",
		Long: `For a database that was moved, renamed or restored on purpose. Stop every process
first. The reason is kept with what was recorded before. Where it is not surely
the same Stripe account, nothing that was pending is ever sent: it waits for a
person.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBinding(cmd, func(ctx context.Context, b *account.Binding) error {
				adopted, err := b.Adopt(ctx, actor(), reason)
				if err != nil {
					return err
				}

				return printAnswer(cmd, adoptedRow{bindingRow(adopted.From), bindingRow(adopted.To), adopted.GivenUp},
					func(w io.Writer) error {
						fmt.Fprintf(w, "adopted; %d pending operations wait for a person now\n", adopted.GivenUp)

						return nil
					})
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why, for whoever asks later")

	return command
}

// actor is who runs the command, as the machine knows them.
func actor() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}

	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}

	return name
}

// bindingRow is a binding as JSON has it.
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
		Recorded: bindingRow(shown.Recorded), Now: bindingRow(shown.Now), Holds: shown.Err == nil, Adoptions: []adoptionRow{},
	}
	for _, a := range shown.Adoptions {
		row.Adoptions = append(row.Adoptions, adoptionRow{a.At, a.Actor, a.Reason, bindingRow(a.From)})
	}

	if shown.Err != nil {
		row.Problem = shown.Err.Error()
	}

	return printAnswer(cmd, row, func(w io.Writer) error {
		defer printAdoptions(w, row.Adoptions)

		return printTable(w, "\tRECORDED\tNOW", func(w io.Writer) {
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
	})
}

func printAdoptions(w io.Writer, adoptions []adoptionRow) {
	for _, a := range adoptions {
		fmt.Fprintf(w, "\nadopted at %s by %s, before of %s, %s, account %s, server %s, database %s: %s\n",
			a.At.Format(time.RFC3339), a.Actor, orUnknown(a.From.Host), orUnknown(string(a.From.Mode)),
			orUnknown(a.From.Account), orUnknown(a.From.System), orUnknown(a.From.Database), orNone(a.Reason))
	}
}

func orNone(reason string) string { return valueOr(reason, "no reason was given") }

func orUnknown(text string) string { return valueOr(text, "not known") }
