package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newCustomersCommand() *cobra.Command {
	return group("customers", "Look at customers, and erase a person's data",
		newCustomersListCommand(), newCustomersShowCommand(), newCustomersEraseCommand())
}

func newCustomersListCommand() *cobra.Command {
	var (
		filter ports.CustomerFilter
		limit  int
	)

	command := &cobra.Command{
		Use:   listCommand,
		Short: "List customers, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				found, err := tools.Customers.ListCustomers(ctx, filter, ports.CustomerPosition{}, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(found, newCustomerRow), func(w io.Writer) { printCustomers(w, found) })
			})
		},
	}
	addTenantFlag(command, &filter.Tenant)
	command.Flags().StringVar(&filter.Reference, "reference", "", "only the one with this reference")
	command.Flags().StringVar(&filter.Email, "email", "", "only those with this address")
	addLimitFlag(command, &limit)

	return command
}

func printCustomers(w io.Writer, list []customer.Customer) {
	printTable(w, "CREATED\tID\tREFERENCE\tEMAIL\tNAME\tSTRIPE", func(w io.Writer) {
		for _, c := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(c.CreatedAt), c.ID, cmp.Or(oneLine(c.Reference), "-"),
				cmp.Or(oneLine(c.Email), "-"), cmp.Or(oneLine(c.Name), "-"), c.ProviderID)
		}
	})
}

func newCustomersShowCommand() *cobra.Command {
	var whose operation.Tenant

	command := &cobra.Command{
		Use:   "show ID | cus_…",
		Short: "Show a customer, also one that is deleted, and what was decided about it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				c, err := findCustomer(ctx, tools, args[0])
				if err := owned(whose, c.Tenant, err); err != nil {
					return named(err, "customer", args[0])
				}

				decisions, err := tools.Audit.AuditOf(ctx, c.ID.String())
				if err != nil {
					return err
				}

				shown := shownCustomer{newCustomerRow(c), rowsOf(decisions, newAuditRow)}

				return printAnswer(cmd, shown, func(w io.Writer) {
					printCustomer(w, c)
					printDecisions(w, decisions)
				})
			})
		},
	}
	addOwnerFlag(command, &whose)

	return command
}

func findCustomer(ctx context.Context, tools bootstrap.Tools, name string) (customer.Customer, error) {
	if strings.HasPrefix(name, "cus_") {
		found, err := tools.Customers.CustomersByProviderID(ctx, []string{name})
		if c, ok := found[name]; ok || err != nil {
			return c, err
		}

		return customer.Customer{}, fmt.Errorf("no customer here is %s", name)
	}

	id, err := parseID(name)
	if err != nil {
		return customer.Customer{}, err
	}

	return tools.Customers.Customer(ctx, id)
}

// customerRow is a customer in JSON.
type customerRow struct {
	Customer  json.RawMessage `json:"customer"`
	DeletedAt *time.Time      `json:"deleted_at"`
}

type shownCustomer struct {
	customerRow

	Audit []auditRow `json:"audit"`
}

func newCustomerRow(c customer.Customer) customerRow {
	return customerRow{edge.EncodeCustomer(c), orNull(c.DeletedAt)}
}

func printCustomer(w io.Writer, c customer.Customer) {
	printTable(w, "", func(w io.Writer) {
		fmt.Fprintf(w, "customer\t%s\n", c.ID)
		fmt.Fprintf(w, "Stripe's\t%s\n", c.ProviderID)
		fmt.Fprintf(w, "reference\t%s\n", cmp.Or(oneLine(c.Reference), "-"))
		fmt.Fprintf(w, "email\t%s\n", cmp.Or(oneLine(c.Email), "-"))
		fmt.Fprintf(w, "name\t%s\n", cmp.Or(oneLine(c.Name), "-"))
		fmt.Fprintf(w, "created\t%s\n", stamp(c.CreatedAt))
		fmt.Fprintf(w, "updated\t%s\n", stamp(c.UpdatedAt))
		fmt.Fprintf(w, "deleted\t%s\n", stamp(c.DeletedAt))
	})
}

var errParkedLeft = errors.New("parked events still hold this customer's data: " +
	"settle them (marketflow inbox list --outcome parked), and erase again")

func newCustomersEraseCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "erase ID --reason TEXT",
		Short: "Erase a customer's personal data from everything that is kept",
		Long: `Deletes the customer at Stripe, with its saved payment methods, and removes its email,
name, reference and metadata from our records: from its row, from what was asked of
Stripe, from the answers that are kept under idempotency keys, and from the stored
bodies of Stripe's events that mention it. Its payments stay. It cannot be undone. The
reason is recorded; do not write the person's data into it. It may be repeated, and
should be, after Stripe has sent its last events (three days).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				erased, err := tools.EraseCustomer.Do(ctx, id, by.decision())
				if err != nil {
					return named(err, "customer", args[0])
				}

				err = printAnswer(cmd, newErasedRow(id, erased), func(w io.Writer) {
					fmt.Fprintf(w, "Customer %s is erased: %d operations and %d stored events held its data.\n",
						id, erased.Operations, erased.Events)
				})
				if err == nil && len(erased.Parked) > 0 {
					err = fmt.Errorf("%w: %s", errParkedLeft, strings.Join(erased.Parked, ", "))
				}

				return err
			})
		},
	}
	by.add(command, true)
	addOwnerFlag(command, &by.whose)

	return command
}

// erasedRow is what was erased, in JSON.
type erasedRow struct {
	CustomerID   string   `json:"customer_id"`
	Operations   int      `json:"operations"`
	Events       int      `json:"events"`
	ParkedEvents []string `json:"parked_events"`
}

func newErasedRow(id uuid.UUID, e customers.Erased) erasedRow {
	return erasedRow{id.String(), e.Operations, e.Events, append([]string{}, e.Parked...)}
}
