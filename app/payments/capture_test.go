package payments_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
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
)

// captureBundle has a payment of ten dollars that is held, and a command to capture it.
type captureBundle struct {
	*apptest.World

	payment payment.Payment
	command payments.CaptureCommand
}

func setupCapture(t *testing.T) captureBundle {
	t.Helper()

	b := captureBundle{World: apptest.New(t)}
	b.payment = b.Held("order_1")
	b.command.Tenant = operation.DefaultTenant
	b.command.PaymentID, b.command.Key, b.command.RequestID = b.payment.ID, "capture_1", "request-9"

	return b
}

func (b captureBundle) capture(t *testing.T) (operations.Answer, error) {
	t.Helper()

	return payments.NewCapture(b.Change()).Do(t.Context(), b.command)
}

// captured requires that it succeeds.
func (b captureBundle) captured(t *testing.T) operations.Answer {
	t.Helper()

	answer, err := b.capture(t)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)

	return answer
}

// refused requires that it fails with a fault about the payment.
func (b captureBundle) refused(t *testing.T, kind fault.Kind) *fault.Error {
	t.Helper()

	_, err := b.capture(t)
	apptest.RequireFault(t, kind, err)
	require.Equal(t, b.payment.ID, fault.From(err).PaymentID)

	return fault.From(err)
}

func requireCents(t *testing.T, cents int64, p payment.Payment) {
	t.Helper()
	require.Equal(t, apptest.Dollars(t, cents).Money(), p.Captured)
	require.Zero(t, p.Capturable.Minor())
	require.Equal(t, payment.Succeeded, p.Status)
	require.Equal(t, payment.IntentSucceeded, p.IntentStatus)
}

func TestCapture_Do(t *testing.T) {
	t.Parallel()

	t.Run("All", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		require.Equal(t, apptest.Dollars(t, 10_00).Money(), b.payment.Capturable)
		require.False(t, b.payment.CaptureBefore.IsZero())

		answer := b.captured(t)
		require.False(t, answer.Replayed)
		require.Equal(t, b.payment.ID, answer.PaymentID)

		p := b.Payment(b.payment.ID)
		requireCents(t, 10_00, p)
		require.True(t, p.CaptureBefore.IsZero())
		require.Greater(t, p.Version, b.payment.Version)
		require.Equal(t, b.Renderer.Payment(p), answer.Response, "as it is read")
		require.Equal(t, []string{"request: pending", "request: succeeded"}, b.History(p.ID))

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, b.command.Key)
		require.NoError(t, err)
		require.Equal(t, operation.Capture, op.Kind)
		require.Equal(t, p.ID, op.Subject)
		require.Equal(t, operation.Finished, op.State)
		require.Equal(t, answer.Response, op.Response)
		require.Equal(t, ports.Origin{RequestID: "request-9", TraceParent: apptest.TraceParent}, op.Origin)

		mark := b.Mark(operation.Capture, op.ID, p.ID, operation.Order{})
		call, err := b.Calls.CapturePayment(mark, p.IntentID, operation.Order{})
		require.NoError(t, err)
		require.Equal(t, call, op.Call, "what is sent is what was written down")

		books := b.AtStripe(p.IntentID)
		require.Equal(t, "succeeded", books.Status)
		require.EqualValues(t, 10_00, books.Received)
		require.Equal(t, mark.String(), books.Metadata[payment.MetadataCapture])
		require.Equal(t, p.ID.String(), books.Metadata[payment.MetadataPaymentID], "what the create wrote is still there")
		require.Equal(t, "42", books.Metadata["order"])

		told := b.Observer.Told(p.ID)
		require.Equal(t, []string{"changed: pending → succeeded", "capture finished by request: done", "answered"},
			told[len(told)-3:])
		require.Contains(t, b.Observer.Spans(), "app.CapturePayment")
	})

	t.Run("APart", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.command.Amount = "4"
		answer := b.captured(t)

		p := b.Payment(b.payment.ID)
		requireCents(t, 4_00, p)
		require.Equal(t, apptest.Dollars(t, 10_00), p.Amount)
		require.EqualValues(t, 4_00, b.AtStripe(p.IntentID).Received)

		// The same sum, spelled otherwise.
		for _, amount := range []string{"4.00", "0.4e1", "4.0"} {
			b.command.Amount = amount
			again := b.captured(t)
			require.True(t, again.Replayed)
			require.Equal(t, answer.Response, again.Response)
		}
	})

	t.Run("WithoutAKey", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.command.Key = ""
		b.captured(t)

		f := b.refused(t, fault.InvalidState)
		require.Equal(t, "succeeded", f.IntentStatus)
		require.Equal(t, []string{"refund"}, f.Allowed)
	})

	// The client has not seen the payment as it is: nothing is begun, and the key stays free.
	t.Run("AnotherVersion", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.command.IfMatch = []int64{b.payment.Version - 1}
		f := b.refused(t, fault.PreconditionFailed)
		require.Equal(t, b.payment.Version, f.Version)

		_, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, b.command.Key)
		apptest.RequireFault(t, fault.NotFound, err)

		b.command.IfMatch = []int64{b.payment.Version - 1, b.payment.Version}
		first := b.captured(t)

		again := b.captured(t) // a repeated request gets its answer before any condition
		require.True(t, again.Replayed)
		require.Equal(t, first.Response, again.Response)
	})

	t.Run("Replays", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		first := b.captured(t)
		_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.succeeded"))
		require.NoError(t, err)

		for _, from := range []string{"cache", "database"} {
			again := b.captured(t)
			require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
			require.Contains(t, b.Observer.Told(b.payment.ID), "answered from "+from)
			b.ForgetReplays()
		}
	})

	// Stripe keeps its rejection under the operation's key, so what was refused once cannot be
	// done under that key, also when the money is held at last.
	t.Run("RefusedBeforeItWasHeld", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		p := b.CreateFor("order_2", apptest.Manual(apptest.Order(t, 10_00)))
		op := b.BeginOne(b.NewCapture("early", p, 0)) // by whoever took the money for held
		b.Elapse(time.Hour)

		_, err := b.Recover().Do(t.Context())
		require.NoError(t, err)

		refused := b.Operation(op.ID)
		require.Equal(t, operation.Finished, refused.State)
		require.Equal(t, http.StatusConflict, refused.Response.Status)
		require.Contains(t, string(refused.Response.Body), "use a new one")

		b.Confirm(p.IntentID, "pm_card_visa")

		var rejected *ports.RejectedError

		_, err = b.Provider.Send(t.Context(), op.Call, true)
		require.ErrorAs(t, err, &rejected, "Stripe repeats itself")

		b.command.PaymentID, b.command.Amount = p.ID, ""
		b.command.Key = "early"
		again, err := b.capture(t)
		require.NoError(t, err)
		require.Equal(t, refused.Response, again.Response)

		b.command.Key = "late"
		b.captured(t)
	})

	// The database has lost that it was refused, and the money is held meanwhile. Whoever waits
	// for Stripe to say something else waits for a day, and the payment with it.
	t.Run("RefusedAndThenHeld", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		p := b.CreateFor("order_2", apptest.Manual(apptest.Order(t, 10_00)))
		op := b.BeginOne(b.NewCapture("early", p, 0))

		var rejected *ports.RejectedError

		_, err := b.Provider.Send(t.Context(), op.Call, false)
		require.ErrorAs(t, err, &rejected)
		require.False(t, rejected.Kept)

		b.Confirm(p.IntentID, "pm_card_visa")

		done, err := b.Engine().Send(t.Context(), op, operation.ByRequest)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, done.Response.Status)
		require.Contains(t, string(done.Response.Body), "use a new one")

		b.command.PaymentID, b.command.Key = p.ID, "late"
		b.captured(t)
	})

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.command.PaymentID = uuid.New()
		_, err := b.capture(t)
		apptest.RequireFault(t, fault.NotFound, err)
	})

	t.Run("NoAmount", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)

		for _, amount := range []string{"0", "-4", "4.001", "four", "1e30"} {
			b.command.Amount = amount
			_, err := b.capture(t)
			apptest.RequireFault(t, fault.Invalid, err)
		}

		require.Equal(t, "requires_capture", b.AtStripe(b.payment.IntentID).Status)
	})
}

// A capture is refused only by a final status or by an intent that was just read.
func TestCapture_Do_InvalidState(t *testing.T) {
	t.Parallel()

	t.Run("NotAuthorised", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.payment = b.CreateFor("order_2", apptest.Manual(apptest.Order(t, 10_00)))
		b.command.PaymentID = b.payment.ID

		f := b.refused(t, fault.InvalidState)
		require.Equal(t, "requires_payment_method", f.IntentStatus)
		require.Equal(t, []string{"confirm", "cancel"}, f.Allowed)
		require.Contains(t, f.Detail, "requires_payment_method")
		require.Empty(t, b.operationsOn(t), "nothing is written down")

		// We have not heard of it, but it is authorised.
		b.Authorize(b.payment)
		b.captured(t)
		requireCents(t, 10_00, b.Payment(b.payment.ID))
	})

	t.Run("AlreadyCaptured", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.captured(t)

		b.command.Key = "capture_2"
		require.Equal(t, []string{"refund"}, b.refused(t, fault.InvalidState).Allowed)
		require.Len(t, b.operationsOn(t), 1)
	})

	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		_, err := payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: b.payment.ID},
		})
		require.NoError(t, err)

		f := b.refused(t, fault.InvalidState)
		require.Equal(t, "canceled", f.IntentStatus)
		require.Equal(t, []string{}, f.Allowed)
	})

	t.Run("Automatic", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.payment = b.Create("order_2")
		b.command.PaymentID = b.payment.ID
		b.Confirm(b.payment.IntentID, "pm_card_visa") // its event is not here yet

		f := b.refused(t, fault.InvalidState)
		require.Equal(t, "succeeded", f.IntentStatus)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status, "what was read is written down")
	})

	// Without its answer nothing is refused, and nothing is done.
	t.Run("StripeDoesNotTell", func(t *testing.T) {
		t.Parallel()

		for _, cause := range []error{ports.ErrUnavailable, errors.New("the answer was lost")} {
			b := setupCapture(t)
			b.Provider = silent{b.Provider, cause}
			b.command.Amount = "10.01"

			f := b.refused(t, fault.Unavailable)
			require.ErrorIs(t, f, cause)
			require.NotZero(t, f.RetryAfter)
			require.Empty(t, b.operationsOn(t))
		}
	})

	t.Run("StripeContradictsUs", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.Exec("UPDATE payments SET amount = 11 WHERE id = $1", b.payment.ID)
		b.command.Amount = "10.50"

		f := b.refused(t, fault.Unknown)
		require.ErrorIs(t, f, ports.ErrContradiction)
		require.Contains(t, f.Detail, "A person has to look at it")
		require.Empty(t, b.operationsOn(t))
	})
}

func (b captureBundle) operationsOn(t *testing.T) []ports.OperationDetails {
	t.Helper()

	all, err := b.Store.OperationsOn(t.Context(), b.payment.ID)
	require.NoError(t, err)

	return all
}

func TestCapture_Do_AmountExceeded(t *testing.T) {
	t.Parallel()

	b := setupCapture(t)
	b.command.Amount = "10.01"
	f := b.refused(t, fault.AmountExceeded)
	require.Equal(t, "10.00", f.Available)
	require.Empty(t, b.operationsOn(t), "nothing is written down")
	require.Equal(t, "requires_capture", b.AtStripe(b.payment.IntentID).Status)

	b.command.Amount = "10.00"
	b.captured(t)

	b.command.Key, b.command.Amount = "capture_2", "10.01"
	require.Empty(t, b.refused(t, fault.InvalidState).Available, "the state comes first")
}

// Somebody else was faster, and no event of it is here: Stripe rejects the capture, and the
// intent is read.
func TestCapture_Do_OvertakenAtStripe(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		action string
		form   url.Values
		status payment.Status
		intent string
		cents  int64
	}{
		"Captured":          {"capture", nil, payment.Succeeded, "succeeded", 10_00},
		"CapturedInPart":    {"capture", url.Values{"amount_to_capture": {"400"}}, payment.Succeeded, "succeeded", 4_00},
		"CapturedAsWeWould": {"capture", url.Values{"amount_to_capture": {"500"}}, payment.Succeeded, "succeeded", 5_00},
		"Cancelled":         {"cancel", nil, payment.Cancelled, "canceled", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupCapture(t)
			b.Dashboard(b.payment.IntentID, c.action, c.form)
			b.command.Amount = "5"

			answer, err := b.capture(t)
			require.NoError(t, err)
			require.Equal(t, http.StatusConflict, answer.Response.Status)
			require.Contains(t, string(answer.Response.Body), `#invalid-state"`)
			require.Contains(t, string(answer.Response.Body), `"intent_status":"`+c.intent+`","allowed":[`)
			require.Contains(t, string(answer.Response.Body), b.payment.ID.String())

			p := b.Payment(b.payment.ID)
			require.Equal(t, c.status, p.Status)
			require.Equal(t, c.cents, p.Captured.Minor())
			require.Contains(t, b.Observer.Told(p.ID), "capture finished by request: rejected")

			b.ForgetReplays()
			again, err := b.capture(t)
			require.NoError(t, err)
			require.Equal(t, operations.Answer{PaymentID: p.ID, Response: answer.Response, Replayed: true}, again, "it is frozen")
		})
	}

	t.Run("ItLapsed", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		require.NoError(t, b.Stripe.Lapse(b.payment.IntentID))

		answer, err := b.capture(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, answer.Response.Status)
		require.Equal(t, payment.Cancelled, b.Payment(b.payment.ID).Status)
	})
}

// Stripe rejects the amount itself: the client can change it.
func TestCapture_Do_AmountRejected(t *testing.T) {
	t.Parallel()

	t.Run("LessIsHeldThanWeKnow", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		b.Exec("UPDATE payments SET amount_capturable = 20")
		b.command.Amount = "15"

		answer, err := b.capture(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status)
		require.Contains(t, string(answer.Response.Body), `#amount-exceeded"`)
		require.Contains(t, string(answer.Response.Body), `"available":10.00`)
		require.Equal(t, apptest.Dollars(t, 10_00).Money(), b.Payment(b.payment.ID).Capturable, "as it was read")
	})

	t.Run("TooSmall", func(t *testing.T) {
		t.Parallel()

		b := setupCapture(t)
		small := apptest.AccountIncomplete()
		small.Path, small.Code, small.Message = apptest.CapturePath, "amount_too_small", "The amount is too small."
		b.Fault(small)

		b.command.Amount = "0.01"

		answer, err := b.capture(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status)
		require.Contains(t, string(answer.Response.Body), `#rejected-by-provider"`)
		require.Contains(t, string(answer.Response.Body), "The amount is too small.")
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})
}

// another answers a capture with another sum.
type another struct{ ports.Provider }

func (a another) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	object, err := a.Provider.Send(ctx, call, resend)
	object.Intent.Captured = object.Intent.Amount.Money()

	return object, err
}

func TestCapture_Do_AnotherSumWasCaptured(t *testing.T) {
	t.Parallel()

	b := setupCapture(t)
	b.Provider = another{b.Provider}
	b.command.Amount = "4"

	f := b.refused(t, fault.Unknown)
	require.ErrorIs(t, f, ports.ErrContradiction)
	require.Equal(t, time.Minute, f.RetryAfter)
	require.Equal(t, operation.NeedsAttention, b.operationsOn(t)[0].State)
	require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	require.Contains(t, b.Observer.Told(b.payment.ID), "capture needs attention: contradiction")
}
