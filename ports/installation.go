package ports

import (
	"context"
	"errors"
	"time"

	"github.com/marketflow/marketflow/domain/binding"
)

// Installation is what a database knows of itself and of what it belongs to. An
// unreachable or overloaded database is fault.Unavailable.
type Installation interface {
	// Binding is what was recorded; fields are empty where nothing was.
	Binding(ctx context.Context) (binding.Binding, error)

	// Here is what the server tells of the database: System and Database. System
	// is empty where the server does not tell.
	Here(ctx context.Context) (binding.Binding, error)

	// Bind records what is known of now and was not recorded yet, in one commit,
	// and returns what is recorded then. Where anything else is recorded already
	// nothing is written. Repeating it is harmless.
	Bind(ctx context.Context, now binding.Binding) (binding.Binding, error)

	// Rebind records a.To whatever was recorded, and keeps what was, who and why,
	// in one commit. GiveUp hands all pending operations to a person in the same
	// commit, and their number is returned.
	Rebind(ctx context.Context, a Adoption) (givenUp int, err error)

	// Adoptions lists what Rebind has kept, oldest first.
	Adoptions(ctx context.Context) ([]Adopted, error)

	// NewestIntents returns the provider's ids of the newest payments, up to
	// limit; only of those that were created after the last adoption.
	NewestIntents(ctx context.Context, limit int) ([]string, error)
}

// Adoption is a person's word that a database belongs to something else now.
type Adoption struct {
	To binding.Binding
	// Actor and Reason are kept.
	Actor, Reason string
	// GiveUp hands pending operations to a person: they were for another account, and
	// sending them to this one would be a second payment.
	GiveUp bool
}

// Adopted is an adoption that was made.
type Adopted struct {
	At            time.Time
	Actor, Reason string
	// From is what was recorded before.
	From binding.Binding
}

// ErrKeyRejected says that the provider does not accept our key.
var ErrKeyRejected = errors.New("the payment provider does not accept the key")

// ProviderAccount tells whose the provider's key is.
type ProviderAccount interface {
	// API tells, without any I/O, which API is called and with which mode's key.
	API() (host string, mode binding.Mode)

	// Account asks for the account's id. It is empty, without an error, where the
	// key may not read it or the API has no such thing. A key that is not accepted
	// is ErrKeyRejected; any other error says nothing about the account.
	Account(ctx context.Context) (string, error)
}
