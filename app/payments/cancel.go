package payments

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// OptionReason is the name of an order's option: why a payment is cancelled.
const OptionReason = "reason"

// CancelReasons are the reasons that a client may give
// (https://docs.stripe.com/api/payment_intents/cancel).
func CancelReasons() []string {
	return []string{"duplicate", "fraudulent", "requested_by_customer", "abandoned"}
}

// Cancel ends a payment that is not paid.
type Cancel struct {
	*Change

	renderer ports.Renderer
}

// NewCancel returns the use case.
func NewCancel(change *Change, renderer ports.Renderer) *Cancel { return &Cancel{change, renderer} }

// CancelCommand asks for a cancellation.
type CancelCommand struct {
	ChangeCommand

	// Reason is one of CancelReasons, or empty.
	Reason string
}

// Do cancels; see operations.Engine.Do. If the payment is cancelled already, that is the
// answer: its key is used then, and nothing is sent. Its errors are also
//   - fault.NotFound: there is no such payment;
//   - fault.InvalidState: it is paid;
//   - fault.InProgress: another cancel, a confirm or a capture is not finished.
func (uc *Cancel) Do(ctx context.Context, cmd CancelCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CancelPayment", func(ctx context.Context) (operations.Answer, error) {
		p, err := uc.load(ctx, cmd.ChangeCommand)
		if err != nil {
			return operations.Answer{}, err
		}

		var order operation.Order
		if cmd.Reason != "" {
			order.Options = map[string]string{OptionReason: cmd.Reason}
		}

		return uc.do(ctx, operation.Cancel, cmd.ChangeCommand, p, order, uc.calls.CancelPayment,
			func(context.Context) (checked, error) { return uc.check(p) })
	})
}

// check decides by our records where they are final; else only the provider knows.
func (uc *Cancel) check(p payment.Payment) (checked, error) {
	switch p.Status {
	case payment.Cancelled:
		return checked{payment: p, answer: new(uc.renderer.Payment(p))}, nil
	case payment.Succeeded:
		return checked{}, errState(p, operation.Cancel)
	default:
		return checked{payment: p}, nil
	}
}

// CancelDefinition is what a cancel adds to the engine.
func CancelDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Cancel,
		Done: func(_ ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return changed(object, renderer.Payment), nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findCancel(ctx, refresh, op, rejected)
		},
	}
}

// findCancel reads what became of a cancel. It does not matter who has cancelled.
func findCancel(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	p, intent, err := refresh.Do(ctx, op.Subject, string(operation.ByRecovery))

	switch {
	case err != nil:
		return operations.Found{}, err
	case p.Status == payment.Cancelled:
		return operations.Found{Object: &ports.Object{Intent: intent}}, nil
	case p.Status.Final(), rejected != nil:
		return operations.Found{Rejected: errRefused(p, op)}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}
