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
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Move the schema of the database at DATABASE_URL",
		Args:  cobra.NoArgs,
		Run:   showHelp,
	}
	command.AddCommand(
		newMigration("up", "Apply every migration that is missing",
			func(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
				return thenStatus(ctx, m, cmd, m.Up(ctx))
			}),
		newMigration("down", "Take the newest migration back",
			func(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
				return thenStatus(ctx, m, cmd, m.Down(ctx))
			}),
		newMigration("status", "List the migrations",
			printStatus),
	)

	return command
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

// thenStatus tells a program where a migration has led; a person sees that it
// did not fail.
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

	rows := make([]migrationRow, 0, len(list))
	for _, one := range list {
		rows = append(rows, migrationRow{Name: one.Name, Applied: one.Applied})
	}

	return printAnswer(cmd, rows, func(w io.Writer) error {
		return printTable(w, "", func(w io.Writer) {
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

// migrationRow is a migration as JSON has it.
type migrationRow struct {
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}
