package ports

import (
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

// Renderer writes the answers that are frozen with an operation. The core needs it because
// an operation may be finished long after its request has ended.
type Renderer interface {
	// Created is the answer to the client whose payment p now exists.
	Created(p payment.Payment, clientSecret string) FrozenResponse
	// Payment is the answer to the client whose operation has left the payment as p is.
	Payment(p payment.Payment) FrozenResponse
	// Rejected is the answer to the client whose payment the provider rejected.
	Rejected(f *fault.Error, requestID string) FrozenResponse
}
