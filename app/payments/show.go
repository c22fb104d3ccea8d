package payments

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Show gathers all that is known about a payment.
type Show struct {
	payments  ports.Payments
	decisions ports.Decisions
	records   ports.Reconciliation
	inbox     ports.Inbox
	audit     ports.Audit
	spans     ports.Spans
}

// NewShow returns the use case.
func NewShow(
	payments ports.Payments, decisions ports.Decisions, records ports.Reconciliation, inbox ports.Inbox,
	audit ports.Audit, spans ports.Spans,
) *Show {
	return &Show{payments: payments, decisions: decisions, records: records, inbox: inbox, audit: audit, spans: spans}
}

// Name identifies a payment. Exactly one field is set.
type Name struct {
	ID       uuid.UUID
	IntentID string
	Key      operation.Key
}

// Story is all that is known about a payment.
type Story struct {
	// Payment is nil if there is only an operation. Operation is nil only if somebody
	// wrote the payment into the database by hand.
	Payment   *payment.Payment
	Operation *ports.OperationDetails
	// Timeline is everything that happened, in time order.
	Timeline []TimelineEntry
}

// TimelineKind is what a TimelineEntry is about.
type TimelineKind string

// The kinds.
const (
	TimelineOperation   TimelineKind = "operation"
	TimelineTransition  TimelineKind = "transition"
	TimelineStripeEvent TimelineKind = "stripe_event"
	TimelineAudit       TimelineKind = "audit"
)

// TimelineEntry is one thing that happened to a payment.
type TimelineEntry struct {
	At    time.Time
	Kind  TimelineKind
	Title string
	// Actor, RequestID and TraceID are empty if they are not known.
	Actor, RequestID, TraceID string
	Data                      map[string]any
}

// maxEventsShown is the most events shown of a payment. Stripe sends a handful.
const maxEventsShown = 1000

// Do gathers the story. If there is neither a payment nor an operation, the error is
// fault.NotFound.
func (uc *Show) Do(ctx context.Context, name Name) (Story, error) {
	return ports.InSpan(ctx, uc.spans, "app.ShowPayment", func(ctx context.Context) (Story, error) {
		id, err := uc.id(ctx, name)
		if err != nil {
			return Story{}, err
		}

		return uc.story(ctx, id)
	})
}

func (uc *Show) id(ctx context.Context, name Name) (uuid.UUID, error) {
	switch {
	case name.Key != "":
		op, err := uc.decisions.OperationByKey(ctx, name.Key)
		if fault.KindOf(err) == fault.NotFound {
			return uuid.Nil, fault.New(fault.NotFound, "No payment was ever asked for under this idempotency key.")
		}

		return op.PaymentID(), err
	case name.IntentID != "":
		known, err := uc.records.PaymentsByIntent(ctx, []string{name.IntentID})
		if err != nil {
			return uuid.Nil, err
		}

		p, ok := known[name.IntentID]
		if !ok {
			return uuid.Nil, fault.Newf(fault.NotFound, "No payment here has the intent %s.", name.IntentID)
		}

		return p.ID, nil
	default:
		return name.ID, nil
	}
}

func (uc *Show) story(ctx context.Context, id uuid.UUID) (Story, error) {
	var story Story

	p, err := uc.payments.Payment(ctx, id)
	if err == nil {
		story.Payment = &p
	} else if fault.KindOf(err) != fault.NotFound {
		return Story{}, err
	}

	op, err := uc.decisions.Operation(ctx, id)
	if err == nil {
		story.Operation = &op
		story.Timeline = operationEntries(op)
	} else if fault.KindOf(err) != fault.NotFound {
		return Story{}, err
	}

	later, err := uc.decisions.OperationsOn(ctx, id)
	if err != nil {
		return Story{}, err
	}

	for _, one := range later {
		story.Timeline = append(story.Timeline, operationEntries(one)...)
	}

	if story.Payment == nil && story.Operation == nil {
		return Story{}, fault.Newf(fault.NotFound, "There is no payment and no operation %s.", id)
	}

	if err := uc.addHistory(ctx, &story, id); err != nil {
		return Story{}, err
	}

	slices.SortStableFunc(story.Timeline, func(a, b TimelineEntry) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })

	return story, nil
}

// addHistory adds what happened after the payment was asked for.
func (uc *Show) addHistory(ctx context.Context, story *Story, id uuid.UUID) error {
	transitions, err := uc.payments.History(ctx, id)
	if err != nil {
		return err
	}

	for _, one := range transitions {
		story.Timeline = append(story.Timeline, transitionEntry(one))
	}

	about := []string{id.String()}

	if story.Payment != nil {
		events, err := uc.inbox.Events(ctx, ports.EventFilter{ObjectID: story.Payment.IntentID}, maxEventsShown)
		if err != nil {
			return err
		}

		for _, event := range events {
			story.Timeline = append(story.Timeline, eventEntry(event))
			about = append(about, event.ID)
		}
	}

	decisions, err := uc.audit.AuditOf(ctx, about...)
	if err != nil {
		return err
	}

	for _, decision := range decisions {
		story.Timeline = append(story.Timeline, auditEntry(decision))
	}

	return nil
}

// operationEntries are the operation's beginning and, if it is no longer pending, how it
// stands now.
func operationEntries(o ports.OperationDetails) []TimelineEntry {
	kind := string(o.Kind)
	begun := TimelineEntry{
		At: o.CreatedAt, Kind: TimelineOperation, Title: kind + " asked for",
		RequestID: o.Origin.RequestID, TraceID: o.Origin.TraceID(), Data: map[string]any{"id": o.ID.String()},
	}

	if amount := o.Order.Amount; !amount.IsZero() {
		begun.Data["amount"], begun.Data["currency"] = amount.Decimal(), amount.Currency().Code()
	}

	for name, value := range o.Order.Options {
		begun.Data[name] = value
	}

	if o.State == operation.Pending {
		return []TimelineEntry{begun}
	}

	ended := TimelineEntry{
		At: o.UpdatedAt, Kind: TimelineOperation, Title: kind + " " + strings.ReplaceAll(string(o.State), "_", " "),
		Data: map[string]any{"state": o.State, "attempts": o.Attempts},
	}

	if o.Finished() {
		ended.Data["response_status"] = o.Response.Status
	} else {
		ended.Data["last_error"] = o.LastError
	}

	return []TimelineEntry{begun, ended}
}

func transitionEntry(t ports.Transition) TimelineEntry {
	title := "payment " + string(t.To)
	if t.From != "" {
		title = string(t.From) + " → " + string(t.To)
	}

	return TimelineEntry{
		At: t.At, Kind: TimelineTransition, Title: title, Actor: t.Cause,
		Data: map[string]any{"from": string(t.From), "to": string(t.To), "cause": t.Cause},
	}
}

func eventEntry(e ports.StoredEvent) TimelineEntry {
	data := map[string]any{"id": e.ID, "type": e.Type, "outcome": string(e.Outcome)}
	if e.Reason != "" {
		data["parked_reason"] = string(e.Reason)
	}

	return TimelineEntry{At: e.ReceivedAt, Kind: TimelineStripeEvent, Title: e.Type, Actor: "stripe", Data: data}
}

func auditEntry(a ports.AuditEntry) TimelineEntry {
	return TimelineEntry{
		At: a.At, Kind: TimelineAudit, Title: string(a.Action), Actor: a.Actor, RequestID: a.RequestID,
		Data: map[string]any{
			"id": a.ID.String(), "object_type": a.ObjectType, "object_id": a.ObjectID, "reason": a.Reason,
			"before": a.Before, "after": a.After,
		},
	}
}
