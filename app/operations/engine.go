// Package operations takes every operation through the same steps: it is begun (written
// down), sent to the provider and finished. If something stops in between, it is
// recovered. See README.md.
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
	// LeaseFor is how long a process holds an operation, also if it dies. The lease is
	// extended while a call to the provider takes longer.
	LeaseFor = 3 * time.Second
	// sendTimeout is the most that a client waits for the provider.
	sendTimeout = 10 * time.Second
	// keptFor is how long Stripe keeps the answer of a key at least (same page).
	keptFor = 24 * time.Hour
)

// Observer is told what happens to operations.
type Observer interface {
	ports.Spans

	// Answered: a request got the answer of its operation. from is where the answer to a
	// repeated request was found. It is empty for the first request.
	Answered(ctx context.Context, paymentID uuid.UUID, from ports.ReplaySource)
	// DuplicatePrevented: an idempotency key kept a request from charging again. The
	// request was answered with a fault of this kind (InFlight or KeyReused).
	DuplicatePrevented(kind fault.Kind)
	// PaymentCreated: the payment of an operation is written down.
	PaymentCreated(ctx context.Context, p payment.Payment, by operation.Finisher)
	// PaymentChanged: an operation has changed a payment.
	PaymentChanged(ctx context.Context, before, after payment.Payment)
	// RefundsChanged: an operation has changed refunds of a payment.
	RefundsChanged(ctx context.Context, before, after ports.FullPayment)
	// OperationFinished: an operation ended. cause is the provider's rejection, or nil.
	OperationFinished(
		ctx context.Context, op ports.Operation, by operation.Finisher, outcome operation.Outcome, cause error,
	)
	// OutcomeUnknown: an operation stays pending, because the outcome of its call is not
	// known. If cause is ports.ErrUnavailable, the call was not sent.
	OutcomeUnknown(ctx context.Context, op ports.Operation, cause error)
	// NeedsAttention: an operation waits for a person.
	NeedsAttention(ctx context.Context, op ports.Operation, cause error)
	// Decided: a person has decided something.
	Decided(ctx context.Context, entry ports.AuditEntry)
}

// ParkedEvents applies events that came before their payment.
type ParkedEvents interface {
	// ApplyFor applies the parked events of an intent whose payment now exists. An event
	// that fails stays parked and is tried again later.
	ApplyFor(ctx context.Context, intentID string)
}

// Definition is what one kind of operation adds to the engine.
type Definition struct {
	Kind operation.Kind
	// Done says what follows from the provider's object. If the object is not what the
	// operation asked for, the error is ports.ErrContradiction.
	Done func(op ports.Operation, object ports.Object, by operation.Finisher) (Result, error)
	// Sent is asked when the call was done, before Done: it reads what the provider's answer
	// alone does not tell. Nil: the answer tells all.
	Sent func(ctx context.Context, op ports.Operation, object ports.Object) error
	// Reserve is what an operation reserves of its payment when it is opened again. Nil: it
	// reserves nothing.
	Reserve func(op ports.Operation) ports.Reserve
	// Written is asked before a call is sent whose operation was there before (recovery takes it, or a
	// request takes it over), and before an operation is opened again: it
	// returns the object that our records say the operation has made, or nil. Such an operation is
	// not sent, because nothing says that the provider still has its key. Nil: begin and take tell
	// (a create), or sending again makes nothing.
	Written func(ctx context.Context, op ports.Operation) (*ports.Object, error)
	// Rejected is what the client of a rejected order is told, for ever. rejected is nil
	// if a person has decided that nothing was done.
	Rejected func(op ports.Operation, rejected *ports.RejectedError) *fault.Error
	// Lost is the operation of an object whose operation the database has lost, as the
	// object says. Nil: its objects do not say it.
	Lost func(object ports.Object) (ports.NewOperation, error)
	// LostOn is the operation by which an object of a payment that exists was changed, as the
	// object says. Nil: its objects do not say it.
	LostOn func(p payment.Payment, object ports.Object) (ports.NewOperation, error)
	// Recover finds out what became of an operation, by reading. It is asked if the
	// outcome of its call is not known (rejected is nil), or if the provider has rejected
	// it although an earlier attempt may have been done. Nil: the provider's list of
	// intents tells, and a rejection is believed.
	Recover func(ctx context.Context, op ports.Operation, rejected *ports.RejectedError) (Found, error)
}

// written is Written, or nothing if that is nil.
func (d Definition) written(ctx context.Context, op ports.Operation) (*ports.Object, error) {
	if d.Written == nil {
		return nil, nil //nolint:nilnil // nothing is made, and that is no error
	}

	return d.Written(ctx, op)
}

// Result is what follows when the provider has done what was asked: the payment that it
// made, or what becomes of the payment or of the customer that it is about.
type Result struct {
	Made     *ports.Completion
	On       *ports.Change
	Customer *ports.CustomerChange
}

// Found is what became of an operation. Both are nil if it was not done so far.
type Found struct {
	// Object is the object in which it was done.
	Object *ports.Object
	// Rejected: it was not done and never will be.
	Rejected *fault.Error
}

// Engine takes operations from their beginning to their end. Requests, recovery, events,
// reconciliation and people's decisions all use it, so that everything is done in one way
// only.
type Engine struct {
	operations  ports.Operations
	provider    ports.Provider
	renderer    ports.Renderer
	cache       ports.ReplayCache
	parked      ParkedEvents
	lives       ports.Incarnations
	observer    Observer
	definitions map[operation.Kind]Definition
}

// NewEngine returns an engine.
func NewEngine(
	operations ports.Operations, provider ports.Provider, renderer ports.Renderer, cache ports.ReplayCache,
	parked ParkedEvents, lives ports.Incarnations, observer Observer, definitions []Definition,
) *Engine {
	e := &Engine{
		operations: operations, provider: provider, renderer: renderer, cache: cache, parked: parked, lives: lives,
		observer:    observer,
		definitions: make(map[operation.Kind]Definition, len(definitions)),
	}

	for _, d := range definitions {
		e.definitions[d.Kind] = d
	}

	return e
}

// definition is that of an operation's kind. A kind that is not known, from a newer
// release, cannot be worked on.
func (e *Engine) definition(op ports.Operation) (Definition, error) {
	d, ok := e.definitions[op.Kind]
	if !ok {
		return Definition{}, fmt.Errorf("operation %s is of the kind %q, which this release does not know", op.ID, op.Kind)
	}

	return d, nil
}

// Request asks for an operation.
type Request struct {
	Tenant operation.Tenant
	// Key is empty if the client sent none. Then each request is a new operation.
	Key         operation.Key
	Fingerprint operation.Fingerprint
	// LookFirst: the key is looked up before New is called, because New refuses what an
	// earlier request may have done. Our records may be enough for New to refuse a request or
	// to answer it, so it is asked also while the provider cannot be reached.
	LookFirst bool
	// Unused: the key was looked up a moment ago, and no operation had it.
	Unused bool
	// New makes the operation to write down, without its lease, which the engine sets. It
	// is called only if the request may be new. An operation with a Response is not sent.
	New func(ctx context.Context) (ports.NewOperation, error)
}

// Answer is the frozen answer to a request.
type Answer struct {
	// PaymentID or CustomerID is what the operation is about.
	PaymentID  uuid.UUID
	CustomerID uuid.UUID
	// RefundID is set by the use cases of refunds.
	RefundID uuid.UUID
	Response ports.FrozenResponse
	// Replayed: an earlier request with this key got the same answer.
	Replayed bool
}

// Do answers a request with what was done, by this request or an earlier one, or with the
// provider's rejection of the order. Both answers are frozen. Its errors are
//   - fault.InFlight and fault.KeyReused;
//   - fault.Rejected: the provider rejected the request because of the deployment. The
//     same key works again once that is repaired.
//   - fault.ReferenceTaken and fault.PreconditionFailed, if what must hold does not;
//   - fault.Unknown: the client should send the request again with the same key;
//   - fault.Unavailable: certainly nothing was done.
//
// Do goes on when the client disconnects. The operation is written down, so it has to be
// finished anyway.
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
		if replay, ok := e.cache.Get(ctx, request.Tenant, request.Key); ok {
			return replayed(replay, request, ports.ReplayFromCache)
		}
	}

	// If the provider cannot be reached, what needs no call can still be answered, but
	// nothing is begun that would only wait.
	if err := e.provider.Ready(); err != nil {
		return e.whileUnavailable(ctx, request, err)
	}

	wanted, err := e.wanted(ctx, request)
	if err != nil {
		return Answer{}, "", err
	}

	return e.carryOut(ctx, request, wanted)
}

// carryOut takes the wanted operation from its beginning to its answer.
func (e *Engine) carryOut(
	ctx context.Context, request Request, wanted ports.NewOperation,
) (Answer, ports.ReplaySource, error) {
	if wanted.Response != nil && wanted.Key == "" { // no key has to keep the answer
		return answerOf(unwritten(wanted), *wanted.Response), "", nil
	}

	op, err := e.begin(ctx, request, wanted)

	switch {
	case err != nil:
		return Answer{}, "", err
	case wanted.Response != nil && op.Finished() && op.Incarnation != "": // this request wrote it
		e.observer.OperationFinished(ctx, op, operation.ByRequest, operation.OutcomeDone, nil)
		e.remember(ctx, op)

		return answerOf(op, op.Response), "", nil
	case !op.Held():
		return e.found(ctx, op, request)
	}

	ctx, cancel := withSendTimeout(context.WithoutCancel(ctx))
	defer cancel()

	op, err = e.Send(ctx, op, operation.ByRequest)

	switch {
	case err != nil:
		return Answer{}, "", err
	case op.Fingerprint != request.Fingerprint: // the database had lost an earlier request under this key
		return Answer{}, "", ErrKeyReused()
	}

	return answerOf(op, op.Response), "", nil
}

func answerOf(op ports.Operation, response ports.FrozenResponse) Answer {
	return Answer{PaymentID: op.PaymentID(), CustomerID: op.CustomerID(), Response: response}
}

// begin writes the operation down before anything is sent. If the same request was
// rejected before, it opens that operation again.
func (e *Engine) begin(ctx context.Context, request Request, wanted ports.NewOperation) (ports.Operation, error) {
	wanted.Origin.TraceParent, wanted.Origin.Actor = e.observer.TraceParent(ctx), ports.ActorOf(ctx)
	wanted.Lease = ports.Lease{Token: uuid.New(), For: LeaseFor}

	if reserve := e.definitions[wanted.Kind].Reserve; reserve != nil && wanted.Reserve == nil {
		wanted.Reserve = reserve(pendingOf(wanted)) // it was found, and may have vanished since
	}

	op, err := e.operations.Begin(ctx, wanted)

	switch {
	case errors.Is(err, ports.ErrInProgress):
		return op, errInProgress(unwritten(wanted))
	case fault.KindOf(err) == fault.Unknown && err != nil: // it may be written down
		return op, errUnknown(unwritten(wanted), err, providerRetryAfter)
	}

	return e.reopened(ctx, op, request, wanted.Lease, err)
}

// wanted is the operation that the request asks for: the one that has its key already, or
// a new one. If another request has the key: fault.KeyReused.
func (e *Engine) wanted(ctx context.Context, request Request) (ports.NewOperation, error) {
	switch {
	case !request.LookFirst || request.Key == "":
		return request.New(ctx)
	case request.Unused:
		return e.newOne(ctx, request)
	}

	op, err := e.operations.Find(ctx, request.Tenant, request.Key)

	switch {
	case err == nil && op.Fingerprint != request.Fingerprint: // Begin would take it over
		return ports.NewOperation{}, e.reused(ctx, op)
	case err == nil:
		return again(op), nil
	case fault.KindOf(err) == fault.NotFound:
		return e.newOne(ctx, request)
	default:
		return ports.NewOperation{}, err
	}
}

// newOne is a new operation. If New refuses it, a request with the same key may have done it
// at the same time: then that one is wanted.
func (e *Engine) newOne(ctx context.Context, request Request) (ports.NewOperation, error) {
	wanted, refused := request.New(ctx)
	if refused == nil || request.Key == "" {
		return wanted, refused
	}

	if _, err := e.operations.Find(ctx, request.Tenant, request.Key); err == nil {
		request.Unused = false

		return e.wanted(ctx, request)
	}

	return wanted, refused
}

// again is an operation as it was written down before.
func again(op ports.Operation) ports.NewOperation {
	return ports.NewOperation{
		ID: op.ID, Tenant: op.Tenant, Kind: op.Kind, Subject: op.Subject, Key: op.Key, Order: op.Order, Call: op.Call,
		Before: op.Before, Origin: op.Origin, Copied: op.Fingerprint, CreatedAt: op.CreatedAt,
	}
}

// reopened opens an operation again if it was rejected and the same is asked for again. If it is written
// down what the operation has made, it is finished with that: it was opened again before and done, and
// the database has lost that.
func (e *Engine) reopened(
	ctx context.Context, op ports.Operation, request Request, lease ports.Lease, err error,
) (ports.Operation, error) {
	if err != nil || op.Held() || op.State != operation.Rejected || op.Fingerprint != request.Fingerprint {
		return op, err
	}

	definition, err := e.definition(op)
	if err != nil {
		return op, err
	}

	switch made, err := definition.written(ctx, op); {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, errUnknown(op, err, providerRetryAfter)
	case made != nil:
		return e.Finish(ctx, op, *made, operation.ByRequest)
	}

	if e.repeated(ctx, op, request) != operation.Reopened {
		return op, nil
	}

	var reserve ports.Reserve
	if definition.Reserve != nil {
		reserve = definition.Reserve(op)
	}

	again, err := e.operations.Reopen(ctx, op.ID, lease, reserve)

	switch {
	case errors.Is(err, ports.ErrInProgress):
		return op, errInProgress(op)
	case errors.Is(err, ports.ErrContradiction): // what it has made has just come home
		return op, errUnknown(op, err, providerRetryAfter)
	default:
		return again, err
	}
}

// repeated is what becomes of a request whose key has the operation, which somebody else
// holds if it is pending.
func (e *Engine) repeated(ctx context.Context, op ports.Operation, request Request) operation.Repeat {
	standing := operation.Standing{Reconciled: true}

	if op.State == operation.Rejected { // only then it counts
		var err error
		if _, standing, err = e.lives.Incarnation(ctx); err != nil {
			return operation.NotNow
		}
	}

	return op.Row().Repeated(request.Fingerprint, ageOf(op), standing, true)
}

// unwritten is an operation of which nobody knows whether it was written.
func unwritten(wanted ports.NewOperation) ports.Operation {
	return ports.Operation{ID: wanted.ID, Tenant: wanted.Tenant, Kind: wanted.Kind, Subject: wanted.Subject, Key: wanted.Key}
}

// found answers for an operation that this request does not hold.
func (e *Engine) found(ctx context.Context, op ports.Operation, request Request) (Answer, ports.ReplaySource, error) {
	switch e.repeated(ctx, op, request) {
	case operation.Reused:
		return Answer{}, "", e.reused(ctx, op)
	case operation.Replayed:
		e.remember(ctx, op)

		return replayed(replayOf(op), request, ports.ReplayFromDatabase)
	case operation.Waits:
		return Answer{}, "", errUnknown(op, errors.New("the operation needs attention"), time.Minute)
	case operation.NotNow:
		return Answer{}, "", errUnknown(op,
			errors.New("it was rejected, but the database may have lost what came after that"), providerRetryAfter)
	case operation.Expired:
		return Answer{}, "", about(op, fault.New(fault.Rejected,
			"The payment provider rejected this request, and its idempotency key is too old to be sent again. "+
				"Nothing was made or charged: use a new key."))
	default:
		return Answer{}, "", errInFlight(op)
	}
}

// reused is the answer where a key has an operation with another fingerprint. While the
// database may lack commits, the key's first request may be among them, and this one may
// be that: the object of the operation tells, once it is finished. What was refused has none.
func (e *Engine) reused(ctx context.Context, op ports.Operation) error {
	if !op.Finished() || op.Row().Refused {
		if reconciled, err := e.lives.Reconciled(ctx); err != nil || !reconciled {
			return errInFlight(op)
		}
	}

	return ErrKeyReused()
}

// whileUnavailable answers as well as it can without the provider.
func (e *Engine) whileUnavailable(
	ctx context.Context, request Request, cause error,
) (Answer, ports.ReplaySource, error) {
	if request.Key != "" {
		op, err := e.operations.Find(ctx, request.Tenant, request.Key)

		switch {
		case err == nil && (op.Finished() || op.Fingerprint != request.Fingerprint):
			return e.found(ctx, op, request)
		case err == nil && op.State != operation.Rejected: // it will be finished later
			return Answer{}, "", errUnknown(op, cause, providerRetryAfter)
		case err == nil: // it would be opened again
			return Answer{}, "", errUnavailable(cause)
		case fault.KindOf(err) != fault.NotFound:
			return Answer{}, "", err
		}
	}

	if !request.LookFirst {
		return Answer{}, "", errUnavailable(cause)
	}

	wanted, err := e.newOne(ctx, request)

	switch {
	case err != nil:
		return Answer{}, "", err
	case wanted.Response != nil:
		return e.carryOut(ctx, request, wanted)
	default:
		return Answer{}, "", errUnavailable(cause)
	}
}

func replayed(replay ports.Replay, request Request, from ports.ReplaySource) (Answer, ports.ReplaySource, error) {
	if replay.Fingerprint != request.Fingerprint {
		return Answer{}, "", ErrKeyReused()
	}

	return Answer{
		PaymentID: replay.PaymentID, CustomerID: replay.CustomerID, Response: replay.Response, Replayed: true,
	}, from, nil
}

func replayOf(op ports.Operation) ports.Replay {
	return ports.Replay{
		PaymentID: op.PaymentID(), CustomerID: op.CustomerID(), Fingerprint: op.Fingerprint, Response: op.Response,
	}
}

// remember keeps a finished operation's answer in this process's memory. Those about customers
// may be erased, which other processes would not hear of.
func (e *Engine) remember(ctx context.Context, op ports.Operation) {
	if op.Key != "" && op.Finished() && !op.Kind.OnCustomer() {
		e.cache.Put(ctx, op.Tenant, op.Key, replayOf(op))
	}
}

// Send sends the call of an operation that the caller holds, and writes down the outcome.
// Without an error the operation is finished. fault.Rejected means that the provider
// rejected the call because of the deployment. After any other error the operation is tried
// again, or needs attention if the provider contradicts our records.
func (e *Engine) Send(ctx context.Context, op ports.Operation, by operation.Finisher) (ports.Operation, error) {
	if op.IntentID != "" {
		return e.finishWritten(ctx, op, by)
	}

	definition, err := e.definition(op)
	if err != nil {
		return op, e.release(ctx, op, err)
	}

	// One that was written just now had nothing written down as made in the same commit. One that was
	// there before may have come home since, also if it is a request that takes it over.
	if op.Age > 0 {
		switch made, err := definition.written(ctx, op); {
		case errors.Is(err, ports.ErrContradiction):
			return op, e.contradiction(ctx, op, err)
		case err != nil:
			return op, e.release(ctx, op, err)
		case made != nil:
			return e.Finish(ctx, op, *made, by)
		}
	}

	if err := maySend(op); err != nil {
		return op, e.release(ctx, op, err)
	}

	object, err := e.call(ctx, op)

	var (
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
	)

	switch {
	case err == nil:
		return e.sent(ctx, definition, op, object, by)
	case errors.As(err, &rejected) && definition.Recover != nil:
		return e.lookUp(ctx, definition, op, rejected, by)
	case errors.As(err, &rejected):
		return e.finishRejected(ctx, op, definition.Rejected(op, rejected), by)
	case errors.As(err, &deployment):
		return e.reject(ctx, op, deployment, by)
	default:
		return op, e.release(ctx, op, err)
	}
}

// sent finishes an operation whose call was done.
func (e *Engine) sent(
	ctx context.Context, definition Definition, op ports.Operation, object ports.Object, by operation.Finisher,
) (ports.Operation, error) {
	if definition.Sent == nil {
		return e.Finish(ctx, op, object, by)
	}

	switch err := definition.Sent(ctx, op, object); {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil: // recovery sends it again, and gets the same answer
		return op, e.release(ctx, op, err)
	default:
		return e.Finish(ctx, op, object, by)
	}
}

// finishWritten finishes a create whose payment is written already, with the payment's intent.
// To send it again might make a second one: nothing says that the provider still has its key.
func (e *Engine) finishWritten(
	ctx context.Context, op ports.Operation, by operation.Finisher,
) (ports.Operation, error) {
	intent, err := e.provider.Intent(ctx, op.IntentID)
	if err != nil {
		return op, e.release(ctx, op, fmt.Errorf("reading intent %s: %w", op.IntentID, err))
	}

	return e.Finish(ctx, op, ports.Object{Intent: intent}, by)
}

// maySend returns an error if the provider may have done this under a key that it has
// forgotten since. It goes by what the operation was written or taken with: reconciliation
// may have come further since and finished it.
func maySend(op ports.Operation) error {
	switch {
	case operation.MaySend(ageOf(op), op.Standing):
		return nil
	case tooOld(op):
		return fmt.Errorf("%w: it is %s old", errKeyForgotten, ageOf(op).Round(time.Second))
	default:
		return fmt.Errorf("%w: the database may have lost commits, and reconciliation is %s behind",
			ports.ErrUnavailable, op.Standing.Behind.Round(time.Second))
	}
}

// lookUp ends an operation whose call was rejected by what is read. An earlier attempt may
// have been done, and that may be why this one was rejected.
func (e *Engine) lookUp(
	ctx context.Context, definition Definition, op ports.Operation, rejected *ports.RejectedError, by operation.Finisher,
) (ports.Operation, error) {
	found, err := definition.Recover(ctx, op, rejected)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return op, e.contradiction(ctx, op, err)
	case err != nil:
		return op, e.release(ctx, op, errors.Join(rejected, err))
	case found.Object != nil:
		return e.Finish(ctx, op, *found.Object, by)
	case found.Rejected != nil && mayRefuse(op) != nil:
		return op, e.release(ctx, op, errors.Join(rejected, mayRefuse(op)))
	case found.Rejected != nil:
		return e.finishRejected(ctx, op, found.Rejected, by)
	default:
		return op, e.release(ctx, op, rejected)
	}
}

// mayRefuse returns an error while it must not be frozen that nothing was done under an
// operation's key, and that a new key is safe: the key may be that of another request, which
// the database has lost, and of which the object that was read says nothing.
func mayRefuse(op ports.Operation) error {
	if op.Key == "" || op.Standing.Reconciled {
		return nil
	}

	return errors.New("the database may have lost commits, and is not yet compared with the provider")
}

// call sends the call and keeps the lease until the provider has answered.
func (e *Engine) call(ctx context.Context, op ports.Operation) (ports.Object, error) {
	const beat = LeaseFor / 2

	lasting, end := context.WithCancel(ctx)
	defer end()

	var extend func()

	extend = func() {
		if lasting.Err() != nil {
			return
		}

		// If the lease cannot be extended, the worst is that another process sends the
		// same call under the same key.
		_ = e.operations.Extend(lasting, op, LeaseFor)

		time.AfterFunc(beat, extend)
	}

	defer time.AfterFunc(beat, extend).Stop()

	return e.provider.Send(ctx, op.Call, op.Attempts > 1)
}

// withSendTimeout bounds a call to the provider by the wall clock. Go's monotonic clock may
// stop while the machine is suspended. A call that was sent after that could arrive when
// the provider has forgotten the key.
func withSendTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Now().Round(0).Add(sendTimeout))
}

// ageOf uses the database's clock and ours, because one of them may have been set back.
func ageOf(op ports.Operation) time.Duration { return max(op.Age, time.Since(op.CreatedAt)) }

// tooOld tells whether the provider may have forgotten the operation's key.
func tooOld(op ports.Operation) bool { return ageOf(op) > operation.SendFor }
