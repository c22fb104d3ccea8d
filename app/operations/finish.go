package operations

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Finish finishes an operation with the provider's object, and writes what follows. If the
// object is not what the operation asked for, the operation needs attention.
func (e *Engine) Finish(
	ctx context.Context, op ports.Operation, object ports.Object, by operation.Finisher,
) (ports.Operation, error) {
	result, err := e.Result(op, object, by)
	if err != nil {
		return op, e.contradiction(ctx, op, err)
	}

	// It is done at the provider. If the client's disconnect ended this, that would not be
	// written down until recovery finds it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()

	var done ports.Finished
	if result.Made != nil {
		done, err = e.operations.Finish(ctx, *result.Made)
	} else {
		done, err = e.operations.FinishOn(ctx, op.ID, string(by), result.On)
	}

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op, err, providerRetryAfter)
	}

	e.Finished(ctx, result, done, by)

	return done.Operation, nil
}

// Result returns what Finish writes for an operation and its object. If the object is not
// what the operation asked for, the error is ports.ErrContradiction.
func (e *Engine) Result(op ports.Operation, object ports.Object, by operation.Finisher) (Result, error) {
	definition, err := e.definition(op)
	if err != nil {
		return Result{}, err
	}

	return definition.Done(op, object, by)
}

// Finished does what follows once a result is committed. A failure here does not harm the
// payment.
func (e *Engine) Finished(ctx context.Context, result Result, done ports.Finished, by operation.Finisher) {
	e.remember(ctx, done.Operation)

	if made := result.Made; made != nil {
		if done.Created {
			e.observer.PaymentCreated(ctx, made.Payment, by)
		}

		if made.Response == nil { // it is not finished before the answer is known
			return
		}
	} else {
		e.observer.PaymentChanged(ctx, done.Before, done.After)
	}

	e.observer.OperationFinished(ctx, done.Operation, by, operation.OutcomeDone, nil)

	if done.Parked {
		e.parked.ApplyFor(ctx, result.Made.Payment.IntentID)
	}
}

// finishRejected finishes an operation that was not done and never will be. The answer is
// frozen.
func (e *Engine) finishRejected(
	ctx context.Context, op ports.Operation, answer *fault.Error, by operation.Finisher,
) (ports.Operation, error) {
	finished, err := e.operations.FinishRejected(context.WithoutCancel(ctx), op.ID,
		e.renderer.Rejected(answer, op.Origin.RequestID))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op, err, providerRetryAfter)
	}

	e.observer.OperationFinished(ctx, finished, by, operation.OutcomeRejected, answer)
	e.remember(ctx, finished)

	return finished, nil
}

// reject marks an operation whose call the provider rejected because of the deployment.
// No answer is frozen: a repeated request opens the operation again.
func (e *Engine) reject(
	ctx context.Context, op ports.Operation, rejected *ports.DeploymentError, by operation.Finisher,
) (ports.Operation, error) {
	stands, err := e.operations.Reject(context.WithoutCancel(ctx), op, rejected)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op, err, providerRetryAfter)
	case stands.Finished():
		return stands, nil
	case stands.State != operation.Rejected: // another process has sent it meanwhile
		return op, errUnknown(op, rejected, providerRetryAfter)
	}

	e.observer.OperationFinished(ctx, stands, by, operation.OutcomeDeploymentRejected, rejected)

	return stands, errRejected(op, rejected)
}

// release leaves an operation to recovery, because its outcome is not known.
func (e *Engine) release(ctx context.Context, op ports.Operation, cause error) error {
	ctx = context.WithoutCancel(ctx)
	pause, tell := retryIn(op.Age), errUnknown

	if errors.Is(cause, ports.ErrUnavailable) { // try again as soon as the provider is back
		pause, tell = retryIn(0), errNotSent
	}

	e.observer.OutcomeUnknown(ctx, op, cause)

	// If this fails too, the lease expires by itself.
	if err := e.operations.Release(ctx, op, pause, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return tell(op, cause, providerRetryAfter)
}

// contradiction hands an operation to a person, because the provider contradicts our
// records.
func (e *Engine) contradiction(ctx context.Context, op ports.Operation, cause error) error {
	e.observer.NeedsAttention(ctx, op, cause)

	if err := e.operations.GiveUp(context.WithoutCancel(ctx), op.ID, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return errUnknown(op, cause, time.Minute)
}

// retryIn is the pause before the next attempt. It grows with the operation's age: after
// a minute it is seconds, after a day it is minutes, so that old operations cost little.
func retryIn(age time.Duration) time.Duration {
	const (
		least, most = 500 * time.Millisecond, 5 * time.Minute
		share       = 20
	)

	pause := backoff.NewExponentialBackOff() // adds or takes off up to half, at random
	pause.InitialInterval = min(max(age/share, least), most)

	return pause.NextBackOff()
}
