package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// readRetryAfter is how long a client is told to wait if an intent cannot be read.
const readRetryAfter = 2 * time.Second

// Change is what confirm, capture, cancel and update have in common: an operation on a payment
// that exists.
type Change struct {
	engine       *operations.Engine
	payments     ports.Payments
	calls        ports.Calls
	installation operation.Installation
	refresh      *Refresh
	lives        ports.Incarnations
	spans        ports.Spans
}

// NewChange returns what the use cases share.
func NewChange(
	engine *operations.Engine, payments ports.Payments, calls ports.Calls, installation operation.Installation,
	refresh *Refresh, lives ports.Incarnations, spans ports.Spans,
) *Change {
	return &Change{
		engine: engine, payments: payments, calls: calls, installation: installation, refresh: refresh, lives: lives,
		spans: spans,
	}
}

// ChangeCommand asks for an operation on a payment.
type ChangeCommand struct {
	Tenant    operation.Tenant
	PaymentID uuid.UUID
	// Key is empty if the client sent none.
	Key       operation.Key
	RequestID string
	// IfMatch are the versions of the payment with which it may be done; nil: any.
	IfMatch []int64
}

// checked is a payment on which an operation may be done.
type checked struct {
	payment payment.Payment
	// before is how the intent was read; it is for a confirm.
	before ports.Before
	// answer is set if there is nothing to do.
	answer *ports.FrozenResponse
}

// build makes the call of an operation on an intent.
type build func(mark operation.Mark, intentID string, order operation.Order) (ports.Call, error)

// do answers a command about p. check refuses what cannot be done, and knows the answer if
// there is nothing to do. A repeated request gets its answer before anything is checked.
func (c *Change) do(
	ctx context.Context, kind operation.Kind, cmd ChangeCommand, p payment.Payment, order operation.Order,
	build build, check func(ctx context.Context) (checked, error),
) (operations.Answer, error) {
	fingerprint := order.Fingerprint(kind, cmd.PaymentID)

	return c.engine.Do(ctx, operations.Request{
		Tenant:      cmd.Tenant,
		Key:         cmd.Key,
		Fingerprint: fingerprint,
		LookFirst:   true,
		New: func(ctx context.Context) (ports.NewOperation, error) {
			if cmd.IfMatch != nil && !slices.Contains(cmd.IfMatch, p.Version) {
				return ports.NewOperation{}, errPrecondition(p)
			}

			may, err := check(ctx)
			if err != nil {
				return ports.NewOperation{}, err
			}

			id, err := operations.NewID(c.installation, cmd.Tenant, cmd.Key)
			if err != nil {
				return ports.NewOperation{}, err
			}

			call, err := build(c.installation.Mark(cmd.Tenant, kind, id, fingerprint), may.payment.IntentID, order)
			if err != nil {
				return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
			}

			return ports.NewOperation{
				ID: id, Tenant: cmd.Tenant, Kind: kind, Subject: may.payment.ID, Key: cmd.Key, Order: order, Call: call, Before: may.before,
				Was: may.payment, Origin: ports.Origin{RequestID: cmd.RequestID}, Response: may.answer,
			}, nil
		},
	})
}

// load reads the payment of a command.
func (c *Change) load(ctx context.Context, cmd ChangeCommand) (payment.Payment, error) {
	return load(ctx, c.payments, c.lives, cmd.Tenant, cmd.PaymentID)
}

// see reads the payment of a command with what belongs to it, and tells whether an operation has
// that id.
func (c *Change) see(ctx context.Context, cmd ChangeCommand, id uuid.UUID) (seen ports.Seen, used bool, err error) {
	seen, used, err = c.refresh.payments.See(ctx, cmd.PaymentID, id)

	return seen, used, believed(ctx, c.lives, cmd.Tenant, seen.Payment, err)
}

// isReconciled tells whether everything was compared in the database's present life.
func (c *Change) isReconciled(ctx context.Context) bool {
	reconciled, err := c.lives.Reconciled(ctx)

	return err == nil && reconciled
}

// fresh is the payment as its intent, just read, says, and the intent.
func (c *Change) fresh(ctx context.Context, id uuid.UUID) (payment.Payment, ports.Intent, error) {
	p, intent, err := c.refresh.Do(ctx, id, string(operation.ByRequest))

	switch {
	case errors.Is(err, ports.ErrContradiction):
		err = about(p, fault.Wrap(fault.Unknown, err,
			"The payment provider contradicts our records of this payment. A person has to look at it.").After(time.Minute))
	case err != nil && fault.KindOf(err) == fault.Internal: // the provider did not answer, or not to the point
		err = about(p, fault.Wrap(fault.Unavailable, err,
			"The payment provider does not say how the payment stands. Nothing was done. Send the same request again.").
			After(readRetryAfter))
	}

	return p, intent, err
}

// told is what the answer to an operation tells, as an event would.
func told(object ports.Object) payment.Told {
	t := payment.Told{Snapshot: object.Intent.Snapshot()}
	if t.Status.Final() || object.Declined && t.Status == payment.Failed {
		t.Asks = t.Status
	}

	return t
}

// changed is what becomes of a payment when an operation on it was done, as the intent
// says: its final status, a decline, or a step on the way. answer shows the payment after it.
func changed(object ports.Object, answer func(after payment.Payment) ports.FrozenResponse) operations.Result {
	intent := object.Intent
	decide := func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		verdict, after := payment.Decide(told(object), payment.Known{Payment: &p})
		if verdict == payment.Contradicts || intent.ID != p.IntentID {
			return p, ports.FrozenResponse{}, fmt.Errorf("payment %s is %s, its intent %s is %q: %w",
				p.ID, p.Status, intent.ID, intent.IntentStatus, ports.ErrContradiction)
		}

		after = after.PaidBy(intent.Snapshot())

		return after, answer(after), nil
	}

	return operations.Result{On: &ports.Change{Decide: decide}}
}

// notDone is the answer to an operation on a payment that was not done and never will be.
func notDone(op ports.Operation) *fault.Error {
	f := fault.Newf(fault.Rejected, "This %s was never done, and nothing will be done under this idempotency key. "+
		"To ask for it again, use a new key: that is safe.", op.Kind)
	f.PaymentID = op.Subject

	return f
}

// errState is the answer where the payment's state does not allow an operation. What was
// refused is not offered.
func errState(p payment.Payment, kind operation.Kind) *fault.Error {
	f := fault.Newf(fault.InvalidState, "The payment is %s, so this %s is not possible.", stateOf(p), kind)

	f.Allowed = []string{}
	for _, allowed := range p.Allowed() {
		if allowed != kind {
			f.Allowed = append(f.Allowed, string(allowed))
		}
	}

	return about(p, f)
}

// errRefused is the answer, for ever, to an operation that the provider has rejected because
// of the payment's state. It stays even if the state may allow the operation later, as it
// does when a bank fails what is being processed: Stripe keeps its rejection under the
// operation's key and repeats it (https://docs.stripe.com/api/idempotent_requests). So
// nothing can be done under this key any more, and the client is told to use a new one.
func errRefused(p payment.Payment, op ports.Operation) *fault.Error {
	f := errState(p, op.Kind)
	if p.Status.Final() {
		return f
	}

	f.Detail = fmt.Sprintf("The payment provider did not allow the %s because of the payment's state. It is now %s.",
		op.Kind, stateOf(p))

	if op.Key != "" {
		f.Detail += " This answer stays with the idempotency key. To ask again, use a new one: that is safe, because nothing was done."
	}

	return f
}

// errPrecondition is the answer where the client has not seen the payment as it is now.
func errPrecondition(p payment.Payment) *fault.Error {
	f := fault.Newf(fault.PreconditionFailed, "The payment has version %d, which If-Match does not name. Nothing was done. "+
		"Read it again before you decide.", p.Version)
	f.Version = p.Version

	return about(p, f)
}

func stateOf(p payment.Payment) string {
	if p.Status.Final() || p.IntentStatus == "" {
		return string(p.Status)
	}

	return fmt.Sprintf("%s (Stripe: %s)", p.Status, p.IntentStatus)
}

func about(p payment.Payment, f *fault.Error) *fault.Error {
	f.PaymentID, f.IntentStatus = p.ID, string(p.IntentStatus)

	return f
}
