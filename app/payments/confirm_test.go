package payments_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

// confirmBundle has a payment of ten dollars that waits to be paid.
type confirmBundle struct {
	*apptest.World

	payment payment.Payment
}

func setupConfirm(t *testing.T) confirmBundle {
	t.Helper()

	b := confirmBundle{World: apptest.New(t)}
	b.payment = b.Create("order_1")

	return b
}

func (b confirmBundle) confirm(t *testing.T, key operation.Key, card string, more ...string) (operations.Answer, error) {
	t.Helper()

	options := apptest.Paying(card)
	for _, name := range more {
		options[name] = payments.OptionTrue
	}

	return payments.NewConfirm(b.Change()).Do(t.Context(), payments.ConfirmCommand{
		ChangeCommand: payments.ChangeCommand{
			Tenant: operation.DefaultTenant, PaymentID: b.payment.ID, Key: key, RequestID: "request-" + string(key),
		}, Options: options,
	})
}

// answered requires an answer with a status, and returns its fields.
func (b confirmBundle) answered(
	t *testing.T, status int, key operation.Key, card string, more ...string,
) (operations.Answer, map[string]any) {
	t.Helper()

	answer, err := b.confirm(t, key, card, more...)
	require.NoError(t, err)
	require.Equal(t, status, answer.Response.Status, "%s", answer.Response.Body)
	require.Equal(t, b.payment.ID, answer.PaymentID)

	var fields map[string]any
	require.NoError(t, json.Unmarshal(answer.Response.Body, &fields))

	return answer, fields
}

// replayed requires that the key has an answer, in memory and in the database.
func (b confirmBundle) replayed(t *testing.T, first operations.Answer, key operation.Key, card string) {
	t.Helper()

	for range 2 {
		again, err := b.confirm(t, key, card)
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
		b.ForgetReplays()
	}
}

func (b confirmBundle) refused(t *testing.T, kind fault.Kind, key operation.Key, card string) *fault.Error {
	t.Helper()

	_, err := b.confirm(t, key, card)
	apptest.RequireFault(t, kind, err)

	return fault.From(err)
}

// recover lets the leases run out and recovers.
func (b confirmBundle) recover(t *testing.T, after time.Duration) operations.Recovered {
	t.Helper()
	b.Elapse(after)

	done, err := b.Recover().Do(t.Context())
	require.NoError(t, err)

	return done
}

func (b confirmBundle) operation(t *testing.T, key operation.Key) ports.OperationDetails {
	t.Helper()

	op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, key)
	require.NoError(t, err)

	return op
}

// applyAll applies whatever Stripe has to tell about the payment.
func (b confirmBundle) applyAll(t *testing.T) {
	t.Helper()

	at := b.Stripe.Now()

	for event, err := range b.Provider.Events(t.Context(), at.Add(-48*time.Hour), at.Add(time.Hour)) {
		require.NoError(t, err)

		_, err = b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
	}
}

var visa = payment.Card{Brand: "visa", Last4: "4242"}

// requireCard compares what people see on a card. When it expires, the sandbox draws.
func requireCard(t *testing.T, want payment.Card, got payment.Method) {
	t.Helper()
	require.Equal(t, "card", got.Type)
	require.Equal(t, want.Brand, got.Card.Brand)
	require.Equal(t, want.Last4, got.Card.Last4)
	require.NotZero(t, got.Card.ExpYear)
}

func TestConfirm_Do(t *testing.T) {
	t.Parallel()

	t.Run("Paid", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		answer, fields := b.answered(t, http.StatusOK, "c1", apptest.GoodCard)
		require.Equal(t, "succeeded", fields["status"])
		require.Contains(t, fields["client_secret"], "_secret_")
		require.Nil(t, fields["next_action"])
		require.Contains(t, fields, "next_action")

		p := b.Payment(b.payment.ID)
		requireCents(t, 10_00, p)
		requireCard(t, visa, p.Method)
		require.Equal(t, 1, b.AtStripe(p.IntentID).Charges)

		op := b.operation(t, "c1")
		require.Equal(t, operation.Confirm, op.Kind)
		require.Equal(t, apptest.Paying(apptest.GoodCard), op.Order.Options)
		require.Equal(t, ports.Before{IntentStatus: payment.IntentRequiresPaymentMethod}, op.Before)

		told := b.Observer.Told(p.ID)
		require.Equal(t, []string{"changed: pending → succeeded", "confirm finished by request: done", "answered"},
			told[len(told)-3:])
		require.Contains(t, b.Observer.Spans(), "app.ConfirmPayment")

		b.replayed(t, answer, "c1", apptest.GoodCard)
		b.applyAll(t)
		require.Equal(t, p.Status, b.Payment(p.ID).Status)
		b.replayed(t, answer, "c1", apptest.GoodCard)

		f := b.refused(t, fault.InvalidState, "c2", apptest.GoodCard)
		require.Equal(t, "succeeded", f.IntentStatus)
		require.Equal(t, []string{"refund"}, f.Allowed)
	})

	t.Run("OnlyHeld", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.payment = b.CreateFor("order_2", apptest.Manual(apptest.Order(t, 10_00)))
		_, fields := b.answered(t, http.StatusOK, "c1", apptest.GoodCard)
		require.Equal(t, "requires_capture", fields["intent_status"])

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Pending, p.Status)
		require.EqualValues(t, 10_00, p.Capturable.Minor())
		require.False(t, p.CaptureBefore.IsZero())

		f := b.refused(t, fault.InvalidState, "c2", apptest.GoodCard)
		require.Equal(t, []string{"capture", "cancel"}, f.Allowed)

		captured, err := payments.NewCapture(b.Change()).Do(t.Context(), payments.CaptureCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: p.ID, Key: "capture_1"},
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, captured.Response.Status)
	})

	// A declined card, then another one: each has a key of its own.
	t.Run("DeclinedThenPaid", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		declined, fields := b.answered(t, http.StatusPaymentRequired, "c1", apptest.PoorCard)
		require.Equal(t, "insufficient_funds", fields["decline_code"])
		require.Equal(t, true, fields["retryable"])
		require.Equal(t, b.payment.ID.String(), fields["payment_id"])
		require.Equal(t, "requires_payment_method", fields["intent_status"])
		require.Equal(t, "request-c1", fields["request_id"])

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Failed, p.Status)
		require.True(t, p.Declined)
		require.Equal(t, "insufficient_funds", p.Decline.DeclineCode)
		require.Equal(t, "card", p.Method.Type)
		require.Equal(t, []operation.Kind{operation.Confirm, operation.Cancel}, p.Allowed())
		require.Contains(t, b.Observer.Told(p.ID), "confirm finished by request: declined")

		b.replayed(t, declined, "c1", apptest.PoorCard)
		b.applyAll(t)

		_, again := b.answered(t, http.StatusPaymentRequired, "c2", apptest.StolenCard)
		require.Equal(t, "stolen_card", again["decline_code"])
		require.Equal(t, false, again["retryable"])
		require.Equal(t, "stolen_card", b.Payment(p.ID).Decline.DeclineCode)

		op := b.operation(t, "c2")
		require.NotEmpty(t, op.Before.LatestCharge)

		_, paid := b.answered(t, http.StatusOK, "c3", apptest.GoodCard)
		require.Equal(t, "succeeded", paid["status"])
		require.Nil(t, paid["decline"])

		p = b.Payment(p.ID)
		requireCents(t, 10_00, p)
		requireCard(t, visa, p.Method)
		require.True(t, p.Decline.IsZero())
		require.Equal(t, 1, b.AtStripe(p.IntentID).Charges)

		b.replayed(t, declined, "c1", apptest.PoorCard)
		b.applyAll(t)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	})

	// After a decline only reading tells how a payment stands.
	t.Run("DeclinedThenAuthenticated", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.answered(t, http.StatusPaymentRequired, "c1", apptest.PoorCard)

		answer, fields := b.answered(t, http.StatusOK, "c2", apptest.SecureCard)
		require.Equal(t, "pending", fields["status"])
		require.Equal(t, "requires_action", fields["intent_status"])
		require.Equal(t, "redirect_to_url", fields["next_action"].(map[string]any)["type"]) //nolint:forcetypeassert // else it fails
		require.Nil(t, fields["decline"])

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, payment.IntentRequiresAction, p.IntentStatus)
		b.replayed(t, answer, "c2", apptest.SecureCard)

		// The customer does not come back; another card works.
		b.answered(t, http.StatusOK, "c3", apptest.GoodCard)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
		b.replayed(t, answer, "c2", apptest.SecureCard)
	})

	t.Run("TheCustomerIsNotThere", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		_, fields := b.answered(t, http.StatusPaymentRequired, "c1", apptest.SecureCard, payments.OptionOffSession)
		require.Equal(t, "authentication_required", fields["decline_code"])
		require.Equal(t, true, fields["retryable"])
		require.Equal(t, payment.Failed, b.Payment(b.payment.ID).Status)
	})

	// Stripe cancels an intent that was tried too often.
	t.Run("TriedTooOften", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)

		const most = 20 // as the sandbox allows

		var fields map[string]any
		for n := range most {
			_, fields = b.answered(t, http.StatusPaymentRequired, operation.Key(fmt.Sprint("c", n)), apptest.PoorCard)
		}

		require.Equal(t, "canceled", fields["intent_status"])
		require.Equal(t, false, fields["retryable"])

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Cancelled, p.Status)
		require.Equal(t, "insufficient_funds", p.Decline.DeclineCode)
		require.Equal(t, "canceled", b.refused(t, fault.InvalidState, "last", apptest.GoodCard).IntentStatus)
	})
}

func TestConfirm_Do_Refused(t *testing.T) {
	t.Parallel()

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.payment.ID = uuid.New()
		require.Error(t, b.refused(t, fault.NotFound, "c1", apptest.GoodCard))
	})

	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.Dashboard(b.payment.IntentID, "cancel", nil) // no event of it has come
		f := b.refused(t, fault.InvalidState, "c1", apptest.GoodCard)
		require.Equal(t, "canceled", f.IntentStatus)
		require.Equal(t, payment.Cancelled, b.Payment(b.payment.ID).Status)
	})

	t.Run("WithoutAMethod", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		_, err := payments.NewConfirm(b.Change()).Do(t.Context(), payments.ConfirmCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: b.payment.ID, Key: "c1"},
		})
		apptest.RequireFault(t, fault.Invalid, err)
	})

	// What Stripe rejects because of the order is kept for the key; nothing was tried.
	t.Run("NoSuchMethod", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		answer, fields := b.answered(t, http.StatusUnprocessableEntity, "c1", "pm_none")
		require.Contains(t, fields["type"], "#rejected-by-provider")
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
		b.replayed(t, answer, "c1", "pm_none")
		b.answered(t, http.StatusOK, "c2", apptest.GoodCard)
	})

	// What the account causes is not kept: the same key works once it is repaired.
	t.Run("TheAccountIsIncomplete", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		incomplete := apptest.AccountIncomplete()
		incomplete.Path = apptest.ConfirmPath
		repair := b.Fault(incomplete)

		f := b.refused(t, fault.Rejected, "c1", apptest.GoodCard)
		require.Equal(t, b.payment.ID, f.PaymentID)
		repair()
		b.answered(t, http.StatusOK, "c1", apptest.GoodCard)
	})

	t.Run("KeyReused", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.answered(t, http.StatusOK, "c1", apptest.GoodCard)
		require.Error(t, b.refused(t, fault.KeyReused, "c1", apptest.PoorCard))
		require.Error(t, b.refused(t, fault.KeyReused, "order_1", apptest.GoodCard))

		first := b.payment
		b.payment = b.Create("order_2")
		require.Error(t, b.refused(t, fault.KeyReused, "c1", apptest.GoodCard))

		_, err := payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: first.ID, Key: "c1"},
		})
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("InProgress", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		b.BeginOne(b.NewConfirm("c1", b.payment, apptest.GoodCard))
		f := b.refused(t, fault.InProgress, "c2", apptest.GoodCard)
		require.Equal(t, b.payment.ID, f.PaymentID)

		_, err := payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: b.payment.ID},
		})
		apptest.RequireFault(t, fault.InProgress, err)
		require.Error(t, b.refused(t, fault.InFlight, "c1", apptest.GoodCard))

		require.Equal(t, 1, b.recover(t, time.Hour).Finished)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
	})
}

// Twice at the same moment: one is tried, the other is told so.
func TestConfirm_Do_AtTheSameMoment(t *testing.T) {
	t.Parallel()

	b := setupConfirm(t)

	var (
		all     sync.WaitGroup
		answers [4]operations.Answer
		errs    [4]error
	)

	for i, key := range []operation.Key{"a", "b", "c", "d"} {
		all.Go(func() { answers[i], errs[i] = b.confirm(t, key, apptest.GoodCard) })
	}

	all.Wait()

	won := 0

	for i, err := range errs {
		switch {
		case err != nil:
			require.Contains(t, []fault.Kind{fault.InvalidState, fault.InProgress}, fault.KindOf(err), "%v", err)
		case answers[i].Response.Status == http.StatusOK:
			won++
		default:
			require.Equal(t, http.StatusConflict, answers[i].Response.Status)
		}
	}

	require.Equal(t, 1, won)
	require.Equal(t, 1, b.AtStripe(b.payment.IntentID).Charges)
}

// The answer is lost. Under the same key Stripe gives it again.
func TestConfirm_Do_AnswerLost(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		card    string
		status  int
		becomes payment.Status
	}{
		"Paid":     {apptest.GoodCard, http.StatusOK, payment.Succeeded},
		"Declined": {apptest.PoorCard, http.StatusPaymentRequired, payment.Failed},
		"Asked":    {apptest.SecureCard, http.StatusOK, payment.Pending},
	} {
		for _, action := range []sandbox.Action{sandbox.DropAfter, sandbox.DropBefore, sandbox.HTML, sandbox.Saved500} {
			t.Run(name+"/"+string(action), func(t *testing.T) {
				t.Parallel()

				b := setupConfirm(t)
				repair := b.Fault(sandbox.Fault{Path: apptest.ConfirmPath, Action: action})
				f := b.refused(t, fault.Unknown, "c1", c.card)
				require.Equal(t, b.payment.ID, f.PaymentID)
				repair()

				require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t, time.Hour))

				answer, _ := b.answered(t, c.status, "c1", c.card)
				require.True(t, answer.Replayed)
				require.Equal(t, c.becomes, b.Payment(b.payment.ID).Status)
				b.applyAll(t)
				require.Equal(t, c.becomes, b.Payment(b.payment.ID).Status)
			})
		}
	}
}

// The process dies before it sends, or after, and the key is too old to be sent. Whether the
// attempt was made is told by the intent's latest charge.
func TestConfirm_Do_TooOld(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) (confirmBundle, ports.Operation) {
		t.Helper()

		b := setupConfirm(t)
		b.answered(t, http.StatusPaymentRequired, "c1", apptest.PoorCard) // an attempt before it

		return b, b.BeginOne(b.NewConfirm("c2", b.payment, apptest.StolenCard))
	}
	old := func(t *testing.T, b confirmBundle) operations.Recovered {
		t.Helper()
		b.Provider = unsendable{Provider: b.Provider, t: t}

		return b.recover(t, 24*time.Hour)
	}

	// The decline that the intent speaks of is the first attempt's.
	t.Run("NotTried", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		require.Equal(t, operations.Recovered{Taken: 1, GivenUp: 1}, old(t, b))
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Error(t, b.refused(t, fault.InProgress, "c3", apptest.GoodCard))
	})

	t.Run("Declined", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		object, err := b.Provider.Send(t.Context(), op.Call, false)
		require.NoError(t, err)
		require.True(t, object.Declined)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, old(t, b))
		require.Equal(t, http.StatusPaymentRequired, b.Operation(op.ID).Response.Status)
		require.Contains(t, string(b.Operation(op.ID).Response.Body), `"decline_code":"stolen_card"`)
	})

	t.Run("Paid", func(t *testing.T) {
		t.Parallel()

		b := setupConfirm(t)
		op := b.BeginOne(b.NewConfirm("c1", b.payment, apptest.GoodCard))
		b.Send(op)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, old(t, b))
		require.Equal(t, http.StatusOK, b.Operation(op.ID).Response.Status)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
	})

	t.Run("CancelledBySomebodyElse", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		b.Dashboard(b.payment.IntentID, "cancel", nil)
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, old(t, b))
		require.Equal(t, http.StatusConflict, b.Operation(op.ID).Response.Status)
	})
}

// The customer's browser is faster, and then Stripe does not allow the confirm any more. Had it
// made the attempt itself, it would have repeated its answer.
func TestConfirm_Do_TheBrowserIsFaster(t *testing.T) {
	t.Parallel()

	b := setupConfirm(t)
	op := b.BeginOne(b.NewConfirm("c1", b.payment, apptest.GoodCard))
	b.Pay(b.payment.IntentID)
	require.Equal(t, 1, b.recover(t, time.Hour).Finished)
	require.Equal(t, http.StatusConflict, b.Operation(op.ID).Response.Status)
	require.Contains(t, string(b.Operation(op.ID).Response.Body), `"intent_status":"succeeded"`)
	require.Equal(t, 1, b.AtStripe(b.payment.IntentID).Charges)
}

// Events may overtake the answer.
func TestConfirm_Do_TheEventIsFaster(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		card, event string
		status      int
		becomes     payment.Status
	}{
		"Paid":     {apptest.GoodCard, "payment_intent.succeeded", http.StatusOK, payment.Succeeded},
		"Declined": {apptest.PoorCard, "payment_intent.payment_failed", http.StatusPaymentRequired, payment.Failed},
		"Asked":    {apptest.SecureCard, "payment_intent.requires_action", http.StatusOK, payment.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupConfirm(t)
			b.Provider = overtaken{Provider: b.Provider, before: func() {
				_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, c.event))
				require.NoError(t, err)
			}}

			answer, _ := b.answered(t, c.status, "c1", c.card)
			require.Equal(t, c.becomes, b.Payment(b.payment.ID).Status)
			b.replayed(t, answer, "c1", c.card)
		})
	}
}

// overtaken does something between Stripe's execution of a call and its answer.
type overtaken struct {
	ports.Provider

	before func()
}

func (o overtaken) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	object, err := o.Provider.Send(ctx, call, resend)
	o.before()

	return object, err
}

// If the intent cannot be read after an attempt, its outcome is told later, and it is not
// made again.
func TestConfirm_Do_ReadAfterwardsFails(t *testing.T) {
	t.Parallel()

	b := setupConfirm(t)
	b.answered(t, http.StatusPaymentRequired, "c1", apptest.PoorCard)

	provider := b.Provider
	b.Provider = &blinded{Provider: provider}
	require.Error(t, b.refused(t, fault.Unknown, "c2", apptest.SecureCard))

	b.Provider = provider
	require.Equal(t, 1, b.recover(t, time.Hour).Finished)

	answer, fields := b.answered(t, http.StatusOK, "c2", apptest.SecureCard)
	require.True(t, answer.Replayed)
	require.Equal(t, "requires_action", fields["intent_status"])
}

// blinded cannot be read once something was sent.
type blinded struct {
	ports.Provider

	sent bool
}

func (b *blinded) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	b.sent = true

	return b.Provider.Send(ctx, call, resend)
}

func (b *blinded) Intent(ctx context.Context, id string) (ports.Intent, error) {
	if b.sent {
		return ports.Intent{}, errors.New("no answer")
	}

	return b.Provider.Intent(ctx, id)
}
