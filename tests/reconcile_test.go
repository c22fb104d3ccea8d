package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

// reconcile runs what `marketflow reconcile` runs.
func (w *world) reconcile(dryRun bool) reconcile.Report {
	w.t.Helper()

	return w.reconcileSince(time.Hour, dryRun)
}

func (w *world) reconcileSince(back time.Duration, dryRun bool) reconcile.Report {
	w.t.Helper()

	report, err := w.reconcileAs(func(ctx context.Context, r *reconcile.Reconcile) (reconcile.Report, error) {
		return r.Do(ctx, reconcile.Options{Back: back, DryRun: dryRun})
	})
	require.NoError(w.t, err)

	return report
}

// reconcileAs runs one as a process of its own would.
func (w *world) reconcileAs(
	do func(context.Context, *reconcile.Reconcile) (reconcile.Report, error),
) (report reconcile.Report, err error) {
	w.t.Helper()

	err = w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		var err error

		report, err = do(ctx, tools.Reconcile)

		return err
	})

	return report, err
}

// reconcileScheduled runs what a service runs every RECONCILE_INTERVAL.
func (w *world) reconcileScheduled() (reconcile.Report, error) {
	w.t.Helper()

	return w.reconcileAs(func(ctx context.Context, r *reconcile.Reconcile) (reconcile.Report, error) { return r.Scheduled(ctx) })
}

// age sets Stripe's clock back by half an hour. Reconciliation leaves alone what is
// younger than a minute, so it looks at what the sandbox makes from now on.
func (w *world) age() { w.stripe.Advance(-30 * time.Minute) }

// Webhooks that were never delivered are found as events.
func TestReconcile_FindsMissedEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.age()

	paid := w.create(`{"amount":10,"currency":"USD"}`)
	failed := w.create(`{"amount":20,"currency":"USD"}`)
	w.confirm(paid.text("stripe_payment_intent_id"), "pm_card_visa")
	w.confirm(failed.text("stripe_payment_intent_id"), "pm_card_chargeDeclined")

	found := w.reconcile(true)
	require.NotZero(t, found.Found[ports.DiscrepancyMissedEvent])
	require.Equal(t, 2, found.Found[ports.DiscrepancyStatus])
	require.NotZero(t, found.Left())
	require.Equal(t, "pending", w.status(paid.text("id")), "a dry run repairs nothing")
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events"))

	repaired := w.reconcile(false)
	require.NotZero(t, repaired.Repaired[ports.DiscrepancyMissedEvent])
	require.Zero(t, repaired.Left())
	require.Equal(t, "succeeded", w.status(paid.text("id")))
	require.Equal(t, "failed", w.status(failed.text("id")))

	require.Empty(t, w.reconcile(false).Found, "a second run finds nothing")
	require.Equal(t, 4, w.count("SELECT count(*) FROM payment_transitions"))
}

// Rows that are gone, as after restoring an older backup, come back.
func TestReconcile_WritesMissingPaymentsAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.age()

	withOperation := w.create(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)
	without := w.create(`{"amount":200,"currency":"JPY","idempotency_key":"b"}`)
	w.confirm(without.text("stripe_payment_intent_id"), "pm_card_visa")

	for _, statement := range []string{
		"DELETE FROM payments",
		"DELETE FROM payment_transitions",
		"DELETE FROM operations WHERE idempotency_key = 'b'",
		`UPDATE operations SET state = 'pending', response_status = NULL, response_body = NULL,
			retry_at = now() + interval '1 day', leased_until = now() + interval '1 day'`,
	} {
		w.exec(statement)
	}

	report := w.reconcile(false)
	require.Zero(t, report.Left(), "%+v", report)
	require.Equal(t, "pending", w.status(withOperation.text("id")))
	require.Equal(t, "succeeded", w.status(without.text("id")))
	require.Equal(t, json.Number("200"), w.get("/payments/"+without.text("id")).field("amount"))
	require.Equal(t, 2, w.count("SELECT count(*) FROM operations WHERE state = 'finished'"))
}

// Reconciliation brings an intent home in one commit. So when it is interrupted, there is
// nothing that recovery would send under a key that Stripe has forgotten.
func TestReconcile_InterruptedMakesNoSecondIntent(t *testing.T) {
	t.Parallel()

	const before = 25 * time.Hour

	w := newWorld(t)
	w.stripe.Advance(-before)
	created := w.create(order)
	w.stripe.Advance(before)

	for _, statement := range []string{
		"DELETE FROM payments",
		"DELETE FROM operations",
		"ALTER TABLE payments ADD CONSTRAINT interrupted CHECK (false) NOT VALID",
	} {
		w.exec(statement)
	}

	require.Equal(t, 1, w.reconcileSince(2*before, false).Left())
	require.Zero(t, w.count("SELECT count(*) FROM operations"))

	w.exec("ALTER TABLE payments DROP CONSTRAINT interrupted")

	require.Zero(t, w.reconcileSince(2*before, false).Left())
	require.Equal(t, 1, w.count("SELECT count(*) FROM operations WHERE state = 'finished'"))
	require.Equal(t, 1, w.intents())
	require.Equal(t, created.text("stripe_payment_intent_id"),
		w.get("/payments/"+created.text("id")).text("stripe_payment_intent_id"))
}

// An event that cannot be parsed is left for a person, and those behind it are found.
func TestReconcile_ReadsOnAfterAnUnreadableEvent(t *testing.T) {
	t.Parallel()

	w := newWorld(t, through(t, func(sandbox *httputil.ReverseProxy) http.Handler {
		sandbox.ModifyResponse = func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err == nil && strings.HasSuffix(r.Request.URL.Path, "/v1/events") {
				body = bytes.Replace(body, []byte(`"data": [`),
					[]byte(`"data": [{"id":"evt_unreadable","type":"payment_intent.succeeded","data":{"object":{"id":7}}},`), 1)
				require.Contains(t, string(body), "evt_unreadable")
			}

			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Del("Content-Length")

			return err
		}

		return sandbox
	}))
	w.age()

	paid := w.create(order)
	w.confirm(paid.text("stripe_payment_intent_id"), "pm_card_visa")

	report := w.reconcile(false)
	require.Equal(t, 1, report.Left(), "%+v", report)
	require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissedEvent], "succeeded; an endpoint need not tell of a step on the way")
	require.Equal(t, "succeeded", w.status(paid.text("id")))
}

// Processes that are restarted more often than every RECONCILE_INTERVAL still reconcile.
func TestReconcile_RunsAtStartWhenItIsOverdue(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.age()

	paid := w.create(order)
	w.confirm(paid.text("stripe_payment_intent_id"), "pm_card_visa")

	w.exec("INSERT INTO reconciliation VALUES (TRUE, now() - interval '2 hours')")
	w.config.ReconcileInterval = 5 * time.Minute
	w.start(w.config)
	w.eventually(func() bool { return w.status(paid.text("id")) == "succeeded" }, "the event is found")
}

// A row that contradicts Stripe is left for a person.
func TestReconcile_LeavesContradictionsToAPerson(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.age()

	created := w.create(`{"amount":10,"currency":"USD"}`)
	w.exec("UPDATE payments SET amount = 11")

	report := w.reconcile(false)
	require.Equal(t, map[ports.DiscrepancyKind]int{ports.DiscrepancyContradiction: 1}, report.Found)
	require.Equal(t, 1, report.Left())
	require.Equal(t, "pending", w.status(created.text("id")))
}

// Open payments that are older than the look-back are read from Stripe one by one.
func TestReconcile_ReadsOldOpenPayments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":10,"currency":"USD"}`)
	w.confirm(created.text("stripe_payment_intent_id"), "pm_card_visa")
	w.exec("UPDATE payments SET created_at = now() - interval '3 days'")

	report := w.reconcile(false)
	require.Equal(t, 1, report.Payments)
	require.Equal(t, map[ports.DiscrepancyKind]int{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, "succeeded", w.status(created.text("id")))
}

// An event that is only parked for a person does not count as repaired, and every
// later run says that it still waits.
func TestReconcile_ParkedIsNotRepaired(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.age()

	created := w.create(order)
	w.confirm(created.text("stripe_payment_intent_id"), "pm_card_visa")
	w.exec("UPDATE payments SET amount = amount + 1")

	report := w.reconcile(false)
	require.Equal(t, 1, report.Found[ports.DiscrepancyMissedEvent], "succeeded")
	require.Zero(t, report.Repaired[ports.DiscrepancyMissedEvent])
	require.EqualValues(t, 2, report.Parked)
	require.False(t, report.Clean())

	w.exec("UPDATE payments SET status = 'cancelled'") // what is open is read again, however old it is

	report = w.reconcileSince(5*time.Minute, false) // when nothing happened
	require.Zero(t, report.Left(), "%+v", report)
	require.EqualValues(t, 2, report.Parked)
	require.False(t, report.Clean(), "it still waits")
}
