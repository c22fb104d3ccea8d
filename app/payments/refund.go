package payments

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// OptionExpected is the name of an order's option: what the client believes can be refunded, in
// major units.
const OptionExpected = "expected_refundable"

// Refund gives money of a payment back.
type Refund struct{ *Change }

// NewRefund returns the use case.
func NewRefund(change *Change) *Refund { return &Refund{change} }

// RefundCommand asks for a refund. It has a key: without one nobody could tell a repeated
// request from another refund.
type RefundCommand struct {
	ChangeCommand

	// Amount and Expected are JSON numbers in the payment's currency; empty if they were not
	// given. Without an amount Expected, which is all that can be refunded, is the amount.
	Amount, Expected string
	// Reason is one of refund.Reasons, or empty.
	Reason   string
	Metadata map[string]string
}

// Do refunds; see operations.Engine.Do. What is asked for is reserved in the commit that writes
// it down, so that all refunds together never exceed what was captured. Its errors are also
//   - fault.NotFound: there is no such payment;
//   - fault.Invalid: the amount is none, or neither it nor Expected was given;
//   - those of payment.Reserve.
func (uc *Refund) Do(ctx context.Context, cmd RefundCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.RefundPayment", func(ctx context.Context) (operations.Answer, error) {
		id := uc.installation.OperationID(cmd.Tenant, cmd.Key)

		seen, used, err := uc.see(ctx, cmd.ChangeCommand, id)
		if err != nil {
			return operations.Answer{}, err
		}

		order, err := cmd.order(seen.Payment.Amount.Currency())
		if err != nil {
			return operations.Answer{}, err
		}

		answer, err := uc.engine.Do(ctx, operations.Request{
			Tenant:      cmd.Tenant,
			Key:         cmd.Key,
			Fingerprint: order.Fingerprint(operation.Refund, cmd.PaymentID),
			LookFirst:   true,
			Unused:      !used,
			New: func(ctx context.Context) (ports.NewOperation, error) {
				return uc.operation(ctx, cmd, id, seen, order)
			},
		})
		answer.RefundID = id

		return answer, err
	})
}

// order is what is asked for.
func (cmd RefundCommand) order(currency money.Currency) (order operation.Order, err error) {
	order.Metadata = cmd.Metadata
	order.Options = make(map[string]string)

	if cmd.Reason != "" {
		order.Options[OptionReason] = cmd.Reason
	}

	if cmd.Expected != "" {
		expected, err := money.ParsePrice(cmd.Expected, currency)
		if err != nil {
			return order, fault.Wrap(fault.Invalid, err, "expected_refundable: "+fault.From(err).Detail)
		}

		order.Amount, order.Options[OptionExpected] = expected, expected.Decimal()
	}

	switch {
	case cmd.Amount != "":
		order.Amount, err = money.ParsePrice(cmd.Amount, currency)
	case cmd.Expected == "":
		err = fault.New(fault.Invalid, "amount is missing; send it in major units, such as 10.00, or send expected_refundable, "+
			"which is amount_refundable as you have read it, to give all of that back")
	}

	return order, err
}

// operation is what is written down before anything is sent. What our records refuse is refused
// only after the provider was asked, because what we last heard of may be past.
func (uc *Refund) operation(
	ctx context.Context, cmd RefundCommand, id uuid.UUID, seen ports.Seen, order operation.Order,
) (ports.NewOperation, error) {
	p := seen.Payment
	ask := askOf(order, p.Amount.Currency())
	ask.Versions = cmd.IfMatch

	if f := p.MayRefund(ask); f != nil {
		if err := uc.lookAgain(ctx, &p, ask, f); err != nil {
			return ports.NewOperation{}, err
		}
	}

	mark := uc.installation.Mark(cmd.Tenant, operation.Refund, id, order.Fingerprint(operation.Refund, p.ID))

	call, err := uc.calls.Refund(mark, cmd.Key, p.ID, p.IntentID, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: id, Tenant: cmd.Tenant, Kind: operation.Refund, Subject: p.ID, Key: cmd.Key, Order: order, Call: call,
		Origin: ports.Origin{RequestID: cmd.RequestID}, Reserve: reserve(id, cmd.Key, order, cmd.IfMatch),
		Seen: &seen,
	}, nil
}

// lookAgain reads a payment that does not allow a refund as far as we know, and returns the
// refusal if it still does not.
func (uc *Refund) lookAgain(ctx context.Context, p *payment.Payment, ask payment.RefundAsk, refused *fault.Error) error {
	if ask.Versions != nil && !slices.Contains(ask.Versions, p.Version) {
		return refused
	}

	read, _, err := uc.fresh(ctx, p.ID)

	switch {
	case err != nil && p.Status.Final() && uc.isReconciled(ctx): // our records have to do
		return refused
	case err != nil:
		return err
	}

	*p = read

	if f := p.MayRefund(ask); f != nil {
		return f
	}

	return nil
}

// askOf is what an order asks of a payment.
func askOf(order operation.Order, currency money.Currency) payment.RefundAsk {
	ask := payment.RefundAsk{Amount: order.Amount}
	if text := order.Options[OptionExpected]; text != "" {
		ask.Expected, _ = money.ParsePrice(text, currency) // it was written by order
	}

	return ask
}

// reserve writes the refund of an operation down, if its payment has that much left.
func reserve(id uuid.UUID, key operation.Key, order operation.Order, versions []int64) ports.Reserve {
	return func(f ports.FullPayment) (ports.FullPayment, error) {
		if _, taken := refund.Find(f.Refunds, id); taken {
			return f, fmt.Errorf("refund %s is there, and its operation is not: %w", id, ports.ErrContradiction)
		}

		r := asked(id, key, f.Payment.ID, order)
		ask := askOf(order, f.Payment.Amount.Currency())
		ask.Versions = versions

		p, err := f.Payment.Reserve(f.Refunds, r, ask)
		if err != nil {
			return f, err
		}

		f.Payment, f.Refunds = p, refund.With(f.Refunds, r)

		return f, nil
	}
}

// asked is a refund that was asked for. The provider keeps no empty metadata.
func asked(id uuid.UUID, key operation.Key, paymentID uuid.UUID, order operation.Order) refund.Refund {
	r := refund.Refund{
		ID: id, PaymentID: paymentID, Key: key, Amount: order.Amount, Status: refund.Pending,
		Reason: order.Options[OptionReason], Origin: refund.FromAPI,
	}

	for name, value := range order.Metadata {
		if value == "" {
			continue
		}

		if r.Metadata == nil {
			r.Metadata = make(map[string]string, len(order.Metadata))
		}

		r.Metadata[name] = value
	}

	return r
}

// RefundDefinition is what a refund adds to the engine.
func RefundDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Refund,
		Reserve: func(op ports.Operation) ports.Reserve {
			return reserve(op.ID, op.Key, op.Order, nil)
		},
		Sent: func(ctx context.Context, op ports.Operation, _ ports.Object) error {
			if op.Attempts <= 1 {
				return nil
			}

			// The provider repeats its first answer. The refund may have failed since.
			_, err := refresh.Full(ctx, op.Subject, string(operation.ByRecovery))

			return err
		},
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return refunded(renderer, op, object.Refund)
		},
		Written: func(ctx context.Context, op ports.Operation) (*ports.Object, error) {
			return refundWritten(ctx, refresh, op)
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		LostOn: func(p payment.Payment, object ports.Object) (ports.NewOperation, error) {
			return refresh.lostOn(p, object.Refund)
		},
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findRefund(ctx, refresh, op, rejected)
		},
	}
}

// refunded is what follows from a refund that was made. If its mark has another fingerprint, it
// was made for a request that the database has lost.
func refunded(renderer ports.Renderer, op ports.Operation, s refund.Snapshot) (operations.Result, error) {
	change := &ports.Change{Full: func(f ports.FullPayment) (ports.FullPayment, ports.FrozenResponse, error) {
		if s.IntentID != "" && s.IntentID != f.Payment.IntentID {
			return f, ports.FrozenResponse{}, fmt.Errorf("refund %s is of intent %s, payment %s has %s: %w",
				s.ID, s.IntentID, f.Payment.ID, f.Payment.IntentID, ports.ErrContradiction)
		}

		f, r := took(f, op, s)

		return f, renderer.RefundMade(r), nil
	}}

	switch lost := s.Mark.Fingerprint != op.Fingerprint; {
	case s.Mark.Operation != op.ID, !lost && s.Amount != op.Order.Amount:
		return operations.Result{}, fmt.Errorf("refund %s gives %s back, operation %s asked for %s: %w",
			s.ID, s.Amount, op.ID, op.Order.Amount, ports.ErrContradiction)
	case lost:
		change.Fingerprint, change.Order = s.Mark.Fingerprint, refundOrderOf(s)
	}

	return operations.Result{On: change}, nil
}

// took is f once the provider has answered that it has made the refund of an operation. What was
// read of it meanwhile is not older than that answer, so it stays.
func took(f ports.FullPayment, op ports.Operation, s refund.Snapshot) (ports.FullPayment, refund.Refund) {
	r, here := refund.Find(f.Refunds, op.ID)
	if !here { // it was given back, and then done after all
		r = refund.Refund{
			ID: op.ID, PaymentID: f.Payment.ID, Key: op.Key, Origin: refund.FromAPI, CreatedAt: s.CreatedAt,
		}
	}

	if !r.Made() {
		r = r.Taking(s).Changed(f.Payment.UpdatedAt)
	}

	f.Refunds = refund.With(f.Refunds, r)
	f.Payment = f.Payment.WithRefunds(f.Refunds).Balanced()

	return f, r
}

// refundWritten is the refund of an operation if it is written down as made. After a loss, what
// the provider lists may have come home while its operation was begun anew: then the operation is
// young, and its key may be forgotten.
func refundWritten(ctx context.Context, refresh *Refresh, op ports.Operation) (*ports.Object, error) {
	f, err := refresh.payments.FullPayment(ctx, op.Subject)
	if err != nil {
		return nil, err
	}

	if r, here := refund.Find(f.Refunds, op.ID); !here || !r.Made() {
		return nil, nil //nolint:nilnil // nothing is made, and that is no error
	}

	read, err := refresh.Full(ctx, op.Subject, string(operation.ByRecovery))
	if err != nil {
		return nil, err
	}

	s, ok := read.made(op)
	if !ok {
		return nil, fmt.Errorf("the refund of operation %s is written down, and the provider does not list it: %w",
			op.ID, ports.ErrContradiction)
	}

	return &ports.Object{Refund: s}, nil
}

// findRefund reads what became of a refund: by the mark that it carries, never by its amount.
func findRefund(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	read, err := refresh.Full(ctx, op.Subject, string(operation.ByRecovery))
	if err != nil {
		return operations.Found{}, err
	}

	if s, ok := read.made(op); ok {
		return operations.Found{Object: &ports.Object{Refund: s}}, nil
	}

	if rejected == nil {
		return operations.Found{}, nil
	}

	// Without what it has reserved itself.
	p := read.Payment.WithRefunds(refund.Without(read.Refunds, op.ID))
	if f := p.MayRefund(payment.RefundAsk{Amount: op.Order.Amount}); f != nil {
		return operations.Found{Rejected: f}, nil //nolint:nilerr // it is the answer
	}

	return operations.Found{Rejected: about(p, fault.Wrap(fault.OrderRejected, rejected,
		"The payment provider rejected this refund: "+rejected.Message))}, nil
}

// made is the refund of an operation as the provider lists it. One whose mark somebody has taken
// away is known by its id, if that was written down before.
func (r Reading) made(op ports.Operation) (refund.Snapshot, bool) {
	record, _ := refund.Find(r.Refunds, op.ID)

	for _, s := range r.Listed {
		switch {
		case !record.Made() || s.ID != record.ProviderID:
		case s.Mark.Operation != op.ID:
			s.Mark.Operation, s.Mark.Fingerprint = op.ID, op.Fingerprint

			return s, true
		default:
			return s, true
		}
	}

	return refund.Snapshot{}, false
}
