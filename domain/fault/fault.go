// Package fault is the core's one error type. A fault carries a Kind, a sentence that a
// client may read, and a cause that only the log may read. The edge turns the Kind into a
// status in one table.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Kind says what went wrong in words that a client can act on.
type Kind string

// The kinds that the core returns; adapters/http adds those that only HTTP has. Each
// ends the type of a problem document (RFC 9457 section 3.1.1), so it never
// changes.
const (
	// Invalid: the request can never succeed as it is; change it.
	Invalid Kind = "invalid-request"
	// Unauthenticated: a signature is missing, wrong, too old or from the future.
	Unauthenticated Kind = "invalid-signature"
	// InvalidAPIKey: no API key was sent, or one that does not work here.
	InvalidAPIKey Kind = "invalid-api-key"
	// InsufficientScope: the API key may not do this.
	InsufficientScope Kind = "insufficient-scope"
	// NotFound: there is no such thing.
	NotFound Kind = "not-found"
	// InFlight: another request with the same idempotency key is still running.
	InFlight Kind = "idempotency-key-in-use"
	// InProgress: another operation on the same payment is not finished.
	InProgress Kind = "operation-in-progress"
	// InvalidState: the payment's state does not allow it.
	InvalidState Kind = "invalid-state"
	// AmountExceeded: there is not that much to take.
	AmountExceeded Kind = "amount-exceeded"
	// Disputed: the customer has disputed the payment, so that nothing can be refunded.
	Disputed Kind = "disputed"
	// KeyReused: the idempotency key already belongs to another payload.
	KeyReused Kind = "idempotency-key-reused"
	// Rejected: the payment provider did not take the payment. Nothing was charged.
	Rejected Kind = "rejected-by-provider"
	// AmountRejected: as Rejected, because of the amount, which the client can change. Its
	// problem document has the type of Rejected.
	AmountRejected Kind = "amount-rejected-by-provider"
	// OrderRejected: as AmountRejected, because of something else that the client can change.
	OrderRejected Kind = "order-rejected-by-provider"
	// Declined: the bank declined the payment. It exists, and may be paid later.
	Declined Kind = "payment-declined"
	// KeyRequired: without an idempotency key this is not done.
	KeyRequired Kind = "key-required"
	// ReferenceTaken: another customer has this reference.
	ReferenceTaken Kind = "reference-taken"
	// PreconditionFailed: the payment, or the customer, is not as the client last saw it.
	PreconditionFailed Kind = "precondition-failed"
	// Unknown: the provider or the database may or may not have acted. Retry with
	// the same key.
	Unknown Kind = "outcome-unknown"
	// Unavailable: a dependency is down or overloaded, and surely nothing was done. Retry.
	Unavailable Kind = "unavailable"
	// Internal: a bug of ours. Every error that is not a fault counts as Internal.
	Internal Kind = "internal-error"
)

// Error is a fault.
type Error struct {
	About

	Kind Kind
	// Detail tells the client what happened and what to change. It never holds an
	// internal message, SQL or a secret.
	Detail string
	// RetryAfter is how long a client should wait; zero if waiting does not help.
	RetryAfter time.Duration
	// Cause is only for the log.
	Cause error
}

// About says in fields what a fault is about; a field is zero if it does not apply.
type About struct {
	PaymentID uuid.UUID
	// DeclineCode is why the bank declined, and Retryable whether another attempt makes sense;
	// nil if that is no question.
	DeclineCode string
	Retryable   *bool
	// IntentStatus is the provider's word for where the payment stands, and Allowed is what
	// may be done with it.
	IntentStatus string
	Allowed      []string
	// Available is how much there is to take, as a JSON number in major units.
	Available string
	// Version is the version that there is now.
	Version int64
	// CustomerID is the customer that it is about.
	CustomerID uuid.UUID
	// RequiredScope is the scope that the API key does not have.
	RequiredScope string
	// DisputeID is the dispute that is in the way.
	DisputeID uuid.UUID
}

// New returns a fault without a cause.
func New(kind Kind, detail string) *Error {
	return &Error{Kind: kind, Detail: detail}
}

// Newf is New with a formatted detail. Its arguments reach the client.
func Newf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns a fault that keeps cause for the log.
func Wrap(kind Kind, cause error, detail string) *Error {
	return &Error{Kind: kind, Detail: detail, Cause: cause}
}

// After returns a copy that asks the client to wait for d.
func (e *Error) After(d time.Duration) *Error {
	delayed := *e
	delayed.RetryAfter = d

	return &delayed
}

// Error implements error. It is for logs: it includes the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Kind) + ": " + e.Detail
	}

	return string(e.Kind) + ": " + e.Detail + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// From returns the fault in err's chain, or an Internal one that hides err
// from the client.
func From(err error) *Error {
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}

	return Wrap(Internal, err, "Something went wrong on our side.")
}

// KindOf returns the kind of err: Internal if err is not a fault.
func KindOf(err error) Kind { return From(err).Kind }

// Shorten cuts a text to most bytes, between two characters, and marks the cut.
func Shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}

	return strings.ToValidUTF8(text[:most], "") + "…"
}
