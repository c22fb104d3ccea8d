// Package ports holds what the core needs of the outside: small interfaces
// whose comments are their contracts. Each has one suite in ports/portstest
// that every adapter and every fake runs.
package ports

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// ErrContradiction says that what the provider tells does not fit what is written down
// here, for example a second intent for one payment. It is never resolved by
// itself.
var ErrContradiction = errors.New("the provider contradicts our books")

// Claims is the book of what was asked for. A claim is written before the
// provider hears of a payment, so that a crash at any moment leaves a trace
// that somebody finishes.
//
// Every method is one commit and may be repeated after an error without harm.
// An unreachable or overloaded database is fault.Unavailable, and then surely
// nothing was written. Where that is not sure, as when the connection broke after
// the statement had gone out, it is fault.Unknown, however the attempts after it
// ended. Whoever shares a commit shares its doubt.
type Claims interface {
	Rejections

	// Claim writes down that c is wanted, or finds what was written under its
	// key before. Claim.Held tells whether the caller now has the lease and
	// must Complete, Refuse, Reject or Release; a pending claim whose lease has run
	// out is taken over. A rejected one is only found: see Reopen. Calls with one LeaseToken are one call: repeating it after
	// a lost answer finds the lease still held.
	//
	// A found claim may have another fingerprint: the caller compares.
	Claim(ctx context.Context, c NewClaim) (Claim, error)

	// FindClaim returns the claim under key without touching it.
	// None: fault.NotFound.
	FindClaim(ctx context.Context, key payment.Key) (Claim, error)

	// ClaimByPayment returns the claim of a payment id without touching it.
	// None: fault.NotFound.
	ClaimByPayment(ctx context.Context, id uuid.UUID) (Claim, error)

	// TakeUnfinished leases up to limit pending claims that nobody holds and
	// whose retry is due, the longest waiting first. Concurrent callers get
	// different ones.
	TakeUnfinished(ctx context.Context, limit int, lease Lease) ([]Claim, error)

	// Extend lengthens c's lease; where it has gone to somebody else or the
	// claim is finished, nothing happens.
	Extend(ctx context.Context, c Claim, by time.Duration) error

	// Complete writes the payment's row, its first transition and the frozen
	// response in one commit. Where somebody else has completed the claim
	// already, their response stands and is returned.
	//
	// Where the claim or the intent belongs to something else, or the claim was
	// refused or rejected: ErrContradiction. No claim: fault.NotFound. Nothing is changed
	// then.
	Complete(ctx context.Context, c Completion) (Completed, error)

	// Refuse freezes a refusal: the provider will never have this payment.
	// Where the claim is finished already, what stands is returned. A payment
	// that exists cannot be refused: ErrContradiction. No claim: fault.NotFound.
	Refuse(ctx context.Context, id uuid.UUID, response FrozenResponse) (Claim, error)

	// Release gives c's lease back; recovery tries again once retryIn has
	// passed. Where the lease has gone to somebody else or the claim is
	// finished, nothing happens. A cause that is ErrUnavailable says that nothing
	// was sent: the attempt does not count.
	Release(ctx context.Context, c Claim, retryIn time.Duration, cause error) error

	// GiveUp hands a claim to a person: neither sending again nor looking for
	// it can settle it. A finished claim is left alone.
	GiveUp(ctx context.Context, id uuid.UUID, cause error) error
}

// Rejections is the part of Claims about requests that the provider does not take
// because of the deployment.
type Rejections interface {
	// Reject gives c back as rejected: the provider did not take the request because
	// of the deployment, and nothing exists under it. So none of its attempts counts
	// any more. Nobody takes it before it is reopened. It returns the claim as it is
	// then: where the lease has gone to somebody else or the claim is finished,
	// nothing has changed. A payment that exists cannot be rejected:
	// ErrContradiction. No claim: fault.NotFound.
	Reject(ctx context.Context, c Claim, cause error) (Claim, error)

	// Reopen makes a rejected claim pending again, under lease; its request and its
	// provider's key stay as they are. Of many callers one holds it; the others, and
	// whoever comes when it is no longer rejected, find it as Claim does. Calls with
	// one Lease.Token are one call. No claim: fault.NotFound.
	Reopen(ctx context.Context, id uuid.UUID, lease Lease) (Claim, error)
}

// Lease is the right to work on a claim for a while.
type Lease struct {
	// Token is the holder's, new for each call.
	Token uuid.UUID
	// For is how long the lease lasts by the database's clock.
	For time.Duration
}

// NewClaim is what Claim writes down.
type NewClaim struct {
	PaymentID uuid.UUID
	Key       payment.Key
	Order     payment.Order
	// Request is sent as it is, now and on every retry, whatever is deployed
	// in between: Stripe refuses a key that comes back with other parameters.
	Request IntentRequest
	Origin  Origin
	Lease   Lease
	// CreatedAt is zero for one that is new, by the database's clock. For an
	// intent that is there already it is the intent's: the provider's key is that
	// old, however young the claim.
	CreatedAt time.Time
}

// Origin is the HTTP request that asked for the payment, so that whoever
// finishes it can point there.
type Origin struct {
	RequestID string
	// TraceParent is the W3C traceparent of the request's span.
	TraceParent string
}

// ClaimState is how far a claim has come.
type ClaimState string

// The states of a claim. Completed and refused are final. A rejected one has no
// payment and no answer that is kept; whoever asks again under its key reopens it.
const (
	ClaimPending        ClaimState = "pending"
	ClaimCompleted      ClaimState = "completed"
	ClaimRefused        ClaimState = "refused"
	ClaimRejected       ClaimState = "rejected"
	ClaimNeedsAttention ClaimState = "needs_attention"
)

// Claim is what is written down about one request for a payment.
type Claim struct {
	PaymentID   uuid.UUID
	Key         payment.Key
	Order       payment.Order
	Fingerprint payment.Fingerprint
	Request     IntentRequest
	Origin      Origin
	State       ClaimState
	// Lease is the caller's token while it holds the lease, else uuid.Nil.
	Lease uuid.UUID
	// Attempts counts the leases given out, this one included, less those that
	// sent nothing and those whose request was rejected. The request may have been sent before if it is over 1.
	Attempts int
	// Age is how long ago the claim was first written, by the database's
	// clock; the provider's key is at most that old.
	Age time.Duration
	// Response is there when State is completed or refused.
	Response  FrozenResponse
	CreatedAt time.Time
}

// Held tells whether the caller has the lease.
func (c Claim) Held() bool { return c.Lease != uuid.Nil }

// Finished tells whether the claim has its frozen response.
func (c Claim) Finished() bool { return c.State == ClaimCompleted || c.State == ClaimRefused }

// FrozenResponse is an HTTP answer kept for ever: a repeated request gets the
// same bytes and status.
type FrozenResponse struct {
	Status int
	Body   []byte
}

// Completion is the payment that a claim became.
type Completion struct {
	Payment payment.Payment
	// Response is nil where the client's secret is not known yet: the payment
	// is written down and the claim stays open until it is.
	Response *FrozenResponse
	// Cause is written to the payment's history: who found the intent.
	Cause string
}

// Completed is what Complete left behind.
type Completed struct {
	Claim Claim
	// Created: this call wrote the payment's row.
	Created bool
	// Parked: events that wait for this payment are in the inbox.
	Parked bool
}
