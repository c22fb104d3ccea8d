package payments

import (
	"context"
	"errors"

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

// errCancelled: there is nothing to do.
var errCancelled = errors.New("the payment is cancelled already")

// Do cancels; see operations.Engine.Do. That a payment is cancelled already is no error.
// Its errors are also
//   - fault.NotFound: there is no such payment;
//   - fault.InvalidState: it is paid;
//   - fault.InProgress: another cancel, or a capture, is not finished.
func (uc *Cancel) Do(ctx context.Context, cmd CancelCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CancelPayment", func(ctx context.Context) (operations.Answer, error) {
		p, err := uc.payments.Payment(ctx, cmd.PaymentID)
		if err != nil {
			return operations.Answer{}, err
		}

		var order operation.Order
		if cmd.Reason != "" {
			order.Options = map[string]string{OptionReason: cmd.Reason}
		}

		answer, err := uc.do(ctx, operation.Cancel, cmd.ChangeCommand, order, uc.calls.CancelPayment,
			func(context.Context) (payment.Payment, error) { return p, cancellable(p) })
		if errors.Is(err, errCancelled) {
			return operations.Answer{PaymentID: p.ID, Response: uc.renderer.Payment(p)}, nil
		}

		return answer, err
	})
}

func cancellable(p payment.Payment) error {
	switch p.Status {
	case payment.Cancelled:
		return errCancelled
	case payment.Succeeded:
		return errState(p, operation.Cancel)
	default:
		return nil // only the provider knows
	}
}

// CancelDefinition is what a cancel adds to the engine.
func CancelDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Cancel,
		Done: func(_ ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return changed(renderer, object.Intent), nil
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
		return operations.Found{Rejected: errState(p, operation.Cancel)}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}
