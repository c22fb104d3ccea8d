package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	poorCard   = "pm_card_visa_chargeDeclinedInsufficientFunds"
	secureCard = "pm_card_authenticationRequired"
	returning  = `"return_url":"https://shop.example/"`
)

// pay makes an attempt to pay a payment with a card.
func (w *world) pay(id, key, card string) answer {
	w.t.Helper()

	return w.on(id, "confirm", `{"payment_method":"`+card+`",`+returning+`}`, "Idempotency-Key", key)
}

// requireSameAnswer requires that both processes repeat an answer to the byte.
func requireSameAnswer(t *testing.T, first answer, repeat ...func() answer) {
	t.Helper()

	for _, again := range repeat {
		a := again()
		require.Equal(t, first.status, a.status)
		require.Equal(t, string(first.body), string(a.body))
		require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
		require.Equal(t, first.header.Get("Content-Type"), a.header.Get("Content-Type"))
	}
}

// A card is declined, the customer authenticates another one and does not come back, a third
// one works. Stripe's events arrive meanwhile, and each key keeps its answer.
func TestConfirm_ADeclineAndFurtherCards(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	second := w.second()

	made := w.create(`{"amount":10.00,"currency":"USD","idempotency_key":"order","description":"a bicycle",` +
		`"payment_method":"` + poorCard + `","confirm":true,` + returning + `}`)
	made.problem(http.StatusPaymentRequired, "payment-declined")
	require.Equal(t, "insufficient_funds", made.text("decline_code"))
	require.Equal(t, true, made.field("retryable"))
	require.Empty(t, made.header.Get("Location"))

	id := made.text("payment_id")
	failed := w.get("/payments/" + id)
	require.Equal(t, "failed", failed.text("status"))
	require.Equal(t, "a bicycle", failed.text("description"))
	require.Contains(t, string(failed.body), `"decline":{"code":"card_declined","decline_code":"insufficient_funds","message":`)
	require.Contains(t, string(failed.body), `"payment_method":{"type":"card","card":{"brand":"visa","last4":"9995",`)
	require.NotContains(t, string(failed.body), "client_secret")

	asked := w.pay(id, "card 2", secureCard)
	require.Equal(t, http.StatusOK, asked.status, "%s", asked.body)
	require.Equal(t, "requires_action", asked.text("intent_status"))
	require.Contains(t, string(asked.body), `"type":"redirect_to_url"`)
	require.Contains(t, asked.text("client_secret"), "_secret_")
	require.Equal(t, "pending", w.status(id))

	paid := second.pay(id, "card 3", "pm_card_visa")
	require.Equal(t, http.StatusOK, paid.status, "%s", paid.body)
	require.Equal(t, "succeeded", paid.text("status"))
	require.Nil(t, paid.field("next_action"))
	require.Contains(t, string(paid.body), `"last4":"4242"`)

	w.pay(id, "card 4", "pm_card_visa").problem(http.StatusConflict, "invalid-state")
	w.pay(id, "card 3", poorCard).problem(http.StatusUnprocessableEntity, "idempotency-key-reused")

	requireSameAnswer(t, made, func() answer {
		return second.create(`{"amount":10,"currency":"usd","confirm":true,"payment_method":"`+poorCard+
			`","description":"a bicycle",`+returning+`}`, "Idempotency-Key", "order")
	})
	requireSameAnswer(t, asked, func() answer { return w.pay(id, "card 2", secureCard) },
		func() answer { return second.pay(id, "card 2", secureCard) })
	requireSameAnswer(t, paid, func() answer { return w.pay(id, "card 3", "pm_card_visa") })

	intent := failed.text("stripe_payment_intent_id")

	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE object_id = $1 AND outcome <> 'hint'", intent) >= 4
	}, "Stripe's events are handled")
	require.Equal(t, "succeeded", w.status(id))
	require.Equal(t, 1, w.intents())
	require.EqualValues(t, 1000, w.atStripe(intent).Received)
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked'"))
}

// The process stops between Stripe's execution and its own commit. Another one finishes it.
func TestConfirm_TheAnswerIsLost(t *testing.T) {
	t.Parallel()

	for name, card := range map[string]string{"paid": "pm_card_visa", "declined": poorCard} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			made := w.create(`{"amount":10.00,"currency":"USD"}`)
			id := made.text("id")

			added, err := w.stripe.AddFault(sandbox.Fault{
				Action: sandbox.DropAfter, Method: http.MethodPost, Path: "/v1/payment_intents/*/confirm", Count: -1,
			})
			require.NoError(t, err)
			w.pay(id, "card", card).problem(http.StatusServiceUnavailable, "outcome-unknown")
			w.on(id, "cancel", "").problem(http.StatusConflict, "operation-in-progress")
			require.NoError(t, w.stripe.RemoveFault(added.ID))

			var told answer

			w.eventually(func() bool {
				told = w.pay(id, "card", card)

				return told.header.Get("Idempotent-Replayed") != ""
			}, "recovery finishes it")

			if name == "paid" {
				require.Equal(t, http.StatusOK, told.status, "%s", told.body)
				require.Equal(t, "succeeded", told.text("status"))
			} else {
				require.Equal(t, http.StatusPaymentRequired, told.status, "%s", told.body)
				require.Equal(t, "insufficient_funds", told.text("decline_code"))
				require.Equal(t, "failed", w.status(id))
			}
		})
	}
}

// What a customer has given is nowhere but in the call that Stripe gets.
func TestConfirm_AReceiptsAddressIsNotKept(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	made := w.create(`{"amount":10.00,"currency":"USD","receipt_email":"ann@example.com","description":"a bicycle"}`)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	require.NotContains(t, string(w.get("/payments/"+made.text("id")).body), "ann@")
	require.Zero(t, w.count("SELECT count(*) FROM payments p WHERE p::text LIKE '%ann@%'"))

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		var intent struct {
			Email string `json:"receipt_email"`
		}

		require.NoError(t, json.Unmarshal(entry.Object, &intent))
		require.Equal(t, "ann@example.com", intent.Email)
	}
}

func TestUpdate_OnlyWhatWasSeen(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	made := w.create(`{"amount":10.00,"currency":"USD","metadata":{"order":"7","draft":"yes"}}`)
	path := "/payments/" + made.text("id")
	tag := w.get(path).header.Get("ETag")

	patch := func(body string, header ...string) answer {
		return w.do(w.request(http.MethodPatch, path, body, append(header, "Content-Type", "application/json")...))
	}

	changed := patch(`{"metadata":{"draft":null,"parcel":"12"},"description":"a bicycle"}`,
		"If-Match", tag, "Idempotency-Key", "change")
	require.Equal(t, http.StatusOK, changed.status, "%s", changed.body)
	require.Contains(t, string(changed.body), `"metadata":{"order":"7","parcel":"12"}`)
	require.Equal(t, string(w.get(path).body), string(changed.body))
	require.Equal(t, w.get(path).header.Get("ETag"), changed.header.Get("ETag"))

	late := patch(`{"description":"two"}`, "If-Match", tag)
	late.problem(http.StatusPreconditionFailed, "precondition-failed")
	require.Equal(t, fmt.Sprintf(`"%v"`, late.field("version")), w.get(path).header.Get("ETag"))

	requireSameAnswer(t, changed, func() answer {
		return patch(`{"description":"a bicycle","metadata":{"parcel":"12","draft":null}}`,
			"If-Match", tag, "Idempotency-Key", "change")
	})

	require.Equal(t, http.StatusOK, patch(`{"description":null}`, "If-Match", "*").status)
	require.Nil(t, w.get(path).field("description"))

	books := w.atStripe(made.text("stripe_payment_intent_id"))
	require.Equal(t, "12", books.Metadata["parcel"])
	require.NotContains(t, books.Metadata, "draft")
	require.NotEmpty(t, books.Metadata["payment_id"])

	require.Equal(t, http.StatusOK, w.on(made.text("id"), "cancel", "").status)
	patch(`{"description":"three"}`).problem(http.StatusConflict, "invalid-state")
	require.True(t, strings.HasPrefix(tag, `"`))
}
