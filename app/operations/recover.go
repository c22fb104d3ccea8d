package operations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

const (
	// recoverBatch is how many operations one run takes. recoverAtOnce is how many of
	// them it sends at the same time.
	recoverBatch, recoverAtOnce = 64, 8
	// clockSkew is how far our clock and the provider's may differ when intents are
	// searched by their creation time.
	clockSkew = 15 * time.Minute
)

// Recover finishes operations that a crash or an unknown outcome left pending.
type Recover struct {
	operations ports.Operations
	provider   ports.Provider
	engine     *Engine
	observer   Observer
	// searching is held while a run of this process reads the provider's list, which
	// may take long. Other runs do not wait; they leave their search for later.
	searching sync.Mutex
}

// NewRecover returns the use case.
func NewRecover(
	operations ports.Operations, provider ports.Provider, engine *Engine, observer Observer,
) *Recover {
	return &Recover{operations: operations, provider: provider, engine: engine, observer: observer}
}

// Recovered is what one run did.
type Recovered struct {
	// Of the operations Taken, some were Finished, some were GivenUp to a person, and
	// the rest wait for the next run.
	Taken, Finished, GivenUp int
}

// Do takes a batch of unfinished operations. It sends each again under its own key while
// the provider remembers the key. If that does not show what happened, or the key is too
// old, it looks for what the operation has made or changed at the provider. An operation
// never counts as failed only because time has passed.
//
// Each operation gets its own trace, which links to the request that asked for it. A run
// that finds nothing leaves no trace.
func (uc *Recover) Do(ctx context.Context) (Recovered, error) {
	if err := uc.provider.Ready(); err != nil {
		return Recovered{}, nil //nolint:nilerr // the operations wait; the provider's own metrics show the outage
	}

	ops, err := uc.operations.Take(ctx, recoverBatch, ports.Lease{Token: uuid.New(), For: LeaseFor})
	if err != nil || len(ops) == 0 {
		return Recovered{}, err
	}

	result := Recovered{Taken: len(ops)}
	open := uc.resend(ctx, ops)
	result.Finished = len(ops) - len(open)

	if uc.provider.Ready() != nil {
		return result, nil //nolint:nilerr // the rest waits
	}

	missing := make(map[uuid.UUID]ports.Operation)

	for _, op := range open {
		switch definition, err := uc.engine.definition(op); {
		case err != nil:
		case op.Attempts <= 1 && !tooOld(op): // it was never sent before, so there is nothing to find
		case definition.Recover == nil:
			missing[op.ID] = op
		default:
			uc.lookUp(ctx, definition, op, &result)
		}
	}

	if len(missing) == 0 {
		return result, nil
	}

	return uc.find(ctx, missing, result)
}

// lookUp reads what became of an operation on a payment, and adds to result. If it cannot
// be told, the operation waits for the next run.
func (uc *Recover) lookUp(ctx context.Context, definition Definition, op ports.Operation, result *Recovered) {
	ctx, cancel := withSendTimeout(ctx)
	defer cancel()

	_, _ = ports.InSpanOf(ctx, uc.observer, "app.LookUpOperation", op, func(ctx context.Context) (ports.Operation, error) {
		found, err := definition.Recover(ctx, op, nil)

		switch {
		case errors.Is(err, ports.ErrContradiction):
			err = uc.engine.contradiction(ctx, op, err)
			result.GivenUp++
		case err != nil:
		case found.Object != nil:
			op, err = uc.engine.Finish(ctx, op, *found.Object, operation.ByRecovery)
		case found.Rejected != nil && mayRefuse(op) != nil:
			err = mayRefuse(op)
		case found.Rejected != nil:
			op, err = uc.engine.finishRejected(ctx, op, found.Rejected, operation.ByRecovery)
		case op.Age > operation.SendFor:
			if err = uc.giveUp(ctx, op); err == nil {
				result.GivenUp++
			}
		}

		if op.Finished() {
			result.Finished++
		}

		return op, err
	})
}

// find searches the provider's list and adds to result, unless a search is running already.
func (uc *Recover) find(
	ctx context.Context, missing map[uuid.UUID]ports.Operation, result Recovered,
) (Recovered, error) {
	if !uc.searching.TryLock() {
		return result, nil
	}
	defer uc.searching.Unlock()

	return ports.InSpan(ctx, uc.observer, "app.FindLostIntents", func(ctx context.Context) (Recovered, error) {
		found, given, err := uc.search(ctx, missing)
		result.Finished += found
		result.GivenUp = given

		return result, err
	})
}

// resend sends the operations again and returns those that are still unfinished.
func (uc *Recover) resend(ctx context.Context, ops []ports.Operation) []ports.Operation {
	var (
		mu   sync.Mutex
		open []ports.Operation
	)

	workers := new(errgroup.Group)
	workers.SetLimit(recoverAtOnce)

	for _, op := range ops {
		workers.Go(func() error {
			err := uc.resendOne(ctx, op)
			if err != nil && fault.KindOf(err) != fault.Rejected { // rejected: there is nothing to look for
				mu.Lock()
				defer mu.Unlock()

				open = append(open, op)
			}

			return nil
		})
	}

	_ = workers.Wait() // each operation's own error is in the log

	return open
}

func (uc *Recover) resendOne(ctx context.Context, op ports.Operation) error {
	ctx, cancel := withSendTimeout(ctx)
	defer cancel()

	_, err := ports.InSpanOf(ctx, uc.observer, "app.RecoverOperation", op,
		func(ctx context.Context) (ports.Operation, error) {
			return uc.engine.Send(ctx, op, operation.ByRecovery)
		})

	return err
}

// search looks for the intents of creates by the payment id in their metadata. They may
// exist although sending again did not show it: Stripe may have kept a 500 although the
// call had its effect, and replays that 500, or the key is too old to be sent.
func (uc *Recover) search(ctx context.Context, missing map[uuid.UUID]ports.Operation) (found, given int, err error) {
	now := time.Now()
	for intent, err := range uc.provider.Intents(ctx, oldest(missing).Add(-clockSkew), now.Add(clockSkew)) {
		if err != nil {
			return found, 0, fmt.Errorf("looking for lost intents: %w", err)
		}

		op, ok := missing[intent.PaymentID]
		if !ok {
			continue
		}

		if err := uc.adopt(ctx, op, intent); err != nil {
			return found, 0, err
		}

		delete(missing, intent.PaymentID)

		if found++; len(missing) == 0 {
			return found, 0, nil
		}
	}

	// The whole list was read, so those that are too old to be sent need a person.
	for _, op := range missing {
		if op.Age <= operation.SendFor {
			continue
		}

		if err := uc.giveUp(ctx, op); err != nil {
			return found, given, err
		}

		given++
	}

	return found, given, nil
}

// adopt finishes an operation with an intent that was found.
func (uc *Recover) adopt(ctx context.Context, op ports.Operation, intent ports.Intent) error {
	if intent.ClientSecret == "" {
		whole, err := uc.provider.Intent(ctx, intent.ID)
		if err != nil {
			return fmt.Errorf("reading intent %s: %w", intent.ID, err)
		}

		intent = whole
	}

	uc.observer.Link(ctx, op.Origin)

	_, err := uc.engine.Finish(ctx, op, ports.Object{Intent: intent}, operation.ByRecovery)

	return err
}

func (uc *Recover) giveUp(ctx context.Context, op ports.Operation) error {
	cause := errors.New("its key is too old to be sent again, and the provider does not show that it was done")
	uc.observer.NeedsAttention(ctx, op, cause)

	if err := uc.operations.GiveUp(ctx, op.ID, cause); err != nil {
		return fmt.Errorf("operation %s: %w", op.ID, err)
	}

	return nil
}

func oldest(ops map[uuid.UUID]ports.Operation) time.Time {
	first := time.Now()

	for _, op := range ops {
		if op.CreatedAt.Before(first) {
			first = op.CreatedAt
		}
	}

	return first
}
