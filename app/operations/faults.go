package operations

import (
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// providerRetryAfter is how long a client is told to wait if the provider cannot be
// reached or its answer is not known.
const providerRetryAfter = 2 * time.Second

func errUnknown(key operation.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The outcome is not known yet. "+whatToDo(key)).After(retryAfter)
}

// errNotSent is fault.Unknown too, because recovery will still send the operation.
func errNotSent(key operation.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The payment provider cannot be reached, so nothing has been sent yet. "+
		"It is tried again without you, and the payment may still be made. "+whatToDo(key)).After(retryAfter)
}

func whatToDo(key operation.Key) string {
	if key == "" {
		return "The request had no idempotency key: sending it again may create a second payment."
	}

	return "Send the same request again, with the same idempotency key."
}

func errRejected(op ports.Operation, rejected *ports.DeploymentError) error {
	next := "Once it is repaired, send the same request again, with the same idempotency key."

	switch {
	case op.Key == "":
		next = "Once it is repaired, send the request again."
	case rejected.Kept:
		next = "The provider keeps this answer for this idempotency key until about " +
			op.CreatedAt.Add(keptFor).UTC().Format(time.RFC3339) + ". Once it is repaired, use a new key; " +
			"that is safe, because nothing was made under this one."
	}

	return fault.Wrap(fault.Rejected, rejected, "The payment provider did not accept the request because of how this "+
		"service is set up there, not because of the payment. Nothing was made or charged. "+next+
		" The provider says: "+rejected.Message)
}

func errKeyReused() error {
	return fault.New(fault.KeyReused,
		"This idempotency key belongs to a payment with another amount, currency or metadata. "+
			"Send that payment again, or use a new key.")
}
