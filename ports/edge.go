package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// Renderer writes the answers that are frozen with a claim. The core needs it
// because a claim may be finished long after its request has gone.
type Renderer interface {
	// Created is the answer to the client whose payment p now exists.
	Created(p payment.Payment, clientSecret string) FrozenResponse
	// Refused is the answer to the client whose payment the provider refused.
	Refused(f *fault.Error, requestID string) FrozenResponse
}

// ReplayCache keeps frozen answers near. It only makes replays faster: it may
// forget at any time, and what it returns was put there by us, unaltered, or
// is not returned at all. Every call ends within a few milliseconds; an error
// is a measurement, not an outcome.
type ReplayCache interface {
	// Get returns what was put under key; false if nothing is known.
	Get(ctx context.Context, key payment.Key) (Replay, bool)
	// Put remembers a finished claim.
	Put(ctx context.Context, key payment.Key, replay Replay)
}

// Replay is a finished claim, as far as an answer needs it.
type Replay struct {
	PaymentID   uuid.UUID
	Fingerprint payment.Fingerprint
	Response    FrozenResponse
}

// RateLimiter shares the service fairly among clients.
type RateLimiter interface {
	// Allow counts one request of client's and tells whether it may go on; if
	// not, retryAfter is how long until one may. A limiter that cannot decide
	// allows.
	Allow(ctx context.Context, client string) (allowed bool, retryAfter time.Duration)
}

// Recorder counts what the core decides. It never blocks and never fails.
type Recorder interface {
	// PaymentChanged: a payment is new at status, or moved there.
	PaymentChanged(to payment.Status, amount money.Amount)
	// Replayed: a repeated request got its frozen answer.
	Replayed(source ReplaySource)
	// Rejected: an idempotency key saved somebody (InFlight or KeyReused).
	Rejected(kind fault.Kind)
	// ClaimFinished: a claim got its frozen response.
	ClaimFinished(by Finisher, state ClaimState)
	// EventHandled: an event was answered 200. lag is zero where the event does
	// not tell when it was created.
	EventHandled(eventType string, outcome EventOutcome, lag time.Duration)
	// Drifted: our books and the provider's differed.
	Drifted(kind Drift, repaired bool)
}

// ReplaySource is where a replay was found.
type ReplaySource string

// The sources.
const (
	ReplayFromCache    ReplaySource = "cache"
	ReplayFromDatabase ReplaySource = "database"
)

// Finisher is who finished a claim.
type Finisher string

// The finishers.
const (
	ByRequest        Finisher = "request"
	ByRecovery       Finisher = "recovery"
	ByWebhook        Finisher = "webhook"
	ByReconciliation Finisher = "reconciliation"
)

// Drift is a way in which our books and the provider's can differ.
type Drift string

// The kinds of drift.
const (
	DriftMissedEvent   Drift = "missed_event"
	DriftStatus        Drift = "status"
	DriftMissingRow    Drift = "missing_payment"
	DriftContradiction Drift = "contradiction"
)
