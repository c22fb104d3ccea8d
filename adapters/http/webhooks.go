package http

import (
	"context"
	"net/http"
	"time"

	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

const signatureHeader = "Stripe-Signature"

// ReceiveEvent is the use case of POST /webhooks/stripe.
type ReceiveEvent interface {
	// Check needs no body: it looks at the signature's form and time.
	Check(signature string) error
	Verify(payload []byte, signature string) (events.SignedEvent, error)
	Do(ctx context.Context, event events.SignedEvent) (ports.Applied, error)
}

// Webhooks is the resource /webhooks/stripe.
type Webhooks struct {
	receiveEvent ReceiveEvent
	unsigned     ports.RateLimiter
}

// NewWebhooks returns the resource. unsigned counts requests without a valid
// signature, by address.
func NewWebhooks(receive ReceiveEvent, unsigned ports.RateLimiter) *Webhooks {
	return &Webhooks{receive, unsigned}
}

// receive is POST /webhooks/stripe. 200 means that the event is durable; after
// anything else Stripe sends it again.
func (wh *Webhooks) receive(w http.ResponseWriter, r *http.Request) (answer, error) {
	signature := r.Header.Get(signatureHeader)

	// Before a byte of the body is read.
	if err := wh.receiveEvent.Check(signature); err != nil {
		return answer{}, wh.countUnsigned(r, err)
	}

	payload, err := readBody(w, r, maxEventBody)
	if err != nil {
		return answer{}, err
	}

	event, err := wh.receiveEvent.Verify(payload, signature)
	if err != nil {
		return answer{}, wh.countUnsigned(r, err)
	}

	if _, err := wh.receiveEvent.Do(startSigned(r.Context()), event); err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusOK, body: statusBody{"ok"}}, nil
}

// countUnsigned counts a request that Stripe did not sign against its address, and
// returns what it is told. Whoever may have signed it is not counted. Only failures count, and an address that failed too
// often is still read where the signature may be right: Stripe may share a proxy's
// address with anybody.
func (wh *Webhooks) countUnsigned(r *http.Request, err error) error {
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}

	a := wh.unsigned.Allow(r.Context(), clientOf(r))
	if !a.Denied {
		return err
	}

	return fault.Wrap(rateLimited, err, "Too many requests without a valid signature from this address.").
		After(max(a.RetryAfter, time.Millisecond))
}
