package events

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
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

// CustomerRefresher reads the customer of a hint and writes down what it says. The database may
// have lost it. If it does not fit our records: ports.ErrContradiction.
type CustomerRefresher interface {
	DoHint(ctx context.Context, providerID string) error
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
	webhooks ports.Webhooks
	refresh  Refresher
	customer CustomerRefresher
	engine   *operations.Engine
	ours     Ours
	observer Observer
	// reading is held during a run. Others of this process would read the same.
	reading sync.Mutex
	// behind is the last hint of the last run. The next run begins after it.
	behind ports.InboxPosition
}

// NewReadHints returns the use case.
func NewReadHints(
	inbox ports.Inbox, payments PaymentsByIntent, provider ports.Provider, webhooks ports.Webhooks, refresh Refresher,
	customer CustomerRefresher, engine *operations.Engine, ours Ours, observer Observer,
) *ReadHints {
	return &ReadHints{
		inbox: inbox, payments: payments, provider: provider, webhooks: webhooks, refresh: refresh, customer: customer,
		engine: engine, ours: ours, observer: observer,
	}
}

// Do reads the intents and the customers of the hints whose turn it is, the longest waiting
// first, and returns how many it has read. A payment that cannot be read waits until the others have
// had their turn. Each has its own trace. If another run of this process is under way, it
// does nothing.
func (uc *ReadHints) Do(ctx context.Context) (int, error) {
	if uc.provider.Ready() != nil || !uc.reading.TryLock() {
		return 0, nil
	}
	defer uc.reading.Unlock()

	hints, err := uc.turn(ctx)
	if err != nil || len(hints) == 0 {
		return 0, err
	}

	byIntent := make(map[string][]ports.StoredEvent, len(hints))
	for _, hint := range hints {
		byIntent[hint.ObjectID] = append(byIntent[hint.ObjectID], hint)
	}

	payments, err := uc.payments.PaymentsByIntent(ctx, slices.Collect(maps.Keys(byIntent)))
	if err != nil {
		return 0, err
	}

	return uc.readAll(ctx, payments, byIntent)
}

// turn is the hints that come next. After the last one it is the first one's turn again: so
// what cannot be read holds up nobody for longer than a round.
func (uc *ReadHints) turn(ctx context.Context) ([]ports.StoredEvent, error) {
	hints, err := uc.inbox.Hints(ctx, uc.behind, hintBatch)
	if err != nil {
		return nil, err
	}

	uc.behind = ports.InboxPosition{}

	if len(hints) == hintBatch {
		last := hints[hintBatch-1]
		uc.behind = ports.InboxPosition{ReceivedAt: last.ReceivedAt, ID: last.ID}
	}

	return hints, nil
}

// readAll reads the intents of hints. payments are those that the database has.
func (uc *ReadHints) readAll(
	ctx context.Context, payments map[string]payment.Payment, hints map[string][]ports.StoredEvent,
) (int, error) {
	var (
		mu     sync.Mutex
		read   int
		failed error
	)

	readers := new(errgroup.Group)
	readers.SetLimit(hintsAtOnce)

	for intentID, of := range hints {
		readers.Go(func() error {
			mu.Lock()
			away := fault.KindOf(failed) == fault.Unavailable || ctx.Err() != nil
			mu.Unlock()

			if away {
				return nil
			}

			err := uc.read(ctx, payments[intentID], of)

			mu.Lock()
			defer mu.Unlock()

			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("intent %s: %w", intentID, err))
			} else {
				read++
			}

			return nil
		})
	}

	_ = readers.Wait() // failed has the errors

	return read, failed
}

// read reads the intent of hints; p is its payment, or zero if the database has lost that.
// At a contradiction all its hints are parked for a person by then, so it is told once and is
// no failure of this run.
func (uc *ReadHints) read(ctx context.Context, p payment.Payment, hints []ports.StoredEvent) error {
	_, err := ports.InSpan(ctx, uc.observer, "app.ReadHint", func(ctx context.Context) (payment.Payment, error) {
		if gone, err := uc.letGo(ctx, p, hints); err != nil || gone {
			return p, err
		}

		hint := hints[0]

		p, err := uc.refreshed(ctx, p, hint)
		if errors.Is(err, ports.ErrContradiction) {
			uc.observer.EventContradicts(ctx, ports.Event{ID: hint.ID, Type: hint.Type, ObjectID: hint.ObjectID}, err)
		}

		return p, err
	})
	if errors.Is(err, ports.ErrContradiction) {
		return nil
	}

	return err
}

// letGo lets the hints go that tell by now what our records say, and tells whether that were all of
// them. Most often they are about a refund of ours, and came before the answer to our call.
func (uc *ReadHints) letGo(ctx context.Context, p payment.Payment, hints []ports.StoredEvent) (bool, error) {
	if p.Status != payment.Succeeded {
		return false, nil
	}

	for _, hint := range hints {
		stored, err := uc.inbox.Event(ctx, hint.ID)
		if err != nil {
			return false, err
		}

		event, err := uc.webhooks.Parse(stored.Raw)
		if err != nil || !event.AboutMoney {
			return false, nil //nolint:nilerr // what cannot be read here is read at the provider
		}

		if gone, err := uc.inbox.LetGo(ctx, event); err != nil || !gone {
			return false, err
		}
	}

	return true, nil
}

// refreshed is the payment as its intent says, also if the database has lost it. A customer
// has no payment.
func (uc *ReadHints) refreshed(
	ctx context.Context, p payment.Payment, hint ports.StoredEvent,
) (payment.Payment, error) {
	id, intentID := p.ID, hint.ObjectID

	if hint.AboutCustomer() {
		return p, uc.park(ctx, hint.ObjectID, uc.customer.DoHint(ctx, hint.ObjectID))
	}

	if id == uuid.Nil {
		var err error
		if id, err = uc.adopt(ctx, intentID); err != nil {
			return p, uc.park(ctx, intentID, err)
		}
	}

	p, _, err := uc.refresh.Do(ctx, id, causeHint)

	return p, err
}

// park parks the hints of an intent that cannot be adopted.
func (uc *ReadHints) park(ctx context.Context, intentID string, cause error) error {
	if !errors.Is(cause, ports.ErrContradiction) {
		return cause
	}

	return errors.Join(cause, uc.inbox.ParkHints(ctx, intentID))
}

// adopt writes the payment of an intent of ours that the database has lost.
func (uc *ReadHints) adopt(ctx context.Context, intentID string) (uuid.UUID, error) {
	intent, err := uc.provider.Intent(ctx, intentID)
	if err != nil {
		return uuid.Nil, fmt.Errorf("reading it: %w", err)
	}

	if !intent.Marked || uc.ours.ForeignMark(intent) {
		return uuid.Nil, fmt.Errorf("it does not carry our mark any more: %w", ports.ErrContradiction)
	}

	// Its customer comes first, so that the payment names it.
	if intent.Customer != "" {
		if err := uc.customer.DoHint(ctx, intent.Customer); err != nil && !errors.Is(err, ports.ErrContradiction) {
			return uuid.Nil, err
		}
	}

	return intent.Mark.Operation, uc.engine.AdoptLost(ctx, ports.Object{Intent: intent}, operation.ByRecovery)
}
