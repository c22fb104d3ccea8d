package payments

import (
	"context"
	"fmt"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Capture takes money that is held, once.
type Capture struct{ *Change }

// NewCapture returns the use case.
func NewCapture(change *Change) *Capture { return &Capture{change} }

// CaptureCommand asks for a capture.
type CaptureCommand struct {
	ChangeCommand

	// Amount is a JSON number in the payment's currency; empty for all that is held. What
	// is not captured is let go.
	Amount string
}

// Do captures; see operations.Engine.Do. Its errors are also
//   - fault.NotFound: there is no such payment;
//   - fault.InvalidState: nothing is held;
//   - fault.AmountExceeded: less is held;
//   - fault.InProgress: another capture, a confirm or a cancel is not finished;
//   - fault.PreconditionFailed: the payment has another version.
func (uc *Capture) Do(ctx context.Context, cmd CaptureCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CapturePayment", func(ctx context.Context) (operations.Answer, error) {
		p, err := uc.load(ctx, cmd.ChangeCommand)
		if err != nil {
			return operations.Answer{}, err
		}

		var order operation.Order

		if cmd.Amount != "" {
			if order.Amount, err = money.ParsePrice(cmd.Amount, p.Amount.Currency()); err != nil {
				return operations.Answer{}, err
			}
		}

		return uc.do(ctx, operation.Capture, cmd.ChangeCommand, p, order, uc.calls.CapturePayment,
			func(ctx context.Context) (checked, error) {
				p, err := uc.check(ctx, p, order, cmd.Key)

				return checked{payment: p}, err
			})
	})
}

// check refuses a capture that cannot be done. It refuses only by a final status or by an
// intent that was just read, because what we last heard of may be past.
func (uc *Capture) check(
	ctx context.Context, p payment.Payment, order operation.Order, key operation.Key,
) (payment.Payment, error) {
	if capturable(p, order) == nil {
		return p, nil
	}

	// Also of a final payment if there is a key: the database may have lost that this very
	// request has captured it.
	if !p.Status.Final() || key != "" && p.Status == payment.Succeeded {
		read, intent, err := uc.fresh(ctx, p.ID)

		switch {
		case err != nil && p.Status.Final() && uc.isReconciled(ctx): // our records have to do
		case err != nil:
			return read, err
		case key != "" && intent.Capture.Operation == uc.installation.OperationID(p.Tenant, key):
			return read, nil // the mark tells the rest
		default:
			p = read
		}
	}

	if f := capturable(p, order); f != nil {
		return p, f
	}

	return p, nil
}

// capturable is nil if, as far as we know, the order can be captured.
func capturable(p payment.Payment, order operation.Order) *fault.Error {
	if p.Status.Final() || p.IntentStatus != payment.IntentRequiresCapture {
		return errState(p, operation.Capture)
	}

	if most := p.Capturable; order.Amount.Minor() > most.Minor() {
		f := fault.Newf(fault.AmountExceeded, "%s cannot be captured: %s is held.", order.Amount, most)
		f.Available = most.Decimal()

		return about(p, f)
	}

	return nil
}

// CaptureDefinition is what a capture adds to the engine.
func CaptureDefinition(renderer ports.Renderer, calls ports.Calls, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Capture,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return captured(renderer, op, object.Intent)
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		LostOn: func(p payment.Payment, object ports.Object) (ports.NewOperation, error) {
			return lostCapture(calls, p, object.Intent)
		},
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findCapture(ctx, refresh, op, rejected)
		},
	}
}

// lostCapture is the capture of an intent, as the intent says. The client's key is not there;
// a retry finds the operation by its id.
func lostCapture(calls ports.Calls, p payment.Payment, intent ports.Intent) (ports.NewOperation, error) {
	order := capturedOrder(intent)

	call, err := calls.CapturePayment(intent.Capture, intent.ID, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: intent.Capture.Operation, Tenant: p.Tenant, Kind: operation.Capture, Subject: p.ID, Order: order, Call: call,
		Copied: intent.Capture.Fingerprint,
	}, nil
}

// capturedOrder is what was captured: whether a part was asked for, or all, nobody can tell.
func capturedOrder(intent ports.Intent) (order operation.Order) {
	order.Amount, _ = money.NewPrice(intent.Captured.Minor(), intent.Captured.Currency())

	return order
}

// captured is what follows from an intent that was captured. If its mark has another
// fingerprint, it was captured for a request that the database has lost.
func captured(renderer ports.Renderer, op ports.Operation, intent ports.Intent) (operations.Result, error) {
	result := changed(ports.Object{Intent: intent}, renderer.Payment)

	if mark := intent.Capture; mark.Operation == op.ID && mark.Fingerprint != op.Fingerprint {
		result.On.Fingerprint = mark.Fingerprint
		result.On.Order = capturedOrder(intent)

		return result, nil
	}

	if asked := op.Order.Amount; !asked.IsZero() && intent.Captured.Minor() > 0 && intent.Status == payment.Succeeded &&
		intent.Captured != asked.Money() {
		return operations.Result{}, fmt.Errorf("%s of intent %s was captured, operation %s asked for %s: %w",
			intent.Captured, intent.ID, op.ID, asked, ports.ErrContradiction)
	}

	return result, nil
}

// findCapture reads what became of a capture. The intent carries the mark of the operation
// that captured it.
func findCapture(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	p, intent, err := refresh.Do(ctx, op.Subject, string(operation.ByRecovery))

	switch {
	case err != nil:
		return operations.Found{}, err
	case intent.Capture.Operation == op.ID:
		return operations.Found{Object: &ports.Object{Intent: intent}}, nil
	case p.Status.Final():
		return operations.Found{Rejected: errRefused(p, op)}, nil
	case rejected == nil:
		return operations.Found{}, nil
	case p.IntentStatus != payment.IntentRequiresCapture:
		return operations.Found{Rejected: errRefused(p, op)}, nil
	}

	if f := capturable(p, op.Order); f != nil {
		return operations.Found{Rejected: f}, nil //nolint:nilerr // it is the answer
	}

	switch {
	case rejected.State && rejected.Kept: // it has changed since, but the rejection would be repeated for a day
		return operations.Found{Rejected: errRefused(p, op)}, nil
	case rejected.State: // it has changed since
		return operations.Found{}, nil
	}

	return operations.Found{Rejected: about(p, fault.Wrap(kindOf(rejected), rejected,
		"The payment provider rejected this capture: "+rejected.Message))}, nil
}
