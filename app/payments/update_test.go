package payments_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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
	"github.com/marketflow/marketflow/sandbox"
)

// updateBundle has a payment with some metadata, and a command to change it.
type updateBundle struct {
	*apptest.World

	payment payment.Payment
	command payments.UpdateCommand
}

func setupUpdate(t *testing.T) updateBundle {
	t.Helper()

	b := updateBundle{World: apptest.New(t)}
	order := apptest.Order(t, 10_00)
	order.Metadata = map[string]string{"stays": "1", "changes": "2", "goes": "3"}
	b.payment = b.CreateFor("order_1", order)

	description := "a bicycle"
	b.command = payments.UpdateCommand{
		Metadata:    payment.MetadataChange{"changes": "4", "comes": "5", "goes": ""},
		Description: &description,
	}
	b.command.Tenant = operation.DefaultTenant
	b.command.PaymentID, b.command.Key, b.command.RequestID = b.payment.ID, "update_1", "request-9"

	return b
}

func (b updateBundle) update(t *testing.T) (operations.Answer, error) {
	t.Helper()

	return payments.NewUpdate(b.Change()).Do(t.Context(), b.command)
}

func (b updateBundle) refused(t *testing.T, kind fault.Kind) *fault.Error {
	t.Helper()

	before := b.Payment(b.payment.ID)
	_, err := b.update(t)
	apptest.RequireFault(t, kind, err)
	require.Equal(t, before, b.Payment(b.payment.ID))

	return fault.From(err)
}

// requireUpdated requires that both sides have the change.
func (b updateBundle) requireUpdated(t *testing.T) {
	t.Helper()

	want := map[string]string{"stays": "1", "changes": "4", "comes": "5"}

	p := b.Payment(b.payment.ID)
	require.Equal(t, payment.Metadata(want), p.Metadata)
	require.Equal(t, "a bicycle", p.Description)

	intent, err := b.Provider.Intent(t.Context(), p.IntentID)
	require.NoError(t, err)
	require.Equal(t, want, intent.Metadata)
	require.Equal(t, "a bicycle", intent.Description)
	require.Equal(t, p.ID, intent.PaymentID, "what is ours is as it was")
	require.True(t, intent.Marked)
	require.EqualValues(t, "order_1", intent.Key)
}

func TestUpdate_Do(t *testing.T) {
	t.Parallel()

	t.Run("Both", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		answer, err := b.update(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)
		b.requireUpdated(t)

		p := b.Payment(b.payment.ID)
		require.Greater(t, p.Version, b.payment.Version)
		require.Equal(t, b.Renderer.Payment(p), answer.Response, "as it is read")
		require.Equal(t, []string{"request: pending"}, b.History(p.ID), "its status is the same")

		op := b.Operation(b.Installation.OperationID(operation.DefaultTenant, "update_1"))
		require.Equal(t, operation.Update, op.Kind)
		require.Contains(t, op.Call.Params, "metadata%5Bgoes%5D=")
		require.NotContains(t, op.Call.Params, "stays")
		require.Contains(t, b.Observer.Spans(), "app.UpdatePayment")

		for range 2 {
			again, err := b.update(t)
			require.NoError(t, err)
			require.Equal(t, operations.Answer{PaymentID: p.ID, Response: answer.Response, Replayed: true}, again)
			b.ForgetReplays()
		}
	})

	t.Run("Removed", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		_, err := b.update(t)
		require.NoError(t, err)

		b.command.Key, b.command.Description = "", new("")
		b.command.Metadata = payment.MetadataChange{"stays": "", "changes": "", "comes": ""}
		_, err = b.update(t)
		require.NoError(t, err)

		p := b.Payment(b.payment.ID)
		require.Empty(t, p.Description)
		require.Equal(t, payment.Metadata{}, p.Metadata)
	})

	// Also of what is paid.
	t.Run("Succeeded", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		_, err := b.Apply().Do(t.Context(), b.Pay(b.payment.IntentID))
		require.NoError(t, err)
		_, err = b.update(t)
		require.NoError(t, err)
		b.requireUpdated(t)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
	})

	// An update clears what Stripe says of a decline. We know it still.
	t.Run("Declined", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		b.Hint(b.payment)
		_, _, err := b.Refresh().Do(t.Context(), b.payment.ID, "test")
		require.NoError(t, err)
		b.Confirm(b.payment.IntentID, "pm_card_chargeDeclined")
		read, _, err := b.Refresh().Do(t.Context(), b.payment.ID, "test")
		require.NoError(t, err)
		require.Equal(t, payment.Failed, read.Status)

		_, err = b.update(t)
		require.NoError(t, err)
		b.requireUpdated(t)

		_, _, err = b.Refresh().Do(t.Context(), b.payment.ID, "test")
		require.NoError(t, err)

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Failed, p.Status)
		require.Equal(t, read.Decline, p.Decline)
	})
}

func TestUpdate_Do_Refused(t *testing.T) {
	t.Parallel()

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		b.command.PaymentID = uuid.New()
		_, err := b.update(t)
		apptest.RequireFault(t, fault.NotFound, err)
	})

	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		_, err := payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: b.payment.ID},
		})
		require.NoError(t, err)

		f := b.refused(t, fault.InvalidState)
		require.Equal(t, "canceled", f.IntentStatus)
		require.Equal(t, []string{}, f.Allowed)
	})

	// Our records do not know it yet: Stripe says it, and that is kept.
	t.Run("CancelledBySomebodyElse", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		b.Dashboard(b.payment.IntentID, "cancel", nil)

		answer, err := b.update(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, answer.Response.Status, "%s", answer.Response.Body)
		require.Contains(t, string(answer.Response.Body), `"intent_status":"canceled"`)
		require.Equal(t, payment.Cancelled, b.Payment(b.payment.ID).Status)
		require.Equal(t, b.payment.Metadata, b.Payment(b.payment.ID).Metadata)
	})

	t.Run("TooManyEntries", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		b.command.Metadata = payment.MetadataChange{}

		for n := range 44 {
			b.command.Metadata[fmt.Sprint("more_", n)] = "v"
		}

		require.Error(t, b.refused(t, fault.Invalid))
		b.command.Metadata["goes"] = ""
		_, err := b.update(t)
		require.NoError(t, err)
		require.Len(t, b.Payment(b.payment.ID).Metadata, 46)
	})

	t.Run("AnotherVersion", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		b.command.IfMatch = []int64{b.payment.Version - 1, b.payment.Version + 1}
		require.Equal(t, b.payment.Version, b.refused(t, fault.PreconditionFailed).Version)

		b.command.IfMatch = []int64{1, b.payment.Version}
		answer, err := b.update(t)
		require.NoError(t, err)
		b.requireUpdated(t)

		// A repeated request gets its answer, whatever the version is now.
		again, err := b.update(t)
		require.NoError(t, err)
		require.Equal(t, answer.Response, again.Response)
	})

	t.Run("KeyReused", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		_, err := b.update(t)
		require.NoError(t, err)

		b.command.Description = new("two bicycles")
		require.Error(t, b.refused(t, fault.KeyReused))
		b.command.Key = "order_1"
		require.Error(t, b.refused(t, fault.KeyReused))
	})

	// One update at a time; a cancel need not wait for it.
	t.Run("InProgress", func(t *testing.T) {
		t.Parallel()

		b := setupUpdate(t)
		op := b.BeginOne(b.NewUpdate("another", b.payment, operation.Order{Metadata: map[string]string{"changes": "9"}}))
		require.Equal(t, b.payment.ID, b.refused(t, fault.InProgress).PaymentID)

		_, err := payments.NewCapture(b.Change()).Do(t.Context(), payments.CaptureCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: b.payment.ID},
		})
		apptest.RequireFault(t, fault.InvalidState, err)

		b.Elapse(time.Hour)
		_, err = b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, operation.Finished, b.Operation(op.ID).State)

		_, err = b.update(t)
		require.NoError(t, err)
		b.requireUpdated(t)
	})
}

// Many at once: both sides end the same.
func TestUpdate_Do_AtTheSameMoment(t *testing.T) {
	t.Parallel()

	b := setupUpdate(t)

	var all sync.WaitGroup

	for n := range 6 {
		all.Go(func() {
			command := payments.UpdateCommand{Metadata: payment.MetadataChange{"changes": fmt.Sprint("by ", n)}}
			command.Tenant, command.PaymentID = operation.DefaultTenant, b.payment.ID

			if _, err := payments.NewUpdate(b.Change()).Do(t.Context(), command); err != nil {
				apptest.RequireFault(t, fault.InProgress, err)
			}
		})
	}

	all.Wait()

	intent, err := b.Provider.Intent(t.Context(), b.payment.IntentID)
	require.NoError(t, err)
	require.NotEqual(t, "2", intent.Metadata["changes"])
	require.Equal(t, payment.Metadata(intent.Metadata), b.Payment(b.payment.ID).Metadata)
}

func TestUpdate_Do_AnswerLost(t *testing.T) {
	t.Parallel()

	for _, action := range []sandbox.Action{sandbox.DropAfter, sandbox.DropBefore, sandbox.Saved500} {
		t.Run(string(action), func(t *testing.T) {
			t.Parallel()

			b := setupUpdate(t)
			repair := b.Fault(sandbox.Fault{Path: apptest.UpdatePath, Action: action})
			require.Error(t, b.refused(t, fault.Unknown))
			repair()
			b.Elapse(time.Hour)

			done, err := b.Recover().Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, done)
			b.requireUpdated(t)

			answer, err := b.update(t)
			require.NoError(t, err)
			require.True(t, answer.Replayed)
		})
	}
}

// Its key is too old to be sent: the intent tells whether it was done.
func TestUpdate_Do_TooOld(t *testing.T) {
	t.Parallel()

	for _, done := range []bool{true, false} {
		t.Run(strconv.FormatBool(done), func(t *testing.T) {
			t.Parallel()

			b := setupUpdate(t)
			op := b.BeginOne(b.NewUpdate("update_1", b.payment, operation.Order{
				Metadata: b.command.Metadata, Options: map[string]string{payments.OptionDescription: "a bicycle"},
			}))

			if done {
				b.Send(op)
			} else { // some of it is so, by somebody else
				b.Dashboard(b.payment.IntentID, "", url.Values{"description": {"a bicycle"}})
			}

			b.Elapse(24 * time.Hour)
			b.Provider = unsendable{Provider: b.Provider, t: t}
			_, err := b.Recover().Do(t.Context())
			require.NoError(t, err)

			if done {
				b.requireUpdated(t)
				require.Equal(t, operation.Finished, b.Operation(op.ID).State)
			} else {
				require.Equal(t, b.payment, b.Payment(b.payment.ID))
				require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
			}
		})
	}
}
