package events

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// hintBatch is how many events one run looks at.
	hintBatch = 200
	// hintsAtOnce is how many payments are read at the same time. It is below the number of
	// unanswered calls at which the adapter takes the provider for dead.
	hintsAtOnce = 6
)

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
	// reading is held during a run. Others of this process would read the same.
	reading sync.Mutex
}

// NewReadHints returns the use case.
func NewReadHints(
	inbox ports.Inbox, payments PaymentsByIntent, provider ports.Provider, refresh Refresher, spans ports.Spans,
) *ReadHints {
	return &ReadHints{inbox: inbox, payments: payments, provider: provider, refresh: refresh, spans: spans}
}

// Do reads the intents of the longest waiting hints and returns how many payments it has
// read. A payment that cannot be read waits for the next run. Each has its own trace. If
// another run of this process is under way, it does nothing.
func (uc *ReadHints) Do(ctx context.Context) (int, error) {
	if uc.provider.Ready() != nil || !uc.reading.TryLock() {
		return 0, nil
	}
	defer uc.reading.Unlock()

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

	return uc.readAll(ctx, payments)
}

func (uc *ReadHints) readAll(ctx context.Context, payments map[string]payment.Payment) (int, error) {
	var (
		mu     sync.Mutex
		read   int
		failed error
	)

	readers := new(errgroup.Group)
	readers.SetLimit(hintsAtOnce)

	for _, p := range payments {
		readers.Go(func() error {
			mu.Lock()
			away := fault.KindOf(failed) == fault.Unavailable || ctx.Err() != nil
			mu.Unlock()

			if away {
				return nil
			}

			err := uc.read(ctx, p.ID)

			mu.Lock()
			defer mu.Unlock()

			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("payment %s: %w", p.ID, err))
			} else {
				read++
			}

			return nil
		})
	}

	_ = readers.Wait() // failed has the errors

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
