package operations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Finish finishes an operation with its intent and writes the payment. If the intent is
// not what the operation asked for, the operation needs attention.
func (e *Engine) Finish(
	ctx context.Context, op ports.Operation, intent ports.Intent, by operation.Finisher,
) (ports.Operation, error) {
	completion, err := e.Completion(op, intent, by)
	if err != nil {
		return op, e.contradiction(ctx, op, err)
	}

	// The intent exists. If the client's disconnect ended this, the intent would be lost
	// until recovery finds it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()

	done, err := e.operations.Finish(ctx, completion)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op.Key, err, providerRetryAfter)
	}

	e.Finished(ctx, completion, done, by)

	return done.Operation, nil
}

// Completion returns what Finish writes for an operation and its intent. If the intent is
// not what the operation asked for, the error is ports.ErrContradiction. An event may lack
// the amount and the client's secret. Without the secret there is no response yet.
func (e *Engine) Completion(
	op ports.Operation, intent ports.Intent, by operation.Finisher,
) (ports.Completion, error) {
	untold := by == operation.ByWebhook && intent.Amount.IsZero()
	if !untold && intent.Amount != op.Order.Amount {
		return ports.Completion{}, fmt.Errorf("intent %s is for %s, operation %s for %s: %w",
			intent.ID, intent.Amount, op.PaymentID, op.Order.Amount, ports.ErrContradiction)
	}

	p := payment.Payment{
		ID:        op.PaymentID,
		IntentID:  intent.ID,
		Key:       op.Key,
		Amount:    op.Order.Amount,
		Metadata:  op.Order.Metadata,
		Status:    intent.Status,
		CreatedAt: op.CreatedAt,
	}
	completion := ports.Completion{Payment: p, Cause: string(by)}

	if by != operation.ByWebhook || intent.ClientSecret != "" {
		completion.Response = new(e.renderer.Created(p, intent.ClientSecret))
	}

	return completion, nil
}

// Finished does what follows once a completion is committed. A failure here does not harm
// the payment.
func (e *Engine) Finished(
	ctx context.Context, c ports.Completion, done ports.Finished, by operation.Finisher,
) {
	if done.Created {
		e.observer.PaymentCreated(ctx, c.Payment, by)
	}

	e.remember(ctx, done.Operation)

	if c.Response != nil {
		e.observer.OperationFinished(ctx, done.Operation.PaymentID, by, operation.OutcomeDone, nil)
	}

	if done.Parked {
		e.parked.ApplyFor(ctx, c.Payment.IntentID)
	}
}

// finishRejected finishes an operation with the provider's rejection of the order, which
// becomes the answer for ever.
func (e *Engine) finishRejected(
	ctx context.Context, op ports.Operation, rejected *ports.RejectedError, by operation.Finisher,
) (ports.Operation, error) {
	kind := fault.Rejected
	if rejected.Amount {
		kind = fault.AmountRejected
	}

	f := fault.Wrap(kind, rejected, "The payment provider rejected this payment: "+rejected.Message)

	finished, err := e.operations.FinishRejected(context.WithoutCancel(ctx), op.PaymentID,
		e.renderer.Rejected(f, op.Origin.RequestID))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op.Key, err, providerRetryAfter)
	}

	e.observer.OperationFinished(ctx, finished.PaymentID, by, operation.OutcomeRejected, rejected)
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
		return op, errUnknown(op.Key, err, providerRetryAfter)
	case stands.Finished():
		return stands, nil
	case stands.State != operation.Rejected: // another process has sent it meanwhile
		return op, errUnknown(op.Key, rejected, providerRetryAfter)
	}

	e.observer.OperationFinished(ctx, stands.PaymentID, by, operation.OutcomeDeploymentRejected, rejected)

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

	return tell(op.Key, cause, providerRetryAfter)
}

// contradiction hands an operation to a person, because the provider contradicts our
// records.
func (e *Engine) contradiction(ctx context.Context, op ports.Operation, cause error) error {
	e.observer.NeedsAttention(ctx, op, cause)

	if err := e.operations.GiveUp(context.WithoutCancel(ctx), op.PaymentID, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return errUnknown(op.Key, cause, time.Minute)
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
