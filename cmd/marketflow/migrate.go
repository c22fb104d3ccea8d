package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/config"
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
			func(ctx context.Context, m *postgres.Migrator, _ *cobra.Command) error { return m.Up(ctx) }),
		newMigration("down", "Take the newest migration back",
			func(ctx context.Context, m *postgres.Migrator, _ *cobra.Command) error { return m.Down(ctx) }),
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
			url, err := config.LoadDatabaseURL()
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

func printStatus(ctx context.Context, m *postgres.Migrator, cmd *cobra.Command) error {
	list, err := m.Status(ctx)
	if err != nil {
		return err
	}

	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)

	for _, one := range list {
		state := "missing"
		if one.Applied {
			state = "applied"
		}

		fmt.Fprintf(table, "%s\t%s\n", state, one.Name)
	}

	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the migrations: %w", err)
	}

	return nil
}
