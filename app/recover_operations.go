package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

const (
	// recoverBatch is how many operations one run takes, and recoverAtOnce how many
	// of them it sends at a time.
	recoverBatch, recoverAtOnce = 64, 8
	// clockSkew is how far our clocks and the provider's may be apart when
	// intents are looked for by their creation time.
	clockSkew = 15 * time.Minute
)

// RecoverOperations finishes what a crash or an unknown outcome left behind.
type RecoverOperations struct {
	deps   Deps
	finish *finisher
	// searching: a run of this process looks through the provider's list, which
	// may take long. Others leave their operations for later and go on.
	searching sync.Mutex
}

// NewRecoverOperations returns the use case.
func NewRecoverOperations(deps Deps) *RecoverOperations {
	return &RecoverOperations{deps: deps, finish: newFinisher(deps)}
}

// Recovered is what one run did.
type Recovered struct {
	// Taken operations were Finished, were GivenUp to a person, or wait for the
	// next run.
	Taken, Finished, GivenUp int
}

// Do takes a batch of unfinished operations. Each is sent again under its own key
// while the provider remembers keys; where that tells nothing, or the key is
// too old to be sent, it is looked for among the provider's intents. An operation
// is never called failed because time has passed.
//
// Each operation gets a trace of its own that points to the request that asked for
// it; about says what the job is in its terms. A run that finds nothing leaves
// no trace.
func (uc *RecoverOperations) Do(ctx context.Context, about ...trace.SpanStartOption) (Recovered, error) {
	if err := uc.deps.Gateway.Ready(); err != nil {
		return Recovered{}, nil //nolint:nilerr // the operations wait; the gateway's own metrics tell
	}

	ops, err := uc.deps.Operations.Take(ctx, recoverBatch, ports.Lease{Token: uuid.New(), For: leaseFor})
	if err != nil || len(ops) == 0 {
		return Recovered{}, err
	}

	result := Recovered{Taken: len(ops)}
	open := uc.resend(ctx, ops, about)
	result.Finished = len(ops) - len(open)

	missing := suspects(open)
	if ready := uc.deps.Gateway.Ready() == nil; !ready || len(missing) == 0 {
		return result, nil
	}

	return uc.find(ctx, missing, result, about)
}

// find adds to result what a search brings, unless one is under way.
func (uc *RecoverOperations) find(
	ctx context.Context, missing map[uuid.UUID]ports.Operation, result Recovered, about []trace.SpanStartOption,
) (Recovered, error) {
	if !uc.searching.TryLock() {
		return result, nil
	}
	defer uc.searching.Unlock()

	return inSpan(ctx, uc.deps.Tracer, "app.FindLostIntents", func(ctx context.Context) (Recovered, error) {
		found, given, err := uc.search(ctx, missing)
		result.Finished += found
		result.GivenUp = given

		return result, err
	}, about...)
}

// resend returns the operations that are still open.
func (uc *RecoverOperations) resend(
	ctx context.Context, ops []ports.Operation, about []trace.SpanStartOption,
) []ports.Operation {
	var (
		mu   sync.Mutex
		open []ports.Operation
	)

	workers := new(errgroup.Group)
	workers.SetLimit(recoverAtOnce)

	for _, op := range ops {
		workers.Go(func() error {
			err := uc.resendOne(ctx, op, about)
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

func (uc *RecoverOperations) resendOne(ctx context.Context, op ports.Operation, about []trace.SpanStartOption) error {
	ctx, cancel := patiently(ctx)
	defer cancel()

	opts := append(slices.Clone(about),
		trace.WithAttributes(attribute.String("marketflow.payment.id", op.PaymentID.String())))
	if link, ok := linkTo(op.Origin.TraceParent); ok {
		opts = append(opts, trace.WithLinks(link))
	}

	_, err := inSpan(ctx, uc.deps.Tracer, "app.RecoverOperation", func(ctx context.Context) (ports.Operation, error) {
		return uc.finish.send(ctx, op, ports.ByRecovery)
	}, opts...)

	return err
}

// suspects are the operations whose intent may exist although sending again does
// not say so: a 500 that Stripe keeps and replays although it had its effect,
// or a key that is too old to be sent.
func suspects(open []ports.Operation) map[uuid.UUID]ports.Operation {
	byPayment := make(map[uuid.UUID]ports.Operation)

	for _, op := range open {
		if op.Attempts > 1 {
			byPayment[op.PaymentID] = op
		}
	}

	return byPayment
}

// search looks for the operations' intents by the payment id in their metadata.
func (uc *RecoverOperations) search(ctx context.Context, missing map[uuid.UUID]ports.Operation) (found, given int, err error) {
	now := time.Now()
	for intent, err := range uc.deps.Gateway.Intents(ctx, oldest(missing).Add(-clockSkew), now.Add(clockSkew)) {
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

	// Every intent of the whole time was seen, so this is the end for those
	// that may not be sent again.
	for _, op := range missing {
		if op.Age <= resendFor {
			continue
		}

		if err := uc.giveUp(ctx, op); err != nil {
			return found, given, err
		}

		given++
	}

	return found, given, nil
}

// adopt completes an operation with an intent that was found.
func (uc *RecoverOperations) adopt(ctx context.Context, op ports.Operation, intent ports.Intent) error {
	if intent.ClientSecret == "" {
		whole, err := uc.deps.Gateway.Intent(ctx, intent.ID)
		if err != nil {
			return fmt.Errorf("reading intent %s: %w", intent.ID, err)
		}

		intent = whole
	}

	if link, ok := linkTo(op.Origin.TraceParent); ok {
		trace.SpanFromContext(ctx).AddLink(link)
	}

	_, err := uc.finish.complete(ctx, op, intent, ports.ByRecovery)

	return err
}

func (uc *RecoverOperations) giveUp(ctx context.Context, op ports.Operation) error {
	cause := errors.New("its key is too old to be sent again and the provider lists no intent for it")
	uc.deps.Log.Error("operation needs attention", logctx.Field(ctx), zap.Stringer("payment_id", op.PaymentID),
		zap.Duration("age", op.Age), zap.Error(cause))

	if err := uc.deps.Operations.GiveUp(ctx, op.PaymentID, cause); err != nil {
		return fmt.Errorf("operation %s: %w", op.PaymentID, err)
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
