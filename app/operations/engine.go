// Package operations takes every operation along the same road: it is begun (written
// down), sent to the provider and finished, or recovered where something stopped in
// between. See README.md.
package operations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// LeaseFor is how long an operation stays with a process that has died. The lease
	// is extended while a call to the provider takes longer.
	LeaseFor = 3 * time.Second
	// sendTimeout is the most that a client waits for the provider.
	sendTimeout = 10 * time.Second
	// resendFor: Stripe may forget a key once it is 24 hours old and would then run the
	// call as a new one (https://docs.stripe.com/api/idempotent_requests). So an
	// operation older than this is never sent again.
	resendFor = 23 * time.Hour
	// keptFor is how long Stripe keeps an answer under a key at least (same page).
	keptFor = 24 * time.Hour
)

// Observer is told what happens to operations.
type Observer interface {
	ports.Spans

	// Answered: a request got the answer of its operation. from is where a repeated
	// request's answer was found, and empty for the first request.
	Answered(ctx context.Context, paymentID uuid.UUID, from ports.ReplaySource)
	// DuplicatePrevented: an idempotency key kept a request from charging again, which
	// was answered with a fault of this kind (InFlight or KeyReused).
	DuplicatePrevented(kind fault.Kind)
	// PaymentCreated: the payment of an operation is written down.
	PaymentCreated(ctx context.Context, p payment.Payment, by operation.Finisher)
	// OperationFinished: an operation came to its end. cause is the provider's
	// rejection, or nil.
	OperationFinished(
		ctx context.Context, paymentID uuid.UUID, by operation.Finisher, outcome operation.Outcome, cause error,
	)
	// OutcomeUnknown: an operation stays pending. Nobody knows what came of its call,
	// or, where cause is ports.ErrUnavailable, it was not sent.
	OutcomeUnknown(ctx context.Context, op ports.Operation, cause error)
	// NeedsAttention: an operation waits for a person.
	NeedsAttention(ctx context.Context, op ports.Operation, cause error)
	// Decided: a person has decided something.
	Decided(ctx context.Context, entry ports.AuditEntry)
}

// ParkedEvents applies the events that came before their payment.
type ParkedEvents interface {
	// ApplyFor applies those about an intent whose payment is there now. What fails
	// stays parked and is tried again later.
	ApplyFor(ctx context.Context, intentID string)
}

// Engine takes operations from their beginning to their end. The request, recovery,
// events, reconciliation and people's decisions all use it, so that there is one way
// for a payment to come about.
type Engine struct {
	operations ports.Operations
	gateway    ports.PaymentGateway
	renderer   ports.Renderer
	cache      ports.ReplayCache
	parked     ParkedEvents
	observer   Observer
}

// NewEngine returns an engine.
func NewEngine(
	operations ports.Operations, gateway ports.PaymentGateway, renderer ports.Renderer, cache ports.ReplayCache,
	parked ParkedEvents, observer Observer,
) *Engine {
	return &Engine{
		operations: operations, gateway: gateway, renderer: renderer, cache: cache, parked: parked, observer: observer,
	}
}

// Request asks for an operation.
type Request struct {
	// Key is zero where the client sent none: then each request is a new operation.
	Key         operation.Key
	Fingerprint operation.Fingerprint
	// New makes what is written down. The lease is the engine's to set. It is called
	// where the request may be a new one.
	New func() (ports.NewOperation, error)
}

// Answer is the frozen answer to a request.
type Answer struct {
	PaymentID uuid.UUID
	Response  ports.FrozenResponse
	// Replayed: an earlier request with this key got the same answer.
	Replayed bool
}

// Do answers a request: with what was done (also by an earlier request), or with the
// provider's rejection of the order; both are frozen. Its faults are InFlight,
// KeyReused, Rejected (because of the deployment: the same key is good again once
// that is repaired), Unknown (retry with the same key) and Unavailable (surely
// nothing was done).
//
// It goes on when the client disconnects: the operation is written down, so somebody
// has to finish it anyway.
func (e *Engine) Do(ctx context.Context, request Request) (Answer, error) {
	answer, from, err := e.do(ctx, request)

	switch kind := fault.KindOf(err); {
	case err == nil:
		e.observer.Answered(ctx, answer.PaymentID, from)
	case kind == fault.InFlight || kind == fault.KeyReused:
		e.observer.DuplicatePrevented(kind)
	}

	return answer, err
}

func (e *Engine) do(ctx context.Context, request Request) (Answer, ports.ReplaySource, error) {
	if request.Key != "" {
		if replay, ok := e.cache.Get(ctx, request.Key); ok {
			return replayed(replay, request, ports.ReplayFromCache)
		}
	}

	// A provider that is out of reach is no reason to keep back a replay, and every
	// reason not to write an operation that has to wait.
	if err := e.gateway.Ready(); err != nil {
		return e.whileUnavailable(ctx, request, err)
	}

	op, err := e.begin(ctx, request)
	if fault.KindOf(err) == fault.Unknown {
		err = errUnknown(request.Key, err, providerRetryAfter) // whether it is written down
	}

	switch {
	case err != nil:
		return Answer{}, "", err
	case !op.Held():
		return e.found(ctx, op, request)
	}

	ctx, cancel := withSendTimeout(context.WithoutCancel(ctx))
	defer cancel()

	op, err = e.Send(ctx, op, operation.ByRequest)
	if err != nil {
		return Answer{}, "", err
	}

	return Answer{PaymentID: op.PaymentID, Response: op.Response}, "", nil
}

// begin writes down what is wanted before the provider hears of it. An operation
// that was rejected is opened again by whoever asks for the same once more.
func (e *Engine) begin(ctx context.Context, request Request) (ports.Operation, error) {
	wanted, err := request.New()
	if err != nil {
		return ports.Operation{}, err
	}

	wanted.Origin.TraceParent = e.observer.TraceParent(ctx)
	wanted.Lease = ports.Lease{Token: uuid.New(), For: LeaseFor}

	op, err := e.operations.Begin(ctx, wanted)
	if err != nil || op.State != operation.Rejected || op.Fingerprint != request.Fingerprint || tooOld(op) {
		return op, err
	}

	return e.operations.Reopen(ctx, op.PaymentID, wanted.Lease)
}

// found answers for an operation that somebody else has begun.
func (e *Engine) found(ctx context.Context, op ports.Operation, request Request) (Answer, ports.ReplaySource, error) {
	switch {
	case op.Fingerprint != request.Fingerprint:
		return Answer{}, "", errKeyReused()
	case op.Finished():
		e.remember(ctx, op)

		return replayed(replayOf(op), request, ports.ReplayFromDatabase)
	case op.State == operation.NeedsAttention:
		return Answer{}, "", errUnknown(request.Key, errors.New("the operation needs attention"), time.Minute)
	case op.State == operation.Rejected && tooOld(op):
		return Answer{}, "", fault.New(fault.Rejected,
			"The payment provider rejected this request, and its idempotency key is too old to be sent again. "+
				"Nothing was made or charged: use a new key.")
	default:
		return Answer{}, "", fault.New(fault.InFlight,
			"A request with this idempotency key is still being worked on. Send the same request again shortly.").
			After(time.Second)
	}
}

// whileUnavailable answers what can be answered without the provider.
func (e *Engine) whileUnavailable(
	ctx context.Context, request Request, cause error,
) (Answer, ports.ReplaySource, error) {
	if request.Key != "" {
		op, err := e.operations.Find(ctx, request.Key)

		switch {
		case err == nil && (op.Finished() || op.Fingerprint != request.Fingerprint):
			return e.found(ctx, op, request)
		case err == nil && op.State != operation.Rejected: // somebody will finish it
			return Answer{}, "", errUnknown(request.Key, cause, providerRetryAfter)
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return Answer{}, "", err
		}
	}

	return Answer{}, "", fault.Wrap(fault.Unavailable, cause,
		"The payment provider cannot be reached. Send the same request again.").
		After(providerRetryAfter)
}

func replayed(replay ports.Replay, request Request, from ports.ReplaySource) (Answer, ports.ReplaySource, error) {
	if replay.Fingerprint != request.Fingerprint {
		return Answer{}, "", errKeyReused()
	}

	return Answer{PaymentID: replay.PaymentID, Response: replay.Response, Replayed: true}, from, nil
}

func replayOf(op ports.Operation) ports.Replay {
	return ports.Replay{PaymentID: op.PaymentID, Fingerprint: op.Fingerprint, Response: op.Response}
}

// remember keeps a finished operation's answer in this process's memory.
func (e *Engine) remember(ctx context.Context, op ports.Operation) {
	if op.Key != "" && op.Finished() {
		e.cache.Put(ctx, op.Key, replayOf(op))
	}
}

// Send sends the call of an operation that the caller holds, and writes down what
// came of it. The operation that it returns is finished. fault.Rejected says that the
// provider rejected it because of the deployment; any other error leaves it pending,
// to be tried again.
func (e *Engine) Send(ctx context.Context, op ports.Operation, by operation.Finisher) (ports.Operation, error) {
	if tooOld(op) {
		return op, e.release(ctx, op, fmt.Errorf("the operation is %s old: its key may be forgotten", ageOf(op)))
	}

	intent, err := e.call(ctx, op)

	var (
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
	)

	switch {
	case err == nil:
		return e.Finish(ctx, op, intent, by)
	case errors.As(err, &rejected):
		return e.finishRejected(ctx, op, rejected, by)
	case errors.As(err, &deployment):
		return e.reject(ctx, op, deployment, by)
	default:
		return op, e.release(ctx, op, err)
	}
}

// call keeps the lease for as long as the provider takes.
func (e *Engine) call(ctx context.Context, op ports.Operation) (ports.Intent, error) {
	const beat = LeaseFor / 2

	lasting, end := context.WithCancel(ctx)
	defer end()

	var extend func()

	extend = func() {
		if lasting.Err() != nil {
			return
		}

		// A lease that could not be extended is lost at worst: then somebody else
		// sends the same call under the same key.
		_ = e.operations.Extend(lasting, op, LeaseFor)

		time.AfterFunc(beat, extend)
	}

	defer time.AfterFunc(beat, extend).Stop()

	return e.gateway.CreateIntent(ctx, op.Request, op.Attempts > 1)
}

// withSendTimeout bounds a call to the provider, by the wall clock too: Go's own clock
// stands still while the machine is suspended, and an attempt that was sent after that
// could come when the provider has forgotten the key.
func withSendTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Now().Round(0).Add(sendTimeout))
}

// ageOf goes by the database's clock and by ours: one of them may have been set back.
func ageOf(op ports.Operation) time.Duration { return max(op.Age, time.Since(op.CreatedAt)) }

// tooOld: the provider may have forgotten the operation's key.
func tooOld(op ports.Operation) bool { return ageOf(op) > resendFor }
