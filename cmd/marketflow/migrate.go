package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/adapters/postgres"
)

func newMigrateCommand() *cobra.Command {
	return group("migrate", "Change the schema of the database at DATABASE_URL",
		newMigration("up", "Apply every migration that is missing",
			func(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
				return thenStatus(ctx, m, cmd, m.Up(ctx))
			}),
		newMigration("down", "Undo the newest migration",
			func(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
				return thenStatus(ctx, m, cmd, m.Down(ctx))
			}),
		newMigration("status", "List the migrations", printStatus))
}

func newMigration(
	use, short string, act func(context.Context, *postgres.Migrator, *cobra.Command) error,
) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			url, err := loadDatabaseURL(cmd)
			if err != nil {
				return err
			}

			m, err := postgres.NewMigrator(cmd.Context(), url.Reveal())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.Close()) }()

			m.Notice = func(line string) { cmd.PrintErrln(line) }

			return act(cmd.Context(), m, cmd)
		},
	}
}

// thenStatus prints the migrations for a program. A person sees that nothing failed.
func thenStatus(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command, err error) error {
	if err != nil || !wantsJSON(cmd) {
		return err
	}

	return printStatus(ctx, m, cmd)
}

func printStatus(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
	list, err := m.Status(ctx)
	if err != nil {
		return err
	}

	rows := rowsOf(list, func(m postgres.Migration) migrationRow { return migrationRow{Name: m.Name, Applied: m.Applied} })

	return printAnswer(cmd, rows, func(w io.Writer) {
		printTable(w, "", func(w io.Writer) {
			for _, row := range rows {
				state := "missing"
				if row.Applied {
					state = "applied"
				}

				fmt.Fprintf(w, "%s\t%s\n", state, row.Name)
			}
		})
	})
}

// migrationRow is a migration in JSON.
type migrationRow struct {
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}
