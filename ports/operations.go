// Package ports holds what the core needs of the outside: small interfaces
// whose comments are their contracts. Each has one suite in ports/portstest
// that every adapter and every fake runs.
package ports

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// ErrContradiction says that what the provider tells does not fit what is written down
// here, for example a second intent for one payment. It is never resolved by
// itself.
var ErrContradiction = errors.New("the provider contradicts our records")

// Operations is the book of what was asked for. An operation is written before the
// provider hears of a payment, so that a crash at any moment leaves a trace
// that somebody finishes.
//
// Every method is one commit and may be repeated after an error without harm.
// An unreachable or overloaded database is fault.Unavailable, and then surely
// nothing was written. Where that is not sure, as when the connection broke after
// the statement had gone out, it is fault.Unknown, however the attempts after it
// ended. Whoever shares a commit shares its doubt.
type Operations interface {
	Rejections

	// Operation writes down that c is wanted, or finds what was written under its
	// key before. Operation.Held tells whether the caller now has the lease and
	// must Finish, FinishRejected, Reject or Release; a pending operation whose lease has run
	// out is taken over. A rejected one is only found: see Reopen. Calls with one LeaseToken are one call: repeating it after
	// a lost answer finds the lease still held.
	//
	// A found operation may have another fingerprint: the caller compares.
	Begin(ctx context.Context, c NewOperation) (Operation, error)

	// Find returns the operation under key without touching it.
	// None: fault.NotFound.
	Find(ctx context.Context, key operation.Key) (Operation, error)

	// FindByPayment returns the operation of a payment id without touching it.
	// None: fault.NotFound.
	FindByPayment(ctx context.Context, id uuid.UUID) (Operation, error)

	// Take leases up to limit pending operations that nobody holds and
	// whose retry is due, the longest waiting first. Concurrent callers get
	// different ones.
	Take(ctx context.Context, limit int, lease Lease) ([]Operation, error)

	// Extend lengthens c's lease; where it has gone to somebody else or the
	// operation is finished, nothing happens.
	Extend(ctx context.Context, c Operation, by time.Duration) error

	// Finish writes the payment's row, its first transition and the frozen
	// response in one commit. Where somebody else has completed the operation
	// already, their response stands and is returned.
	//
	// Where the operation or the intent belongs to something else, or the operation was
	// rejected: ErrContradiction. No operation: fault.NotFound. Nothing is changed
	// then.
	Finish(ctx context.Context, c Completion) (Finished, error)

	// FinishRejected freezes a rejection: the provider will never have this payment.
	// Where the operation is finished already, what stands is returned. A payment
	// that exists cannot be rejected: ErrContradiction. No operation: fault.NotFound.
	FinishRejected(ctx context.Context, id uuid.UUID, response FrozenResponse) (Operation, error)

	// Release gives c's lease back; recovery tries again once retryIn has
	// passed. Where the lease has gone to somebody else or the operation is
	// finished, nothing happens. A cause that is ErrUnavailable says that nothing
	// was sent: the attempt does not count.
	Release(ctx context.Context, c Operation, retryIn time.Duration, cause error) error

	// GiveUp hands an operation to a person: neither sending again nor looking for
	// it can finish it. A finished operation is left alone.
	GiveUp(ctx context.Context, id uuid.UUID, cause error) error
}

// Rejections is the part of Operations about requests that the provider does not take
// because of the deployment.
type Rejections interface {
	// Reject gives c back as rejected: the provider did not take the request because
	// of the deployment, and nothing exists under it. So none of its attempts counts
	// any more. Nobody takes it before it is reopened. It returns the operation as it is
	// then: where the lease has gone to somebody else or the operation is finished,
	// nothing has changed. A payment that exists cannot be rejected:
	// ErrContradiction. No operation: fault.NotFound.
	Reject(ctx context.Context, c Operation, cause error) (Operation, error)

	// Reopen makes a rejected operation pending again, under lease; its request and its
	// provider's key stay as they are. Of many callers one holds it; the others, and
	// whoever comes when it is no longer rejected, find it as Operation does. Calls with
	// one Lease.Token are one call. No operation: fault.NotFound.
	Reopen(ctx context.Context, id uuid.UUID, lease Lease) (Operation, error)
}

// Lease is the right to work on an operation for a while.
type Lease struct {
	// Token is the holder's, new for each call.
	Token uuid.UUID
	// For is how long the lease lasts by the database's clock.
	For time.Duration
}

// NewOperation is what Begin writes down.
type NewOperation struct {
	PaymentID uuid.UUID
	Key       operation.Key
	Order     payment.Order
	// Request is sent as it is, now and on every retry, whatever is deployed
	// in between: Stripe refuses a key that comes back with other parameters.
	Request IntentRequest
	Origin  Origin
	Lease   Lease
	// CreatedAt is zero for one that is new, by the database's clock. For an
	// intent that is there already it is the intent's: the provider's key is that
	// old, however young the operation.
	CreatedAt time.Time
}

// Origin is the HTTP request that asked for the payment, so that whoever
// finishes it can point there.
type Origin struct {
	RequestID string
	// TraceParent is the W3C traceparent of the request's span.
	TraceParent string
}

// Operation is what is written down about one request for a payment.
type Operation struct {
	PaymentID   uuid.UUID
	Key         operation.Key
	Order       payment.Order
	Fingerprint operation.Fingerprint
	Request     IntentRequest
	Origin      Origin
	State       operation.State
	// Lease is the caller's token while it holds the lease, else uuid.Nil.
	Lease uuid.UUID
	// Attempts counts the leases given out, this one included, less those that
	// sent nothing and those whose request was rejected. The request may have been sent before if it is over 1.
	Attempts int
	// Age is how long ago the operation was first written, by the database's
	// clock; the provider's key is at most that old.
	Age time.Duration
	// Response is there when State is finished.
	Response  FrozenResponse
	CreatedAt time.Time
}

// Held tells whether the caller has the lease.
func (c Operation) Held() bool { return c.Lease != uuid.Nil }

// Finished tells whether the operation has its frozen response.
func (c Operation) Finished() bool { return c.State == operation.Finished }

// FrozenResponse is an HTTP answer kept for ever: a repeated request gets the
// same bytes and status.
type FrozenResponse struct {
	Status int
	Body   []byte
}

// Completion is the payment that an operation became.
type Completion struct {
	Payment payment.Payment
	// Response is nil where the client's secret is not known yet: the payment
	// is written down and the operation stays open until it is.
	Response *FrozenResponse
	// Cause is written to the payment's history: who found the intent.
	Cause string
}

// Finished is what Finish left behind.
type Finished struct {
	Operation Operation
	// Created: this call wrote the payment's row.
	Created bool
	// Parked: events that wait for this payment are in the inbox.
	Parked bool
}
