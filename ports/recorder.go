package ports

import (
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// Recorder counts what the core decides. It never blocks and never fails.
type Recorder interface {
	// PaymentChanged: a payment is new at status, or moved there.
	PaymentChanged(to payment.Status, amount money.Amount)
	// Replayed: a repeated request got its frozen answer.
	Replayed(source ReplaySource)
	// Rejected: an idempotency key saved somebody (InFlight or KeyReused).
	Rejected(kind fault.Kind)
	// ClaimFinished: a claim got its frozen response, or was rejected.
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
	ByPerson         Finisher = "person"
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
