package payments

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// OptionRefund is the name of an order's option: the refund that is cancelled.
const OptionRefund = "refund_id"

// CancelRefund cancels a refund that waits for the customer.
type CancelRefund struct {
	*Change

	refunds ports.Refunds
}

// NewCancelRefund returns the use case.
func NewCancelRefund(change *Change, refunds ports.Refunds) *CancelRefund {
	return &CancelRefund{change, refunds}
}

// CancelRefundCommand asks for a cancellation.
type CancelRefundCommand struct {
	Tenant   operation.Tenant
	RefundID uuid.UUID
	// Key is empty if the client sent none.
	Key       operation.Key
	RequestID string
}

// Do cancels; see operations.Engine.Do. Its errors are also
//   - fault.NotFound: there is no such refund;
//   - fault.InvalidState: it does not wait for the customer.
func (uc *CancelRefund) Do(ctx context.Context, cmd CancelRefundCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CancelRefund", func(ctx context.Context) (operations.Answer, error) {
		r, err := findRefundByID(ctx, uc.refunds, uc.lives, cmd.Tenant, cmd.RefundID)
		if err != nil {
			return operations.Answer{}, err
		}

		change := ChangeCommand{Tenant: cmd.Tenant, PaymentID: r.PaymentID, Key: cmd.Key, RequestID: cmd.RequestID}

		p, err := uc.load(ctx, change)
		if err != nil {
			return operations.Answer{}, err
		}

		order := operation.Order{Options: map[string]string{OptionRefund: r.ID.String()}}

		// The call is about the refund, not about the intent.
		build := func(mark operation.Mark, _ string, _ operation.Order) (ports.Call, error) {
			return uc.calls.CancelRefund(mark, r.ProviderID)
		}

		answer, err := uc.do(ctx, operation.CancelRefund, change, p, order, build,
			func(ctx context.Context) (checked, error) {
				p, err := uc.check(ctx, p, r)

				return checked{payment: p}, err
			})
		answer.RefundID = r.ID

		return answer, err
	})
}

// check refuses what cannot be cancelled, after the provider was asked.
func (uc *CancelRefund) check(ctx context.Context, p payment.Payment, r refund.Refund) (payment.Payment, error) {
	if r.Cancellable() || r.Status.Final() {
		return p, errNotCancellable(p, r)
	}

	read, _, err := uc.fresh(ctx, p.ID)
	if err != nil {
		return p, err
	}

	if r, err = uc.refunds.Refund(ctx, r.ID); err != nil {
		return p, err
	}

	return read, errNotCancellable(read, r)
}

// errNotCancellable is nil if a refund can be cancelled.
func errNotCancellable(p payment.Payment, r refund.Refund) error {
	if r.Cancellable() {
		return nil
	}

	f := fault.Newf(fault.InvalidState, "The refund is %s. It can be cancelled only while it waits for the customer (%s).",
		r.Status, refund.RequiresAction)
	f.Allowed = []string{}

	for _, allowed := range p.Allowed() {
		f.Allowed = append(f.Allowed, string(allowed))
	}

	return about(p, f)
}

// CancelRefundDefinition is what it adds to the engine.
func CancelRefundDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.CancelRefund,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return refundCancelled(renderer, op, object.Refund), nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findRefundCancel(ctx, refresh, op, rejected)
		},
	}
}

// refundCancelled is what follows from a refund that was cancelled.
func refundCancelled(renderer ports.Renderer, op ports.Operation, s refund.Snapshot) operations.Result {
	decide := func(f ports.FullPayment) (ports.FullPayment, ports.FrozenResponse, error) {
		r, here := refund.Find(f.Refunds, subjectOf(op))
		if !here || r.ProviderID != s.ID {
			return f, ports.FrozenResponse{}, fmt.Errorf("operation %s is about refund %s, the provider's answer about %s: %w",
				op.ID, r.ProviderID, s.ID, ports.ErrContradiction)
		}

		if s.Tells(r) && !r.Status.Final() {
			r = r.Taking(s).Changed(f.Payment.UpdatedAt)
		}

		f.Refunds = refund.With(f.Refunds, r)
		f.Payment = f.Payment.WithRefunds(f.Refunds).Balanced()

		return f, renderer.Refund(r), nil
	}

	return operations.Result{On: &ports.Change{Full: decide}}
}

// subjectOf is the refund that an operation is about.
func subjectOf(op ports.Operation) uuid.UUID {
	id, _ := uuid.Parse(op.Order.Options[OptionRefund]) // the nil one is no refund's

	return id
}

// findRefundCancel reads what became of it. It does not matter who has cancelled.
func findRefundCancel(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	read, err := refresh.Full(ctx, op.Subject, string(operation.ByRecovery))
	if err != nil {
		return operations.Found{}, err
	}

	r, _ := refund.Find(read.Refunds, subjectOf(op))

	for _, s := range read.Listed {
		if s.ID == r.ProviderID && s.Status == refund.Cancelled {
			return operations.Found{Object: &ports.Object{Refund: s}}, nil
		}
	}

	if r.Cancellable() && rejected == nil {
		return operations.Found{}, nil
	}

	refused := errNotCancellable(read.Payment, r)
	if refused == nil { // it can be now, but the provider would repeat its rejection
		refused = about(read.Payment, fault.Wrap(fault.OrderRejected, rejected,
			"The payment provider rejected this cancellation: "+rejected.Message))
	}

	return operations.Found{Rejected: fault.From(refused)}, nil
}
