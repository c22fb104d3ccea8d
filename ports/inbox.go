package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// Inbox keeps the provider's events and what they did. An event is either
// wholly stored and applied or not there at all, so that the provider's
// retry is the repair.
//
// An unreachable or overloaded database is fault.Unavailable: surely nothing was
// stored. Where that is not sure it is fault.Unknown.
type Inbox interface {
	// Apply stores e and applies it in one commit. Repeating it is harmless:
	// an event that is stored already is EventDuplicate and changes nothing,
	// except that a parked one is tried again.
	//
	// Where the payment has no row yet but an operation that e names is open,
	// nothing is stored and the outcome is EventUnfinished: the caller
	// completes the operation with FinishAndApply. (An event that changes nothing
	// leaves an operation alone that somebody is working on.)
	Apply(ctx context.Context, e Event) (Applied, error)

	// FinishAndApply is Operations.Finish and Apply in one commit.
	FinishAndApply(ctx context.Context, c Completion, e Event) (Finished, Applied, error)

	// Park stores e without applying it, for a person to look at. An event that
	// is stored already is left as it is.
	Park(ctx context.Context, e Event, reason ParkReason) error

	// KeepForeign stores e's id, type and time, and nothing else of it: it is from
	// the other mode or from an account that is not ours. One that is stored
	// already is EventDuplicate and left as it is, unless it is parked: then it
	// becomes foreign.
	StoreForeign(ctx context.Context, e Event) (EventOutcome, error)

	// Ready looks at up to limit parked events, the newest first, that came before a
	// position (zero: from the newest on), and returns the ids of those whose
	// payment has appeared, oldest first, and the position to go on from: zero
	// where there are no more. Its cost does not depend on how many are parked.
	Ready(ctx context.Context, before ParkedPosition, limit int) (ids []string, next ParkedPosition, err error)

	// ReadyFor returns the parked events of one intent whose payment has appeared.
	ReadyFor(ctx context.Context, intentID string) ([]StoredEvent, error)

	// Event returns a stored event. None: fault.NotFound.
	Event(ctx context.Context, id string) (StoredEvent, error)

	// Events lists stored events, newest first, up to limit, without their bodies.
	Events(ctx context.Context, filter EventFilter, limit int) ([]StoredEvent, error)

	// Dismiss ends a parked event by a person's decision, in one commit with its
	// entry in the audit: it is neither applied nor counted again. An event that
	// is not parked any more: ErrMoved. None: fault.NotFound. Repeating it with the
	// same entry is harmless.
	Dismiss(ctx context.Context, id string, entry AuditEntry) error

	// Undismiss parks a dismissed event again, to be applied as one whose payment
	// has yet to appear. One that is not dismissed: ErrMoved; all else is as with
	// Dismiss.
	Undismiss(ctx context.Context, id string, entry AuditEntry) error
}

// Event is a provider's event, as far as the core reads it.
type Event struct {
	// ID is the provider's, or "sha256:…" of the body where it has none.
	ID   string
	Type string
	// CreatedAt is the provider's time, to the second; zero if it has none.
	// It never orders events.
	CreatedAt time.Time
	// Live is the mode that the event, or its object, says it is from; nil where
	// neither tells.
	Live *bool
	// Account is the connected account that the event is from; empty for our own.
	Account string
	// ObjectID is the id of the object that the event is about.
	ObjectID string
	// About tells whether the object is a payment of the kind that we keep.
	IsIntent bool
	// Intent is the object where About; Intent.Amount is zero and
	// Intent.PaymentID is uuid.Nil where the event does not tell.
	Intent Intent
	// Change is the status that the event asks for; empty where it only
	// confirms what is there.
	Change payment.Status
	// Raw is the body as it was signed.
	Raw []byte
}

// EventOutcome is what became of an event.
type EventOutcome string

// The outcomes. All but EventDuplicate and EventUnfinished are stored.
const (
	// EventApplied: the payment's status changed.
	EventApplied EventOutcome = "applied"
	// EventStale: the payment was there already, or further.
	EventStale EventOutcome = "stale"
	// EventIgnored: of a type that we do not use.
	EventIgnored EventOutcome = "ignored"
	// EventParked: its payment is unknown, or it contradicts the payment.
	EventParked EventOutcome = "parked"
	// EventForeign: of the other mode or of an account that is not ours.
	EventForeign EventOutcome = "foreign"
	// EventDismissed: it was parked, and a person has judged it.
	EventDismissed EventOutcome = "dismissed"
	// EventDuplicate: it was stored before.
	EventDuplicate EventOutcome = "duplicate"
	// EventUnfinished: nothing is stored; an open operation has to be completed.
	EventUnfinished EventOutcome = "unfinished"
)

// ParkReason is why an event is parked.
type ParkReason string

// The reasons.
const (
	// ParkedUnknown: there is no payment for its intent yet.
	ParkedUnknown ParkReason = "unknown_payment"
	// ParkedContradiction: its amount, currency or intent contradicts our records.
	ParkedContradiction ParkReason = "contradiction"
)

// Applied is what Apply did.
type Applied struct {
	Outcome EventOutcome
	// Reason is there when Outcome is EventParked.
	Reason ParkReason
	// PaymentID is uuid.Nil where no payment is known.
	PaymentID uuid.UUID
	// From and Amount are there when Outcome is EventApplied.
	From   payment.Status
	Amount money.Amount
	// Origin is the request that created the payment, where it is known.
	Origin Origin
}

// StoredEvent is an event in the inbox.
type StoredEvent struct {
	ID          string
	Type        string
	ObjectID    string
	Outcome     EventOutcome
	Reason      ParkReason
	Raw         []byte
	CreatedAt   time.Time
	ReceivedAt  time.Time
	ProcessedAt time.Time
}

// ParkedPosition is a place among the parked events, which are in the order in
// which they were received.
type ParkedPosition struct {
	ReceivedAt time.Time
	ID         string
}

// EventFilter narrows a list of events; its zero value does not.
type EventFilter struct {
	Outcome  EventOutcome
	Type     string
	ObjectID string
}
