package payments_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// changeKey is the key of what a test asks for.
const changeKey operation.Key = "change_1"

// changeBundle has a payment of ten dollars that is held. What is true of both operations on
// it is tested with both.
type changeBundle struct {
	*apptest.World
	changeKind

	payment payment.Payment
}

// changeKind is what differs between a capture and a cancel.
type changeKind struct {
	kind operation.Kind
	path string
	// becomes is the payment's status when it is done, and received what was captured then.
	becomes  payment.Status
	received int64
	// dashboard is what somebody else does, so that this cannot be done any more.
	dashboard string
}

func changeKinds() map[string]changeKind {
	return map[string]changeKind{
		"Capture": {operation.Capture, apptest.CapturePath, payment.Succeeded, 10_00, "cancel"},
		"Cancel":  {operation.Cancel, apptest.CancelPath, payment.Cancelled, 0, "capture"},
	}
}

func setupChange(t *testing.T, kind changeKind) changeBundle {
	t.Helper()

	b := changeBundle{World: apptest.New(t), changeKind: kind}
	b.payment = b.Held("order_1")

	return b
}

// ofBothKinds is a test that holds for a capture and for a cancel.
func ofBothKinds(t *testing.T, name string, test func(t *testing.T, b changeBundle)) {
	t.Helper()

	t.Run(name, func(t *testing.T) {
		t.Parallel()

		for name, kind := range changeKinds() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, setupChange(t, kind))
			})
		}
	})
}

func (b changeBundle) do(t *testing.T, key operation.Key) (operations.Answer, error) {
	t.Helper()

	return b.doOn(t, key, b.payment)
}

func (b changeBundle) doOn(t *testing.T, key operation.Key, p payment.Payment) (operations.Answer, error) {
	t.Helper()

	command := payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: p.ID, Key: key, RequestID: apptest.RequestID}
	if b.kind == operation.Capture {
		return payments.NewCapture(b.Change()).Do(t.Context(), payments.CaptureCommand{ChangeCommand: command})
	}

	return payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{ChangeCommand: command})
}

// other is the other kind of operation.
func (b changeBundle) other() changeBundle {
	if b.kind == operation.Capture {
		b.changeKind = changeKinds()["Cancel"]
	} else {
		b.changeKind = changeKinds()["Capture"]
	}

	return b
}

// begin writes the operation down and does not send it, like a process that dies.
func (b changeBundle) begin() ports.Operation {
	if b.kind == operation.Capture {
		return b.BeginOne(b.NewCapture(changeKey, b.payment, 0))
	}

	return b.BeginOne(b.NewCancel(changeKey, b.payment))
}

// recover lets the leases run out and recovers.
func (b changeBundle) recover(t *testing.T) operations.Recovered {
	t.Helper()
	b.Elapse(time.Hour)

	done, err := b.Recover().Do(t.Context())
	require.NoError(t, err)

	return done
}

// requireDone requires that it was done once, here and at Stripe, and that the answer is 200.
func (b changeBundle) requireDone(t *testing.T, id uuid.UUID) {
	t.Helper()

	p := b.Payment(b.payment.ID)
	require.Equal(t, b.becomes, p.Status)
	require.Equal(t, b.received, p.Captured.Minor())
	require.Equal(t, b.received, b.AtStripe(p.IntentID).Received)

	op := b.Operation(id)
	require.Equal(t, operation.Finished, op.State)
	require.Equal(t, http.StatusOK, op.Response.Status, "%s", op.Response.Body)
	require.Equal(t, b.Renderer.Payment(p), op.Response)

	b.ForgetReplays()

	again, err := b.do(t, changeKey)
	require.NoError(t, err)
	require.Equal(t, operations.Answer{PaymentID: p.ID, Response: op.Response, Replayed: true}, again)
}

// requireNotDone requires that the answer for ever is that it cannot be done any more.
func (b changeBundle) requireNotDone(t *testing.T, id uuid.UUID) {
	t.Helper()

	op := b.Operation(id)
	require.Equal(t, operation.Finished, op.State)
	require.Equal(t, http.StatusConflict, op.Response.Status, "%s", op.Response.Body)
	require.Contains(t, string(op.Response.Body), `#invalid-state"`)
	require.Equal(t, b.other().becomes, b.Payment(b.payment.ID).Status)
}

// A key belongs to one request, whatever the route and the payment.
func TestChange_Do_KeyReused(t *testing.T) {
	t.Parallel()

	for name, kind := range changeKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupChange(t, kind)
			_, err := b.do(t, "order_1") // the create's
			apptest.RequireFault(t, fault.KeyReused, err)

			first, err := b.do(t, changeKey)
			require.NoError(t, err)

			second := b.Held("order_2")

			for range 2 { // from memory, then from the database
				_, err = b.doOn(t, changeKey, second)
				apptest.RequireFault(t, fault.KeyReused, err)
				_, err = b.other().do(t, changeKey)
				apptest.RequireFault(t, fault.KeyReused, err)
				_, err = b.Engine().Do(t.Context(), b.Request(changeKey, apptest.Order(t, 10_00)))
				apptest.RequireFault(t, fault.KeyReused, err)
				b.ForgetReplays()
			}

			require.Equal(t, second, b.Payment(second.ID))
			require.Len(t, b.Intents(), 2)

			again, err := b.do(t, changeKey)
			require.NoError(t, err)
			require.Equal(t, first.Response, again.Response)
		})
	}
}

// Whoever repeats a key takes over what a crash has left behind, but only if it asks for the
// same.
func TestChange_Do_KeyReusedAfterACrash(t *testing.T) {
	t.Parallel()

	for name, kind := range changeKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupChange(t, kind)
			op := b.begin()
			second := b.Held("order_2")
			create := b.Begin("create_1")
			b.Elapse(time.Hour)

			_, err := b.doOn(t, changeKey, second)
			apptest.RequireFault(t, fault.KeyReused, err)
			_, err = b.other().do(t, changeKey)
			apptest.RequireFault(t, fault.KeyReused, err)
			_, err = b.do(t, create.Key)
			apptest.RequireFault(t, fault.KeyReused, err)

			require.Equal(t, operation.Pending, b.Operation(op.ID).State)
			b.RequireNoPayment(create.ID)
			require.Equal(t, "requires_capture", b.AtStripe(b.payment.IntentID).Status)

			answer, err := b.do(t, changeKey)
			require.NoError(t, err)
			require.False(t, answer.Replayed)
			b.requireDone(t, op.ID)
		})
	}
}

// One capture or cancel of a payment at a time.
func TestChange_Do_InProgress(t *testing.T) {
	t.Parallel()

	for name, kind := range changeKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupChange(t, kind)
			op := b.begin()

			for _, one := range []changeBundle{b, b.other()} {
				for _, key := range []operation.Key{"another", ""} {
					_, err := one.do(t, key)
					apptest.RequireFault(t, fault.InProgress, err)
					require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
					require.Equal(t, time.Second, fault.From(err).RetryAfter)
				}
			}

			_, err := b.do(t, changeKey)
			apptest.RequireFault(t, fault.InFlight, err)

			_, err = b.doOn(t, "of another payment", b.Held("order_2"))
			require.NoError(t, err)

			require.Equal(t, 1, b.recover(t).Finished)
			b.requireDone(t, op.ID)
		})
	}
}

// A capture and a cancel at the same moment: one is done, the other is told so.
func TestChange_Do_AtTheSameMoment(t *testing.T) {
	t.Parallel()

	b := changeBundle{World: apptest.New(t), changeKind: changeKinds()["Capture"]}
	won := map[operation.Kind]int{}

	for _, key := range []operation.Key{"a", "b", "c", "d", "e", "f"} {
		b.payment = b.Held(key)
		both := []changeBundle{b, b.other(), b, b.other()}
		errs := make([]error, len(both))
		answers := make([]operations.Answer, len(both))

		var all sync.WaitGroup

		for i, one := range both {
			all.Go(func() { answers[i], errs[i] = one.do(t, "") })
		}

		all.Wait()

		p := b.Payment(b.payment.ID)
		require.True(t, p.Status.Final())

		for i, one := range both {
			switch {
			case errs[i] == nil && answers[i].Response.Status == http.StatusOK:
				require.Equal(t, one.becomes, p.Status)

				won[one.kind]++
			case errs[i] == nil:
				require.Equal(t, http.StatusConflict, answers[i].Response.Status)
			default:
				require.Contains(t, []fault.Kind{fault.InvalidState, fault.InProgress}, fault.KindOf(errs[i]), "%v", errs[i])
			}
		}

		books := b.AtStripe(p.IntentID)
		require.Equal(t, string(p.IntentStatus), books.Status)
		require.Equal(t, p.Captured.Minor(), books.Received)

		left, err := b.Store.Operations(t.Context(), 0, []operation.State{operation.Pending, operation.NeedsAttention}, 10)
		require.NoError(t, err)
		require.Empty(t, left, "nothing is left unknown")
	}

	require.NotEmpty(t, won)
}

// The answer is lost. What was done is finished with the answer that the client would have
// got.
func TestChange_Do_AnswerLost(t *testing.T) {
	t.Parallel()

	unknown := func(t *testing.T, b changeBundle) uuid.UUID {
		t.Helper()

		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Unknown, err)
		require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
		require.NotZero(t, fault.From(err).RetryAfter)
		require.Contains(t, fault.From(err).Detail, "same idempotency key")

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, changeKey)
		require.NoError(t, err)
		require.Equal(t, operation.Pending, op.State)
		require.False(t, op.InHand, "the lease was given back")
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" outcome unknown")

		return op.ID
	}

	ofBothKinds(t, "Recovered", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: b.path})
		id := unknown(t, b)

		repair()

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, id)
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" finished by recovery: done")
		require.Contains(t, b.Observer.Spans(), "app.RecoverOperation "+b.payment.ID.String())
	})

	ofBothKinds(t, "TheClientAsksAgain", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: b.path})
		id := unknown(t, b)

		repair()
		b.Elapse(time.Hour)

		answer, err := b.do(t, changeKey)
		require.NoError(t, err)
		require.False(t, answer.Replayed, "this request has finished it")
		b.requireDone(t, id)
	})

	ofBothKinds(t, "StripeKeepsAnError", func(t *testing.T, b changeBundle) {
		t.Helper()

		b.Fault(sandbox.Fault{Action: sandbox.Saved500, Path: b.path})
		id := unknown(t, b)

		// Sending again says 500 for ever; the intent shows it.
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, id)
		require.Contains(t, b.Observer.Spans(), "app.LookUpOperation "+b.payment.ID.String())
	})

	// Stripe runs the call as a new one, and rejects it.
	ofBothKinds(t, "StripeForgotTheKey", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: b.path})
		id := unknown(t, b)

		repair()
		b.Stripe.Advance(25 * time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, id)
	})

	ofBothKinds(t, "ItsEventIsHere", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: b.path})
		id := unknown(t, b)

		repair()

		types := map[operation.Kind]string{operation.Capture: "payment_intent.succeeded", operation.Cancel: "payment_intent.canceled"}
		event := b.Event(b.payment.IntentID, types[b.kind])
		_, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, b.becomes, b.Payment(b.payment.ID).Status)

		require.Equal(t, 1, b.recover(t).Finished)
		b.requireDone(t, id)
		require.Equal(t, []string{"request: pending", event.ID + ": " + string(b.becomes)}, b.History(b.payment.ID))
	})

	ofBothKinds(t, "ItWasNotDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: b.path})
		id := unknown(t, b)

		require.Equal(t, operations.Recovered{Taken: 1}, b.recover(t))
		require.Equal(t, operation.Pending, b.Operation(id).State, "no failure because time has passed")

		repair()
		require.Equal(t, 1, b.recover(t).Finished)
		b.requireDone(t, id)
	})

	ofBothKinds(t, "SomebodyElseWasFaster", func(t *testing.T, b changeBundle) {
		t.Helper()

		repair := b.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: b.path})
		id := unknown(t, b)

		repair()
		b.Dashboard(b.payment.IntentID, b.dashboard, nil)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireNotDone(t, id)
	})
}

// A process dies between the commit that writes the operation down and the one that ends it.
func TestChange_Do_Crash(t *testing.T) {
	t.Parallel()

	ofBothKinds(t, "BeforeItIsSent", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, op.ID)
		require.Equal(t, []string{"request: pending", "recovery: " + string(b.becomes)}, b.History(b.payment.ID))
	})

	ofBothKinds(t, "AfterItWasDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		b.Send(op)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, op.ID)
	})

	ofBothKinds(t, "AndSomebodyElseWasFaster", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		b.Dashboard(b.payment.IntentID, b.dashboard, nil)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireNotDone(t, op.ID)
	})
}

// A capture that somebody else has made is not ours, even of the same sum: the client did
// not get what it asked for, and may not ship twice.
func TestChange_Do_CapturedBySomebodyElse(t *testing.T) {
	t.Parallel()

	b := setupChange(t, changeKinds()["Capture"])
	op := b.begin()
	b.Dashboard(b.payment.IntentID, "capture", nil)
	require.Equal(t, 1, b.recover(t).Finished)

	done := b.Operation(op.ID)
	require.Equal(t, http.StatusConflict, done.Response.Status)
	require.Contains(t, string(done.Response.Body), `"intent_status":"succeeded"`)
	require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
}

// It does not matter who has cancelled.
func TestChange_Do_CancelledBySomebodyElse(t *testing.T) {
	t.Parallel()

	b := setupChange(t, changeKinds()["Cancel"])
	op := b.begin()
	b.Dashboard(b.payment.IntentID, "cancel", url.Values{"cancellation_reason": {"duplicate"}})
	require.Equal(t, 1, b.recover(t).Finished)
	b.requireDone(t, op.ID)
}

// Stripe may have forgotten the key: nothing is sent, and the intent tells.
func TestChange_Do_TooOld(t *testing.T) {
	t.Parallel()

	old := func(t *testing.T, b changeBundle) operations.Recovered {
		t.Helper()
		b.Elapse(24 * time.Hour)

		b.Provider = unsendable{Provider: b.Provider, t: t}
		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)

		return done
	}

	ofBothKinds(t, "ItWasDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		b.Send(op)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, old(t, b))
		b.requireDone(t, op.ID)
	})

	ofBothKinds(t, "SomebodyElseWasFaster", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		b.Dashboard(b.payment.IntentID, b.dashboard, nil)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, old(t, b))
		b.requireNotDone(t, op.ID)
	})

	ofBothKinds(t, "ItWasNotDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.begin()
		require.Equal(t, operations.Recovered{Taken: 1, GivenUp: 1}, old(t, b))
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" needs attention")

		// It may still be done, so nothing else is.
		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Unknown, err)
		require.Equal(t, time.Minute, fault.From(err).RetryAfter)
		_, err = b.other().do(t, "another")
		apptest.RequireFault(t, fault.InProgress, err)
	})
}

// unsendable fails a test that sends anything.
type unsendable struct {
	ports.Provider

	t *testing.T
}

func (u unsendable) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	u.t.Error("something was sent")

	return ports.Object{}, errors.New("something was sent")
}
