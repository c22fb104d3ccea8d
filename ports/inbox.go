package ports

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// Inbox keeps the provider's events and what they did.
//
// Atomicity: every method is one commit. An event is stored with everything that it
// changed, or not at all, so that the provider's retry repairs any failure. Idempotency:
// every method may be repeated after an error without harm. Errors: an unreachable or
// overloaded database is fault.Unavailable, and then surely nothing was stored. If it may
// have been stored, the error is fault.Unknown.
type Inbox interface {
	InboxLists

	// Apply stores e and applies it. An event that is stored already is EventDuplicate and
	// changes nothing; only a parked one is tried again.
	//
	// If the payment does not exist yet, but e names an operation that is pending or needs
	// attention, then nothing is stored and the outcome is EventUnfinished: the caller
	// finishes the operation with FinishAndApply. An event that says only that the intent was made leaves
	// an operation to its holder and is stored as EventStale.
	Apply(ctx context.Context, e Event) (Applied, error)

	// LetGo ends a hint about refunds or disputes as EventStale, if our records say by now what it
	// tells: then there is nothing to read. The answer is true if it is no hint any more.
	LetGo(ctx context.Context, e Event) (bool, error)

	// FinishAndApply is Operations.Finish and Apply in one commit, with the errors of both.
	// If Finish fails, e is not stored.
	FinishAndApply(ctx context.Context, c Completion, e Event) (Finished, Applied, error)

	// Park stores e and does not apply it. An event that is stored already stays as it is.
	Park(ctx context.Context, e Event, reason ParkReason) error

	// StoreForeign stores only the id, the type and the time of e, which is not ours. An event that is stored already is
	// EventDuplicate and stays as it is; only a parked one becomes foreign.
	StoreForeign(ctx context.Context, e Event) (EventOutcome, error)

	// Dismiss ends a parked event by a person's decision, in one commit with its entry in
	// the audit. The event is neither applied nor counted again. If the event is not
	// parked any more: ErrMoved. None: fault.NotFound. Repeating it with the same entry
	// changes nothing.
	Dismiss(ctx context.Context, id string, entry AuditEntry) error

	// Undismiss parks a dismissed event again, as one whose payment is unknown. If the
	// event is not dismissed: ErrMoved. Everything else is as with Dismiss.
	Undismiss(ctx context.Context, id string, entry AuditEntry) error
}

// InboxLists is the part of Inbox that reads and changes nothing.
type InboxLists interface {
	// Hints returns up to limit events whose outcome is EventHint and that were received
	// after a position, the longest waiting first, without their bodies.
	Hints(ctx context.Context, after InboxPosition, limit int) ([]StoredEvent, error)

	// ParkHints parks the hints about an object as contradictions: what was read does not
	// fit, and a person has to look.
	ParkHints(ctx context.Context, objectID string) error

	// Ready looks at up to limit parked events that were received before a position (zero:
	// at the newest ones). It returns the ids of those whose payment has appeared, oldest
	// first, and the position to go on from, which is zero if there are no more. It
	// returns no contradictions: those wait for a person. Its cost does not depend on how
	// many events are parked.
	Ready(ctx context.Context, before InboxPosition, limit int) (ids []string, next InboxPosition, err error)

	// Unhandled looks at events that were received after a position (zero: from the first).
	// It returns the ids of up to limit of them that are of a type and whose outcome is
	// EventUnhandled, the oldest first, and the position to go on from, which is zero if
	// there are no more. It looks at a bounded number of events, so there may be more
	// although it returns few or none.
	Unhandled(
		ctx context.Context, eventType string, after InboxPosition, limit int,
	) (ids []string, next InboxPosition, err error)

	// ReadyFor returns the parked events of one intent if its payment has appeared. It
	// returns no contradictions.
	ReadyFor(ctx context.Context, intentID string) ([]StoredEvent, error)

	// Event returns a stored event. None: fault.NotFound.
	Event(ctx context.Context, id string) (StoredEvent, error)

	// Events lists stored events, newest first, up to limit, without their bodies.
	Events(ctx context.Context, filter EventFilter, limit int) ([]StoredEvent, error)
}

// Event is a provider's event, as far as the core reads it.
type Event struct {
	// ID is the provider's, or "sha256:…" of the body if it has none.
	ID   string
	Type string
	// CreatedAt is the provider's time, to the second; zero if it has none. Events are
	// never ordered by it.
	CreatedAt time.Time
	// Live is the mode that the event or its object is from; nil if neither says so.
	Live *bool
	// Account is the connected account that the event is from; empty for our own.
	Account string
	// ObjectID is the id of the object that the event is about.
	ObjectID string
	// Handled says that we handle events of this type.
	Handled bool
	// IsIntent says that the object is an intent.
	IsIntent bool
	// Intent is the object if IsIntent. Its Amount is zero and its PaymentID is uuid.Nil
	// if the event does not have them.
	Intent Intent
	// AboutMoney says that it is about refunds or disputes of a payment. ObjectID is that of the
	// payment's intent then, and Intent has only whose it is.
	AboutMoney bool
	Money      payment.MoneyTold
	// IsCustomer says that the object is a customer, and Customer is it.
	IsCustomer bool
	Customer   CustomerObject
	// Change is the status that the event asks for; empty if it tells of a step on the way.
	Change payment.Status
	// Raw is the body as it was signed. It is empty if it is about a customer: what it says is
	// read again, so that nobody's data is kept twice.
	Raw []byte
}

// EventOutcome is what became of an event.
type EventOutcome string

// The outcomes. All but EventDuplicate and EventUnfinished are stored.
const (
	// EventApplied: the payment changed.
	EventApplied EventOutcome = "applied"
	// EventStale: the payment has that status already, or a later one.
	EventStale EventOutcome = "stale"
	// EventIgnored: it says nothing new about payments.
	EventIgnored EventOutcome = "ignored"
	// EventUnhandled: of a type that we do not handle yet. It can be processed later.
	EventUnhandled EventOutcome = "unhandled"
	// EventHint: the payment or the customer may have changed, or the database has lost it. It
	// is read soon, and then the event is applied or stale.
	EventHint EventOutcome = "hint"
	// EventParked: its payment is unknown, or it contradicts the payment.
	EventParked EventOutcome = "parked"
	// EventForeign: of the other mode, of an account or about an object that is not ours.
	EventForeign EventOutcome = "foreign"
	// EventDismissed: it was parked, and a person decided that it is not needed.
	EventDismissed EventOutcome = "dismissed"
	// EventDuplicate: it was stored before.
	EventDuplicate EventOutcome = "duplicate"
	// EventUnfinished: nothing is stored; an operation has to be finished first.
	EventUnfinished EventOutcome = "unfinished"
)

// ParkReason is why an event is parked.
type ParkReason string

// The reasons.
const (
	// ParkedUnknown: its intent has no payment yet.
	ParkedUnknown ParkReason = "unknown_payment"
	// ParkedContradiction: its amount, currency, intent or final status contradicts our
	// records.
	ParkedContradiction ParkReason = "contradiction"
)

// Applied is what Apply did.
type Applied struct {
	Outcome EventOutcome
	// Reason is set if Outcome is EventParked.
	Reason ParkReason
	// PaymentID is uuid.Nil if no payment is known.
	PaymentID uuid.UUID
	// Before and After are set if the event has given the payment a new version.
	Before, After payment.Payment
	// Origin is the request that created the payment, if it is known.
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

// AboutCustomer tells whether the event is about a customer.
func (e StoredEvent) AboutCustomer() bool { return strings.HasPrefix(e.Type, "customer.") }

// InboxPosition is a place among the stored events, in the order in which they were
// received.
type InboxPosition struct {
	ReceivedAt time.Time
	ID         string
}

// EventFilter narrows a list of events. An empty field does not.
type EventFilter struct {
	Outcome  EventOutcome
	Type     string
	ObjectID string
}
