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
	// recoverBatch is how many claims one run takes, and recoverAtOnce how many
	// of them it sends at a time.
	recoverBatch, recoverAtOnce = 64, 8
	// clockSkew is how far our clocks and the provider's may be apart when
	// intents are looked for by their creation time.
	clockSkew = 15 * time.Minute
)

// RecoverClaims finishes what a crash or an unknown outcome left behind.
type RecoverClaims struct {
	deps   Deps
	settle *settler
	// searching: a run of this process looks through the provider's list, which
	// may take long. Others leave their claims for later and go on.
	searching sync.Mutex
}

// NewRecoverClaims returns the use case.
func NewRecoverClaims(deps Deps) *RecoverClaims {
	return &RecoverClaims{deps: deps, settle: newSettler(deps)}
}

// Recovered is what one run did.
type Recovered struct {
	// Taken claims were Finished, were GivenUp to a person, or wait for the
	// next run.
	Taken, Finished, GivenUp int
}

// Do takes a batch of unfinished claims. Each is sent again under its own key
// while the provider remembers keys; where that tells nothing, or the key is
// too old to be sent, it is looked for among the provider's intents. A claim
// is never called failed because time has passed.
//
// Each claim gets a trace of its own that points to the request that asked for
// it; about says what the job is in its terms. A run that finds nothing leaves
// no trace.
func (uc *RecoverClaims) Do(ctx context.Context, about ...trace.SpanStartOption) (Recovered, error) {
	if err := uc.deps.Gateway.Ready(); err != nil {
		return Recovered{}, nil //nolint:nilerr // the claims wait; the gateway's own metrics tell
	}

	claims, err := uc.deps.Claims.TakeUnfinished(ctx, recoverBatch, ports.Lease{Token: uuid.New(), For: leaseFor})
	if err != nil || len(claims) == 0 {
		return Recovered{}, err
	}

	result := Recovered{Taken: len(claims)}
	open := uc.resend(ctx, claims, about)
	result.Finished = len(claims) - len(open)

	missing := suspects(open)
	if ready := uc.deps.Gateway.Ready() == nil; !ready || len(missing) == 0 {
		return result, nil
	}

	return uc.find(ctx, missing, result, about)
}

// find adds to result what a search brings, unless one is under way.
func (uc *RecoverClaims) find(
	ctx context.Context, missing map[uuid.UUID]ports.Claim, result Recovered, about []trace.SpanStartOption,
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

// resend returns the claims that are still open.
func (uc *RecoverClaims) resend(
	ctx context.Context, claims []ports.Claim, about []trace.SpanStartOption,
) []ports.Claim {
	var (
		mu   sync.Mutex
		open []ports.Claim
	)

	workers := new(errgroup.Group)
	workers.SetLimit(recoverAtOnce)

	for _, claim := range claims {
		workers.Go(func() error {
			err := uc.resendOne(ctx, claim, about)
			if err != nil && fault.KindOf(err) != fault.Refused { // rejected: there is nothing to look for
				mu.Lock()
				defer mu.Unlock()

				open = append(open, claim)
			}

			return nil
		})
	}

	_ = workers.Wait() // each claim's own error is in the log

	return open
}

func (uc *RecoverClaims) resendOne(ctx context.Context, claim ports.Claim, about []trace.SpanStartOption) error {
	ctx, cancel := patiently(ctx)
	defer cancel()

	opts := append(slices.Clone(about),
		trace.WithAttributes(attribute.String("marketflow.payment.id", claim.PaymentID.String())))
	if link, ok := linkTo(claim.Origin.TraceParent); ok {
		opts = append(opts, trace.WithLinks(link))
	}

	_, err := inSpan(ctx, uc.deps.Tracer, "app.RecoverClaim", func(ctx context.Context) (ports.Claim, error) {
		return uc.settle.send(ctx, claim, ports.ByRecovery)
	}, opts...)

	return err
}

// suspects are the claims whose intent may exist although sending again does
// not say so: a 500 that Stripe keeps and replays although it had its effect,
// or a key that is too old to be sent.
func suspects(open []ports.Claim) map[uuid.UUID]ports.Claim {
	byPayment := make(map[uuid.UUID]ports.Claim)

	for _, claim := range open {
		if claim.Attempts > 1 {
			byPayment[claim.PaymentID] = claim
		}
	}

	return byPayment
}

// search looks for the claims' intents by the payment id in their metadata.
func (uc *RecoverClaims) search(ctx context.Context, missing map[uuid.UUID]ports.Claim) (found, given int, err error) {
	now := time.Now()
	for intent, err := range uc.deps.Gateway.Intents(ctx, oldest(missing).Add(-clockSkew), now.Add(clockSkew)) {
		if err != nil {
			return found, 0, fmt.Errorf("looking for lost intents: %w", err)
		}

		claim, ok := missing[intent.PaymentID]
		if !ok {
			continue
		}

		if err := uc.adopt(ctx, claim, intent); err != nil {
			return found, 0, err
		}

		delete(missing, intent.PaymentID)

		if found++; len(missing) == 0 {
			return found, 0, nil
		}
	}

	// Every intent of the whole time was seen, so this is the end for those
	// that may not be sent again.
	for _, claim := range missing {
		if claim.Age <= resendFor {
			continue
		}

		if err := uc.giveUp(ctx, claim); err != nil {
			return found, given, err
		}

		given++
	}

	return found, given, nil
}

// adopt completes a claim with an intent that was found.
func (uc *RecoverClaims) adopt(ctx context.Context, claim ports.Claim, intent ports.Intent) error {
	if intent.ClientSecret == "" {
		whole, err := uc.deps.Gateway.Intent(ctx, intent.ID)
		if err != nil {
			return fmt.Errorf("reading intent %s: %w", intent.ID, err)
		}

		intent = whole
	}

	if link, ok := linkTo(claim.Origin.TraceParent); ok {
		trace.SpanFromContext(ctx).AddLink(link)
	}

	_, err := uc.settle.complete(ctx, claim, intent, ports.ByRecovery)

	return err
}

func (uc *RecoverClaims) giveUp(ctx context.Context, claim ports.Claim) error {
	cause := errors.New("its key is too old to be sent again and the provider lists no intent for it")
	uc.deps.Log.Error("claim needs attention", logctx.Field(ctx), zap.Stringer("payment_id", claim.PaymentID),
		zap.Duration("age", claim.Age), zap.Error(cause))

	if err := uc.deps.Claims.GiveUp(ctx, claim.PaymentID, cause); err != nil {
		return fmt.Errorf("claim %s: %w", claim.PaymentID, err)
	}

	return nil
}

func oldest(claims map[uuid.UUID]ports.Claim) time.Time {
	first := time.Now()

	for _, claim := range claims {
		if claim.CreatedAt.Before(first) {
			first = claim.CreatedAt
		}
	}

	return first
}
