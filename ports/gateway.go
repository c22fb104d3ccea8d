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
// dial, the name look-up or the TLS handshake failed). Not one byte of the request
// has left, so it is no attempt.
var ErrUnavailable = errors.New("the payment provider is out of reach")

// RejectedError says that the provider rejected the request for good, because of the order itself
// or because the bank declined. There is no intent and there never will be one under
// this request.
type RejectedError struct {
	// Code is the provider's, such as "amount_too_small"; it may be empty.
	Code string
	// Message is the provider's, for the person who integrates; no secret, and at
	// most 500 bytes.
	Message string
	// Amount: the provider does not charge this amount. The order has to change.
	Amount bool
}

// Error implements error.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("the provider rejected the order (%s): %s", e.Code, e.Message)
}

// DeploymentError says that the provider did not take the request because of how this
// service is set up there: a wrong URL, an account that may not charge yet, no payment
// method switched on. There is no intent under this request; once somebody has
// repaired the cause, the same request may succeed.
type DeploymentError struct {
	// Code and Message are as RejectedError's.
	Code, Message string
	// Kept: the provider repeats an answer that it keeps under the request's key. It
	// will do so, whatever is repaired, until it forgets the key.
	Kept bool
}

// Error implements error.
func (e *DeploymentError) Error() string {
	return fmt.Sprintf("the provider rejected the request, not the order (%s): %s", e.Code, e.Message)
}

// PaymentGateway is the payment provider.
//
// A call has five outcomes: done (no error), rejected (*RejectedError), rejected because of the deployment
// (*DeploymentError), not sent (ErrUnavailable), and unknown: any other error. Unknown
// means that the provider may or may not have acted, or may still act.
type PaymentGateway interface {
	// Ready tells without any I/O whether a call would be sent now; if not, the
	// error is ErrUnavailable.
	Ready() error

	// Prepare returns the request that would create the order's intent. It does
	// no I/O; equal arguments give equal requests within one version of ours.
	Prepare(id uuid.UUID, order payment.Order) IntentRequest

	// CreateIntent sends request, retrying within ctx as long as it may help.
	// The same request, sent again within the provider's memory (23 hours is
	// safe at Stripe), gives the same intent. resend says that it may have been
	// sent before: then only an acceptance or a decline speaks for the original, and
	// any other rejection of the copy is unknown. An attempt that was not
	// sent does not make the next one a copy.
	CreateIntent(ctx context.Context, request IntentRequest, resend bool) (Intent, error)

	// Intent reads an intent. None: fault.NotFound.
	Intent(ctx context.Context, id string) (Intent, error)

	// Intents reads every intent that was created between from and to (both
	// included, to the second), newest first. It sees an intent as soon as it exists.
	Intents(ctx context.Context, from, to time.Time) iter.Seq2[Intent, error]

	// Events reads every event created between from and to (both included, to the
	// second), newest first.
	Events(ctx context.Context, from, to time.Time) iter.Seq2[Event, error]
}

// IntentRequest is a request to the provider, kept as it was first sent.
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
	Amount       money.Amount
	// Status is the provider's status in our terms.
	Status payment.Status
	// PaymentID is our payment id as the provider remembers it, uuid.Nil if it
	// does not.
	PaymentID uuid.UUID
	// Live is the mode that the intent says it is of; nil where it does not tell.
	Live      *bool
	CreatedAt time.Time
}

// Webhooks reads the provider's signed events.
type Webhooks interface {
	// Check tells from the signature alone whether a payload could have been
	// signed with it: its form is right and its time within the tolerance, in the
	// past or the future. If not: fault.Unauthenticated. It is cheap and needs no
	// payload, so that what cannot be the provider's is refused before it is read.
	Check(signature string) error

	// Verify checks that payload was signed with one of our secrets, and what
	// Check does. If not: fault.Unauthenticated.
	Verify(payload []byte, signature string) error

	// Parse reads an event, signed or stored. A payload that is no event is
	// fault.Invalid.
	Parse(payload []byte) (Event, error)
}
