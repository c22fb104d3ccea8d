// Package binding tells what a database belongs to, so that it never meets
// another Stripe account, another mode or another copy of itself unnoticed.
package binding

import (
	"fmt"
	"strings"
)

// Mode is the half of the provider that a key opens: real money, or none.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Binding is what a database belongs to. A field is empty where that is not
// known.
type Binding struct {
	// Host is that of the provider's API, with its port where it has one.
	Host string
	Mode Mode
	// Account is the provider's id of the account.
	Account string
	// System is the database server's own identifier: the same on its standbys
	// and after a point-in-time restore, another where a dump was restored.
	System string
	// Database is the database's name.
	Database string
}

// Difference is one thing that is not as it was recorded.
type Difference struct{ What, Recorded, Now string }

// Differences are those between what was recorded and what is now. What is not
// known does not differ.
func (b Binding) Differences(now Binding) []Difference {
	var differ []Difference

	for _, d := range []Difference{
		{"Stripe's API", b.Host, now.Host},
		{"mode", string(b.Mode), string(now.Mode)},
		{"Stripe account", b.Account, now.Account},
		{"PostgreSQL system identifier", b.System, now.System},
		{"database name", b.Database, now.Database},
	} {
		if d.Recorded != "" && d.Now != "" && d.Recorded != d.Now {
			differ = append(differ, d)
		}
	}

	return differ
}

// SameAccount tells whether both are surely one account in one mode: then what
// was asked for in one may be sent in the other.
func (b Binding) SameAccount(now Binding) bool {
	return b.Account != "" && b.Account == now.Account && b.Mode == now.Mode
}

// Adopted is what an adoption records: what is now, and of what is not known now
// only that which cannot have changed with the rest.
func (b Binding) Adopted(now Binding) Binding {
	if now.Account == "" && b.Host == now.Host && b.Mode == now.Mode {
		now.Account = b.Account
	}

	if now.System == "" {
		now.System = b.System
	}

	return now
}

// DifferentError says that the database belongs to something else.
type DifferentError struct{ Differences []Difference }

// Error implements error, in one line.
func (e *DifferentError) Error() string {
	parts := make([]string, 0, len(e.Differences))
	for _, d := range e.Differences {
		parts = append(parts, fmt.Sprintf("%s: recorded %s, now %s", d.What, d.Recorded, d.Now))
	}

	return "this database belongs to something else (" + strings.Join(parts, "; ") + ")"
}
