package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// listCommand is how each command is called that lists something.
const listCommand = "list"

// maxLimit is the longest list that a command prints.
const maxLimit = 10_000

// decisionFlags say who decides, for whom, and why.
type decisionFlags struct {
	actor, behalf, reason string
	whose                 operation.Tenant
}

// add gives the flags to a command. If the reason is needed, cobra says so before
// anything is done.
func (f *decisionFlags) add(command *cobra.Command, needed bool) {
	command.Flags().StringVar(&f.reason, "reason", "", "why; it is recorded with the decision")
	command.Flags().StringVar(&f.actor, "actor", "", "who decides, as it is recorded (default cli:<user>@<host>)")
	command.Flags().StringVar(&f.behalf, "on-behalf-of", "", "for whom it is decided, as it is recorded")

	if needed {
		_ = command.MarkFlagRequired("reason") // the flag is there
	}
}

func (f *decisionFlags) decision() operations.Decision {
	return operations.Decision{
		Actor: cmp.Or(f.actor, "cli:"+person()), OnBehalfOf: f.behalf, Reason: f.reason, Tenant: f.whose,
	}
}

// person is who runs this command, as user@host. A container may know neither.
func person() string {
	name := strconv.Itoa(os.Getuid())
	if known, err := user.Current(); err == nil && known.Username != "" {
		name = known.Username
	}

	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}

	return name + "@" + host
}

// addTenantFlag adds --tenant, which names whose payments and customers are meant.
func addTenantFlag(command *cobra.Command, of *operation.Tenant) {
	*of = operation.DefaultTenant
	command.Flags().Var((*tenantFlag)(of), "tenant", "whose, by the tenant's name")
}

// addOwnerFlag adds --tenant to a command that names something by an id of ours, which says
// whose it is. With the flag, what is another tenant's is not there.
func addOwnerFlag(command *cobra.Command, of *operation.Tenant) {
	command.Flags().Var((*tenantFlag)(of), "tenant", "only this tenant's, by its name (default whoever's it is)")
}

// owned is fault.NotFound for what is not of the tenant that --tenant names, if it names one.
func owned(whose, owner operation.Tenant, err error) error {
	if err == nil && whose != 0 && whose != owner {
		return fault.New(fault.NotFound, "It is another tenant's.")
	}

	return err
}

// tenantFlag is the value of --tenant. It reads a name: the id is made of it.
type tenantFlag operation.Tenant

func (f *tenantFlag) String() string {
	switch operation.Tenant(*f) {
	case 0:
		return ""
	case operation.DefaultTenant:
		return tenant.DefaultName
	default:
		return strconv.Itoa(int(*f))
	}
}

// Type implements pflag.Value.
func (*tenantFlag) Type() string { return "name" }

// Set implements pflag.Value.
func (f *tenantFlag) Set(name string) error {
	named, err := tenant.New(name)
	*f = tenantFlag(named.ID)

	return err
}

func addLimitFlag(command *cobra.Command, limit *int) {
	command.Flags().IntVar(limit, "limit", 100, "the most rows to print")
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxLimit {
		return fmt.Errorf("--limit must be from 1 to %d, not %d", maxLimit, limit)
	}

	return nil
}

// named says which one does not exist.
func named(err error, what, id string) error {
	if fault.KindOf(err) == fault.NotFound {
		return fmt.Errorf("there is no %s %s", what, id)
	}

	return err
}

// auditRow is a decision in JSON.
type auditRow struct {
	ID         string         `json:"id"`
	At         time.Time      `json:"at"`
	Actor      string         `json:"actor"`
	OnBehalfOf *string        `json:"on_behalf_of"`
	Action     string         `json:"action"`
	ObjectType string         `json:"object_type"`
	ObjectID   string         `json:"object_id"`
	Reason     string         `json:"reason"`
	Before     map[string]any `json:"before"`
	After      map[string]any `json:"after"`
	RequestID  *string        `json:"request_id"`

	Tenant *operation.Tenant `json:"tenant"`
}

func newAuditRow(e ports.AuditEntry) auditRow {
	return auditRow{
		ID: e.ID.String(), At: e.At, Actor: e.Actor, OnBehalfOf: orNull(e.OnBehalfOf), Action: string(e.Action),
		ObjectType: e.ObjectType, ObjectID: e.ObjectID, Reason: e.Reason, Before: e.Before, After: e.After,
		RequestID: orNull(e.RequestID), Tenant: orNull(e.Tenant),
	}
}

func printDecisions(w io.Writer, entries []ports.AuditEntry) {
	if len(entries) == 0 {
		return
	}

	fmt.Fprintln(w)
	printTable(w, "DECIDED\tBY\tFOR\tACTION\tREASON", func(w io.Writer) {
		for _, e := range entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", stamp(e.At), oneLine(e.Actor), cmp.Or(oneLine(e.OnBehalfOf), "-"), e.Action,
				oneLine(e.Reason))
		}
	})
}
