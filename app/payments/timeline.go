package payments

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Timeline tells what happened to a payment.
type Timeline struct {
	payments  ports.Payments
	refunds   ports.Refunds
	decisions ports.Decisions
	inbox     ports.Inbox
	audit     ports.Audit
	lives     ports.Incarnations
	spans     ports.Spans
}

// NewTimeline returns the use case.
func NewTimeline(
	payments ports.Payments, refunds ports.Refunds, decisions ports.Decisions, inbox ports.Inbox, audit ports.Audit,
	lives ports.Incarnations, spans ports.Spans,
) *Timeline {
	return &Timeline{
		payments: payments, refunds: refunds, decisions: decisions, inbox: inbox, audit: audit, lives: lives, spans: spans,
	}
}

// The names of a status, a currency and a kind, in filters, in the audit and in the timeline.
const (
	keyStatus   = "status"
	keyCurrency = "currency"
	keyKind     = "kind"
)

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

// maxEventsShown is the most events shown of a payment, the newest. Stripe sends a handful.
// Of transitions and decisions as many are shown, of operations ports.MaxOperationsOn and the
// create.
const maxEventsShown = ports.MaxHistory

// Do returns what happened, oldest first. cut says that there is more than is shown: the
// oldest is left out. No payment: the errors of Get.
func (uc *Timeline) Do(
	ctx context.Context, tenant operation.Tenant, id uuid.UUID,
) (entries []TimelineEntry, cut bool, err error) {
	story, err := ports.InSpan(ctx, uc.spans, "app.ShowTimeline", func(ctx context.Context) (Story, error) {
		if _, err := load(ctx, uc.payments, uc.lives, tenant, id); err != nil {
			return Story{}, err
		}

		return uc.story(ctx, id)
	})
	if err != nil {
		return nil, false, err
	}

	return story.Timeline, story.Cut, nil
}

// story gathers what is known of a payment, or of an operation that has none yet.
func (uc *Timeline) story(ctx context.Context, id uuid.UUID) (Story, error) {
	var story Story

	f, err := uc.refunds.FullPayment(ctx, id)
	if err == nil {
		story.Payment, story.Refunds, story.Disputes = &f.Payment, f.Refunds, f.Disputes
	} else if fault.KindOf(err) != fault.NotFound {
		return Story{}, err
	}

	op, err := uc.decisions.Operation(ctx, id)
	if err == nil && op.Kind == operation.Create {
		story.Operation = &op
	} else if err != nil && fault.KindOf(err) != fault.NotFound {
		return Story{}, err
	}

	if story.Payment == nil && story.Operation == nil {
		return story, nil
	}

	if err := uc.gather(ctx, &story, id); err != nil {
		return Story{}, err
	}

	slices.SortStableFunc(story.Timeline, func(a, b TimelineEntry) int { return a.At.Compare(b.At) })

	return story, nil
}

// gather adds the entries of each kind.
func (uc *Timeline) gather(ctx context.Context, story *Story, id uuid.UUID) error {
	ops, err := uc.decisions.OperationsOn(ctx, id)
	if err != nil {
		return err
	}

	if story.Operation != nil {
		ops = slices.Insert(ops, 0, *story.Operation)
	}

	transitions, err := uc.payments.History(ctx, id)
	if err != nil {
		return err
	}

	events, err := uc.events(ctx, story)
	if err != nil {
		return err
	}

	about := []string{id.String()}
	for _, one := range story.Refunds {
		about = append(about, one.ID.String())
	}

	for _, one := range ops {
		about = append(about, one.ID.String())
	}

	for _, event := range events {
		about = append(about, event.ID)
	}

	decisions, err := uc.audit.AuditOf(ctx, about...)
	if err != nil {
		return err
	}

	story.Cut = len(ops) > ports.MaxOperationsOn || len(transitions) >= ports.MaxHistory ||
		len(events) >= maxEventsShown || len(decisions) >= ports.MaxAudit

	for _, one := range ops {
		story.Timeline = append(story.Timeline, operationEntries(one)...)
	}

	for _, one := range transitions {
		story.Timeline = append(story.Timeline, transitionEntry(one, ops))
	}

	story.Timeline = append(story.Timeline, entriesOf(story.Refunds, refundEntry)...)

	for _, d := range story.Disputes {
		story.Timeline = append(story.Timeline, disputeEntries(d)...)
	}

	story.Timeline = append(story.Timeline, entriesOf(events, eventEntry)...)
	story.Timeline = append(story.Timeline, entriesOf(decisions, auditEntry)...)

	return nil
}

func (uc *Timeline) events(ctx context.Context, story *Story) ([]ports.StoredEvent, error) {
	if story.Payment == nil {
		return nil, nil
	}

	return uc.inbox.Events(ctx, ports.EventFilter{ObjectID: story.Payment.IntentID}, maxEventsShown)
}

func entriesOf[T any](list []T, entry func(T) TimelineEntry) []TimelineEntry {
	entries := make([]TimelineEntry, 0, len(list))
	for _, one := range list {
		entries = append(entries, entry(one))
	}

	return entries
}

// operationEntries are the operation's beginning and, if it is no longer pending, how it
// stands now. Neither has its answer or its call.
func operationEntries(o ports.OperationDetails) []TimelineEntry {
	kind := string(o.Kind)
	begun := TimelineEntry{
		At: o.CreatedAt, Kind: TimelineOperation, Title: kind + " asked for",
		RequestID: o.Origin.RequestID, TraceID: o.Origin.TraceID(), Data: map[string]any{},
	}

	if begun.RequestID != "" {
		begun.Actor = string(operation.ByRequest)
	}

	if actor := o.Origin.Actor; actor.Name != "" {
		begun.Actor = actor.Name
	}

	for name, value := range o.Order.Options { // first, so that no option hides what follows
		switch {
		case name == OptionReceiptEmail: // it is the customer's
		case o.Kind == operation.SubmitEvidence && name != dispute.OptionDispute && name != dispute.OptionSubmit:
			begun.Data["evidence."+name] = utf8.RuneCountInString(value) // so are these texts: only how long they are is told
		default:
			begun.Data[name] = value
		}
	}

	maps.Copy(begun.Data, map[string]any{
		"id": o.ID.String(), keyKind: kind, "stripe_key": o.Call.Key, "state": string(o.State), "attempts": o.Attempts,
	})

	if name := o.Origin.Actor.OnBehalfOf; name != "" {
		begun.Data["on_behalf_of"] = name
	}

	if amount := o.Order.Amount; !amount.IsZero() {
		begun.Data["amount"], begun.Data[keyCurrency] = amount.Decimal(), amount.Currency().Code()
	}

	if o.State == operation.Pending {
		addLastError(begun.Data, o)

		return []TimelineEntry{begun}
	}

	ended := TimelineEntry{
		At: o.UpdatedAt, Kind: TimelineOperation, Title: kind + " " + strings.ReplaceAll(string(o.State), "_", " "),
		RequestID: begun.RequestID, TraceID: begun.TraceID,
		Data: map[string]any{"id": o.ID.String(), keyKind: kind, "state": string(o.State), "attempts": o.Attempts},
	}

	if o.Finished() {
		ended.Data["response_status"] = o.Response.Status
	} else {
		addLastError(ended.Data, o)
	}

	return []TimelineEntry{begun, ended}
}

func addLastError(data map[string]any, o ports.OperationDetails) {
	if o.LastError != "" {
		data["last_error"] = o.LastError
	}
}

// transitionEntry takes the request from the operation that has moved the payment: one at a
// time does, so it is the last that was begun before.
func transitionEntry(t ports.Transition, ops []ports.OperationDetails) TimelineEntry {
	title := "payment " + string(t.To)
	if t.From != "" {
		title = string(t.From) + " → " + string(t.To)
	}

	entry := TimelineEntry{
		At: t.At, Kind: TimelineTransition, Title: title, Actor: t.Cause,
		Data: map[string]any{"from": orNil(string(t.From)), "to": string(t.To), "cause": t.Cause},
	}

	switch {
	case strings.HasPrefix(t.Cause, "evt_"):
		entry.Actor = string(operation.ByWebhook) + " " + t.Cause
	case t.Cause == string(operation.ByRequest), t.Cause == string(operation.ByRecovery):
		for _, o := range ops {
			if !o.CreatedAt.After(t.At) {
				entry.RequestID, entry.TraceID = o.Origin.RequestID, o.Origin.TraceID()
			}
		}
	}

	return entry
}

// orNil is JSON's null for a text that is empty.
func orNil(text string) any {
	if text == "" {
		return nil
	}

	return text
}

// disputeEntries are how a dispute was opened, what it has moved on the balance at Stripe, and how it
// stands, at the time since when it stands so.
func disputeEntries(d dispute.Dispute) []TimelineEntry {
	entry := func(at time.Time, title string) TimelineEntry {
		return TimelineEntry{
			At: at, Kind: TimelineTransition, Title: title, Actor: "stripe",
			Data: map[string]any{
				"dispute_id": d.ID.String(), "stripe_dispute_id": d.ProviderID, keyKind: string(d.Kind()), keyStatus: string(d.Status),
			},
		}
	}

	opened := entry(d.CreatedAt, string(d.Kind())+" opened")
	opened.Data["amount"], opened.Data[keyCurrency] = d.Amount.Decimal(), d.Amount.Currency().Code()
	opened.Data[OptionReason] = orNil(d.Reason)
	entries := []TimelineEntry{opened}

	for _, b := range d.Balance {
		moved := entry(b.At, "dispute took money")
		if b.Amount.Minor() > 0 {
			moved.Title = "dispute gave money back"
		}

		moved.Data["amount"], moved.Data[keyCurrency] = b.Amount.Decimal(), b.Amount.Currency().Code()
		moved.Data["fee"] = b.Fee.Decimal()
		entries = append(entries, moved)
	}

	stands := entry(d.UpdatedAt, "dispute "+strings.ReplaceAll(string(d.Status), "_", " "))
	stands.Data["amount_counted"] = d.Counted.Decimal()

	return append(entries, stands)
}

// refundEntry is how a refund stands, at the time since when it stands so.
func refundEntry(r refund.Refund) TimelineEntry {
	entry := TimelineEntry{
		At: r.UpdatedAt, Kind: TimelineTransition, Title: "refund " + strings.ReplaceAll(string(r.Status), "_", " "),
		Data: map[string]any{
			"refund_id": r.ID.String(), "stripe_refund_id": orNil(r.ProviderID), keyStatus: string(r.Status),
			"amount": r.Amount.Decimal(), "currency": r.Amount.Currency().Code(), "reason": orNil(r.Reason),
			"failure_reason": orNil(r.FailureReason), "origin": string(r.Origin),
		},
	}
	if r.Origin == refund.FromStripe {
		entry.Actor = string(refund.FromStripe)
	}

	return entry
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
			"on_behalf_of": orNil(a.OnBehalfOf), "before": a.Before, "after": a.After,
		},
	}
}
