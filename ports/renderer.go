package ports

import (
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

// Renderer writes the answers that are frozen with a claim. The core needs it
// because a claim may be finished long after its request has gone.
type Renderer interface {
	// Created is the answer to the client whose payment p now exists.
	Created(p payment.Payment, clientSecret string) FrozenResponse
	// Refused is the answer to the client whose payment the provider refused.
	Refused(f *fault.Error, requestID string) FrozenResponse
}
