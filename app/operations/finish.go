package operations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
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

	done, err := e.finish(ctx, op, result, by)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		done, err = e.restore(ctx, op, object, result, by)
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

func (e *Engine) finish(
	ctx context.Context, op ports.Operation, result Result, by operation.Finisher,
) (ports.Finished, error) {
	switch {
	case result.Made != nil:
		return e.operations.Finish(ctx, *result.Made)
	case result.Customer != nil:
		return e.operations.FinishOnCustomer(ctx, op.ID, *result.Customer)
	default:
		change := *result.On
		change.Subject, change.Seen, change.Asked = op.Subject, op.Seen, op.Fingerprint

		return e.operations.FinishOn(ctx, op.ID, string(by), change)
	}
}

// restore finishes an operation that has vanished from the database while it was worked
// on, by what the provider's object says.
func (e *Engine) restore(
	ctx context.Context, op ports.Operation, object ports.Object, result Result, by operation.Finisher,
) (ports.Finished, error) {
	if op.Kind.Makes() {
		return e.restoreMade(ctx, again(op), result, nil)
	}

	// What it is about may have vanished too.
	if object.Refund.ID != "" {
		if err := e.adoptRefund(ctx, op, object, by); err != nil {
			return ports.Finished{}, err
		}
	} else if err := e.AdoptLost(ctx, object, by); err != nil {
		return ports.Finished{}, err
	}

	if e.definitions[op.Kind].Reserve != nil { // it has come home with what it has made
		op, err := e.operations.FindByID(ctx, op.ID)

		return ports.Finished{Operation: op}, err
	}

	lost := again(op)
	lost.Lease = ports.Lease{Token: uuid.New(), For: LeaseFor}

	if _, err := e.operations.Begin(ctx, lost); err != nil {
		return ports.Finished{}, err
	}

	return e.finish(ctx, op, result, by)
}

// adoptRefund brings the payment of a refund home, and with it its refunds and what has made
// them.
func (e *Engine) adoptRefund(
	ctx context.Context, op ports.Operation, object ports.Object, by operation.Finisher,
) error {
	intent, err := e.provider.Intent(ctx, object.Refund.IntentID)
	if err != nil {
		return fmt.Errorf("reading intent %s: %w", object.Refund.IntentID, err)
	}

	if err := e.AdoptLost(ctx, ports.Object{Intent: intent}, by); err != nil {
		return err
	}

	_, err = e.definitions[op.Kind].Recover(ctx, op, nil)

	return err
}

// restoreMade writes an operation that has made something, with what it has made; without a
// result it needs attention, because of cause.
func (e *Engine) restoreMade(
	ctx context.Context, lost ports.NewOperation, result Result, cause error,
) (ports.Finished, error) {
	if lost.Kind == operation.CreateCustomer {
		return e.operations.RestoreCustomer(ctx, lost, result.Customer, cause)
	}

	return e.operations.Restore(ctx, lost, result.Made, cause)
}

// AdoptLost writes the operation and the payment, or the customer, of an object of ours, which the database
// has lost, as the object says. If it is there, nothing changes. An object that
// cannot be adopted leaves an operation that needs attention, so that it is never sent;
// the error is ports.ErrContradiction then.
func (e *Engine) AdoptLost(ctx context.Context, object ports.Object, by operation.Finisher) error {
	kind := operation.Create
	if object.Intent.ID == "" {
		kind = operation.CreateCustomer
	}

	lost, err := e.definitions[kind].Lost(object)
	if err != nil {
		return err
	}

	result, err := e.Result(pendingOf(lost), object, by)

	var done ports.Finished
	if err == nil {
		done, err = e.restoreMade(ctx, lost, result, nil)
	}

	if errors.Is(err, ports.ErrContradiction) {
		e.observer.NeedsAttention(ctx, pendingOf(lost), err)

		if _, failed := e.restoreMade(ctx, lost, Result{}, err); failed != nil {
			return failed
		}

		return err
	}

	if err == nil {
		e.Finished(ctx, result, done, by)
	}

	return err
}

// AdoptDone writes down, as finished, the operation that has changed a payment as its object
// says, if the database has lost that. p is the payment as the object, just read, says.
func (e *Engine) AdoptDone(
	ctx context.Context, kind operation.Kind, p payment.Payment, object ports.Object, by operation.Finisher,
) error {
	lost, err := e.definitions[kind].LostOn(p, object)
	if err != nil {
		return err
	}

	op, err := e.operations.FindByID(ctx, lost.ID)

	switch {
	case fault.KindOf(err) == fault.NotFound && err != nil: // in one commit: it is never pending, so it is never sent
		if lost.Response == nil {
			lost.Response = new(e.renderer.Payment(p))
		}

		op, err = e.operations.Begin(ctx, lost)
	case err != nil:
		return err
	}

	switch {
	case err != nil:
		return err
	case op.Kind != kind || op.Subject != p.ID:
		return fmt.Errorf("operation %s is a %s of payment %s, not a %s of %s: %w",
			op.ID, op.Kind, op.Subject, kind, p.ID, ports.ErrContradiction)
	case op.Incarnation != "": // this call wrote it
		e.observer.OperationFinished(ctx, op, by, operation.OutcomeDone, nil)

		return nil
	case op.Row().Ends(lost.Copied) != operation.Finishes:
		return nil
	}

	_, err = e.Finish(ctx, op, object, by)

	return err
}

// pendingOf is a lost operation as if it were written down.
func pendingOf(lost ports.NewOperation) ports.Operation {
	return ports.Operation{
		ID: lost.ID, Tenant: lost.Tenant, Kind: lost.Kind, Subject: lost.Subject, Key: lost.Key, Order: lost.Order,
		Fingerprint: lost.Fingerprint(), Call: lost.Call, State: operation.Pending, CreatedAt: lost.CreatedAt,
	}
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
	} else if result.On != nil {
		e.observer.PaymentChanged(ctx, done.Before, done.After)
		e.observer.RefundsChanged(ctx, done.FullBefore, done.FullAfter)
	}

	outcome := operation.OutcomeDone
	if done.Operation.Declined() {
		outcome = operation.OutcomeDeclined
	}

	e.observer.OperationFinished(ctx, done.Operation, by, outcome, nil)

	if done.Parked {
		e.parked.ApplyFor(ctx, result.Made.Payment.IntentID)
	}
}

// finishRejected finishes an operation that was not done and never will be. The answer is
// frozen.
func (e *Engine) finishRejected(
	ctx context.Context, op ports.Operation, answer *fault.Error, by operation.Finisher,
) (ports.Operation, error) {
	finished, err := e.operations.FinishRejected(context.WithoutCancel(ctx), op,
		e.renderer.Rejected(answer, op.Origin.RequestID))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op, err, providerRetryAfter)
	case !finished.Finished(): // the database has lost this request, and another one has its key now
		return finished, errInFlight(finished)
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

	switch {
	case errors.Is(cause, ports.ErrUnavailable): // try again as soon as the provider is back
		pause, tell = retryIn(0), errNotSent
	case errors.Is(cause, errKeyForgotten): // recovery looks for it next; if that fails, soon again
		pause = retryIn(time.Minute)
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
