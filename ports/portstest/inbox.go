package portstest

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Inbox is the contract of ports.Inbox. Each call of newBed gives an empty
// store.
func Inbox(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Apply/applied":                             applyApplied,
		"Apply/stale":                               applyStale,
		"Apply/ignored":                             applyIgnored,
		"Apply/duplicate":                           applyDuplicate,
		"Apply/parked, payment unknown":             applyUnknown,
		"Apply/parked, contradicts the payment":     applyContradiction,
		"Apply/parked, a second intent":             applySecondIntent,
		"Apply/unfinished":                          applyUnclaimed,
		"Apply/confirms an operation":               applyConfirms,
		"Apply/failed and then paid":                applyFailedThenPaid,
		"Apply/in every order":                      applyInEveryOrder,
		"Apply/twenty copies at once":               applyCopiesAtOnce,
		"Apply/twenty copies of a parked one":       applyParkedCopiesAtOnce,
		"Apply/different events at once":            applyDifferentAtOnce,
		"Apply/two ids for one change at once":      applyOneChangeTwice,
		"Apply/parked, then its payment appears":    applyParkedThenPaid,
		"Apply/parked, then delivered again":        applyParkedThenRedelivered,
		"Apply/against the completion":              applyAgainstFinish,
		"FinishAndApply/all in one commit":          finishAndApply,
		"FinishAndApply/without a response":         finishAndApplyOpen,
		"FinishAndApply/all or nothing":             finishAndApplyContradiction,
		"FinishAndApply/an event that contradicts":  finishAndApplyParks,
		"FinishAndApply/a parked event":             finishAndApplyParked,
		"FinishAndApply/twice":                      finishAndApplyTwice,
		"FinishAndApply/against everybody else":     finishAndApplyByMany,
		"Park/stored and not applied":               parkStores,
		"Park/a stored one is left as it is":        parkStored,
		"KeepForeign/id, type and time alone":       keepForeign,
		"KeepForeign/a stored one is left as it is": keepForeignStored,
		"Ready/oldest first":                        readyOldestFirst,
		"Ready/slice by slice":                      readyBySlices,
		"Ready/no contradictions":                   readyWithoutContradictions,
		"Event/as it came":                          eventAsItCame,
		"Event/none is NotFound":                    eventNotFound,
		"Events/newest first, filtered, limited":    eventsListed,
	})
}

func applyApplied(t *testing.T, b StoreBed) {
	t.Helper()

	for _, change := range []payment.Status{payment.Succeeded, payment.Failed, payment.Cancelled} {
		p := b.mustPay(t, operation.Key(change))
		e := eventOf(t, p, change)

		require.Equal(t, ports.Applied{
			Outcome: ports.EventApplied, PaymentID: p.ID, From: payment.Pending, Amount: p.Amount,
			Origin: b.operationNow(t, p.ID).Origin,
		}, b.mustApply(t, e))

		require.Equal(t, change, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, e, ports.EventApplied, "")
	}
}

func applyStale(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, p, payment.Succeeded))

	finished := b.paymentNow(t, p.ID)

	for _, change := range []payment.Status{"", payment.Failed, payment.Succeeded, payment.Cancelled} {
		e := eventOf(t, p, change)
		applied := b.mustApply(t, e)
		require.Equal(t, ports.EventStale, applied.Outcome)
		require.Equal(t, p.ID, applied.PaymentID)
		b.requireStored(t, e, ports.EventStale, "")
	}

	require.Equal(t, finished, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 2)
}

func applyIgnored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	// A refund is about a charge; an event may even be about nothing.
	for _, object := range []string{"ch_1", "", p.IntentID} {
		e := eventOf(t, p, "")
		e.Type, e.ObjectID, e.IsIntent, e.Intent = "charge.refunded", object, false, ports.Intent{}

		require.Equal(t, ports.Applied{Outcome: ports.EventIgnored}, b.mustApply(t, e))
		b.requireStored(t, e, ports.EventIgnored, "")
	}

	// An intent of somebody else's that asks for nothing is nobody's business.
	e := eventOf(t, payment.Payment{IntentID: "pi_foreign", Amount: p.Amount}, "")
	require.Equal(t, ports.Applied{Outcome: ports.EventIgnored}, b.mustApply(t, e))
	require.Len(t, b.history(t, p.ID), 1)
}

func applyDuplicate(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	foreign := eventOf(t, p, "")
	foreign.IsIntent = false

	events := []ports.Event{
		eventOf(t, p, ""), foreign, eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded), eventOf(t, p, payment.Failed),
	}

	for _, e := range events {
		b.mustApply(t, e)
	}

	p = b.paymentNow(t, p.ID)

	for _, e := range events {
		before := b.event(t, e.ID)

		for range 2 {
			applied := b.mustApply(t, e)
			require.Equal(t, ports.EventDuplicate, applied.Outcome)
			require.Empty(t, applied.Reason)
		}

		require.Equal(t, before, b.event(t, e.ID))
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 3)
}

func applyUnknown(t *testing.T, b StoreBed) {
	t.Helper()

	for _, named := range []uuid.UUID{uuid.Nil, uuid.New()} { // by no operation, or by another system's
		e := eventOf(t, payment.Payment{ID: named, IntentID: intentOf(uuid.New())}, payment.Succeeded)

		require.Equal(t, ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}, b.mustApply(t, e))
		b.requireStored(t, e, ports.EventParked, ports.ParkedUnknown)
	}
}

func applyContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	for name, spoil := range map[string]func(*ports.Event){
		"amount":     func(e *ports.Event) { e.Intent.Amount = amount(t, 123_46, "USD") },
		"hundredth":  func(e *ports.Event) { e.Intent.Amount = amount(t, 12345_00, "USD") },
		"currency":   func(e *ports.Event) { e.Intent.Amount = amount(t, 123_45, "EUR") },
		"payment id": func(e *ports.Event) { e.Intent.PaymentID = uuid.New() },
	} {
		for _, change := range []payment.Status{payment.Succeeded, ""} {
			e := eventOf(t, p, change)
			spoil(&e)

			for range 2 { // parked again when it comes again
				applied := b.mustApply(t, e)
				require.Equal(t, ports.EventParked, applied.Outcome, name)
				require.Equal(t, ports.ParkedContradiction, applied.Reason, name)
				require.Equal(t, p.ID, applied.PaymentID, name)
			}

			b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
		}
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 1)

	// What the event does not tell cannot contradict.
	silent := eventOf(t, p, payment.Succeeded)
	silent.Intent.Amount, silent.Intent.PaymentID = money.Amount{}, uuid.Nil
	require.Equal(t, ports.EventApplied, b.mustApply(t, silent).Outcome)
}

// An operation that has its intent has no place for a second one, and one that was
// rejected has none for any.
func applySecondIntent(t *testing.T, b StoreBed) {
	t.Helper()

	finished := b.mustPay(t, "finished").ID

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")).PaymentID, rejection())
	require.NoError(t, err)

	open := completionOf(b.mustBegin(t, newOperation(t, "open")))
	open.Response = nil
	b.mustFinish(t, open)

	rejected := b.mustReject(t, newOperation(t, "rejected"))

	for name, id := range map[string]uuid.UUID{
		"finished": finished, "rejected order": no.PaymentID, "rejected": rejected.PaymentID, "open": open.Payment.ID,
	} {
		before := b.operationNow(t, id)

		for _, change := range []payment.Status{payment.Succeeded, ""} {
			e := eventOf(t, payment.Payment{ID: id, IntentID: intentOf(uuid.New()), Amount: before.Order.Amount}, change)
			applied := b.mustApply(t, e)
			require.Equal(t, ports.EventParked, applied.Outcome, "%s, %q", name, change)
			require.Equal(t, ports.ParkedContradiction, applied.Reason, name)
			b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
		}

		requireSameOperation(t, before, b.operationNow(t, id))
	}

	require.Len(t, b.history(t, finished), 1)
	b.requireNoPayment(t, no.PaymentID)
	b.requireNoPayment(t, rejected.PaymentID)
}

func applyUnclaimed(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "held"))
	b.requireUnclaimed(t, eventOf(t, completionOf(held).Payment, payment.Succeeded))

	given := b.mustBegin(t, newOperation(t, "given up"))
	require.NoError(t, b.GiveUp(t.Context(), given.PaymentID, errors.New("lost")))

	for _, change := range []payment.Status{"", payment.Failed} {
		b.requireUnclaimed(t, eventOf(t, completionOf(given).Payment, change))
	}

	released := b.mustBegin(t, newOperation(t, "released"))
	require.NoError(t, b.Release(t.Context(), released, lease, errors.New("no answer")))
	b.requireUnclaimed(t, eventOf(t, completionOf(released).Payment, ""))

	b.Elapse(t, lease)
	b.requireUnclaimed(t, eventOf(t, completionOf(held).Payment, ""))
}

// An event that asks for nothing leaves the operation to whoever works on it.
func applyConfirms(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, "")

	require.Equal(t, ports.EventStale, b.mustApply(t, e).Outcome)
	b.requireStored(t, e, ports.EventStale, "")
	b.requireNoPayment(t, op.PaymentID)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)

	b.Elapse(t, lease)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome, "what is stored is done")
}

func applyFailedThenPaid(t *testing.T, b StoreBed) {
	t.Helper()

	for _, final := range []payment.Status{payment.Succeeded, payment.Cancelled} {
		p := b.mustPay(t, operation.Key(final))
		require.Equal(t, payment.Pending, b.mustApply(t, eventOf(t, p, payment.Failed)).From)
		require.Equal(t, ports.EventStale, b.mustApply(t, eventOf(t, p, payment.Failed)).Outcome, "declined once more")

		applied := b.mustApply(t, eventOf(t, p, final))
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Failed, applied.From)
		require.Equal(t, final, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
	}
}

func applyInEveryOrder(t *testing.T, b StoreBed) {
	t.Helper()

	for _, final := range []payment.Status{payment.Succeeded, payment.Cancelled} {
		for i, changes := range permutations([]payment.Status{"", "", payment.Failed, final}) {
			p := b.mustPay(t, operation.Key(string(final)+strconv.Itoa(i)))

			for _, change := range changes {
				e := eventOf(t, p, change)
				applied := b.mustApply(t, e)
				require.Contains(t, []ports.EventOutcome{ports.EventApplied, ports.EventStale}, applied.Outcome)
			}

			require.Equal(t, final, b.paymentNow(t, p.ID).Status, "%q", changes)
			b.requireTrueHistory(t, p.ID)
		}
	}
}

func applyCopiesAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, copies = 10, 20

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
		e := eventOf(t, p, payment.Succeeded)

		applied := allAtOnce(t, copies, func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), e) })

		require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
		require.Equal(t, copies-1, count(applied, outcome(ports.EventDuplicate)))
		require.Len(t, b.history(t, p.ID), 2)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, e, ports.EventApplied, "")
	}
}

func applyParkedCopiesAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const copies = 20

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil // so that the operation cannot be found by it

	apply := func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), e) }

	require.Equal(t, copies, count(allAtOnce(t, copies, apply), outcome(ports.EventParked)))
	require.True(t, b.mustFinish(t, completionOf(op)).Parked)

	applied := allAtOnce(t, copies, apply)
	require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
	require.Equal(t, copies-1, count(applied, outcome(ports.EventDuplicate)))
	require.Len(t, b.history(t, op.PaymentID), 2)
	b.requireTrueHistory(t, op.PaymentID)
}

func applyDifferentAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	changes := []payment.Status{payment.Failed, payment.Succeeded, "", payment.Failed}

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))

		events := make([]ports.Event, 0, len(changes))
		for _, change := range changes {
			events = append(events, eventOf(t, p, change))
		}

		allAtOnce(t, len(events), func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), events[i]) })

		require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, events[1], ports.EventApplied, "")
	}
}

func applyOneChangeTwice(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 20

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
		events := []ports.Event{eventOf(t, p, payment.Succeeded), eventOf(t, p, payment.Succeeded)}

		applied := allAtOnce(t, len(events), func(i int) (ports.Applied, error) {
			return b.either(i).Apply(t.Context(), events[i])
		})

		require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
		require.Equal(t, 1, count(applied, outcome(ports.EventStale)))
		require.Len(t, b.history(t, p.ID), 2)
	}
}

func applyParkedThenPaid(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil

	require.Equal(t, ports.EventParked, b.mustApply(t, e).Outcome)
	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	require.True(t, b.mustFinish(t, completionOf(op)).Parked)

	stored := b.event(t, e.ID)
	require.Equal(t, []ports.StoredEvent{stored}, b.ready(t))
	require.Equal(t, []ports.StoredEvent{stored}, b.readyFor(t, e.ObjectID))
	require.Empty(t, b.readyFor(t, "pi_other"))

	applied := b.mustApply(t, e)
	require.Equal(t, ports.EventApplied, applied.Outcome)
	require.Equal(t, payment.Pending, applied.From)

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	done := b.event(t, e.ID)
	require.Equal(t, stored.ReceivedAt, done.ReceivedAt)
	require.True(t, done.ProcessedAt.After(stored.ProcessedAt))
	b.requireStored(t, e, ports.EventApplied, "")

	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
	require.Len(t, b.history(t, op.PaymentID), 2)
	require.False(t, b.mustFinish(t, completionOf(op)).Parked)
}

func applyParkedThenRedelivered(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil

	for range 2 {
		require.Equal(t, ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}, b.mustApply(t, e))
	}

	b.mustFinish(t, completionOf(op))
	require.Equal(t, ports.EventApplied, b.mustApply(t, e).Outcome)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.PaymentID).Status)

	// One that is parked for good does not become stale by another's success.
	wrong := eventOf(t, b.paymentNow(t, op.PaymentID), payment.Succeeded)
	wrong.Intent.Amount = amount(t, 1_00, "USD")

	for range 2 {
		require.Equal(t, ports.ParkedContradiction, b.mustApply(t, wrong).Reason)
	}
}

// However the event and the completion fall together, the event ends applied:
// by itself, or by what the completion says is parked, or by what is ready.
func applyAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	for n := range payments {
		op := b.mustBegin(t, newOperation(t, ""))
		e := eventOf(t, completionOf(op).Payment, payment.Succeeded)

		if n%2 == 0 {
			e.Intent.PaymentID = uuid.Nil
		}

		_, errs := atOnce(2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.Finish(t.Context(), completionOf(op))

				return struct{}{}, err
			}

			applied, err := b.Twin.Apply(t.Context(), e)
			if err == nil && applied.Outcome == ports.EventUnfinished {
				_, _, err = b.Twin.FinishAndApply(t.Context(), completionOf(op), e)
			}

			return struct{}{}, err
		})
		require.NoError(t, errors.Join(errs...))

		for _, stored := range b.ready(t) {
			require.Equal(t, e.ID, stored.ID)
			require.Equal(t, ports.EventApplied, b.mustApply(t, e).Outcome)
		}

		require.Equal(t, payment.Succeeded, b.paymentNow(t, op.PaymentID).Status)
		require.Len(t, b.history(t, op.PaymentID), 2)
		b.requireTrueHistory(t, op.PaymentID)
	}
}

func finishAndApply(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	completion.Cause = "webhook"
	e := eventOf(t, completion.Payment, payment.Succeeded)

	done, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, ports.Applied{
		Outcome: ports.EventApplied, PaymentID: op.PaymentID, From: payment.Pending, Amount: op.Order.Amount,
		Origin: op.Origin,
	}, applied)

	want := op
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, *completion.Response
	requireSameOperation(t, want, done.Operation)
	requireSameOperation(t, want, b.operationNow(t, op.PaymentID))

	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.PaymentID).Status)
	b.requireStored(t, e, ports.EventApplied, "")
	b.requireTrueHistory(t, op.PaymentID)

	history := b.history(t, op.PaymentID)
	require.Len(t, history, 2)
	require.Equal(t, "webhook", history[0].Cause)
	require.Equal(t, e.ID, history[1].Cause)
}

func finishAndApplyOpen(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	completion.Response = nil

	done, applied, err := b.FinishAndApply(t.Context(), completion, eventOf(t, completion.Payment, payment.Succeeded))
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, operation.Pending, done.Operation.State)
	require.Equal(t, ports.EventApplied, applied.Outcome)

	// The answer arrives after the event, with the status of its time.
	require.Equal(t, operation.Finished, b.mustFinish(t, completionOf(op)).Operation.State)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.PaymentID).Status)
	require.Len(t, b.history(t, op.PaymentID), 2)
}

func finishAndApplyContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	op := b.mustBegin(t, newOperation(t, "order_2"))

	taken := completionWith(op, p.IntentID)
	e := eventOf(t, taken.Payment, payment.Succeeded)

	_, _, err := b.FinishAndApply(t.Context(), taken, e)
	require.ErrorIs(t, err, ports.ErrContradiction)

	second := completionWith(b.operationNow(t, p.ID), "pi_second")
	f := eventOf(t, second.Payment, payment.Succeeded)

	_, _, err = b.FinishAndApply(t.Context(), second, f)
	require.ErrorIs(t, err, ports.ErrContradiction)

	for _, event := range []ports.Event{e, f} {
		_, err = b.Event(t.Context(), event.ID)
		requireNotFound(t, err)
	}

	b.requireNoPayment(t, op.PaymentID)
	require.Equal(t, operation.Pending, b.operationNow(t, op.PaymentID).State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 1)
}

func finishAndApplyParks(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)
	e.Intent.Amount = amount(t, 1_00, "USD")

	done, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, ports.EventParked, applied.Outcome)
	require.Equal(t, ports.ParkedContradiction, applied.Reason)
	require.Equal(t, payment.Pending, b.paymentNow(t, completion.Payment.ID).Status)
	b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
}

func finishAndApplyParked(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedUnknown))

	require.Equal(t, ports.EventUnfinished, b.mustApply(t, e).Outcome)

	_, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.Equal(t, ports.EventApplied, applied.Outcome)
	b.requireStored(t, e, ports.EventApplied, "")
}

func finishAndApplyTwice(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)

	first, _, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)

	completion.Response = created("another")
	again, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.False(t, again.Created)
	require.Equal(t, ports.EventDuplicate, applied.Outcome)
	requireSameOperation(t, first.Operation, again.Operation)
	require.Len(t, b.history(t, completion.Payment.ID), 2)
}

// The request's own answer, recovery's and four deliveries, all for one payment.
func finishAndApplyByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 15, 8

	for range payments {
		op := b.mustBegin(t, newOperation(t, ""))
		p := completionOf(op).Payment
		first, second := eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded)

		done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
			completion := completionOf(op)
			completion.Response = created(strconv.Itoa(i))

			switch i % 4 {
			case 0, 1:
				return b.either(i/4).Finish(t.Context(), completion)
			case 2:
				finished, _, err := b.either(i/4).FinishAndApply(t.Context(), completion, first)

				return finished, err
			default:
				finished, _, err := b.either(i/4).FinishAndApply(t.Context(), completion, second)

				return finished, err
			}
		})

		require.Equal(t, 1, count(done, func(d ports.Finished) bool { return d.Created }))

		for _, d := range done {
			requireSameOperation(t, b.operationNow(t, op.PaymentID), d.Operation)
		}

		require.Equal(t, payment.Succeeded, b.paymentNow(t, op.PaymentID).Status)
		b.requireTrueHistory(t, op.PaymentID)
		b.requireStored(t, second, ports.EventApplied, "")
	}
}

func parkStores(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	for _, reason := range []ports.ParkReason{ports.ParkedContradiction, ports.ParkedUnknown} {
		e := eventOf(t, p, payment.Succeeded)
		require.NoError(t, b.Park(t.Context(), e, reason))
		b.requireStored(t, e, ports.EventParked, reason)
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
}

func parkStored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	applied := eventOf(t, p, payment.Succeeded)
	b.mustApply(t, applied)

	parked := eventOf(t, p, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), parked, ports.ParkedUnknown))

	for _, e := range []ports.Event{applied, parked} {
		before := b.event(t, e.ID)
		require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
		require.Equal(t, before, b.event(t, e.ID))
	}
}

func keepForeign(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)

	outcome, err := b.StoreForeign(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, outcome)

	stored, err := b.Twin.Event(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, ports.StoredEvent{
		ID: e.ID, Type: e.Type, Outcome: ports.EventForeign, Raw: []byte{}, CreatedAt: e.CreatedAt,
		ReceivedAt: stored.ReceivedAt, ProcessedAt: stored.ProcessedAt,
	}, stored)

	outcome, err = b.Twin.StoreForeign(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, ports.EventDuplicate, outcome)
	require.Equal(t, payment.Pending, b.paymentNow(t, p.ID).Status)
}

// One that was parked before it was known to be foreign waits no longer.
func keepForeignStored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	applied := eventOf(t, p, payment.Succeeded)
	b.mustApply(t, applied)

	outcome, err := b.StoreForeign(t.Context(), applied)
	require.NoError(t, err)
	require.Equal(t, ports.EventDuplicate, outcome)
	b.requireStored(t, applied, ports.EventApplied, "")

	parked := eventOf(t, payment.Payment{IntentID: "pi_elsewhere", Amount: p.Amount}, payment.Succeeded)
	require.Equal(t, ports.EventParked, b.mustApply(t, parked).Outcome)

	outcome, err = b.StoreForeign(t.Context(), parked)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, outcome)

	stored, err := b.Event(t.Context(), parked.ID)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, stored.Outcome)
	require.Empty(t, stored.Reason)
	require.Empty(t, stored.Raw)
}

func readyOldestFirst(t *testing.T, b StoreBed) {
	t.Helper()

	const events = 5

	var want []string

	for n := range events {
		completion := completionOf(b.mustBegin(t, newOperation(t, "")))
		e := eventOf(t, completion.Payment, payment.Succeeded)
		e.Intent.PaymentID = uuid.Nil
		b.mustApply(t, e)
		b.Elapse(t, time.Minute)

		if n > 0 { // the oldest one's payment does not appear
			b.mustFinish(t, completion)

			want = append(want, e.ID)
		}
	}

	require.Equal(t, want, eventIDs(b.ready(t)))
}

// Many events were received at one moment, so a slice may end between them. Each
// is looked at once, also where most are not ready.
func readyBySlices(t *testing.T, b StoreBed) {
	t.Helper()

	const events, slice = 20, 3

	var want []string

	for n := range events {
		completion := completionOf(b.mustBegin(t, newOperation(t, "")))
		e := eventOf(t, completion.Payment, payment.Succeeded)
		e.Intent.PaymentID = uuid.Nil
		b.mustApply(t, e)

		if n%5 == 0 {
			b.mustFinish(t, completion)

			want = append(want, e.ID)
		}
	}

	var (
		got   []string
		calls int
		at    ports.ParkedPosition
	)

	for {
		ids, next, err := b.Ready(t.Context(), at, slice)
		require.NoError(t, err)
		require.LessOrEqual(t, len(ids), slice)

		got, at = append(got, ids...), next

		if calls++; at == (ports.ParkedPosition{}) {
			break
		}

		require.LessOrEqual(t, calls, events)
	}

	require.ElementsMatch(t, want, got)
	require.Equal(t, events/slice+1, calls, "each call looks at a slice, whatever is ready in it")
}

// A contradiction is a person's: trying it again would do nothing for ever.
func readyWithoutContradictions(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)
	e.Intent.Amount = amount(t, 1_00, "USD")
	require.Equal(t, ports.EventParked, b.mustApply(t, e).Outcome)

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, p.IntentID))
}

func eventAsItCame(t *testing.T, b StoreBed) {
	t.Helper()

	began := time.Now()

	for name, change := range map[string]func(*ports.Event){
		"whole":        func(*ports.Event) {},
		"without time": func(e *ports.Event) { e.CreatedAt = time.Time{} },
		"from a hash":  func(e *ports.Event) { e.ID = "sha256:" + e.ID },
		"any bytes":    func(e *ports.Event) { e.Raw = []byte{0, 0xff, '{', '\\', 'x', '4', '1', '\r', '\n'} },
		"no object":    func(e *ports.Event) { e.ObjectID, e.IsIntent = "", false },
	} {
		e := eventOf(t, payment.Payment{IntentID: intentOf(uuid.New())}, payment.Succeeded)
		change(&e)
		applied := b.mustApply(t, e)

		got := b.requireStored(t, e, applied.Outcome, applied.Reason)
		require.WithinDuration(t, began, got.ReceivedAt, time.Minute, name)
		require.False(t, got.ProcessedAt.Before(got.ReceivedAt), name)
		require.Equal(t, time.UTC, got.ReceivedAt.Location(), name)
		require.Equal(t, time.UTC, got.ProcessedAt.Location(), name)
	}
}

func eventNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Event(t.Context(), "evt_none")
	requireNotFound(t, err)
}

func eventsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Events(t.Context(), ports.EventFilter{}, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	p := b.mustPay(t, "order_1")
	unknown := payment.Payment{IntentID: "pi_unknown"}

	ids := make([]string, 0, 5)

	for _, e := range []ports.Event{
		eventOf(t, p, payment.Failed), eventOf(t, unknown, payment.Failed), eventOf(t, p, payment.Failed),
		eventOf(t, p, payment.Succeeded), eventOf(t, unknown, payment.Succeeded),
	} {
		b.mustApply(t, e)
		b.Elapse(t, time.Minute)

		ids = append(ids, e.ID)
	}

	for _, want := range []struct {
		filter ports.EventFilter
		limit  int
		ids    []string
	}{
		{ports.EventFilter{}, 10, []string{ids[4], ids[3], ids[2], ids[1], ids[0]}},
		{ports.EventFilter{}, 2, []string{ids[4], ids[3]}},
		{ports.EventFilter{Outcome: ports.EventParked}, 10, []string{ids[4], ids[1]}},
		{ports.EventFilter{Outcome: ports.EventParked}, 1, []string{ids[4]}},
		{ports.EventFilter{Outcome: ports.EventApplied}, 10, []string{ids[3], ids[0]}},
		{ports.EventFilter{Outcome: ports.EventIgnored}, 10, []string{}},
	} {
		events, err := b.Events(t.Context(), want.filter, want.limit)
		require.NoError(t, err)
		require.Equal(t, want.ids, eventIDs(events), "%+v, %d", want.filter, want.limit)
	}
}

// eventOf is an event about p that asks for change, or only confirms.
func eventOf(tb testing.TB, p payment.Payment, change payment.Status) ports.Event {
	tb.Helper()

	id := "evt_" + uuid.NewString()

	return ports.Event{
		ID:        id,
		Type:      "payment_intent." + string(change),
		CreatedAt: time.Now().UTC().Truncate(time.Second),
		ObjectID:  p.IntentID,
		IsIntent:  true,
		Intent:    ports.Intent{ID: p.IntentID, Amount: p.Amount, Status: change, PaymentID: p.ID},
		Change:    change,
		Raw:       []byte(`{"id": "` + id + `"}`),
	}
}

func (b StoreBed) mustApply(tb testing.TB, e ports.Event) ports.Applied {
	tb.Helper()

	applied, err := b.Apply(tb.Context(), e)
	require.NoError(tb, err)

	return applied
}

func (b StoreBed) event(tb testing.TB, id string) ports.StoredEvent {
	tb.Helper()

	stored, err := b.Event(tb.Context(), id)
	require.NoError(tb, err)

	return stored
}

func (b StoreBed) ready(tb testing.TB) []ports.StoredEvent {
	tb.Helper()

	ids, _, err := b.Ready(tb.Context(), ports.ParkedPosition{}, 100)
	require.NoError(tb, err)

	events := make([]ports.StoredEvent, 0, len(ids))
	for _, id := range ids {
		events = append(events, b.event(tb, id))
	}

	return events
}

func (b StoreBed) readyFor(tb testing.TB, intentID string) []ports.StoredEvent {
	tb.Helper()

	events, err := b.ReadyFor(tb.Context(), intentID)
	require.NoError(tb, err)

	return events
}

func (b StoreBed) requireUnclaimed(tb testing.TB, e ports.Event) {
	tb.Helper()

	applied := b.mustApply(tb, e)
	require.Equal(tb, ports.EventUnfinished, applied.Outcome)
	require.Equal(tb, uuid.Nil, applied.PaymentID)

	_, err := b.Event(tb.Context(), e.ID)
	requireNotFound(tb, err)
	b.requireNoPayment(tb, e.Intent.PaymentID)
}

// requireStored: e is in the inbox as it came, and it is known what it did.
func (b StoreBed) requireStored(
	tb testing.TB, e ports.Event, outcome ports.EventOutcome, reason ports.ParkReason,
) ports.StoredEvent {
	tb.Helper()

	stored := b.event(tb, e.ID)
	require.Equal(tb, ports.StoredEvent{
		ID: e.ID, Type: e.Type, ObjectID: e.ObjectID, Outcome: outcome, Reason: reason, Raw: e.Raw,
		CreatedAt: e.CreatedAt, ReceivedAt: stored.ReceivedAt, ProcessedAt: stored.ProcessedAt,
	}, stored)

	return stored
}

func outcome(want ports.EventOutcome) func(ports.Applied) bool {
	return func(applied ports.Applied) bool { return applied.Outcome == want }
}

func eventIDs(events []ports.StoredEvent) []string {
	ids := make([]string, 0, len(events))
	for _, e := range events {
		ids = append(ids, e.ID)
	}

	return ids
}

// permutations gives the values in every order.
func permutations[T any](values []T) [][]T {
	if len(values) == 0 {
		return [][]T{nil}
	}

	var all [][]T

	for i := range values {
		rest := slices.Concat(values[:i], values[i+1:])
		for _, tail := range permutations(rest) {
			all = append(all, append([]T{values[i]}, tail...))
		}
	}

	return all
}

// InboxBenchmarks measures an event that is applied and one that comes again.
func InboxBenchmarks(b *testing.B, newBed func(tb testing.TB) StoreBed) {
	b.Helper()

	b.Run("Apply", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			e := eventOf(b, bed.mustPay(b, operation.Key(uuid.NewString())), payment.Succeeded)

			b.StartTimer()
			bed.mustApply(b, e)
		}
	})
	b.Run("ApplyDuplicate", func(b *testing.B) {
		bed := newBed(b)
		e := eventOf(b, bed.mustPay(b, "order_1"), payment.Succeeded)
		bed.mustApply(b, e)
		b.ReportAllocs()

		for b.Loop() {
			bed.mustApply(b, e)
		}
	})
	b.Run("FinishAndApply", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			completion := completionOf(bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString()))))
			e := eventOf(b, completion.Payment, payment.Succeeded)

			b.StartTimer()

			_, _, err := bed.FinishAndApply(b.Context(), completion, e)
			require.NoError(b, err)
		}
	})
}
