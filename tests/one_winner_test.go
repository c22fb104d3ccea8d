package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// change confirms, captures or cancels a payment, and asks again while another operation on it is
// under way.
func (w *world) change(id, action, key string) answer {
	w.t.Helper()

	body := `{"idempotency_key":"` + key + `"}`
	if action == "confirm" {
		body = `{"payment_method":"pm_card_visa",` + returning + `,"idempotency_key":"` + key + `"}`
	}

	for {
		changed := w.on(id, action, body)
		if !strings.Contains(string(changed.body), "#operation-in-progress") {
			return changed
		}
	}
}

// atStripe is an intent in Stripe's own records.
func (w *world) atStripe(id string) (intent struct {
	Status   string
	Received int64 `json:"amount_received"`
	Metadata map[string]string
},
) {
	w.t.Helper()

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		if entry.ID == id {
			require.NoError(w.t, json.Unmarshal(entry.Object, &intent))
		}
	}

	return intent
}

// A capture at one process, a cancel at another and the customer's confirmation come at
// once. Either the money is captured, once, or the payment is cancelled, and everybody is
// told so, for ever.
func TestChange_CancelCaptureAndConfirmAtOnceHaveOneWinner(t *testing.T) {
	t.Parallel()

	const rounds = 12

	w := newWorld(t)
	w.deliverWebhooks()

	second := w.second()
	winners := map[string]int{}

	for round := range rounds {
		key := fmt.Sprintf("order_%d", round)
		id, intent := w.unpaid()

		if round%2 == 0 {
			w.confirm(intent, "pm_card_visa") // the customer was first, and confirms once more
		}

		var (
			captured, cancelled answer
			all                 sync.WaitGroup
		)

		start := make(chan struct{})

		for _, act := range []func(){
			func() { captured = w.change(id, "capture", key+" capture") },
			func() { cancelled = second.change(id, "cancel", key+" cancel") },
			func() { w.confirm(intent, "pm_card_visa") },
		} {
			all.Go(func() {
				<-start
				act()
			})
		}

		close(start)
		all.Wait()

		winner, stripe := "capture", w.atStripe(intent)

		if cancelled.status == http.StatusOK {
			winner = "cancel"

			captured.problem(http.StatusConflict, "invalid-state")
			require.Equal(t, "canceled", stripe.Status)
			require.Zero(t, stripe.Received)
		} else {
			cancelled.problem(http.StatusConflict, "invalid-state")
			require.Equal(t, http.StatusOK, captured.status, "%s", captured.body)
			require.Equal(t, "succeeded", captured.text("status"))
			require.Equal(t, "succeeded", stripe.Status)
			require.EqualValues(t, 1000, stripe.Received)
			require.NotEmpty(t, stripe.Metadata["marketflow_capture"])
		}

		winners[winner]++
		want := map[string]string{"capture": "succeeded", "cancel": "cancelled"}[winner]

		w.eventually(func() bool { return w.status(id) == want }, "the payment ends as at Stripe")
		require.Equal(t, stripe.Status, w.get("/payments/"+id).text("intent_status"))

		// At the other process the winner's key gives the same.
		first, again := captured, second.change(id, "capture", key+" capture")
		if winner == "cancel" {
			first, again = cancelled, w.change(id, "cancel", key+" cancel")
		}

		require.Equal(t, http.StatusOK, again.status)
		require.JSONEq(t, string(first.body), string(again.body))
	}

	t.Log(winners)
	require.Zero(t, w.count("SELECT count(*) FROM operations WHERE state <> 'finished'"))
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked'"))
	require.Equal(t, rounds, w.count("SELECT count(*) FROM payment_transitions WHERE to_status IN ('succeeded', 'cancelled')"))
}

// Two backends make an attempt to pay, a third cancels, and the customer's browser pays. Either
// the payment is paid, once, or it is cancelled, and everybody is told so, for ever.
func TestChange_ConfirmsAndCancelAtOnceHaveOneWinner(t *testing.T) {
	t.Parallel()

	const rounds = 8

	w := newWorld(t)
	w.deliverWebhooks()

	second := w.second()
	winners := map[string]int{}

	for round := range rounds {
		key := fmt.Sprintf("order_%d", round)
		made := w.create(`{"amount":10.00,"currency":"USD"}`)
		id, intent := made.text("id"), made.text("stripe_payment_intent_id")

		var (
			one, other, cancelled answer
			all                   sync.WaitGroup
		)

		start := make(chan struct{})

		for _, act := range []func(){
			func() { one = w.change(id, "confirm", key+" one") },
			func() { other = second.change(id, "confirm", key+" other") },
			func() { cancelled = second.change(id, "cancel", key+" cancel") },
			func() {
				if round%2 == 0 {
					w.confirm(intent, "pm_card_visa")
				}
			},
		} {
			all.Go(func() {
				<-start
				act()
			})
		}

		close(start)
		all.Wait()

		stripe, won := w.atStripe(intent), 0

		for _, confirmed := range []answer{one, other} {
			if confirmed.status == http.StatusOK {
				require.Equal(t, "succeeded", confirmed.text("status"))

				won++

				continue
			}

			confirmed.problem(http.StatusConflict, "invalid-state")
		}

		winner := "browser"

		switch cancelled.status {
		case http.StatusOK:
			winner = "cancel"

			require.Zero(t, won)
			require.Equal(t, "canceled", stripe.Status)
		default:
			cancelled.problem(http.StatusConflict, "invalid-state")
			require.LessOrEqual(t, won, 1)
			require.EqualValues(t, 1000, stripe.Received)

			if won == 1 {
				winner = "confirm"
			}
		}

		winners[winner]++

		w.eventually(func() bool { return w.get("/payments/"+id).text("intent_status") == stripe.Status },
			"the payment ends as at Stripe")

		for ours, again := range map[*answer]answer{
			&one: second.change(id, "confirm", key+" one"), &other: w.change(id, "confirm", key+" other"),
		} {
			require.Equal(t, ours.status, again.status)

			if ours.status == http.StatusOK {
				require.Equal(t, string(ours.body), string(again.body))
			}
		}
	}

	t.Log(winners)
	require.Zero(t, w.count("SELECT count(*) FROM operations WHERE state <> 'finished'"))
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked'"))
}
