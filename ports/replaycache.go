package ports

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
)

// ReplayCache keeps frozen answers near. It only makes replays faster: it may
// forget at any time, and what it returns is what was put under that key,
// unaltered. No call waits or fails.
type ReplayCache interface {
	// Get returns what was put under key; false if nothing is known.
	Get(ctx context.Context, key operation.Key) (Replay, bool)
	// Put remembers a finished operation.
	Put(ctx context.Context, key operation.Key, replay Replay)
}

// Replay is a finished operation, as far as an answer needs it.
type Replay struct {
	PaymentID   uuid.UUID
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
