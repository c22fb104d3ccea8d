package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// hintBatch is how many events one run looks at.
const hintBatch = 200

// causeHint is what the history names as the cause.
const causeHint = "hint"

// Refresher reads the intent of a payment and writes down what it says.
type Refresher interface {
	Do(ctx context.Context, id uuid.UUID, cause string) (payment.Payment, ports.Intent, error)
}

// PaymentsByIntent finds payments.
type PaymentsByIntent interface {
	PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error)
}

// ReadHints reads the intents of payments that may have changed.
type ReadHints struct {
	inbox    ports.Inbox
	payments PaymentsByIntent
	provider ports.Provider
	refresh  Refresher
	spans    ports.Spans
}

// NewReadHints returns the use case.
func NewReadHints(
	inbox ports.Inbox, payments PaymentsByIntent, provider ports.Provider, refresh Refresher, spans ports.Spans,
) *ReadHints {
	return &ReadHints{inbox: inbox, payments: payments, provider: provider, refresh: refresh, spans: spans}
}

// Do reads the intents of the longest waiting hints and returns how many payments it has
// read. A payment that cannot be read waits for the next run. Each has its own trace.
func (uc *ReadHints) Do(ctx context.Context) (int, error) {
	if uc.provider.Ready() != nil {
		return 0, nil
	}

	hints, err := uc.inbox.Hints(ctx, hintBatch)
	if err != nil || len(hints) == 0 {
		return 0, err
	}

	intents := make([]string, 0, len(hints))
	for _, hint := range hints {
		intents = append(intents, hint.ObjectID)
	}

	payments, err := uc.payments.PaymentsByIntent(ctx, intents)
	if err != nil {
		return 0, err
	}

	var failed error

	read := 0

	for _, p := range payments {
		if err := uc.read(ctx, p.ID); err != nil {
			failed = errors.Join(failed, fmt.Errorf("payment %s: %w", p.ID, err))
		} else {
			read++
		}

		if fault.KindOf(failed) == fault.Unavailable || ctx.Err() != nil {
			break
		}
	}

	return read, failed
}

// read reads one. A contradiction is parked for a person by then, so it is no failure of
// this run.
func (uc *ReadHints) read(ctx context.Context, id uuid.UUID) error {
	_, err := ports.InSpan(ctx, uc.spans, "app.ReadHint", func(ctx context.Context) (payment.Payment, error) {
		p, _, err := uc.refresh.Do(ctx, id, causeHint)

		return p, err
	})
	if errors.Is(err, ports.ErrContradiction) {
		return nil
	}

	return err
}
