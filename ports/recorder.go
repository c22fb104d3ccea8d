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
	// OperationFinished: an operation got its frozen response, or was rejected
	// because of the deployment.
	OperationFinished(by Finisher, outcome FinishOutcome)
	// EventHandled: an event was answered 200. lag is zero where the event does
	// not tell when it was created.
	EventHandled(eventType string, outcome EventOutcome, lag time.Duration)
	// DiscrepancyFound: our records and the provider's differed.
	DiscrepancyFound(kind Discrepancy, repaired bool)
}

// ReplaySource is where a replay was found.
type ReplaySource string

// The sources.
const (
	ReplayFromCache    ReplaySource = "cache"
	ReplayFromDatabase ReplaySource = "database"
)

// Finisher is who finished an operation.
type Finisher string

// The finishers.
const (
	ByRequest        Finisher = "request"
	ByRecovery       Finisher = "recovery"
	ByWebhook        Finisher = "webhook"
	ByReconciliation Finisher = "reconciliation"
	ByPerson         Finisher = "person"
)

// FinishOutcome is how an operation ended.
type FinishOutcome string

// The outcomes.
const (
	// FinishDone: the provider did what was asked.
	FinishDone FinishOutcome = "done"
	// FinishRejected: its API did not accept the order, or a person has closed the
	// operation; the answer is kept.
	FinishRejected FinishOutcome = "rejected"
	// FinishDeploymentRejected: its API did not accept the request because of how the
	// service is set up there. Whoever repeats the request opens the operation again.
	FinishDeploymentRejected FinishOutcome = "deployment_rejected"
)

// Discrepancy is a way in which our records and the provider's can differ.
type Discrepancy string

// The kinds of discrepancy.
const (
	DiscrepancyMissedEvent    Discrepancy = "missed_event"
	DiscrepancyStatus         Discrepancy = "status"
	DiscrepancyMissingPayment Discrepancy = "missing_payment"
	DiscrepancyContradiction  Discrepancy = "contradiction"
)
