package operations

import (
	"errors"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// providerRetryAfter is how long a client is told to wait if the provider cannot be
// reached or its answer is not known.
const providerRetryAfter = 2 * time.Second

// errKeyForgotten: an operation is too old to be sent again under its key.
var errKeyForgotten = errors.New("the provider may have forgotten the operation's key")

// about names the payment or the customer that an error is about.
func about(op ports.Operation, f *fault.Error) *fault.Error {
	f.PaymentID, f.CustomerID = op.PaymentID(), op.CustomerID()

	return f
}

func errUnavailable(cause error) error {
	return fault.Wrap(fault.Unavailable, cause, "The payment provider cannot be reached. Send the same request again.").
		After(providerRetryAfter)
}

func errUnknown(op ports.Operation, cause error, retryAfter time.Duration) error {
	return about(op, fault.Wrap(fault.Unknown, cause, "The outcome is not known yet. "+whatToDo(op)).After(retryAfter))
}

// errNotSent is fault.Unknown too, because recovery will still send the operation.
func errNotSent(op ports.Operation, cause error, retryAfter time.Duration) error {
	return about(op, fault.Wrap(fault.Unknown, cause, "The payment provider cannot be reached, so nothing has been sent yet. "+
		"It is tried again without you, and may still be done. "+whatToDo(op)).After(retryAfter))
}

func whatToDo(op ports.Operation) string {
	switch {
	case op.Key != "":
		return "Send the same request again, with the same idempotency key."
	case op.Kind == operation.Create:
		return "The request had no idempotency key: sending it again may create a second payment."
	case op.Kind == operation.CreateCustomer:
		return "The request had no idempotency key: sending it again may create a second customer."
	case op.Kind.OnCustomer():
		return "Read the customer to see what became of it."
	default:
		return "Read the payment to see what became of it."
	}
}

func errInProgress(op ports.Operation) error {
	what := "payment"
	if op.Kind.OnCustomer() {
		what = "customer"
	}

	return about(op, fault.Newf(fault.InProgress,
		"Another operation on this %s is not finished yet. Send the request again shortly.", what).After(time.Second))
}

func errInFlight(op ports.Operation) error {
	return about(op, fault.New(fault.InFlight,
		"A request with this idempotency key is still being worked on. Send the same request again shortly.").
		After(time.Second))
}

func errRejected(op ports.Operation, rejected *ports.DeploymentError) error {
	next := "Once it is repaired, send the same request again, with the same idempotency key."
	nothing := "Nothing was made or charged. "

	if mayRefuse(op) != nil {
		nothing = "" // by this request; but one before it may be lost
	}

	switch {
	case op.Key == "":
		next = "Once it is repaired, send the request again."
	case rejected.Kept && op.Standing.Reconciled:
		next = "The provider keeps this answer for this idempotency key until about " +
			op.CreatedAt.Add(keptFor).UTC().Format(time.RFC3339) + ". Once it is repaired, use a new key; " +
			"that is safe, because nothing was made under this one."
	}

	return about(op, fault.Wrap(fault.Rejected, rejected, "The payment provider did not accept the request because of how "+
		"this service is set up there, not because of the payment. "+nothing+next+
		" The provider says: "+rejected.Message))
}

// ErrKeyReused is the answer where a key belongs to another request: fault.KeyReused.
func ErrKeyReused() error {
	return fault.New(fault.KeyReused,
		"This idempotency key belongs to another request: of another kind, about another payment or customer, or with another "+
			"amount, currency, metadata or other value. Send that request again, or use a new key.")
}
