package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/bootstrap"
)

func newTenantsCommand() *cobra.Command {
	return group("tenants", "Make, list, disable and enable tenants, who see nothing of each other",
		newTenantsCreateCommand(), newTenantsListCommand(), newTenantsDisableCommand(true), newTenantsDisableCommand(false))
}

// tenantRow is a tenant in JSON.
type tenantRow struct {
	ID         operation.Tenant `json:"id"`
	Name       string           `json:"name"`
	CreatedAt  time.Time        `json:"created_at"`
	DisabledAt *time.Time       `json:"disabled_at"`
}

func newTenantRow(t tenant.Tenant) tenantRow {
	return tenantRow{t.ID, t.Name, t.CreatedAt, orNull(t.DisabledAt)}
}

func newTenantsCreateCommand() *cobra.Command {
	return tenantCommand("create NAME", "Make a tenant; its keys follow: marketflow keys create … --tenant NAME",
		`Makes a tenant with payments, customers and keys of its own. A name has lower-case
letters and digits, with single hyphens between them. If a restored database has lost a
tenant, make it again under the same name: its payments are its own again.`,
		func(ctx context.Context, tools bootstrap.Tools, by tenants.By, name string) (tenant.Tenant, error) {
			return tools.Tenants.Create(ctx, by, name)
		})
}

func newTenantsDisableCommand(disabled bool) *cobra.Command {
	use, short, long := "enable NAME", "Let a disabled tenant's keys work again", ""
	if disabled {
		use, short = "disable NAME", "Stop a tenant's keys within five seconds in every process"
		long = `Stops a tenant's keys within five seconds in every process. Its payments and customers
stay, what Stripe tells of them is taken, and what is pending is finished.`
	}

	return tenantCommand(use, short, long,
		func(ctx context.Context, tools bootstrap.Tools, by tenants.By, name string) (tenant.Tenant, error) {
			return tools.Tenants.Disable(ctx, by, name, disabled)
		})
}

func tenantCommand(
	use, short, long string,
	change func(ctx context.Context, tools bootstrap.Tools, by tenants.By, name string) (tenant.Tenant, error),
) *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				changed, err := change(ctx, tools, keyBy(by, operation.DefaultTenant), args[0])
				if err != nil {
					return named(err, "tenant", args[0])
				}

				return printAnswer(cmd, newTenantRow(changed), func(w io.Writer) { printTenants(w, []tenant.Tenant{changed}) })
			})
		},
	}
	by.add(command, false)

	return command
}

func newTenantsListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   listCommand,
		Short: "List tenants by their names",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				list, err := tools.Tenants.List(ctx)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(list, newTenantRow), func(w io.Writer) { printTenants(w, list) })
			})
		},
	}
}

func printTenants(w io.Writer, list []tenant.Tenant) {
	printTable(w, "NAME\tID\tCREATED\tDISABLED", func(w io.Writer) {
		for _, t := range list {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", t.Name, t.ID, stamp(t.CreatedAt), stamp(t.DisabledAt))
		}
	})
}
