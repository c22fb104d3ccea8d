package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
)

// MaxUsableKeys is the most keys that may be usable at once. Each process has them all in its
// memory.
const MaxUsableKeys = 10_000

// APIKeys keeps API keys, without their secrets.
//
// Atomicity: a change is one commit with its entry in the audit. Idempotency: a change may be
// repeated with the same entry; the entry's id tells that it has been done. Errors: an
// unreachable or overloaded database is fault.Unavailable, and then surely nothing was
// written; if a change may have been written, the error is fault.Unknown. No such key of the
// tenant: fault.NotFound.
type APIKeys interface {
	UsableKeys

	// APIKey returns a key, also one that does not work any more.
	APIKey(ctx context.Context, owner operation.Tenant, id uuid.UUID) (tenant.Key, error)

	// APIKeyByPrefix returns a key by the visible part of its secret.
	APIKeyByPrefix(ctx context.Context, owner operation.Tenant, prefix string) (tenant.Key, error)

	// ListAPIKeys returns up to limit keys, also those that do not work any more, created
	// before a position (zero: from the newest), newest first.
	ListAPIKeys(ctx context.Context, owner operation.Tenant, before KeyPosition, limit int) ([]tenant.Key, error)

	// CreateAPIKey writes a key. The store sets CreatedAt. If there are MaxUsableKeys already:
	// fault.Invalid.
	CreateAPIKey(ctx context.Context, key tenant.Key, entry AuditEntry) (tenant.Key, error)

	// RollAPIKey writes a key in place of the usable key old, which works for the time
	// overlap, or less if it expires before that. If old is not usable, or there are too many
	// keys: fault.Invalid.
	RollAPIKey(
		ctx context.Context, old uuid.UUID, overlap time.Duration, key tenant.Key, entry AuditEntry,
	) (tenant.Key, error)

	// RevokeAPIKey ends a key for ever. One that is revoked stays as it is, without an entry.
	RevokeAPIKey(ctx context.Context, owner operation.Tenant, id uuid.UUID, entry AuditEntry) (tenant.Key, error)
}

// UsableKeys is what a process needs to tell whose key a request carries.
type UsableKeys interface {
	// KeysVersion returns the version of all keys. It changes with each of them.
	KeysVersion(ctx context.Context) (uuid.UUID, error)

	// UsableAPIKeys returns all tenants' keys that are neither revoked nor expired.
	UsableAPIKeys(ctx context.Context) ([]tenant.Key, error)

	// TouchAPIKeys records when keys were last used. A time less than a minute after the
	// recorded one is not worth a write. A key that is not there is left out.
	TouchAPIKeys(ctx context.Context, used map[uuid.UUID]time.Time) error
}

// KeyPosition is a place among the keys, in the order of their creation.
type KeyPosition struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// The actions on keys.
const (
	AuditKeyCreated AuditAction = "api_key.create"
	AuditKeyRolled  AuditAction = "api_key.roll"
	AuditKeyRevoked AuditAction = "api_key.revoke"
)
