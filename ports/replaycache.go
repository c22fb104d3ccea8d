package ports

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
)

// ReplayCache keeps frozen answers in memory, to make replays faster. It may forget an
// answer at any time, but never changes it. No call waits or fails.
type ReplayCache interface {
	// Get returns what was put under a tenant's key; false if nothing is known.
	Get(ctx context.Context, tenant operation.Tenant, key operation.Key) (Replay, bool)
	// Put stores a finished operation under its key.
	Put(ctx context.Context, tenant operation.Tenant, key operation.Key, replay Replay)
	// Clear forgets everything: the database may have lost what was put.
	Clear()
}

// Replay is the part of a finished operation that an answer needs.
type Replay struct {
	// PaymentID or CustomerID is what the operation is about.
	PaymentID   uuid.UUID
	CustomerID  uuid.UUID
	Fingerprint operation.Fingerprint
	Response    FrozenResponse
}

// ReplaySource is where the answer to a repeated request was found.
type ReplaySource string

// The sources.
const (
	ReplayFromCache    ReplaySource = "cache"
	ReplayFromDatabase ReplaySource = "database"
)
