package ports

import (
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

// Renderer writes the answers that are frozen with an operation. The core needs it because
// an operation may be finished long after its request has ended.
type Renderer interface {
	CustomerRenderer
	RefundRenderer
	DisputeRenderer

	// Created is the answer to the client whose payment p now exists.
	Created(p payment.Payment, clientSecret string) FrozenResponse
	// CreatedAndConfirmed is Created where the create was also to confirm the intent.
	CreatedAndConfirmed(p payment.Payment, intent Intent) FrozenResponse
	// Confirmed is the answer to the client whose attempt to pay has left the payment as p is.
	Confirmed(p payment.Payment, intent Intent) FrozenResponse
	// Payment is the answer to the client whose operation has left the payment as p is.
	Payment(p payment.Payment) FrozenResponse
	// Rejected is the answer to the client whose order the provider rejected or whose payment
	// the bank declined.
	Rejected(f *fault.Error, requestID string) FrozenResponse
}
