// Package ports holds what the core needs of the outside: small interfaces whose
// comments are their contracts. Each has one suite in ports/portstest, which every
// adapter and every fake runs.
package ports

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// ErrContradiction says that what the provider says does not fit our records: for
// example, a second intent for one payment. Only a person can resolve it.
var ErrContradiction = errors.New("the provider contradicts our records")

// ErrInProgress says that an operation on the same payment is not finished. Only one may
// be under way.
var ErrInProgress = errors.New("another operation on this payment is under way")

// Operations keeps what clients asked for. An operation is written before the provider
// hears of it, so that a crash at any moment leaves a record that somebody finishes.
//
// Atomicity: every method is one commit. Idempotency: every method may be repeated after
// an error without harm. Errors: an unreachable or overloaded database is
// fault.Unavailable, and then surely nothing was written. If a write may have been
// committed, because the connection broke after it was sent, the error is fault.Unknown;
// a later attempt that fails does not change that. Callers that share a commit share its
// doubt.
type Operations interface {
	Endings
	CustomerEndings
	Rejections

	// Begin writes c as a pending operation if c.If holds, or finds what was written under its
	// key before. If Operation.Held, the caller has the lease and must call Finish, FinishOn,
	// FinishRejected, Reject or Release. ErrInProgress: another confirm, capture or cancel
	// of the same subject is not finished, or of an update another update; nothing was written.
	//
	// A pending operation with the same fingerprint whose lease has run out is taken
	// over. Any other one is only found; the caller compares the fingerprint. Reopen
	// opens a rejected one. Of many callers one holds it. Calls with the same
	// Lease.Token are one call: after a lost answer, repeating it finds the lease still
	// held.
	//
	// With c.Response it is written as finished. Then no other operation of the same subject
	// is in its way.
	//
	// With c.Reserve it is written in one commit with what that reserves of its payment, whose
	// lock it waits for. An error of Reserve is returned, and nothing is written. No payment:
	// fault.NotFound.
	Begin(ctx context.Context, c NewOperation) (Operation, error)

	// Find returns the operation under a tenant's key and changes nothing. None: fault.NotFound.
	Find(ctx context.Context, tenant operation.Tenant, key operation.Key) (Operation, error)

	// FindByID returns an operation and changes nothing. None: fault.NotFound.
	FindByID(ctx context.Context, id uuid.UUID) (Operation, error)

	// Take leases up to limit pending operations that nobody holds and whose retry is
	// due, the longest waiting first. Callers at the same time get different ones. If the
	// answer is lost, what it took is due again when the lease runs out.
	Take(ctx context.Context, limit int, lease Lease) ([]Operation, error)

	// Extend makes c's lease end after by, counted from now. If the caller no longer has
	// the lease or the operation is no longer pending, nothing happens.
	Extend(ctx context.Context, c Operation, by time.Duration) error

	// Release gives c's lease back. Recovery tries again once retryIn has passed. If the
	// caller no longer has the lease or the operation is no longer pending, nothing
	// happens. If cause is ErrUnavailable, nothing was sent, and the attempt does not
	// count.
	Release(ctx context.Context, c Operation, retryIn time.Duration, cause error) error

	// GiveUp marks a pending operation as needing attention: neither sending it again nor
	// looking for its intent can finish it, so a person has to decide. If it is not
	// pending, nothing happens.
	GiveUp(ctx context.Context, id uuid.UUID, cause error) error
}

// Endings is the part of Operations that freezes answers.
type Endings interface {
	// Finish ends a create: it writes the payment, its first transition and the frozen
	// response in one commit. If the operation is finished already, its response stands
	// and is returned. If it has another fingerprint than c, the database has lost the
	// request that c was made for, and the operation takes its fingerprint and its order,
	// also if its own was refused. So the caller compares the fingerprint of the operation
	// that is returned. An operation that was rejected is finished: the database has lost
	// that it was opened again.
	//
	// ErrContradiction: the payment has another intent, the intent or the key belongs to
	// another payment, or this very order was refused; or the operation was rejected or
	// refused and c has no response. No operation: fault.NotFound. After either error
	// nothing has changed.
	Finish(ctx context.Context, c Completion) (Finished, error)

	// Restore writes an operation that the database has lost, as lost says, and finishes it
	// with c, in one commit. If it is there, Restore is Finish. If c is nil, the operation
	// needs attention, because of cause: what is at the provider does not fit. So it is
	// never sent. If it is there, that changes nothing.
	//
	// ErrContradiction: as with Finish, or another operation has its key.
	Restore(ctx context.Context, lost NewOperation, c *Completion, cause error) (Finished, error)

	// FinishOn ends an operation on a payment that exists: it locks the payment, asks
	// c.Decide what becomes of it, and writes that, its transition and the frozen response in
	// one commit. cause is kept in the history. Decide may be asked more than once. If it
	// leaves the payment as it is, the payment keeps its version and its time. An error of
	// its is returned, and nothing has changed. If the operation is finished already, its
	// response stands and is returned, unless it was refused and c has another fingerprint. One
	// that was rejected is finished, too.
	// No operation or no payment: fault.NotFound.
	FinishOn(ctx context.Context, id uuid.UUID, cause string, c Change) (Finished, error)

	// FinishRejected freezes a rejection of the order of c: the provider will never have this
	// payment. If the operation is finished already, its response stands and is returned. If
	// it is another request's by now, or was rejected because of the deployment, it is
	// returned as it is, and nothing has changed.
	// A payment that exists cannot be rejected, nor a refund that the provider is known to have
	// made: ErrContradiction. No operation: fault.NotFound. After either error nothing has
	// changed. What a refund has reserved is given back in the same commit.
	FinishRejected(ctx context.Context, c Operation, response FrozenResponse) (Operation, error)
}

// Rejections is the part of Operations about requests that the provider does not take
// because of the deployment.
type Rejections interface {
	// Reject marks c as rejected and gives its lease back: the provider did not take the
	// request because of the deployment, and nothing exists under it. None of its attempts
	// counts any more. Nobody takes it until Reopen. It returns the operation as it is
	// afterwards: if the caller no longer has the lease or the operation is finished,
	// nothing has changed. A payment that exists cannot be rejected: ErrContradiction; nor can
	// a refund that was made, and what one has reserved is given back in the same commit.
	// No operation: fault.NotFound.
	Reject(ctx context.Context, c Operation, cause error) (Operation, error)

	// Reopen makes a rejected operation pending again, under lease. Its request and its
	// provider's key stay as they are. Of many callers one holds it. The others find it
	// and change nothing, as does a caller for whom it is no longer rejected. Calls with
	// the same Lease.Token are one call. No operation: fault.NotFound. ErrInProgress: another
	// confirm, capture or cancel of the same subject is not finished; nothing has changed.
	// fault.ReferenceTaken: as with Begin; nothing has changed. reserve is as NewOperation.Reserve,
	// and nil if the operation reserves nothing.
	Reopen(ctx context.Context, id uuid.UUID, lease Lease, reserve Reserve) (Operation, error)
}

// Lease is the right to work on an operation for some time.
type Lease struct {
	// Token is new for each call; whoever knows it is the holder.
	Token uuid.UUID
	// For is how long the lease lasts by the database's clock.
	For time.Duration
}

// NewOperation is what Begin writes down.
type NewOperation struct {
	ID     uuid.UUID
	Tenant operation.Tenant
	Kind   operation.Kind
	// Subject is the payment or the customer on which it is done; uuid.Nil if it makes one,
	// which gets the operation's id.
	Subject uuid.UUID
	// If is what must hold when it is written.
	If Precondition
	// Reserve is what it reserves of its payment; nil: nothing. Seen is the payment as it was just
	// read, if it was: then it need not be read again under its lock.
	Reserve Reserve
	Seen    *Seen
	Key     operation.Key
	Order   operation.Order
	// Reason is why, in the words of whoever asked; it may be empty.
	Reason string
	// Call is sent as it is, now and on every retry, even by another release: Stripe
	// rejects a key that comes back with other parameters.
	Call Call
	// Before is how the intent stood before a confirm; else zero.
	Before Before
	// Was is the payment on which it is done, as it stood, for the audit; zero if there is none.
	// What is reserved of a payment is compared with the payment under its lock.
	Was    payment.Payment
	Origin Origin
	Lease  Lease
	// Response is set if there is nothing to do: the operation is written as finished, so
	// that its key belongs to it, and nobody gets its lease.
	Response *FrozenResponse
	// CreatedAt is zero for a new operation: the database's clock decides. For an intent
	// that exists already it is the intent's time, because the provider's key is that old.
	CreatedAt time.Time
	// Copied is the fingerprint that an object at the provider carries, if the operation is
	// written down again from that, or that of a request whose subject had to be looked for;
	// else zero.
	Copied operation.Fingerprint
}

// Fingerprint is the hash of what is asked for.
func (o NewOperation) Fingerprint() operation.Fingerprint {
	if o.Copied != (operation.Fingerprint{}) {
		return o.Copied
	}

	return o.Order.Fingerprint(o.Kind, o.Subject)
}

// Before is how an intent stood before an attempt to pay, so that the attempt can be told from
// the one before it.
type Before struct {
	IntentStatus payment.IntentStatus
	// LatestCharge is the last attempt's; empty if there was none.
	LatestCharge string
}

// Origin is the HTTP request that asked for the payment. Whoever finishes the payment
// can refer to it.
type Origin struct {
	RequestID string
	// TraceParent is the W3C traceparent of the request's span.
	TraceParent string
	// Actor is who has sent it.
	Actor Actor
}

// Operation is our record of one request.
type Operation struct {
	ID          uuid.UUID
	Tenant      operation.Tenant
	Kind        operation.Kind
	Subject     uuid.UUID
	Key         operation.Key
	Order       operation.Order
	Fingerprint operation.Fingerprint
	Call        Call
	// Before is as in NewOperation.
	Before Before
	Origin Origin
	State  operation.State
	// Lease is the caller's token while it holds the lease, else uuid.Nil.
	Lease uuid.UUID
	// Incarnation is the life of the database in which the caller wrote the operation or got
	// its lease; empty if it was only found.
	Incarnation string
	// Standing is how far reconciliation had come, read by the statement that wrote the
	// operation or took the lease: later it may have finished this very operation. It is
	// zero if the operation was only found.
	Standing operation.Standing
	// IntentID is the intent of a create whose payment is written although the operation is
	// not finished, because the client's secret was not known. Only the holder sees it. Such
	// an operation must not be sent.
	IntentID string
	// Seen is the payment after what this call of Begin has reserved of it; nil otherwise.
	Seen *Seen
	// Attempts counts the leases, this one included, without those that sent nothing and
	// those whose request was rejected. If it is over 1, the request may have been sent
	// before.
	Attempts int
	// Age is the time since CreatedAt by the database's clock. The provider's key is at
	// most that old.
	Age time.Duration
	// Response is set if State is finished.
	Response  FrozenResponse
	CreatedAt time.Time
}

// PaymentID is the payment that the operation makes or is about; uuid.Nil if it is about a
// customer.
func (c Operation) PaymentID() uuid.UUID {
	if c.Kind.OnCustomer() {
		return uuid.Nil
	}

	return c.SubjectID()
}

// CustomerID is the customer that the operation makes or is about; uuid.Nil if it is about a
// payment.
func (c Operation) CustomerID() uuid.UUID {
	if c.Kind.OnCustomer() {
		return c.SubjectID()
	}

	return uuid.Nil
}

// SubjectID is the payment or the customer that the operation makes or is about.
func (c Operation) SubjectID() uuid.UUID {
	if c.Kind.Makes() {
		return c.ID
	}

	return c.Subject
}

// Held tells whether the caller has the lease.
func (c Operation) Held() bool { return c.Lease != uuid.Nil }

// Finished tells whether the operation has its frozen response.
func (c Operation) Finished() bool { return c.State == operation.Finished }

// Row is what the rules about operations look at.
func (c Operation) Row() operation.Row {
	return operation.Row{
		State: c.State, Refused: c.Finished() && c.Response.Status >= http.StatusBadRequest && !c.Declined(),
		Fingerprint: c.Fingerprint,
	}
}

// Declined tells whether the operation was done, and the bank declined what was to be paid.
func (c Operation) Declined() bool {
	return c.Finished() && c.Response.Status == http.StatusPaymentRequired
}

// FrozenResponse is an HTTP answer that is kept for ever. A repeated request gets the
// same bytes and status.
type FrozenResponse struct {
	Status int
	Body   []byte
}

// Decide says what becomes of a payment when an operation on it is finished: how the
// payment is afterwards, and the answer, which may show it. p is the payment under its
// lock, with the version and the time that it will have if it changes.
type Decide func(p payment.Payment) (payment.Payment, FrozenResponse, error)

// Change is what an operation does to a payment that exists.
type Change struct {
	// Fingerprint and Order are what it was done for, as the provider's object says; zero
	// if that does not say it. They replace those of the operation, as with Finish.
	Fingerprint operation.Fingerprint
	Order       operation.Order
	// One of the two is set: Full for an operation on refunds or disputes. Those on several
	// payments that are done together may share a commit, if Subject says which payment it is.
	Decide  Decide
	Full    DecideFull
	Subject uuid.UUID
	// Seen is as in Operation, and Asked is the fingerprint of that operation.
	Seen  *Seen
	Asked operation.Fingerprint
}

// Completion is the payment that a create became.
type Completion struct {
	Payment payment.Payment
	// Fingerprint and Order are what the provider's object was made for.
	Fingerprint operation.Fingerprint
	Order       operation.Order
	// Response is nil if the client's secret is not known yet. Then the payment is
	// written, and the operation stays as it is until the secret is known.
	Response *FrozenResponse
	// Cause is written to the payment's history: who found the intent.
	Cause string
	// Customer is the provider's id of the payment's customer. By it the customer is found if
	// the payment does not name ours. It is empty if it is not known.
	Customer string
}

// Finished is the result of Finish.
type Finished struct {
	Operation Operation
	// Created: this call wrote the payment's row.
	Created bool
	// Before and After are the payment that FinishOn has changed. If this call changed
	// nothing, they are equal. FullBefore and FullAfter are set if Change.Full decided.
	Before, After         payment.Payment
	FullBefore, FullAfter FullPayment
	// Parked: events that wait for this payment are in the inbox.
	Parked bool
}
