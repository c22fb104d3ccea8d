// Package binding says what a database belongs to, so that a wrong Stripe account, a wrong
// mode or a copy of the database is noticed.
package binding

import (
	"fmt"
	"strings"
)

// Mode says whether a provider's key moves real money.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Binding is what a database belongs to. A field is empty if it is not known.
type Binding struct {
	// Host is the host of the provider's API, with its port if it has one.
	Host string
	Mode Mode
	// Account is the provider's id of the account.
	Account string
	// System is the database server's own identifier. It is the same on its standbys and
	// after a point-in-time restore, and another one after the restore of a dump.
	System string
	// Database is the database's name.
	Database string
}

// Difference is a field that is not as it was recorded.
type Difference struct{ What, Recorded, Now string }

// Differences returns the fields of the recorded binding b that now are different. A field
// that is not known does not differ.
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

// SameAccount says whether both are surely the same account in the same mode. Then what was
// asked for under one may be sent under the other.
func (b Binding) SameAccount(now Binding) bool {
	return b.Account != "" && b.Account == now.Account && b.Mode == now.Mode
}

// Adopted returns what an adoption of now records. An unknown account is kept from b if the
// host and the mode are the same, and an unknown system is kept from b.
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
