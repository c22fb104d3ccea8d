package tenant

import (
	"slices"
	"strings"

	"github.com/marketflow/marketflow/domain/fault"
)

// Scope is something that a key may do, as resource:action.
type Scope string

// The scopes.
const (
	PaymentsRead    Scope = "payments:read"
	PaymentsWrite   Scope = "payments:write" // create, confirm, change and cancel
	PaymentsCapture Scope = "payments:capture"
	RefundsRead     Scope = "refunds:read"
	RefundsWrite    Scope = "refunds:write"
	DisputesRead    Scope = "disputes:read"
	DisputesWrite   Scope = "disputes:write"
	CustomersRead   Scope = "customers:read"
	CustomersWrite  Scope = "customers:write"
	WebhooksRead    Scope = "webhooks:read"
	WebhooksWrite   Scope = "webhooks:write"
	EventsRead      Scope = "events:read"
	KeysWrite       Scope = "keys:write"
	AuditRead       Scope = "audit:read"
)

// AllScopes are the scopes that there are.
func AllScopes() Scopes {
	return Scopes{
		AuditRead, CustomersRead, CustomersWrite, DisputesRead, DisputesWrite, EventsRead, KeysWrite, PaymentsCapture,
		PaymentsRead, PaymentsWrite, RefundsRead, RefundsWrite, WebhooksRead, WebhooksWrite,
	}
}

// The names of presets, which stand for several scopes. A preset is written out when a key is
// made, so that a key never gets a scope that comes later.
const (
	ReadOnly = "read-only"
	Checkout = "checkout"
	Support  = "support"
	Admin    = "admin"
)

// preset returns the scopes that a name stands for, and nil for another name. Read-only does
// not show the audit, which names people.
func preset(name string) Scopes {
	switch name {
	case ReadOnly:
		return Scopes{PaymentsRead, RefundsRead, DisputesRead, CustomersRead, WebhooksRead, EventsRead}
	case Checkout:
		return Scopes{PaymentsRead, PaymentsWrite, CustomersRead, CustomersWrite}
	case Support:
		return Scopes{PaymentsRead, RefundsRead, RefundsWrite, DisputesRead, DisputesWrite, CustomersRead, EventsRead}
	case Admin:
		return AllScopes()
	default:
		return nil
	}
}

// Scopes are what a key may do: each once, in alphabetical order.
type Scopes []Scope

// ParseScopes takes names of scopes and of presets. None, or a name that is neither, is
// fault.Invalid.
func ParseScopes(names ...string) (Scopes, error) {
	var scopes Scopes

	for _, name := range names {
		switch several := preset(name); {
		case several != nil:
			scopes = append(scopes, several...)
		case slices.Contains(AllScopes(), Scope(name)):
			scopes = append(scopes, Scope(name))
		default:
			return nil, fault.New(fault.Invalid, "scopes must be of "+AllScopes().String()+", or the presets "+
				strings.Join([]string{ReadOnly, Checkout, Support, Admin}, ", "))
		}
	}

	if len(scopes) == 0 {
		return nil, fault.New(fault.Invalid, "scopes is empty; a key needs at least one scope or preset")
	}

	slices.Sort(scopes)

	return slices.Compact(scopes), nil
}

// Has tells whether s is among them.
func (s Scopes) Has(scope Scope) bool { return slices.Contains(s, scope) }

// Beyond returns the first of them that others do not have; empty if they have all.
func (s Scopes) Beyond(others Scopes) Scope {
	for _, scope := range s {
		if !others.Has(scope) {
			return scope
		}
	}

	return ""
}

// Strings are the scopes as text.
func (s Scopes) Strings() []string {
	list := make([]string, 0, len(s))
	for _, scope := range s {
		list = append(list, string(scope))
	}

	return list
}

// String lists the scopes.
func (s Scopes) String() string { return strings.Join(s.Strings(), ", ") }
