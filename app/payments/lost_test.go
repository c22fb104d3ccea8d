package payments_test

import (
	"context"
	"net/http"
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

// A client that repeats a request gets the payment that it got before, although the
// database has lost it: the same key makes the same call.
func TestCreate_Do_AfterALoss(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	command := payments.CreateCommand{
		Tenant: operation.DefaultTenant, Key: "order_1", Order: apptest.Order(t, 10_00), RequestID: "request-9",
	}
	create := func() (operations.Answer, error) {
		return payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer).Do(t.Context(), command)
	}

	first, err := create()
	require.NoError(t, err)

	before := b.Payment(first.PaymentID)

	b.LoseEverything()

	again, err := create()
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, before.IntentID, b.Payment(first.PaymentID).IntentID)
	b.RequireIntents(before.IntentID)

	// Whoever comes first with another body gets nothing.
	b.LoseEverything()

	command.Order = apptest.Order(t, 10_01)
	_, err = create()
	apptest.RequireFault(t, fault.Unknown, err)
	b.RequireNoPayment(first.PaymentID)
	b.RequireIntents(before.IntentID)
}

// Without a key there is nothing to make an id of.
func TestCreate_Do_WithoutAKey(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	create := payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer)
	command := payments.CreateCommand{Tenant: operation.DefaultTenant, Order: apptest.Order(t, 10_00)}

	first, err := create.Do(t.Context(), command)
	require.NoError(t, err)
	second, err := create.Do(t.Context(), command)
	require.NoError(t, err)
	require.NotEqual(t, first.PaymentID, second.PaymentID)
	require.Equal(t, uuid.Version(7), first.PaymentID.Version())
}

// The payment was captured by this very request, and the database has lost that.
func TestCapture_Do_AfterALoss(t *testing.T) {
	t.Parallel()

	b := setupCapture(t)
	first := b.captured(t)
	p := b.Payment(b.payment.ID)

	b.Exec("DELETE FROM operations WHERE kind = 'capture'")
	b.Exec(`UPDATE payments SET status = 'pending', intent_status = 'requires_capture', amount_captured = 0,
		amount_capturable = amount WHERE id = $1`, p.ID)
	b.ForgetReplays()

	again := b.captured(t)
	require.Equal(t, http.StatusOK, again.Response.Status)
	require.Equal(t, first.PaymentID, again.PaymentID)
	requireCents(t, 10_00, b.Payment(p.ID))

	op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, b.command.Key)
	require.NoError(t, err)
	require.Equal(t, b.Installation.OperationID(operation.DefaultTenant, b.command.Key), op.ID)
}

// That there is no payment is believed only once reconciliation is through.
func TestGet_Do_InALaterLife(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	created := b.Create("order_1")

	for _, c := range []struct {
		life operation.Standing
		want fault.Kind
	}{{operation.Standing{Behind: operation.Unknown}, fault.Unavailable}, {operation.Standing{Reconciled: true}, fault.NotFound}} {
		b.InLife(c.life)
		get := payments.NewGet(b.Store, b.Lives, b.Observer)

		_, err := get.Do(t.Context(), operation.DefaultTenant, uuid.New())
		apptest.RequireFault(t, c.want, err)
		require.Equal(t, c.want == fault.Unavailable, fault.From(err).RetryAfter > 0)

		_, err = payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: uuid.New()},
		})
		apptest.RequireFault(t, c.want, err)

		read, err := get.Do(t.Context(), operation.DefaultTenant, created.ID)
		require.NoError(t, err)
		require.Equal(t, created, read, "what is here is read")
	}
}

// Under the key of a capture that is refused the database may have lost another request. Until
// that is known, nobody is told for ever that nothing was done.
func TestChange_RefusedInALaterLife(t *testing.T) {
	t.Parallel()

	for name, kind := range changeKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupChange(t, kind)
			op := b.begin()
			b.Dashboard(b.payment.IntentID, kind.dashboard, nil)

			for _, c := range []struct {
				life  operation.Standing
				state operation.State
			}{
				{operation.Standing{Behind: time.Hour}, operation.Pending},
				{operation.Standing{Reconciled: true, Behind: time.Hour}, operation.Finished},
			} {
				b.InLife(c.life)
				b.Elapse(time.Hour)

				_, err := b.Recover().Do(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.state, b.Operation(op.ID).State)
			}

			require.Equal(t, http.StatusConflict, b.Operation(op.ID).Response.Status)
		})
	}
}

// losing is a provider. Once it has made a refund, the database loses what the test says.
type losing struct {
	ports.Provider

	lose func()
}

func (l losing) Send(ctx context.Context, call ports.Call, retry bool) (ports.Object, error) {
	object, err := l.Provider.Send(ctx, call, retry)
	l.lose()

	return object, err
}

// The database is restored while a refund is under way. The refund brings home what is lost: itself, its
// operation and, if need be, its payment. It is made once, and the client is told of it.
func TestRefund_VanishesWhileItIsSent(t *testing.T) {
	t.Parallel()

	for name, lose := range map[string]func(b refundBundle){
		"Everything": func(b refundBundle) { b.LoseEverything() },
		"TheRefund": func(b refundBundle) { // with its operation: they are one commit
			b.Exec("DELETE FROM operations WHERE kind = 'refund'")
			b.Exec("DELETE FROM refunds")
			b.Exec("UPDATE payments SET amount_refund_pending = 0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupRefund(t)
			provider := b.Provider
			b.Provider = losing{provider, func() { lose(b) }}

			cmd := b.RefundCommand(b.payment, "refund_1", "4.00")
			answer, err := b.refund(t, cmd)
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

			b.Provider = provider
			b.requireSums(t, 0, 4_00, 6_00)

			op := b.Operation(answer.RefundID)
			require.Equal(t, operation.Finished, op.State)
			require.Equal(t, b.payment.ID, op.Subject)
			require.Equal(t, cmd.Key, op.Key)
			require.Equal(t, b.Renderer.RefundMade(b.RefundOf(answer.RefundID)), answer.Response)

			b.ForgetReplays()

			again, err := b.refund(t, cmd)
			require.NoError(t, err)
			require.Equal(t, answer.Response, again.Response)
			require.Len(t, b.RefundsAtStripe(b.payment), 1)
		})
	}
}

// Recovery has found a refund by its mark, and the database loses its operation before that is written.
func TestRefund_VanishesOnceItIsFound(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	repair := b.Fault(sandbox.Fault{Path: apptest.RefundsPath, Action: sandbox.DropAfter})
	_, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	apptest.RequireFault(t, fault.Unknown, err)
	repair()

	op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, "refund_1")
	require.NoError(t, err)

	listed, err := b.Provider.RefundsOf(t.Context(), b.payment.IntentID)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	b.LoseEverything()

	done, err := b.Engine().Finish(t.Context(), op.Operation, ports.Object{Refund: listed[0]}, operation.ByRecovery)
	require.NoError(t, err)
	require.Equal(t, operation.Finished, done.State)
	require.Equal(t, http.StatusCreated, done.Response.Status)
	b.requireSums(t, 0, 4_00, 6_00)
	require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
}
