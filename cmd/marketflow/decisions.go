package main

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// maxLimit is the longest list that a command gives.
const maxLimit = 10_000

// decisionFlags are by whose hand and why a person decides.
type decisionFlags struct{ actor, reason string }

// add gives the flags to a command; without a reason that is needed cobra says so
// before anything is done.
func (f *decisionFlags) add(command *cobra.Command, needed bool) {
	command.Flags().StringVar(&f.reason, "reason", "", "why; it is kept in the audit")
	command.Flags().StringVar(&f.actor, "actor", "", "who, as the audit names them (default cli:<user>@<host>)")

	if needed {
		_ = command.MarkFlagRequired("reason") // the flag is there
	}
}

func (f *decisionFlags) decision() operations.Decision {
	actor := f.actor
	if actor == "" {
		actor = operator()
	}

	return operations.Decision{Actor: actor, Reason: f.reason}
}

// operator is who runs this command. A container may know neither a name nor a
// host.
func operator() string {
	name := strconv.Itoa(os.Getuid())
	if known, err := user.Current(); err == nil && known.Username != "" {
		name = known.Username
	}

	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}

	return "cli:" + name + "@" + host
}

func addLimitFlag(command *cobra.Command, limit *int) {
	command.Flags().IntVar(limit, "limit", 100, "at most this many")
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxLimit {
		return fmt.Errorf("--limit must be from 1 to %d, not %d", maxLimit, limit)
	}

	return nil
}

// named says which one there is not.
func named(err error, what, id string) error {
	if fault.KindOf(err) == fault.NotFound {
		return fmt.Errorf("there is no %s %s", what, id)
	}

	return err
}

// auditRow is a decision as JSON has it.
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
}

func auditRows(entries []ports.AuditEntry) []auditRow {
	rows := make([]auditRow, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, auditRow{
			ID: e.ID.String(), At: e.At, Actor: e.Actor, OnBehalfOf: orNull(e.OnBehalfOf), Action: string(e.Action),
			ObjectType: e.ObjectType, ObjectID: e.ObjectID, Reason: e.Reason, Before: e.Before, After: e.After,
			RequestID: orNull(e.RequestID),
		})
	}

	return rows
}

func printDecisions(w io.Writer, entries []ports.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}

	fmt.Fprintln(w)

	return printTable(w, "DECIDED\tBY\tACTION\tREASON", func(w io.Writer) {
		for _, e := range entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.At.Format(time.RFC3339), e.Actor, e.Action, e.Reason)
		}
	})
}

// orNull makes JSON's null of what is not there.
func orNull[T comparable](value T) *T {
	if value == *new(T) {
		return nil
	}

	return &value
}
