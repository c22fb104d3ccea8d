package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// providerRetryAfter is what a client is told to wait when the provider is away.
const providerRetryAfter = 2 * time.Second

// finisher drives an operation to its end. The request, recovery and reconciliation
// all go through it, so that there is one way for a payment to come about.
type finisher struct {
	deps  Deps
	inbox *inbox
}

func newFinisher(deps Deps) *finisher { return &finisher{deps: deps, inbox: newInbox(deps)} }

// send sends a held operation's request to the provider and writes down what came
// of it. The operation it returns is finished; fault.Rejected says that it was rejected,
// and any other error leaves it pending, to be tried again.
func (s *finisher) send(ctx context.Context, op ports.Operation, by ports.Finisher) (ports.Operation, error) {
	if tooOld(op) {
		return op, s.release(ctx, op, fmt.Errorf("the operation is %s old: its key may be forgotten", ageOf(op)))
	}

	intent, err := s.call(ctx, op)

	var (
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
	)

	switch {
	case err == nil:
		return s.complete(ctx, op, intent, by)
	case errors.As(err, &rejected):
		return s.finishRejected(ctx, op, rejected, by)
	case errors.As(err, &deployment):
		return s.reject(ctx, op, deployment, by)
	default:
		return op, s.release(ctx, op, err)
	}
}

// call keeps the lease for as long as the provider takes.
func (s *finisher) call(ctx context.Context, op ports.Operation) (ports.Intent, error) {
	const beat = leaseFor / 2

	lasting, end := context.WithCancel(ctx)
	defer end()

	var extend func()

	extend = func() {
		if lasting.Err() != nil {
			return
		}

		// A lease that could not be extended is lost at worst: then somebody
		// else sends the same request under the same key.
		_ = s.deps.Operations.Extend(lasting, op, leaseFor)

		time.AfterFunc(beat, extend)
	}

	defer time.AfterFunc(beat, extend).Stop()

	return s.deps.Gateway.CreateIntent(ctx, op.Request, op.Attempts > 1)
}

// complete writes the payment that an intent makes of an operation.
func (s *finisher) complete(
	ctx context.Context, op ports.Operation, intent ports.Intent, by ports.Finisher,
) (ports.Operation, error) {
	completion, err := s.completion(op, intent, by)
	if err != nil {
		return op, s.contradiction(ctx, op, err)
	}

	// The intent exists: giving up now would lose it until recovery finds it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()

	done, err := s.deps.Operations.Finish(ctx, completion)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, s.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op.Key, err, providerRetryAfter)
	}

	s.finished(ctx, completion, done, by)

	return done.Operation, nil
}

// completion is the payment that operation becomes through intent. An intent that
// is not what the operation asked for is ports.ErrContradiction. An event alone may
// be silent about the amount, and about the client's secret: then there is no
// response yet.
func (s *finisher) completion(op ports.Operation, intent ports.Intent, by ports.Finisher) (ports.Completion, error) {
	silent := by == ports.ByWebhook && intent.Amount.IsZero()
	if !silent && intent.Amount != op.Order.Amount {
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

	if by != ports.ByWebhook || intent.ClientSecret != "" {
		completion.Response = new(s.deps.Renderer.Created(p, intent.ClientSecret))
	}

	return completion, nil
}

// completed does what follows a completion: none of it can fail the payment.
func (s *finisher) finished(ctx context.Context, c ports.Completion, done ports.Finished, by ports.Finisher) {
	if done.Created {
		s.deps.Recorder.PaymentChanged(c.Payment.Status, c.Payment.Amount)
		s.deps.Log.Info("payment created", logctx.Field(ctx), zap.Stringer("payment_id", c.Payment.ID),
			zap.String("intent_id", c.Payment.IntentID), zap.String("by", string(by)))
	}

	if done.Operation.Finished() {
		s.remember(ctx, done.Operation)
	}

	if c.Response != nil {
		s.deps.Recorder.OperationFinished(by, ports.FinishDone)
	}

	if done.Parked {
		s.inbox.applyReadyFor(ctx, c.Payment.IntentID)
	}
}

func (s *finisher) finishRejected(
	ctx context.Context, op ports.Operation, rejected *ports.RejectedError, by ports.Finisher,
) (ports.Operation, error) {
	kind := fault.Rejected
	if rejected.Amount {
		kind = fault.AmountRejected
	}

	f := fault.Wrap(kind, rejected, "The payment provider rejected this payment: "+rejected.Message)

	finished, err := s.deps.Operations.FinishRejected(context.WithoutCancel(ctx), op.PaymentID,
		s.deps.Renderer.Rejected(f, op.Origin.RequestID))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, s.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op.Key, err, providerRetryAfter)
	}

	s.deps.Recorder.OperationFinished(by, ports.FinishRejected)
	s.deps.Log.Warn("payment rejected by the provider", logctx.Field(ctx),
		zap.Stringer("payment_id", finished.PaymentID), zap.String("code", rejected.Code))
	s.remember(ctx, finished)

	return finished, nil
}

// reject gives an operation back whose request the provider did not take because of the
// deployment. Nothing is frozen: whoever repeats the request opens it again.
func (s *finisher) reject(
	ctx context.Context, op ports.Operation, rejected *ports.DeploymentError, by ports.Finisher,
) (ports.Operation, error) {
	stands, err := s.deps.Operations.Reject(context.WithoutCancel(ctx), op, rejected)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, s.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op.Key, err, providerRetryAfter)
	case stands.Finished():
		return stands, nil
	case stands.State != operation.Rejected: // somebody else has sent it meanwhile
		return op, errUnknown(op.Key, rejected, providerRetryAfter)
	}

	s.deps.Recorder.OperationFinished(by, ports.FinishDeploymentRejected)
	s.deps.Log.Error("the provider does not accept requests of this deployment", logctx.Field(ctx),
		zap.Stringer("payment_id", stands.PaymentID), zap.String("code", rejected.Code), zap.Error(rejected))

	return stands, errRejected(op, rejected)
}

func (s *finisher) remember(ctx context.Context, op ports.Operation) {
	if op.Key == "" || !op.Finished() {
		return
	}

	s.deps.Cache.Put(ctx, op.Key, replayOf(op))
}

// release leaves an operation to recovery, because nobody knows what came of it.
func (s *finisher) release(ctx context.Context, op ports.Operation, cause error) error {
	ctx = context.WithoutCancel(ctx)
	pause, news, tell := retryIn(op.Age), "outcome unknown", errUnknown

	if errors.Is(cause, ports.ErrUnavailable) { // go on as soon as the provider is back
		pause, news, tell = retryIn(0), "not sent yet", errNotSent
	}

	s.deps.Log.Warn(news, logctx.Field(ctx), zap.Stringer("payment_id", op.PaymentID),
		zap.Int("attempts", op.Attempts), zap.Error(cause))

	// Where this fails too, the lease runs out by itself.
	if err := s.deps.Operations.Release(ctx, op, pause, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return tell(op.Key, cause, providerRetryAfter)
}

// contradiction hands an operation to a person.
func (s *finisher) contradiction(ctx context.Context, op ports.Operation, cause error) error {
	s.deps.Recorder.DiscrepancyFound(ports.DiscrepancyContradiction, false)
	s.deps.Log.Error("the provider contradicts our records", logctx.Field(ctx),
		zap.Stringer("payment_id", op.PaymentID), zap.Error(cause))

	if err := s.deps.Operations.GiveUp(context.WithoutCancel(ctx), op.PaymentID, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return errUnknown(op.Key, cause, time.Minute)
}

// retryIn grows with an operation's age, so that one which has waited for a minute
// is tried within seconds and one that has waited for a day costs little.
func retryIn(age time.Duration) time.Duration {
	const (
		least, most = 500 * time.Millisecond, 5 * time.Minute
		share       = 20
	)

	pause := backoff.NewExponentialBackOff() // half as much more or less by chance
	pause.InitialInterval = min(max(age/share, least), most)

	return pause.NextBackOff()
}

// ageOf goes by the database's clock and by ours: one of them may have been set back.
func ageOf(op ports.Operation) time.Duration { return max(op.Age, time.Since(op.CreatedAt)) }

// tooOld: the provider may have forgotten the operation's key.
func tooOld(op ports.Operation) bool { return ageOf(op) > resendFor }

func errUnknown(key operation.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The outcome is not known yet. "+whatToDo(key)).After(retryAfter)
}

// errNotSent is of fault.Unknown too: the operation stands, and recovery will send it.
func errNotSent(key operation.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The payment provider cannot be reached, so nothing has been sent yet. "+
		"It is tried again without you, and the payment may still be made. "+whatToDo(key)).After(retryAfter)
}

func whatToDo(key operation.Key) string {
	if key == "" {
		return "The request had no idempotency key: sending it again may create a second payment."
	}

	return "Send the same request again, with the same idempotency key."
}

func errRejected(op ports.Operation, rejected *ports.DeploymentError) error {
	next := "Once it is repaired, send the same request again, with the same idempotency key."

	switch {
	case op.Key == "":
		next = "Once it is repaired, send the request again."
	case rejected.Kept:
		next = "The provider keeps this answer for this idempotency key until about " +
			op.CreatedAt.Add(keptFor).UTC().Format(time.RFC3339) + ". Once it is repaired, use a new key; " +
			"that is safe, because nothing was made under this one."
	}

	return fault.Wrap(fault.Rejected, rejected, "The payment provider did not accept the request because of how this "+
		"service is set up there, not because of the payment. Nothing was made or charged. "+next+
		" The provider says: "+rejected.Message)
}
