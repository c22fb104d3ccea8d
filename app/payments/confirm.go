package payments

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Confirm makes an attempt to pay.
type Confirm struct{ *Change }

// NewConfirm returns the use case.
func NewConfirm(change *Change) *Confirm { return &Confirm{change} }

// ConfirmCommand asks for an attempt. It has a key: without one nobody could tell a repeated
// request from another attempt.
type ConfirmCommand struct {
	ChangeCommand

	// Options are those of OptionPaymentMethod, OptionReturnURL and OptionOffSession that were
	// given.
	Options map[string]string
}

// Do confirms; see operations.Engine.Do. A decline is an answer, kept for the key. Its errors
// are also
//   - fault.NotFound: there is no such payment;
//   - fault.InvalidState: no attempt can be made;
//   - fault.Invalid: it has no payment method, and none was given;
//   - fault.InProgress: another confirm, a capture or a cancel is not finished.
func (uc *Confirm) Do(ctx context.Context, cmd ConfirmCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.ConfirmPayment", func(ctx context.Context) (operations.Answer, error) {
		p, err := uc.load(ctx, cmd.ChangeCommand)
		if err != nil {
			return operations.Answer{}, err
		}

		order := operation.Order{Options: cmd.Options}

		return uc.do(ctx, operation.Confirm, cmd.ChangeCommand, p, order, uc.calls.ConfirmPayment,
			func(ctx context.Context) (checked, error) { return uc.check(ctx, p, order) })
	})
}

// check refuses an attempt by a final status or by an intent that was just read. The intent is
// always read: the charge that it has now tells this attempt from the one before.
func (uc *Confirm) check(ctx context.Context, p payment.Payment, order operation.Order) (checked, error) {
	if p.Status.Final() {
		return checked{}, errState(p, operation.Confirm)
	}

	p, intent, err := uc.fresh(ctx, p.ID)

	switch {
	case err != nil:
		return checked{}, err
	case p.Status.Final() || !intent.IntentStatus.Confirmable():
		return checked{}, errState(p, operation.Confirm)
	case intent.IntentStatus == payment.IntentRequiresPaymentMethod && order.Options[OptionPaymentMethod] == "":
		return checked{}, fault.New(fault.Invalid, "payment_method is missing: the payment has none")
	}

	return checked{
		payment: p, before: ports.Before{IntentStatus: intent.IntentStatus, LatestCharge: intent.LatestCharge},
	}, nil
}

// ConfirmDefinition is what a confirm adds to the engine.
func ConfirmDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Confirm,
		Sent: func(ctx context.Context, op ports.Operation, object ports.Object) error {
			return refresh.IfHinted(ctx, op.Subject, told(object), string(operation.ByRequest))
		},
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return confirmed(renderer, op, object), nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findConfirm(ctx, refresh, op, rejected)
		},
	}
}

// confirmed is what follows from an attempt that was made, whatever came of it.
func confirmed(renderer ports.Renderer, op ports.Operation, object ports.Object) operations.Result {
	return changed(object, func(after payment.Payment) ports.FrozenResponse {
		if object.Declined {
			return renderer.Rejected(errDeclined(after, object.Intent.Decline), op.Origin.RequestID)
		}

		return renderer.Confirmed(after, object.Intent)
	})
}

// findConfirm reads what became of a confirm. If an attempt was made since it began, that was
// this one, or the customer's browser was faster: either way the payment was tried, and how it
// stands is the answer. A decline that the intent had before says nothing.
func findConfirm(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	p, intent, err := refresh.Do(ctx, op.Subject, string(operation.ByRecovery))
	if err != nil {
		return operations.Found{}, err
	}

	tried := intent.LatestCharge != op.Before.LatestCharge ||
		op.Before.IntentStatus.Untried() && intent.IntentStatus == payment.IntentRequiresAction
	declined := !intent.Decline.IsZero() && (intent.Declined || p.Status == payment.Cancelled)

	switch {
	case rejected != nil:
		return confirmRejected(p, op, rejected), nil
	case tried && (declined || p.Status != payment.Cancelled):
		return operations.Found{Object: &ports.Object{Intent: intent, Declined: declined}}, nil
	case p.Status.Final():
		return operations.Found{Rejected: errRefused(p, op)}, nil
	default:
		return operations.Found{}, nil
	}
}

// confirmRejected is what becomes of a confirm that the provider has rejected. It was not done:
// had it been, the provider would have repeated its outcome, since nothing is sent whose key it
// may have forgotten. p is the payment as its intent, just read, says.
func confirmRejected(p payment.Payment, op ports.Operation, rejected *ports.RejectedError) operations.Found {
	switch {
	case p.Status.Final(), !p.IntentStatus.Confirmable(), rejected.State && rejected.Kept:
		return operations.Found{Rejected: errRefused(p, op)}
	case rejected.State: // it has changed since
		return operations.Found{}
	default:
		return operations.Found{Rejected: about(p, fault.Wrap(kindOf(rejected), rejected,
			"The payment provider rejected this attempt to pay: "+rejected.Message))}
	}
}
