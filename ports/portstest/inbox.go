package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Inbox is the contract of ports.Inbox. Each call of newBed gives an empty
// store.
func Inbox(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Apply/applied":                              applyApplied,
		"Apply/stale":                                applyStale,
		"Apply/ignored":                              applyIgnored,
		"Apply/duplicate":                            applyDuplicate,
		"Apply/parked, payment unknown":              applyUnknown,
		"Apply/parked, contradicts the payment":      applyContradiction,
		"Apply/parked, a second intent":              applySecondIntent,
		"Apply/unfinished":                           applyUnfinished,
		"Apply/confirms an operation":                applyConfirms,
		"Apply/failed and then paid":                 applyFailedThenPaid,
		"Apply/a step on the way":                    applySteps,
		"Apply/money is held":                        applyHold,
		"Apply/less is captured":                     applyLessCaptured,
		"Apply/another end contradicts":              applyAnotherEnd,
		"Apply/a hint":                               applyHint,
		"Apply/unhandled, and handled later":         applyUnhandled,
		"Apply/foreign":                              applyForeign,
		"Apply/parked, then foreign":                 applyParkedThenForeign,
		"Apply/of a payment without marks":           applyUnmarkedOfOurs,
		"Apply/in every order":                       applyInEveryOrder,
		"Apply/twenty copies at once":                applyCopiesAtOnce,
		"Apply/twenty copies of a parked one":        applyParkedCopiesAtOnce,
		"Apply/twenty copies of an unhandled one":    applyUnhandledCopiesAtOnce,
		"Apply/hints at once":                        applyHintsAtOnce,
		"Apply/different events at once":             applyDifferentAtOnce,
		"Apply/two ids for one change at once":       applyOneChangeTwice,
		"Apply/parked, then its payment appears":     applyParkedThenPaid,
		"Apply/parked, then delivered again":         applyParkedThenRedelivered,
		"Apply/against Finish":                       applyAgainstFinish,
		"FinishAndApply/all in one commit":           finishAndApply,
		"FinishAndApply/without a response":          finishAndApplyOpen,
		"FinishAndApply/a step on the way":           finishAndApplyStep,
		"FinishAndApply/all or nothing":              finishAndApplyContradiction,
		"FinishAndApply/an event that contradicts":   finishAndApplyParks,
		"FinishAndApply/a parked event":              finishAndApplyParked,
		"FinishAndApply/twice":                       finishAndApplyTwice,
		"FinishAndApply/against everybody else":      finishAndApplyByMany,
		"Park/stored and not applied":                parkStores,
		"Park/a stored one is left as it is":         parkStored,
		"StoreForeign/id, type and time alone":       storeForeign,
		"StoreForeign/a stored one is left as it is": storeForeignStored,
		"Hints/the longest waiting first":            hintsLongestWaiting,
		"ParkHints/those of the object":              parkHints,
		"Unhandled/oldest first, by type":            unhandledOldestFirst,
		"Unhandled/goes on from a position":          unhandledIsWalkedThrough,
		"Ready/oldest first":                         readyOldestFirst,
		"Ready/slice by slice":                       readyBySlices,
		"Ready/no contradictions":                    readyWithoutContradictions,
		"Event/as it came":                           eventAsItCame,
		"Event/none is NotFound":                     eventNotFound,
		"Events/newest first, filtered, limited":     eventsListed,
		"Dismiss/neither applied nor counted again":  dismissEnds,
		"Dismiss/once for one entry":                 dismissRepeated,
		"Dismiss/only a parked one":                  dismissMoved,
		"Dismiss/none is NotFound":                   dismissNotFound,
		"Dismiss/against Apply, one wins":            dismissAgainstApply,
		"Undismiss/parked again, and applied":        undismissParks,
		"Undismiss/only a dismissed one":             undismissMoved,
		"Undismiss/dismissed again":                  undismissAndDismiss,
	})
}

// eventOf returns an event about p that asks for change. If change is empty, it tells
// that the intent was created.
func eventOf(tb testing.TB, p payment.Payment, change payment.Status) ports.Event {
	tb.Helper()

	id := "evt_" + uuid.NewString()

	e := ports.Event{
		ID:        id,
		Type:      "payment_intent." + string(change),
		CreatedAt: time.Now().UTC().Truncate(time.Second),
		ObjectID:  p.IntentID,
		Handled:   true,
		IsIntent:  true,
		Intent:    ports.Intent{ID: p.IntentID, Amount: p.Amount, Status: change, PaymentID: p.ID},
		Change:    change,
		Raw:       []byte(`{"id": "` + id + `"}`),
	}

	switch change {
	case payment.Succeeded:
		e.Intent.IntentStatus, e.Intent.Captured = payment.IntentSucceeded, p.Amount.Money()
	case payment.Cancelled:
		e.Intent.IntentStatus = payment.IntentCanceled
	case payment.Failed:
		e.Intent.IntentStatus, e.Intent.Declined = payment.IntentRequiresPaymentMethod, true
	default:
		e.Intent.Status, e.Intent.IntentStatus = payment.Pending, payment.IntentRequiresPaymentMethod
	}

	return e
}

// stepOf returns an event that tells of a step on p's way.
func stepOf(tb testing.TB, p payment.Payment, step payment.IntentStatus) ports.Event {
	tb.Helper()

	e := eventOf(tb, p, "")
	e.Type, e.Intent.IntentStatus = "payment_intent."+string(step), step

	if step == payment.IntentRequiresCapture {
		at := held(p)
		e.Intent.CaptureMethod, e.Intent.Capturable, e.Intent.CaptureBefore = at.CaptureMethod, at.Capturable, at.CaptureBefore
	}

	return e
}

func (b StoreBed) mustApply(tb testing.TB, e ports.Event) ports.Applied {
	tb.Helper()

	applied, err := b.Apply(tb.Context(), e)
	require.NoError(tb, err)

	return applied
}

// mustPark parks an event whose payment does not exist yet.
func (b StoreBed) mustPark(tb testing.TB, p payment.Payment) ports.Event {
	tb.Helper()

	e := eventOf(tb, payment.Payment{IntentID: p.IntentID, Amount: p.Amount}, payment.Succeeded)
	require.Equal(tb, ports.EventParked, b.mustApply(tb, e).Outcome)

	return e
}

func (b StoreBed) event(tb testing.TB, id string) ports.StoredEvent {
	tb.Helper()

	stored, err := b.Event(tb.Context(), id)
	require.NoError(tb, err)

	return stored
}

// requireStored requires that e is in the inbox as it came, with this outcome and reason.
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
