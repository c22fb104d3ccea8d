package disputes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Refresh reads a payment with all its disputes at the provider, and writes down what it says.
type Refresh interface {
	Written(ctx context.Context, paymentID uuid.UUID, cause string) (ports.FullPayment, error)
	// Disputes is Written, and the disputes as the provider has them.
	Disputes(ctx context.Context, paymentID uuid.UUID, cause string) (ports.FullPayment, []ports.DisputeObject, error)
}

// Change is what the operations on disputes have in common. Their subject is the payment, under
// whose lock a dispute is written, and their order names the dispute.
type Change struct {
	engine       *operations.Engine
	disputes     ports.Disputes
	calls        ports.Calls
	renderer     ports.Renderer
	installation operation.Installation
	refresh      Refresh
	lives        ports.Incarnations
	spans        ports.Spans
}

// NewChange returns what the use cases share.
func NewChange(
	engine *operations.Engine, disputes ports.Disputes, calls ports.Calls, renderer ports.Renderer,
	installation operation.Installation, refresh Refresh, lives ports.Incarnations, spans ports.Spans,
) *Change {
	return &Change{
		engine: engine, disputes: disputes, calls: calls, renderer: renderer, installation: installation, refresh: refresh,
		lives: lives, spans: spans,
	}
}

// Command asks for an operation on a dispute.
type Command struct {
	// Tenant is who asks.
	Tenant    operation.Tenant
	DisputeID uuid.UUID
	// Key is empty if the client sent none.
	Key       operation.Key
	RequestID string
	// IfMatch are the versions of the dispute with which it may be done; nil: any.
	IfMatch []int64
}

// build makes the call of an operation on the provider's dispute.
type build func(mark operation.Mark, disputeID string, order operation.Order) (ports.Call, error)

// do answers a command. options are what is asked for beside the dispute. A repeated request gets its
// answer before anything is checked.
func (c *Change) do(
	ctx context.Context, kind operation.Kind, cmd Command, options map[string]string, build build,
) (operations.Answer, error) {
	d, err := load(ctx, c.disputes, c.lives, cmd.Tenant, cmd.DisputeID)
	if err != nil {
		return operations.Answer{}, err
	}

	order := operation.Order{Options: map[string]string{dispute.OptionDispute: d.ID.String()}}
	maps.Copy(order.Options, options)

	fingerprint := order.Fingerprint(kind, d.PaymentID)

	return c.engine.Do(ctx, operations.Request{
		Tenant: cmd.Tenant, Key: cmd.Key, Fingerprint: fingerprint, LookFirst: true,
		New: func(ctx context.Context) (ports.NewOperation, error) {
			id, err := operations.NewID(c.installation, cmd.Tenant, cmd.Key)
			if err != nil {
				return ports.NewOperation{}, err
			}

			mark := c.installation.Mark(cmd.Tenant, kind, id, fingerprint)

			read, done, err := c.check(ctx, d, cmd, mark)
			if err != nil {
				return ports.NewOperation{}, err
			}

			call, err := build(mark, d.ProviderID, order)
			if err != nil {
				return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
			}

			return ports.NewOperation{
				ID: id, Tenant: cmd.Tenant, Kind: kind, Subject: d.PaymentID, Key: cmd.Key, Order: order, Call: call,
				Was: read.Payment, Origin: ports.Origin{RequestID: cmd.RequestID}, Response: done,
			}, nil
		},
	})
}

// check refuses what the bank does not take any more, and what the client has not seen, by the dispute as
// it was just read with its payment. If that carries the operation's mark, the operation was done and the database has lost
// it: then the answer is returned, and nothing is sent. Stripe may have forgotten its key by now.
func (c *Change) check(
	ctx context.Context, d dispute.Dispute, cmd Command, mark operation.Mark,
) (read ports.FullPayment, done *ports.FrozenResponse, err error) {
	read, objects, err := c.refresh.Disputes(ctx, d.PaymentID, string(operation.ByRequest))
	if err != nil {
		return read, nil, errAway(err)
	}

	now, ok := read.Dispute(d.ID)
	if !ok {
		return read, nil, errNone()
	}

	for _, object := range objects {
		switch made := object.Evidence; {
		case object.ProviderID != d.ProviderID || made.Operation != mark.Operation:
		case made.Fingerprint != mark.Fingerprint:
			return read, nil, operations.ErrKeyReused()
		default:
			return read, new(c.renderer.Dispute(now)), nil
		}
	}

	switch {
	case cmd.IfMatch != nil && !slices.Contains(cmd.IfMatch, now.Version):
		return read, nil, errPrecondition(now)
	case !now.CanAnswer(time.Now()):
		return read, nil, errState(now, mark.Kind)
	default:
		return read, nil, nil
	}
}

// errAway is the answer where the provider has to be read, and does not answer.
func errAway(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}

	return fault.Wrap(fault.Unavailable, err,
		"The payment provider does not say how the dispute stands. Nothing was done. Send the same request again.").
		After(retryAfter)
}

// of is the dispute that an operation is about.
func of(op ports.Operation) uuid.UUID {
	id, err := uuid.Parse(op.Order.Options[dispute.OptionDispute])
	if err != nil {
		return uuid.Nil
	}

	return id
}

// errState is the answer where the dispute does not allow an operation.
func errState(d dispute.Dispute, kind operation.Kind) *fault.Error {
	f := fault.Newf(fault.InvalidState, "The dispute is %s, so this %s is not possible.", d.Status, kind)

	switch {
	case d.IsOverdue(time.Now()):
		f.Detail = fmt.Sprintf("Evidence was due by %s, so this %s is not possible any more.",
			d.EvidenceDueBy.Format(time.RFC3339), kind)
	case d.Status.NeedsResponse() && d.EvidenceDueBy.IsZero():
		f.Detail = fmt.Sprintf("The bank takes no answer to this dispute, so this %s is not possible.", kind)
	}

	f.Allowed = []string{}

	return about(d, f)
}

func errPrecondition(d dispute.Dispute) *fault.Error {
	f := fault.Newf(fault.PreconditionFailed, "The dispute has version %d, which If-Match does not name. Nothing was done. "+
		"Read it again before you decide.", d.Version)
	f.Version = d.Version

	return about(d, f)
}

func about(d dispute.Dispute, f *fault.Error) *fault.Error {
	f.PaymentID, f.DisputeID = d.PaymentID, d.ID

	return f
}

// definition is what an operation on a dispute adds to the engine. done tells whether a dispute that
// was read shows that the operation was done.
func definition(
	kind operation.Kind, renderer ports.Renderer, disputes ports.Disputes, provider ports.Provider, refresh Refresh,
	done func(op ports.Operation, object ports.DisputeObject) bool,
) operations.Definition {
	return operations.Definition{
		Kind: kind,
		// What the answer says may be older than what is written down by now, so all is read.
		Sent: func(ctx context.Context, op ports.Operation, _ ports.Object) error {
			_, err := refresh.Written(ctx, op.Subject, string(operation.ByRequest))

			return err
		},
		Done: func(op ports.Operation, _ ports.Object, _ operation.Finisher) (operations.Result, error) {
			return answered(renderer, op), nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return find(ctx, disputes, provider, refresh, op, rejected, done)
		},
	}
}

// answered is what follows from an operation that was done: its answer shows the dispute. The
// dispute itself is written as it is read, not as the operation says.
func answered(renderer ports.Renderer, op ports.Operation) operations.Result {
	full := func(f ports.FullPayment) (ports.FullPayment, ports.FrozenResponse, error) {
		d, ok := f.Dispute(of(op))
		if !ok {
			return f, ports.FrozenResponse{}, fmt.Errorf("payment %s has no dispute %s: %w", f.Payment.ID, of(op),
				ports.ErrContradiction)
		}

		return f, renderer.Dispute(d), nil
	}

	return operations.Result{On: &ports.Change{Full: full}}
}

// notDone is the answer to an operation that was not done and never will be.
func notDone(op ports.Operation) *fault.Error {
	f := fault.Newf(fault.Rejected, "This %s was never done, and nothing will be done under this idempotency key. "+
		"To ask for it again, use a new key: that is safe.", op.Kind)
	f.PaymentID, f.DisputeID = op.Subject, of(op)

	return f
}

// find reads what became of an operation, and writes down what is read.
func find(
	ctx context.Context, disputes ports.Disputes, provider ports.Provider, refresh Refresh, op ports.Operation,
	rejected *ports.RejectedError, done func(op ports.Operation, object ports.DisputeObject) bool,
) (operations.Found, error) {
	if rejected != nil && rejected.Order {
		f := fault.Wrap(fault.OrderRejected, rejected, "The payment provider does not take this evidence: "+rejected.Message)
		f.PaymentID, f.DisputeID = op.Subject, of(op)

		return operations.Found{Rejected: f}, nil
	}

	d, err := disputes.Dispute(ctx, of(op))
	if err != nil { // it may come home
		return operations.Found{}, fmt.Errorf("operation %s: %w", op.ID, err)
	}

	object, err := provider.Dispute(ctx, d.ProviderID)
	if err != nil {
		return operations.Found{}, fmt.Errorf("reading %s: %w", d.ProviderID, err)
	}

	if _, err := refresh.Written(ctx, op.Subject, string(operation.ByRecovery)); err != nil {
		return operations.Found{}, err
	}

	d.Snapshot = object.Snapshot

	switch {
	case done(op, object):
		return operations.Found{Object: &ports.Object{Dispute: object}}, nil
	case rejected != nil && (rejected.Kept || !d.CanAnswer(time.Now())), !d.Status.NeedsResponse():
		return operations.Found{Rejected: errRefused(d, op, rejected)}, nil
	default:
		return operations.Found{}, nil
	}
}

// errRefused is the answer, for ever, to an operation that the dispute does not allow any more.
func errRefused(d dispute.Dispute, op ports.Operation, rejected *ports.RejectedError) *fault.Error {
	f := errState(d, op.Kind)
	if rejected != nil && d.CanAnswer(time.Now()) {
		f.Detail = "The payment provider did not take this " + string(op.Kind) + ": " + rejected.Message
	}

	return f
}
