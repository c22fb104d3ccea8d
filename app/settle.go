package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// providerRetryAfter is what a client is told to wait when the provider is away.
const providerRetryAfter = 2 * time.Second

// settler drives a claim to its end. The request, recovery and reconciliation
// all go through it, so that there is one way for a payment to come about.
type settler struct {
	deps  Deps
	inbox *inbox
}

func newSettler(deps Deps) *settler { return &settler{deps: deps, inbox: newInbox(deps)} }

// send sends a held claim's request to the provider and writes down what came
// of it. The claim it returns is finished; fault.Refused says that it was rejected,
// and any other error leaves it pending, to be tried again.
func (s *settler) send(ctx context.Context, claim ports.Claim, by ports.Finisher) (ports.Claim, error) {
	if tooOld(claim) {
		return claim, s.release(ctx, claim, fmt.Errorf("the claim is %s old: its key may be forgotten", ageOf(claim)))
	}

	intent, err := s.call(ctx, claim)

	var (
		refused  *ports.RefusedError
		rejected *ports.RejectedError
	)

	switch {
	case err == nil:
		return s.complete(ctx, claim, intent, by)
	case errors.As(err, &refused):
		return s.refuse(ctx, claim, refused, by)
	case errors.As(err, &rejected):
		return s.reject(ctx, claim, rejected, by)
	default:
		return claim, s.release(ctx, claim, err)
	}
}

// call keeps the lease for as long as the provider takes.
func (s *settler) call(ctx context.Context, claim ports.Claim) (ports.Intent, error) {
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
		_ = s.deps.Claims.Extend(lasting, claim, leaseFor)

		time.AfterFunc(beat, extend)
	}

	defer time.AfterFunc(beat, extend).Stop()

	return s.deps.Gateway.CreateIntent(ctx, claim.Request, claim.Attempts > 1)
}

// complete writes the payment that an intent makes of a claim.
func (s *settler) complete(
	ctx context.Context, claim ports.Claim, intent ports.Intent, by ports.Finisher,
) (ports.Claim, error) {
	completion, err := s.completion(claim, intent, by)
	if err != nil {
		return claim, s.contradiction(ctx, claim, err)
	}

	// The intent exists: giving up now would lose it until recovery finds it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()

	done, err := s.deps.Claims.Complete(ctx, completion)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return claim, s.contradiction(ctx, claim, err)
	case err != nil:
		return claim, errUnknown(claim.Key, err, providerRetryAfter)
	}

	s.completed(ctx, completion, done, by)

	return done.Claim, nil
}

// completion is the payment that claim becomes through intent. An intent that
// is not what the claim asked for is ports.ErrContradiction. An event alone may
// be silent about the amount, and about the client's secret: then there is no
// response yet.
func (s *settler) completion(claim ports.Claim, intent ports.Intent, by ports.Finisher) (ports.Completion, error) {
	silent := by == ports.ByWebhook && intent.Amount.IsZero()
	if !silent && intent.Amount != claim.Order.Amount {
		return ports.Completion{}, fmt.Errorf("intent %s is for %s, claim %s for %s: %w",
			intent.ID, intent.Amount, claim.PaymentID, claim.Order.Amount, ports.ErrContradiction)
	}

	p := payment.Payment{
		ID:        claim.PaymentID,
		IntentID:  intent.ID,
		Key:       claim.Key,
		Amount:    claim.Order.Amount,
		Metadata:  claim.Order.Metadata,
		Status:    intent.Status,
		CreatedAt: claim.CreatedAt,
	}
	completion := ports.Completion{Payment: p, Cause: string(by)}

	if by != ports.ByWebhook || intent.ClientSecret != "" {
		completion.Response = new(s.deps.Renderer.Created(p, intent.ClientSecret))
	}

	return completion, nil
}

// completed does what follows a completion: none of it can fail the payment.
func (s *settler) completed(ctx context.Context, c ports.Completion, done ports.Completed, by ports.Finisher) {
	if done.Created {
		s.deps.Recorder.PaymentChanged(c.Payment.Status, c.Payment.Amount)
		s.deps.Log.Info("payment created", logctx.Field(ctx), zap.Stringer("payment_id", c.Payment.ID),
			zap.String("intent_id", c.Payment.IntentID), zap.String("by", string(by)))
	}

	if done.Claim.Finished() {
		s.remember(ctx, done.Claim)
	}

	if c.Response != nil {
		s.deps.Recorder.ClaimFinished(by, done.Claim.State)
	}

	if done.Parked {
		s.inbox.applyRipeFor(ctx, c.Payment.IntentID)
	}
}

func (s *settler) refuse(
	ctx context.Context, claim ports.Claim, refused *ports.RefusedError, by ports.Finisher,
) (ports.Claim, error) {
	kind := fault.Refused
	if refused.Amount {
		kind = fault.RefusedAmount
	}

	f := fault.Wrap(kind, refused, "The payment provider refused this payment: "+refused.Message)

	finished, err := s.deps.Claims.Refuse(context.WithoutCancel(ctx), claim.PaymentID,
		s.deps.Renderer.Refused(f, claim.Origin.RequestID))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return claim, s.contradiction(ctx, claim, err)
	case err != nil:
		return claim, errUnknown(claim.Key, err, providerRetryAfter)
	}

	s.deps.Recorder.ClaimFinished(by, finished.State)
	s.deps.Log.Warn("payment refused by the provider", logctx.Field(ctx),
		zap.Stringer("payment_id", finished.PaymentID), zap.String("code", refused.Code))
	s.remember(ctx, finished)

	return finished, nil
}

// reject gives a claim back whose request the provider did not take because of the
// deployment. Nothing is frozen: whoever repeats the request opens it again.
func (s *settler) reject(
	ctx context.Context, claim ports.Claim, rejected *ports.RejectedError, by ports.Finisher,
) (ports.Claim, error) {
	stands, err := s.deps.Claims.Reject(context.WithoutCancel(ctx), claim, rejected)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return claim, s.contradiction(ctx, claim, err)
	case err != nil:
		return claim, errUnknown(claim.Key, err, providerRetryAfter)
	case stands.Finished():
		return stands, nil
	case stands.State != ports.ClaimRejected: // somebody else has sent it meanwhile
		return claim, errUnknown(claim.Key, rejected, providerRetryAfter)
	}

	s.deps.Recorder.ClaimFinished(by, stands.State)
	s.deps.Log.Error("the provider does not accept requests of this deployment", logctx.Field(ctx),
		zap.Stringer("payment_id", stands.PaymentID), zap.String("code", rejected.Code), zap.Error(rejected))

	return stands, errRejected(claim, rejected)
}

func (s *settler) remember(ctx context.Context, claim ports.Claim) {
	if claim.Key == "" || !claim.Finished() {
		return
	}

	s.deps.Cache.Put(ctx, claim.Key, replayOf(claim))

	if s.deps.Shared != nil {
		s.deps.Shared.Put(ctx, claim.Key, replayOf(claim))
	}
}

// release leaves a claim to recovery, because nobody knows what came of it.
func (s *settler) release(ctx context.Context, claim ports.Claim, cause error) error {
	ctx = context.WithoutCancel(ctx)
	pause, news, tell := retryIn(claim.Age), "outcome unknown", errUnknown

	if errors.Is(cause, ports.ErrUnavailable) { // go on as soon as the provider is back
		pause, news, tell = retryIn(0), "not sent yet", errNotSent
	}

	s.deps.Log.Warn(news, logctx.Field(ctx), zap.Stringer("payment_id", claim.PaymentID),
		zap.Int("attempts", claim.Attempts), zap.Error(cause))

	// Where this fails too, the lease runs out by itself.
	if err := s.deps.Claims.Release(ctx, claim, pause, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return tell(claim.Key, cause, providerRetryAfter)
}

// contradiction hands a claim to a person.
func (s *settler) contradiction(ctx context.Context, claim ports.Claim, cause error) error {
	s.deps.Recorder.Drifted(ports.DriftContradiction, false)
	s.deps.Log.Error("the provider contradicts our books", logctx.Field(ctx),
		zap.Stringer("payment_id", claim.PaymentID), zap.Error(cause))

	if err := s.deps.Claims.GiveUp(context.WithoutCancel(ctx), claim.PaymentID, cause); err != nil {
		cause = errors.Join(cause, err)
	}

	return errUnknown(claim.Key, cause, time.Minute)
}

// retryIn grows with a claim's age, so that one which has waited for a minute
// is tried within seconds and one that has waited for a day costs little.
func retryIn(age time.Duration) time.Duration {
	const (
		least, most = 500 * time.Millisecond, 5 * time.Minute
		share       = 20
	)

	pause := min(max(age/share, least), most)

	return pause/2 + rand.N(pause) //nolint:gosec // jitter
}

// ageOf goes by the database's clock and by ours: one of them may have been set back.
func ageOf(claim ports.Claim) time.Duration { return max(claim.Age, time.Since(claim.CreatedAt)) }

// tooOld: the provider may have forgotten the claim's key.
func tooOld(claim ports.Claim) bool { return ageOf(claim) > resendFor }

func errUnknown(key payment.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The outcome is not known yet. "+whatToDo(key)).After(retryAfter)
}

// errNotSent is of fault.Unknown too: the claim stands, and recovery will send it.
func errNotSent(key payment.Key, cause error, retryAfter time.Duration) error {
	return fault.Wrap(fault.Unknown, cause, "The payment provider cannot be reached, so nothing has been sent yet. "+
		"It is tried again without you, and the payment may still be made. "+whatToDo(key)).After(retryAfter)
}

func whatToDo(key payment.Key) string {
	if key == "" {
		return "The request had no idempotency key: sending it again may create a second payment."
	}

	return "Send the same request again, with the same idempotency key."
}

func errRejected(claim ports.Claim, rejected *ports.RejectedError) error {
	next := "Once it is repaired, send the same request again, with the same idempotency key."

	switch {
	case claim.Key == "":
		next = "Once it is repaired, send the request again."
	case rejected.Kept:
		next = "The provider keeps this answer for this idempotency key until about " +
			claim.CreatedAt.Add(keptFor).UTC().Format(time.RFC3339) + ". Once it is repaired, use a new key; " +
			"that is safe, because nothing was made under this one."
	}

	return fault.Wrap(fault.Refused, rejected, "The payment provider did not accept the request because of how this "+
		"service is set up there, not because of the payment. Nothing was made or charged. "+next+
		" The provider says: "+rejected.Message)
}
