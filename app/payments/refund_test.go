package payments_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// refundBundle has a payment of ten dollars that is paid.
type refundBundle struct {
	*apptest.World

	payment payment.Payment
}

func setupRefund(t *testing.T) refundBundle {
	t.Helper()

	b := refundBundle{World: apptest.New(t)}
	b.payment = b.Paid("order_1", apptest.GoodCard)

	return b
}

func (b refundBundle) refund(t *testing.T, cmd payments.RefundCommand) (operations.Answer, error) {
	t.Helper()

	return payments.NewRefund(b.Change()).Do(t.Context(), cmd)
}

// refused requires that a refund is refused and that nothing has changed.
func (b refundBundle) refused(t *testing.T, kind fault.Kind, cmd payments.RefundCommand) fault.About {
	t.Helper()

	before, sent := b.Payment(cmd.PaymentID), len(b.RefundsAtStripe(b.payment))
	known := len(b.RefundsOf(before))

	_, err := b.refund(t, cmd)
	apptest.RequireFault(t, kind, err)

	require.Equal(t, before, b.Payment(cmd.PaymentID))
	require.Len(t, b.RefundsAtStripe(b.payment), sent)
	require.Len(t, b.RefundsOf(before), known)

	return fault.From(err).About
}

// requireSums requires what is pending, given back and left, in cents.
func (b refundBundle) requireSums(t *testing.T, pending, refunded, left int64) payment.Payment {
	t.Helper()

	p := b.Payment(b.payment.ID)
	require.Equal(t, []int64{pending, refunded, left},
		[]int64{p.RefundPending.Minor(), p.Refunded.Minor(), p.Refundable().Minor()}, "pending, refunded, left")
	require.Zero(t, p.Overdrawn.Minor())

	return p
}

func (b refundBundle) refresh(t *testing.T) payments.Reading {
	t.Helper()

	read, err := b.Refresh().Full(t.Context(), b.payment.ID, "test")
	require.NoError(t, err)

	return read
}

func TestRefund_Do(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	cmd := b.RefundCommand(b.payment, "refund_1", "4.00")
	cmd.Reason, cmd.Metadata = "duplicate", map[string]string{"ticket": "7", "empty": ""}

	answer, err := b.refund(t, cmd)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

	r := b.RefundOf(answer.RefundID)
	require.Equal(t, b.Renderer.RefundMade(r), answer.Response, "as it is read")
	require.Equal(t, refund.Succeeded, r.Status)
	require.Equal(t, refund.FromAPI, r.Origin)
	require.Equal(t, operation.Key("refund_1"), r.Key)
	require.Equal(t, "duplicate", r.Reason)
	require.Equal(t, map[string]string{"ticket": "7"}, r.Metadata)

	p := b.requireSums(t, 0, 4_00, 6_00)
	require.Greater(t, p.Version, b.payment.Version)
	require.Equal(t, []operation.Kind{operation.Refund}, p.Allowed())

	at := b.RefundsAtStripe(p)
	require.Len(t, at, 1)
	require.Equal(t, r.ProviderID, at[0].ID)
	require.Equal(t, p.ID.String(), at[0].Metadata[payment.MetadataPaymentID])
	require.Equal(t, "refund_1", at[0].Metadata[payment.MetadataKey])

	op := b.Operation(r.ID)
	require.Equal(t, "mf_refund_"+r.ID.String(), op.Call.Key)
	require.Equal(t, b.Mark(operation.Refund, r.ID, p.ID, op.Order).String(), at[0].Metadata[payment.MetadataMark])
	require.Equal(t, p.ID, op.Subject)

	// Again: the same bytes, and no other refund.
	for range 2 {
		again, err := b.refund(t, cmd)
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, answer.Response, again.Response)
		require.Equal(t, answer.RefundID, again.RefundID)
		b.ForgetReplays()
	}

	cmd.Amount = "4.01"
	b.refused(t, fault.KeyReused, cmd)

	// Two refunds of the same amount are two.
	b.Refund(b.payment, "refund_2", "4")
	b.requireSums(t, 0, 8_00, 2_00)

	// What was read says the same.
	b.refresh(t)
	b.requireSums(t, 0, 8_00, 2_00)

	b.Refund(b.payment, "refund_3", "2.00")
	require.Empty(t, b.requireSums(t, 0, 10_00, 0).Allowed())
}

func TestRefund_Do_Refuses(t *testing.T) {
	t.Parallel()

	t.Run("Amounts", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)

		for _, amount := range []string{"0", "-1", "1.001", "ten"} {
			b.refused(t, fault.Invalid, b.RefundCommand(b.payment, "refund_1", amount))
		}

		f := b.refused(t, fault.AmountExceeded, b.RefundCommand(b.payment, "refund_1", "10.01"))
		require.Equal(t, "10.00", f.Available)
		require.Equal(t, b.payment.ID, f.PaymentID)

		b.refused(t, fault.Invalid, b.RefundCommand(b.payment, "refund_1", ""))
	})

	t.Run("Expected", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)
		b.Refund(b.payment, "refund_1", "4.00")

		cmd := b.RefundCommand(b.payment, "refund_2", "")
		cmd.Expected = "10.00"
		require.Equal(t, "6.00", b.refused(t, fault.PreconditionFailed, cmd).Available)

		cmd.Expected = "6.00"
		answer, err := b.refund(t, cmd)
		require.NoError(t, err)
		require.Equal(t, int64(6_00), b.RefundOf(answer.RefundID).Amount.Minor(), "it is the amount")

		again, err := b.refund(t, cmd)
		require.NoError(t, err)
		require.Equal(t, answer.Response, again.Response, "although nothing is left")
	})

	t.Run("AnotherVersion", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)
		cmd := b.RefundCommand(b.payment, "refund_1", "4.00")
		cmd.IfMatch = []int64{b.payment.Version - 1}
		require.Equal(t, b.payment.Version, b.refused(t, fault.PreconditionFailed, cmd).Version)

		cmd.IfMatch = []int64{b.payment.Version}
		_, err := b.refund(t, cmd)
		require.NoError(t, err)
	})

	t.Run("States", func(t *testing.T) {
		t.Parallel()

		b := refundBundle{World: apptest.New(t)}
		b.payment = b.Held("order_1")
		f := b.refused(t, fault.InvalidState, b.RefundCommand(b.payment, "refund_1", "1.00"))
		require.Equal(t, []string{"capture", "cancel"}, f.Allowed)

		b.payment = b.Create("order_2")
		f = b.refused(t, fault.InvalidState, b.RefundCommand(b.payment, "refund_1", "1.00"))
		require.Equal(t, []string{"confirm", "cancel"}, f.Allowed)

		b.Dashboard(b.payment.IntentID, "cancel", nil)
		_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.canceled"))
		require.NoError(t, err)
		f = b.refused(t, fault.InvalidState, b.RefundCommand(b.payment, "refund_1", "1.00"))
		require.Empty(t, f.Allowed)
		require.NotNil(t, f.Allowed)

		apptest.RequireFault(t, fault.NotFound, func() error {
			_, err := b.refund(t, b.RefundCommand(payment.Payment{ID: uuid.New()}, "refund_1", "1.00"))

			return err
		}())
	})

	t.Run("Disputed", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)
		dispute := uuid.New()
		b.Exec("UPDATE payments SET blocking_dispute = $2, dispute_status = 'needs_response' WHERE id = $1", b.payment.ID, dispute)
		b.Provider = unreadable{b.Provider}

		f := b.refused(t, fault.Disputed, b.RefundCommand(b.payment, "refund_1", "1.00"))
		require.Equal(t, dispute, f.DisputeID)
	})
}

// unreadable answers no read.
type unreadable struct{ ports.Provider }

func (unreadable) Intent(context.Context, string) (ports.Intent, error) {
	return ports.Intent{}, errors.New("no answer")
}

// A payment of which we have not heard that it is paid is read first.
func TestRefund_Do_PaidUnheard(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}
	b.payment = b.Create("order_1")
	b.Confirm(b.payment.IntentID, apptest.GoodCard)

	b.Refund(b.payment, "refund_1", "10.00")
	b.requireSums(t, 0, 10_00, 0)
}

func TestRefund_Do_Currencies(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}

	for currency, c := range map[string]struct{ price, good, bad, over string }{
		"JPY": {"1000", "400", "0.5", "601"}, "KWD": {"10.000", "4.000", "1.001", "6.010"},
	} {
		p := b.PaidFor(operation.Key(currency), operation.Order{Amount: apptest.Price(t, c.price, currency)}, apptest.GoodCard)
		b.payment = p
		b.Refund(p, operation.Key("good "+currency), c.good)

		b.refused(t, fault.Invalid, b.RefundCommand(p, operation.Key("bad "+currency), c.bad))
		b.refused(t, fault.AmountExceeded, b.RefundCommand(p, operation.Key("over "+currency), c.over))
	}
}

// The rest of a partial capture was never charged, so it is no refund and cannot be refunded.
func TestRefund_Do_PartialCapture(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}
	b.payment = b.Held("order_1")

	_, err := payments.NewCapture(b.Change()).Do(t.Context(), payments.CaptureCommand{
		ChangeCommand: payments.ChangeCommand{
			Tenant: operation.DefaultTenant, PaymentID: b.payment.ID, Key: "capture_1",
		}, Amount: "6.00",
	})
	require.NoError(t, err)
	require.Len(t, b.RefundsAtStripe(b.payment), 1, "so Stripe shows what is let go")

	b.refresh(t)
	b.requireSums(t, 0, 0, 6_00)
	b.refused(t, fault.AmountExceeded, b.RefundCommand(b.payment, "refund_1", "6.01"))

	b.DashboardRefund(b.payment, 4_00) // as much as was let go
	b.refresh(t)
	b.requireSums(t, 0, 4_00, 2_00)
	b.Refund(b.payment, "refund_1", "2.00")
	b.refresh(t)
	b.requireSums(t, 0, 6_00, 0)
}

// Two processes, fifty refunds of a fifth at once: five are made.
func TestRefund_Do_FiftyAtOnce(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	uses := []*payments.Refund{payments.NewRefund(b.Change()), payments.NewRefund(b.Change())}

	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		made int
	)

	for i := range 50 {
		wait.Go(func() {
			key := operation.Key("refund_" + strconv.Itoa(i))
			answer, err := uses[i%2].Do(t.Context(), b.RefundCommand(b.payment, key, "2.00"))

			mu.Lock()
			defer mu.Unlock()

			switch {
			case err == nil && answer.Response.Status == http.StatusCreated:
				made++
			default:
				if fault.KindOf(err) != fault.AmountExceeded {
					t.Errorf("refund %d: %v", i, err)
				}
			}
		})
	}

	wait.Wait()
	require.Equal(t, 5, made)
	b.requireSums(t, 0, 10_00, 0)

	given := int64(0)
	for _, one := range b.RefundsAtStripe(b.payment) {
		given += one.Amount
	}

	require.Equal(t, int64(10_00), given)
	require.Len(t, b.RefundsOf(b.payment), 5)
}

// One key, at once: one refund.
func TestRefund_Do_OneKeyAtOnce(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	uses := []*payments.Refund{payments.NewRefund(b.Change()), payments.NewRefund(b.Change())}

	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			_, err := uses[i%2].Do(t.Context(), b.RefundCommand(b.payment, "refund_1", "2.00"))
			if err != nil && fault.KindOf(err) != fault.InFlight {
				t.Errorf("refund: %v", err)
			}
		})
	}

	wait.Wait()
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
	b.requireSums(t, 0, 2_00, 8_00)
}

func TestRefund_Unknown(t *testing.T) {
	t.Parallel()

	// It was done, and the answer was lost. A refund of the same amount is not taken for it.
	t.Run("Done", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)
		repair := b.Fault(sandbox.Fault{Path: apptest.RefundsPath, Action: sandbox.DropAfter})
		_, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
		apptest.RequireFault(t, fault.Unknown, err)
		b.requireSums(t, 4_00, 0, 6_00)
		b.Elapse(time.Minute)

		done, err := b.Recover().Do(t.Context()) // no answer comes to what is sent again
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)
		repair()

		b.requireSums(t, 0, 4_00, 6_00)
		require.Len(t, b.RefundsAtStripe(b.payment), 1)
	})

	// It was never done, and is too old to be sent: it stays reserved until a person decides.
	t.Run("NeverDone", func(t *testing.T) {
		t.Parallel()

		b := setupRefund(t)
		repair := b.Fault(sandbox.Fault{Path: apptest.RefundsPath, Action: sandbox.DropBefore})
		_, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
		apptest.RequireFault(t, fault.Unknown, err)
		repair()

		b.DashboardRefund(b.payment, 4_00) // of the same amount
		b.Elapse(24 * time.Hour)

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.GivenUp)
		b.requireSums(t, 4_00, 4_00, 2_00)

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, "refund_1")
		require.NoError(t, err)
		require.Equal(t, operation.NeedsAttention, op.State)

		by := operations.Decision{Actor: "anna", Reason: "Stripe does not have it"}
		_, err = operations.NewClose(b.Decisions, b.Payments, b.Provider, b.Renderer, b.Engine(), b.Observer).
			Do(t.Context(), op.ID, by)
		require.NoError(t, err)
		b.requireSums(t, 0, 4_00, 6_00)
		require.Len(t, b.RefundsOf(b.payment), 1)
		require.Len(t, b.Audit(op.ID.String()), 1)

		b.ForgetReplays()
		answer, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
		require.NoError(t, err)
		require.Equal(t, http.StatusBadGateway, answer.Response.Status)
	})
}

// After a loss an operation may be young although Stripe has forgotten its key: it was begun anew,
// and reconciliation has read its refund. It is finished, and never sent.
func TestRefund_Unknown_ReadAndForgotten(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	repair := b.Fault(sandbox.Fault{Path: apptest.RefundsPath, Action: sandbox.DropAfter})
	_, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	apptest.RequireFault(t, fault.Unknown, err)
	repair()

	b.Stripe.Advance(25 * time.Hour)
	require.True(t, b.refresh(t).Refunds[0].Made())
	b.Elapse(time.Minute)

	done, err := b.Recover().Do(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, done.Finished)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
	b.requireSums(t, 0, 4_00, 6_00)

	answer, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, answer.Response.Status)
}

// Stripe keeps its first answer under the key. The refund may have failed since.
func TestRefund_Unknown_FailedSince(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	repair := b.Fault(sandbox.Fault{Path: apptest.RefundsPath, Action: sandbox.DropAfter})
	_, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	apptest.RequireFault(t, fault.Unknown, err)
	repair()

	b.MoveRefund(b.RefundsAtStripe(b.payment)[0].ID, "failed")
	b.Elapse(time.Minute)

	done, err := b.Recover().Do(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, done.Finished)
	b.requireSums(t, 0, 0, 10_00)
	require.Equal(t, refund.Failed, b.RefundsOf(b.payment)[0].Status)
}

// The database has lost a refund, and Stripe has forgotten its key. Before the refund is home another amount
// is asked for under the key, and may not be sent. Once it is home, that request is repeated: it takes its own
// operation over, and nothing is given back under the key a second time.
func TestRefund_Lost_OtherAmountFirst(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	r := b.Refund(b.payment, "refund_1", "4.00")
	b.Exec("DELETE FROM refunds")
	b.Exec("DELETE FROM operations WHERE kind = 'refund'")
	b.Exec("UPDATE payments SET amount_refunded = 0")
	b.Stripe.Advance(25 * time.Hour)
	b.ForgetReplays()

	lost := *b.World
	lost.InLife(operation.Standing{Behind: 25 * time.Hour})

	other := b.RefundCommand(b.payment, "refund_1", "1.00")
	_, err := payments.NewRefund(lost.Change()).Do(t.Context(), other)
	apptest.RequireFault(t, fault.Unknown, err)

	b.refresh(t)
	require.Equal(t, r.ProviderID, b.RefundOf(r.ID).ProviderID)

	_, err = b.refund(t, other)
	apptest.RequireFault(t, fault.KeyReused, err)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
	b.requireSums(t, 0, 4_00, 6_00)

	answer, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)
	require.Equal(t, r.ID, answer.RefundID)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
}

// Somebody else was faster: Stripe's own cap says no, the answer is kept, and nothing stays
// reserved.
func TestRefund_Rejected(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	b.DashboardRefund(b.payment, 7_00)

	answer, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status, "%s", answer.Response.Body)

	var told struct{ Available json.Number }
	require.NoError(t, json.Unmarshal(answer.Response.Body, &told))
	require.Equal(t, "3.00", told.Available.String())

	b.requireSums(t, 0, 7_00, 3_00)
	require.Len(t, b.RefundsOf(b.payment), 1)
	require.Equal(t, refund.FromStripe, b.RefundsOf(b.payment)[0].Origin)

	again, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	require.NoError(t, err)
	require.Equal(t, answer.Response, again.Response)
}

// A rejection because of the deployment gives back what is reserved, and the same request
// reserves it again.
func TestRefund_DeploymentRejected(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	incomplete := apptest.AccountIncomplete()
	incomplete.Path = apptest.RefundsPath
	repair := b.Fault(incomplete)

	cmd := b.RefundCommand(b.payment, "refund_1", "4.00")
	_, err := b.refund(t, cmd)
	apptest.RequireFault(t, fault.Rejected, err)
	b.requireSums(t, 0, 0, 10_00)
	require.Empty(t, b.RefundsOf(b.payment))
	repair()

	// Meanwhile most of it went back otherwise.
	other := b.Refund(b.payment, "refund_2", "7.00")
	_, err = b.refund(t, cmd)
	apptest.RequireFault(t, fault.AmountExceeded, err)
	b.requireSums(t, 0, 7_00, 3_00)

	b.MoveRefund(other.ProviderID, "failed")
	b.refresh(t)

	answer, err := b.refund(t, cmd)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)
	b.requireSums(t, 0, 4_00, 6_00)
}

// A refund that has succeeded may fail weeks later. Then the amount may be refunded again.
func TestRefund_FailsLater(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	r := b.Refund(b.payment, "refund_1", "10.00")
	b.MoveRefund(r.ProviderID, "failed")
	b.refresh(t)
	b.requireSums(t, 0, 0, 10_00)

	failed := b.RefundOf(r.ID)
	require.Equal(t, refund.Failed, failed.Status)
	require.Equal(t, "unknown", failed.FailureReason)
	require.Greater(t, failed.Version, r.Version)

	b.Refund(b.payment, "refund_2", "10.00")
	b.requireSums(t, 0, 10_00, 0)
}

func TestCancelRefund_Do(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}
	b.payment = b.Paid("order_1", apptest.AskRefundCard)
	cancel := payments.NewCancelRefund(b.Change(), b.Refunds)

	r := b.Refund(b.payment, "refund_1", "4.00")
	require.Equal(t, refund.RequiresAction, r.Status)
	b.requireSums(t, 4_00, 0, 6_00)

	cmd := payments.CancelRefundCommand{Tenant: operation.DefaultTenant, RefundID: r.ID, Key: "cancel_1"}

	for range 2 {
		answer, err := cancel.Do(t.Context(), cmd)
		require.NoError(t, err)
		require.Equal(t, b.Renderer.Refund(b.RefundOf(r.ID)), answer.Response)
		require.Equal(t, refund.Cancelled, b.RefundOf(r.ID).Status)
		b.requireSums(t, 0, 0, 10_00)
	}

	_, err := cancel.Do(t.Context(), payments.CancelRefundCommand{Tenant: operation.DefaultTenant, RefundID: r.ID, Key: "cancel_2"})
	apptest.RequireFault(t, fault.InvalidState, err)
	require.Equal(t, []string{"refund"}, fault.From(err).Allowed)

	_, err = cancel.Do(t.Context(), payments.CancelRefundCommand{Tenant: operation.DefaultTenant, RefundID: uuid.New()})
	apptest.RequireFault(t, fault.NotFound, err)
}

// A cancellation that Stripe rejects because of the deployment is not refused for ever.
func TestCancelRefund_DeploymentRejected(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}
	b.payment = b.Paid("order_1", apptest.AskRefundCard)
	r := b.Refund(b.payment, "refund_1", "4.00")

	incomplete := apptest.AccountIncomplete()
	incomplete.Path = apptest.CancelRefundPath
	repair := b.Fault(incomplete)

	cancel := payments.NewCancelRefund(b.Change(), b.Refunds)
	cmd := payments.CancelRefundCommand{Tenant: operation.DefaultTenant, RefundID: r.ID, Key: "cancel_1"}

	_, err := cancel.Do(t.Context(), cmd)
	apptest.RequireFault(t, fault.Rejected, err)
	b.requireSums(t, 4_00, 0, 6_00)
	repair()

	answer, err := cancel.Do(t.Context(), cmd)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)
	b.requireSums(t, 0, 0, 10_00)
}

// The database has lost a refund and its operation: they come home together, and a retry of the
// key gets an answer about the same refund.
func TestRefund_Lost(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	r := b.Refund(b.payment, "refund_1", "4.00")
	lost := b.Operation(r.ID)
	b.Exec("DELETE FROM refunds")
	b.Exec("DELETE FROM operations WHERE kind = 'refund'")
	b.Exec("UPDATE payments SET amount_refunded = 0")
	b.ForgetReplays()

	b.refresh(t)
	b.requireSums(t, 0, 4_00, 6_00)

	op := b.Operation(r.ID)
	require.Equal(t, operation.Finished, op.State)
	require.Equal(t, lost.Fingerprint, op.Fingerprint)
	require.Equal(t, lost.Key, op.Key)
	require.Equal(t, lost.Call, op.Call)
	require.Equal(t, b.Renderer.RefundMade(b.RefundOf(r.ID)), op.Response)

	answer, err := b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.00"))
	require.NoError(t, err)
	require.True(t, answer.Replayed)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)

	_, err = b.refund(t, b.RefundCommand(b.payment, "refund_1", "4.01"))
	apptest.RequireFault(t, fault.KeyReused, err)

	// The same id after another loss, also of one from elsewhere.
	b.DashboardRefund(b.payment, 1_00)
	b.refresh(t)
	before := fmt.Sprint(refundIDs(b.RefundsOf(b.payment)))
	b.Exec("DELETE FROM refunds WHERE origin = 'stripe'")
	b.Exec("UPDATE payments SET amount_refunded = 4")
	b.refresh(t)
	require.Equal(t, before, fmt.Sprint(refundIDs(b.RefundsOf(b.payment))))
}

func refundIDs(refunds []refund.Refund) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(refunds))
	for _, r := range refunds {
		ids = append(ids, r.ID)
	}

	return ids
}

// A refund was rejected because of the deployment, sent again and made, and the database has lost
// that. Once the refund is home, a retry is answered with it: nothing is reserved, nothing is sent.
func TestRefund_DeploymentRejected_MadeAndLost(t *testing.T) {
	t.Parallel()

	b := setupRefund(t)
	incomplete := apptest.AccountIncomplete()
	incomplete.Path = apptest.RefundsPath
	repair := b.Fault(incomplete)

	cmd := b.RefundCommand(b.payment, "refund_1", "4.00")
	_, err := b.refund(t, cmd)
	apptest.RequireFault(t, fault.Rejected, err)
	repair()
	b.Exec("CREATE TABLE backup AS TABLE operations")

	r := b.Refund(b.payment, "refund_1", "4.00")
	b.Exec("DELETE FROM refunds")
	b.Exec("DELETE FROM operations")
	b.Exec("INSERT INTO operations TABLE backup")
	b.Exec("UPDATE payments SET amount_refunded = 0")
	b.ForgetReplays()

	b.refresh(t)
	require.Equal(t, operation.Rejected, b.Operation(r.ID).State)
	b.requireSums(t, 0, 4_00, 6_00)

	b.Fault(sandbox.Fault{Method: http.MethodPost, Path: apptest.RefundsPath, Action: sandbox.DropBefore})

	answer, err := b.refund(t, cmd)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, answer.Response.Status)
	require.Equal(t, b.Renderer.RefundMade(b.RefundOf(r.ID)), answer.Response)
	require.Equal(t, operation.Finished, b.Operation(r.ID).State)
	require.Len(t, b.RefundsAtStripe(b.payment), 1)
	b.requireSums(t, 0, 4_00, 6_00)
}
