package ports

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// ErrUnavailable says that this call was not sent: the provider is known to be out of
// reach, we are at our limit of concurrent calls, or no connection could be made (the
// name look-up, the dial or the TLS handshake failed). No byte of the request has left,
// so it does not count as an attempt.
var ErrUnavailable = errors.New("the payment provider is out of reach")

// RejectedError says that the provider rejected the request for good, because of the
// order itself or because the bank declined it. There is no intent under this request and
// there never will be one.
type RejectedError struct {
	// Code is the provider's, such as "amount_too_small"; it may be empty.
	Code string
	// Message is the provider's, for the person who integrates. It holds no secret and has
	// at most 500 bytes.
	Message string
	// Amount says that the provider does not take this amount, and Order that it does not take
	// something else that the client has chosen, such as the payment method: the order has to
	// change.
	Amount, Order bool
	// State says that the object's state does not allow it, whatever the order says. Only
	// reading the object tells what became of this request and of those before it.
	State bool
	// Kept says that the provider repeats an answer that it keeps under the request's key, so
	// that nothing can be done under it.
	Kept bool
}

// Error implements error.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("the provider rejected the order (%s): %s", e.Code, e.Message)
}

// DeploymentError says that the provider rejected the request because of how this service
// is set up there: a wrong URL, an account that may not charge yet, no payment method
// switched on. There is no intent under this request. Once somebody has repaired the
// cause, the same request may succeed.
type DeploymentError struct {
	// Code and Message are as in RejectedError.
	Code, Message string
	// Kept says that the provider repeats an answer that it keeps under the request's key.
	// It goes on doing so, whatever is repaired, until it forgets the key.
	Kept bool
}

// Error implements error.
func (e *DeploymentError) Error() string {
	return fmt.Sprintf("the provider rejected the request, not the order (%s): %s", e.Code, e.Message)
}

// Provider is the payment provider.
//
// A call has five outcomes: done (no error; also if the bank declined what was to be paid),
// rejected (*RejectedError), rejected because
// of the deployment (*DeploymentError), not sent (ErrUnavailable), and unknown (any other
// error). Unknown means that the provider may have acted, or may still act.
type Provider interface {
	CustomerReads
	RefundReads
	DisputeReads

	// Ready returns ErrUnavailable if a call would not be sent now. It does no I/O.
	Ready() error

	// Send sends a call and retries within ctx as long as that may help. It is idempotent
	// while the provider remembers the call's key (at Stripe 23 hours are safe): the same
	// call gives the same answer. Its errors are the outcomes above.
	//
	// A call that confirms an intent, and is declined, is done: the attempt was made. The
	// object says so, and how the intent stands after it.
	//
	// resend says that the call may have been sent before. Then an acceptance or a
	// decline also holds for the first send, but any other rejection is unknown: it speaks
	// only for the copy. An attempt that was not sent does not make the next one a copy. A
	// rejection because of the object's state is always returned as such.
	Send(ctx context.Context, call Call, resend bool) (Object, error)

	// Intent reads an intent. None: fault.NotFound.
	Intent(ctx context.Context, id string) (Intent, error)

	// Intents reads every intent created between from and to (both included, to the
	// second), newest first. It sees an intent as soon as it exists. It ends with the
	// first error.
	Intents(ctx context.Context, from, to time.Time) iter.Seq2[Intent, error]

	// Events reads every event of the types that we handle, created between from and to
	// (both included, to the second), newest first. It may see an event some time after it
	// happened. It ends with the first error.
	Events(ctx context.Context, from, to time.Time) iter.Seq2[Event, error]
}

// Calls builds the provider's calls. It does no I/O. Within one release, equal arguments
// give equal calls.
type Calls interface {
	CustomerCalls
	RefundCalls
	DisputeCalls

	// CreatePayment makes the intent of the order. The intent carries the mark, and the
	// client's key if there is one.
	CreatePayment(mark operation.Mark, key operation.Key, order operation.Order) (Call, error)

	// CapturePayment captures the amount of the order, or all that is held if there is
	// none. The mark is written into the intent beside the one of its creation.
	CapturePayment(mark operation.Mark, intentID string, order operation.Order) (Call, error)

	// CancelPayment cancels the intent, for the order's reason.
	CancelPayment(mark operation.Mark, intentID string, order operation.Order) (Call, error)

	// ConfirmPayment makes an attempt to pay the intent.
	ConfirmPayment(mark operation.Mark, intentID string, order operation.Order) (Call, error)

	// UpdatePayment changes the intent's description, and those entries of its metadata that
	// the order names; empty ones are removed. It changes no entry that is ours.
	UpdatePayment(mark operation.Mark, intentID string, order operation.Order) (Call, error)
}

// Call is one call of the provider. It is kept as it was first sent.
type Call struct {
	// Key is the provider's idempotency key.
	Key string
	// Path is where the call goes, and Params are its exact parameters, in the adapter's
	// own form.
	Path, Params string
}

// Object is what the provider answers to a call: the one that has an id.
type Object struct {
	Intent Intent
	// Declined: the call was to confirm the intent, and this attempt was declined.
	// Intent.Decline says why.
	Declined bool
	Customer CustomerObject
	Setup    Setup
	Method   Method
	// Refund is what is known of it; its ID is empty if the object is none.
	Refund  refund.Snapshot
	Dispute DisputeObject
}

// Intent is the provider's side of a payment. A field is zero if the provider did not say
// it.
type Intent struct {
	// ID is the provider's: "pi_…" at Stripe.
	ID string
	// ClientSecret lets a customer's browser pay. It is never logged.
	ClientSecret string
	Amount       money.Price
	// Status is the provider's status in our terms, and IntentStatus its own word.
	Status        payment.Status
	IntentStatus  payment.IntentStatus
	CaptureMethod payment.CaptureMethod
	// Capturable is what is held and Captured what was received; zero money if not said.
	Capturable, Captured money.Money
	CaptureBefore        time.Time
	// Declined: the last attempt to pay was declined. Decline says why.
	Declined bool
	Decline  payment.Decline
	// Method is how the last attempt was made; zero if it is not said.
	Method payment.Method
	// LatestCharge is the id of the last attempt's charge; empty if there was none.
	LatestCharge string
	// Description is the client's.
	Description string
	// NextAction is what the customer has to do, as a JSON object of the provider's; nil if
	// nothing. It may hold secrets and is never logged.
	NextAction []byte
	// PaymentID is our payment id as the provider keeps it; uuid.Nil if it has none.
	PaymentID uuid.UUID
	// Marked says that Mark, which the creating operation wrote, is there. Capture is the
	// mark of the operation that captured it; zero if there is none.
	Mark    operation.Mark
	Marked  bool
	Capture operation.Mark
	// Key is the client's key, and Metadata are what the client gave, as the provider
	// keeps them.
	Key      operation.Key
	Metadata map[string]string
	// Customer is the provider's id of its customer; empty if it has none.
	Customer string
	// Unmarked: there are metadata, and nothing in them is ours.
	Unmarked bool
	// Live is the mode that the intent is from; nil if it does not say so.
	Live      *bool
	CreatedAt time.Time
}

// Snapshot is what the intent says about its payment.
func (i Intent) Snapshot() payment.Snapshot {
	return payment.Snapshot{
		PaymentID: i.PaymentID, Amount: i.Amount, Status: i.Status, IntentStatus: i.IntentStatus,
		CaptureMethod: i.CaptureMethod, Capturable: i.Capturable, Captured: i.Captured,
		CaptureBefore: i.CaptureBefore, Declined: i.Declined, Method: i.Method, Decline: i.Decline,
	}
}

// Webhooks reads the provider's signed events. It does no I/O and changes nothing.
type Webhooks interface {
	// Check looks at the signature alone: its form must be right, and its time within the
	// tolerance, in the past or the future. If not: fault.Unauthenticated. It is cheap and
	// needs no payload, so that a forged request is refused before its body is read.
	Check(signature string) error

	// Verify does what Check does and checks that payload was signed with one of our
	// secrets. If not: fault.Unauthenticated. If it is not known whether it was, because the
	// database does not tell which secrets are stored: fault.Unavailable.
	Verify(payload []byte, signature string) error

	// Parse reads an event that was just received or that was stored. If payload is no
	// event: fault.Invalid.
	Parse(payload []byte) (Event, error)
}
