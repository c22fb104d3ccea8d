package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// CreatePayment creates a payment at most once for each idempotency key.
type CreatePayment struct {
	deps   Deps
	finish *finisher
}

// NewCreatePayment returns the use case.
func NewCreatePayment(deps Deps) *CreatePayment {
	return &CreatePayment{deps: deps, finish: newFinisher(deps)}
}

// CreatePaymentCommand asks for a payment.
type CreatePaymentCommand struct {
	// Key is zero where the client sent none: then each request is a new payment.
	Key       operation.Key
	Order     payment.Order
	RequestID string
}

// CreatePaymentAnswer is the frozen answer to a command.
type CreatePaymentAnswer struct {
	PaymentID uuid.UUID
	Response  ports.FrozenResponse
	// Replayed: an earlier request with this key got the same answer.
	Replayed bool
}

// Do answers a command: a payment (also one that was created before), or a
// refusal by the provider, which is frozen just so. Its faults are InFlight,
// KeyReused, Refused (because of the deployment: the same key is good again once
// that is repaired), Unknown (retry with the same key) and Unavailable (surely
// nothing was done).
//
// It goes on when the client hangs up: the operation is written, so somebody has
// to finish it anyway.
func (uc *CreatePayment) Do(ctx context.Context, cmd CreatePaymentCommand) (CreatePaymentAnswer, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.CreatePayment", func(ctx context.Context) (CreatePaymentAnswer, error) {
		answer, err := uc.do(ctx, cmd)

		switch kind := fault.KindOf(err); {
		case err != nil && (kind == fault.InFlight || kind == fault.KeyReused):
			uc.deps.Recorder.Rejected(kind)
		case err == nil:
			trace.SpanFromContext(ctx).SetAttributes(
				attribute.String("marketflow.payment.id", answer.PaymentID.String()),
				attribute.Bool("marketflow.idempotent_replayed", answer.Replayed))
		}

		return answer, err
	})
}

func (uc *CreatePayment) do(ctx context.Context, cmd CreatePaymentCommand) (CreatePaymentAnswer, error) {
	if cmd.Key != "" {
		if replay, ok := uc.deps.Cache.Get(ctx, cmd.Key); ok {
			return uc.replay(replay, cmd, ports.ReplayFromCache)
		}
	}

	return uc.create(ctx, cmd)
}

func (uc *CreatePayment) create(ctx context.Context, cmd CreatePaymentCommand) (CreatePaymentAnswer, error) {
	// A provider that is out of reach is no reason to refuse a replay, and
	// every reason not to write an operation that has to wait.
	if err := uc.deps.Gateway.Ready(); err != nil {
		return uc.whileUnavailable(ctx, cmd, err)
	}

	op, err := uc.op(ctx, cmd)
	if fault.KindOf(err) == fault.Unknown {
		err = errUnknown(cmd.Key, err, providerRetryAfter) // whether it is written down
	}

	if err != nil {
		return CreatePaymentAnswer{}, err
	}

	if !op.Held() {
		return uc.found(ctx, op, cmd)
	}

	ctx, cancel := patiently(context.WithoutCancel(ctx))
	defer cancel()

	op, err = uc.finish.send(ctx, op, ports.ByRequest)
	if err != nil {
		return CreatePaymentAnswer{}, err
	}

	return CreatePaymentAnswer{PaymentID: op.PaymentID, Response: op.Response}, nil
}

// operation writes down what is wanted before the provider hears of it. One that was
// rejected is opened again, by whoever asks for the same once more.
func (uc *CreatePayment) op(ctx context.Context, cmd CreatePaymentCommand) (ports.Operation, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return ports.Operation{}, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	lease := ports.Lease{Token: uuid.New(), For: leaseFor}

	op, err := uc.deps.Operations.Begin(ctx, ports.NewOperation{
		PaymentID: id,
		Key:       cmd.Key,
		Order:     cmd.Order,
		Request:   uc.deps.Gateway.Prepare(id, cmd.Order),
		Origin:    ports.Origin{RequestID: cmd.RequestID, TraceParent: traceParent(ctx)},
		Lease:     lease,
	})
	if err != nil || op.State != operation.Rejected ||
		op.Fingerprint != cmd.Order.Fingerprint() || tooOld(op) {
		return op, err
	}

	return uc.deps.Operations.Reopen(ctx, op.PaymentID, lease)
}

// found answers for an operation that somebody else has written.
func (uc *CreatePayment) found(ctx context.Context, op ports.Operation, cmd CreatePaymentCommand) (CreatePaymentAnswer, error) {
	switch {
	case op.Fingerprint != cmd.Order.Fingerprint():
		return CreatePaymentAnswer{}, errKeyReused()
	case op.Finished():
		uc.finish.remember(ctx, op)

		return uc.replay(replayOf(op), cmd, ports.ReplayFromDatabase)
	case op.State == operation.NeedsAttention:
		return CreatePaymentAnswer{}, errUnknown(cmd.Key, errors.New("the operation needs attention"), time.Minute)
	case op.State == operation.Rejected && tooOld(op):
		return CreatePaymentAnswer{}, fault.New(fault.Rejected,
			"The payment provider rejected this request, and its idempotency key is too old to be sent again. "+
				"Nothing was made or charged: use a new key.")
	default:
		return CreatePaymentAnswer{}, fault.New(fault.InFlight,
			"A request with this idempotency key is still being worked on. Send the same request again shortly.").
			After(time.Second)
	}
}

func (uc *CreatePayment) replay(
	replay ports.Replay, cmd CreatePaymentCommand, source ports.ReplaySource,
) (CreatePaymentAnswer, error) {
	if replay.Fingerprint != cmd.Order.Fingerprint() {
		return CreatePaymentAnswer{}, errKeyReused()
	}

	uc.deps.Recorder.Replayed(source)

	return CreatePaymentAnswer{PaymentID: replay.PaymentID, Response: replay.Response, Replayed: true}, nil
}

// whileUnavailable answers what can be answered without the provider.
func (uc *CreatePayment) whileUnavailable(
	ctx context.Context, cmd CreatePaymentCommand, cause error,
) (CreatePaymentAnswer, error) {
	if cmd.Key != "" {
		op, err := uc.deps.Operations.Find(ctx, cmd.Key)

		switch {
		case err == nil && (op.Finished() || op.Fingerprint != cmd.Order.Fingerprint()):
			return uc.found(ctx, op, cmd)
		case err == nil && op.State != operation.Rejected: // somebody finishes it yet
			return CreatePaymentAnswer{}, errUnknown(cmd.Key, cause, providerRetryAfter)
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return CreatePaymentAnswer{}, err
		}
	}

	return CreatePaymentAnswer{}, fault.Wrap(fault.Unavailable, cause,
		"The payment provider cannot be reached. Send the same request again.").
		After(providerRetryAfter)
}

func replayOf(op ports.Operation) ports.Replay {
	return ports.Replay{PaymentID: op.PaymentID, Fingerprint: op.Fingerprint, Response: op.Response}
}

func errKeyReused() error {
	return fault.New(fault.KeyReused,
		"This idempotency key belongs to a payment with another amount, currency or metadata. "+
			"Send that payment again, or use a new key.")
}
