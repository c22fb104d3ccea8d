package apptest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// TraceParent is the traceparent of every request.
const TraceParent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

// Observer implements the Observer of every package in app and records what it is told.
// Each record is one line about one thing: the id of a payment, an event, an intent or an
// audited object, or Nothing. A line about an operation is about its payment and begins with
// the operation's kind.
type Observer struct {
	mu    sync.Mutex
	told  []line
	spans []string
}

// Nothing stands for the object in lines that are about none.
const Nothing = ""

type line struct{ about, said string }

var (
	_ operations.Observer = (*Observer)(nil)
	_ events.Observer     = (*Observer)(nil)
	_ reconcile.Observer  = (*Observer)(nil)
	_ account.Observer    = (*Observer)(nil)

	_ payments.AcceptObserver = (*Observer)(nil)
)

// Told returns what was said about something, in order.
func (o *Observer) Told(about any) []string {
	o.mu.Lock()
	defer o.mu.Unlock()

	said := []string{}

	for _, line := range o.told {
		if line.about == fmt.Sprint(about) {
			said = append(said, line.said)
		}
	}

	return said
}

// Spans returns the names of the spans that have ended, in the order in which they ended.
// If a span is about an earlier operation, its name is followed by the payment's id.
func (o *Observer) Spans() []string {
	o.mu.Lock()
	defer o.mu.Unlock()

	return slices.Clone(o.spans)
}

func (o *Observer) tellf(about any, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.told = append(o.told, line{fmt.Sprint(about), fmt.Sprintf(format, args...)})
}

// Start implements ports.Spans.
func (o *Observer) Start(ctx context.Context, name string, op *ports.Operation) context.Context {
	if op != nil {
		name += " " + op.PaymentID().String()
	}

	return context.WithValue(ctx, spanKey{}, name)
}

type spanKey struct{}

// End implements ports.Spans.
func (o *Observer) End(ctx context.Context, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if name, ok := ctx.Value(spanKey{}).(string); ok {
		o.spans = append(o.spans, name)
	}
}

// Link implements ports.Spans. It is about the request.
func (o *Observer) Link(_ context.Context, origin ports.Origin) { o.tellf(origin.RequestID, "linked") }

// TraceParent implements ports.Spans.
func (*Observer) TraceParent(context.Context) string { return TraceParent }

// Answered implements operations.Observer.
func (o *Observer) Answered(_ context.Context, id uuid.UUID, from ports.ReplaySource) {
	if from == "" {
		o.tellf(id, "answered")
	} else {
		o.tellf(id, "answered from %s", from)
	}
}

// DuplicatePrevented implements operations.Observer.
func (o *Observer) DuplicatePrevented(kind fault.Kind) {
	o.tellf(Nothing, "duplicate prevented: %s", kind)
}

// PaymentCreated implements operations.Observer.
func (o *Observer) PaymentCreated(_ context.Context, p payment.Payment, by operation.Finisher) {
	o.tellf(p.ID, "payment created by %s", by)
}

// PaymentChanged implements operations.Observer and payments.ChangeObserver. It says
// nothing if the payment is as it was.
func (o *Observer) PaymentChanged(_ context.Context, before, after payment.Payment) {
	switch {
	case before.Status != after.Status:
		o.tellf(after.ID, "changed: %s → %s", before.Status, after.Status)
	case !before.SameAs(after):
		o.tellf(after.ID, "changed: %s", after.IntentStatus)
	}
}

// RefundsChanged implements payments.ChangeObserver.
func (o *Observer) RefundsChanged(_ context.Context, before, after ports.FullPayment) {
	for _, r := range after.Refunds {
		if was, here := refund.Find(before.Refunds, r.ID); !here || was.Status != r.Status {
			o.tellf(r.ID, "refund %s", r.Status)
		}
	}
}

// OperationFinished implements operations.Observer.
func (o *Observer) OperationFinished(
	_ context.Context, op ports.Operation, by operation.Finisher, outcome operation.Outcome, cause error,
) {
	var (
		code       string
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
	)

	switch {
	case errors.As(cause, &rejected):
		code = ": " + rejected.Code
	case errors.As(cause, &deployment):
		code = ": " + deployment.Code
	}

	o.tellf(op.SubjectID(), "%s finished by %s: %s%s", op.Kind, by, outcome, code)
}

// OutcomeUnknown implements operations.Observer.
func (o *Observer) OutcomeUnknown(_ context.Context, op ports.Operation, cause error) {
	if errors.Is(cause, ports.ErrUnavailable) {
		o.tellf(op.SubjectID(), "%s not sent", op.Kind)
	} else {
		o.tellf(op.SubjectID(), "%s outcome unknown", op.Kind)
	}
}

// NeedsAttention implements operations.Observer.
func (o *Observer) NeedsAttention(_ context.Context, op ports.Operation, cause error) {
	o.tellf(op.SubjectID(), "%s needs attention%s", op.Kind, contradiction(cause))
}

func contradiction(cause error) string {
	if errors.Is(cause, ports.ErrContradiction) {
		return ": contradiction"
	}

	return ""
}

// KeyChanged implements tenants.Observer.
func (o *Observer) KeyChanged(_ context.Context, entry ports.AuditEntry) {
	o.tellf(entry.ObjectID, "%s by %s: %s", entry.Action, entry.Actor, entry.Reason)
}

// Decided implements operations.Observer, events.Observer and payments.AcceptObserver.
func (o *Observer) Decided(_ context.Context, entry ports.AuditEntry) {
	o.tellf(entry.ObjectID, "%s by %s: %s", entry.Action, entry.Actor, entry.Reason)
}

// EventTaken implements events.Observer.
func (o *Observer) EventTaken(e ports.Event, outcome ports.EventOutcome) {
	o.tellf(e.ID, "taken: %s", outcome)
}

// EventHandled implements events.Observer.
func (o *Observer) EventHandled(_ context.Context, e ports.Event, applied ports.Applied) {
	o.tellf(e.ID, "handled: %s", applied.Outcome)
}

// EventContradicts implements events.Observer.
func (o *Observer) EventContradicts(_ context.Context, e ports.Event, cause error) {
	o.tellf(e.ID, "contradicts%s", contradiction(cause))
}

// ParkedLeft implements events.Observer.
func (o *Observer) ParkedLeft(_ context.Context, intentID string, _ error) {
	o.tellf(intentID, "parked events left")
}

// DiscrepancyFound implements reconcile.Observer. It is about the event, or else about
// the payment.
func (o *Observer) DiscrepancyFound(_ context.Context, d ports.Discrepancy, dryRun bool) {
	about, what := d.EventID, "left"
	if about == "" {
		about = cmp.Or(d.PaymentID, d.CustomerID).String()
	}

	switch {
	case dryRun:
		what = "found"
	case d.Repaired:
		what = "repaired"
	}

	o.tellf(about, "%s: %s", d.Kind, what)
}

// CursorReset implements reconcile.Observer.
func (o *Observer) CursorReset(context.Context, time.Time, time.Time) {
	o.tellf(Nothing, "cursor reset")
}

// LeaseKept implements reconcile.Observer.
func (o *Observer) LeaseKept(context.Context, error) { o.tellf(Nothing, "lease kept") }

// DatabaseAdopted implements account.Observer.
func (o *Observer) DatabaseAdopted(
	_ context.Context, from, to binding.Binding, actor, reason string, givenUp int,
) {
	o.tellf(Nothing, "adopted %s from %s by %s: %s (%d given up)", to.Account, from.Account, actor, reason, givenUp)
}
