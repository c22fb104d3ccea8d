package ports

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
)

// Installation is what a database knows about itself and about the account that it belongs
// to. An unreachable or overloaded database is fault.Unavailable.
type Installation interface {
	// InstallationID returns the id of the installation. It never changes, also not when
	// the database is restored.
	InstallationID(ctx context.Context) (uuid.UUID, error)

	// SetInstallationID gives an empty database that id. Its payments may be at the provider,
	// so reconciliation begins again. A database in which anything was asked for keeps its
	// own id, and nothing happens.
	SetInstallationID(ctx context.Context, id uuid.UUID) error

	// Binding returns what was recorded. A field is empty if nothing was.
	Binding(ctx context.Context) (binding.Binding, error)

	// Here returns what the server says about the database: System and Database. System is
	// empty if the server does not say it.
	Here(ctx context.Context) (binding.Binding, error)

	// Bind records each field of now that was not recorded yet, in one commit. If a field
	// of now differs from what is recorded, nothing is written. It returns what is recorded
	// afterwards. Repeating it is harmless.
	Bind(ctx context.Context, now binding.Binding) (binding.Binding, error)

	// Rebind records a.To in place of what was recorded, and keeps the old binding, who
	// did it and why, in one commit. If a.GiveUp, all pending operations need attention
	// from the same commit on, and their number is returned. If it may have been written,
	// the error is fault.Unknown. Repeating it keeps one more adoption.
	Rebind(ctx context.Context, a Adoption) (givenUp int, err error)

	// Adoptions lists what Rebind has kept, oldest first.
	Adoptions(ctx context.Context) ([]Adopted, error)

	// NewestIntents returns the provider's ids of up to limit payments, newest first. Only
	// payments that were created after the last adoption count.
	NewestIntents(ctx context.Context, limit int) ([]string, error)
}

// Adoption is a person's decision that a database belongs to something else now.
type Adoption struct {
	To binding.Binding
	// Actor and Reason are kept.
	Actor, Reason string
	// GiveUp hands pending operations to a person. They were meant for another account, and
	// sending them to this one would make a second payment.
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

// ProviderAccount says which account our provider's key belongs to.
type ProviderAccount interface {
	// API returns the host of the API that is called, and the mode of our key. It does no
	// I/O.
	API() (host string, mode binding.Mode)

	// Account asks for the account's id. It is empty, without an error, if the key may not
	// read it or the API has no accounts. If the key is not accepted: ErrKeyRejected. Any
	// other error says nothing about the account.
	Account(ctx context.Context) (string, error)
}
