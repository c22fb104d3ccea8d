package ports

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
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
	// Amount says that the provider does not charge this amount: the order has to change.
	Amount bool
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

// PaymentGateway is the payment provider.
//
// A call has five outcomes: done (no error), rejected (*RejectedError), rejected because
// of the deployment (*DeploymentError), not sent (ErrUnavailable), and unknown (any other
// error). Unknown means that the provider may have acted, or may still act.
type PaymentGateway interface {
	// Ready returns ErrUnavailable if a call would not be sent now. It does no I/O.
	Ready() error

	// Prepare returns the request that creates the order's intent. It does no I/O. Within
	// one release, equal arguments give equal requests.
	Prepare(id uuid.UUID, order payment.Order) IntentRequest

	// CreateIntent sends request and retries within ctx as long as that may help. It is
	// idempotent while the provider remembers the request's key (at Stripe 23 hours are
	// safe): the same request gives the same intent. Its errors are the outcomes above.
	//
	// resend says that the request may have been sent before. Then an acceptance or a
	// decline also holds for the first send, but any other rejection is unknown: it speaks
	// only for the copy. An attempt that was not sent does not make the next one a copy.
	CreateIntent(ctx context.Context, request IntentRequest, resend bool) (Intent, error)

	// Intent reads an intent. None: fault.NotFound.
	Intent(ctx context.Context, id string) (Intent, error)

	// Intents reads every intent created between from and to (both included, to the
	// second), newest first. It sees an intent as soon as it exists. It ends with the
	// first error.
	Intents(ctx context.Context, from, to time.Time) iter.Seq2[Intent, error]

	// Events reads every event created between from and to (both included, to the
	// second), newest first. It may see an event some time after it happened. It ends with
	// the first error.
	Events(ctx context.Context, from, to time.Time) iter.Seq2[Event, error]
}

// IntentRequest is a request to the provider. It is kept as it was first sent.
type IntentRequest struct {
	// IdempotencyKey is the provider's key, made of our payment id.
	IdempotencyKey string
	// Params are the exact parameters, in the adapter's own form.
	Params string
}

// Intent is the provider's side of a payment.
type Intent struct {
	// ID is the provider's: "pi_…" at Stripe.
	ID string
	// ClientSecret lets a customer's browser pay. It is never logged.
	ClientSecret string
	Amount       money.Price
	// Status is the provider's status in our terms.
	Status payment.Status
	// PaymentID is our payment id as the provider keeps it; uuid.Nil if it has none.
	PaymentID uuid.UUID
	// Live is the mode that the intent is from; nil if it does not say so.
	Live      *bool
	CreatedAt time.Time
}

// Webhooks reads the provider's signed events. It does no I/O and changes nothing.
type Webhooks interface {
	// Check looks at the signature alone: its form must be right, and its time within the
	// tolerance, in the past or the future. If not: fault.Unauthenticated. It is cheap and
	// needs no payload, so that a forged request is refused before its body is read.
	Check(signature string) error

	// Verify does what Check does and checks that payload was signed with one of our
	// secrets. If not: fault.Unauthenticated.
	Verify(payload []byte, signature string) error

	// Parse reads an event that was just received or that was stored. If payload is no
	// event: fault.Invalid.
	Parse(payload []byte) (Event, error)
}
