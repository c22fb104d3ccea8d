package sandbox_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// booked is what the books say of an object that the checks below need.
type booked struct {
	ID             string `json:"id"`
	Status         string `json:"status"`
	Amount         int64  `json:"amount"`
	AmountReceived int64  `json:"amount_received"`
	AmountCaptured int64  `json:"amount_captured"`
	AmountRefunded int64  `json:"amount_refunded"`
	Captured       bool   `json:"captured"`
	Refunded       bool   `json:"refunded"`
	Charge         string `json:"charge"`
}

// Clients do everything at once to a handful of payments, while webhooks are
// refused, endpoints come and go, the clock moves and faults fire. Whatever the
// order, the books add up.
func TestConsistency_EverythingAtOnce(t *testing.T) {
	t.Parallel()

	const (
		clients  = 8
		calls    = 120
		payments = 6
	)

	rec := newRecorder(t, func(n int) int { return []int{200, 500, 200}[n%3] })
	options := quick(rec.URL)
	options.SettleDelay = time.Millisecond
	server := sandbox.Start(t, sandbox.WithOptions(options))
	base := server.URL + "/v1/payment_intents"
	cards := []string{
		"pm_card_visa", "pm_card_chargeDeclined", "pm_card_refundFail", "pm_card_pendingRefund", "pm_card_createDispute",
		"pm_card_authenticationRequired", "pm_card_refundRequiresAction",
	}

	for _, action := range []sandbox.Action{
		sandbox.Saved500, sandbox.DropAfter, sandbox.WebhookDuplicate, sandbox.WebhookReorder, sandbox.WebhookTwin,
	} {
		addFault(t, server, sandbox.Fault{Action: action, Nth: 5, Count: 40})
	}

	ids := make([]string, payments)

	for n := range ids {
		form := intentForm()
		if n%2 == 0 {
			form.Set("capture_method", "manual")
		}

		object := callAPI(t, server.URL, "POST", "/v1/payment_intents", form.Encode())
		ids[n], _ = object["id"].(string)
	}

	var done sync.WaitGroup

	for client := range clients {
		done.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 7))

			for range calls {
				id := ids[random.IntN(payments)]
				target, form := base+"/"+id, url.Values{}

				switch random.IntN(8) {
				case 0, 1:
					target += "/confirm"

					form.Set("payment_method", cards[random.IntN(len(cards))])
				case 2:
					target += "/capture"

					form.Set("amount_to_capture", strconv.Itoa(1+random.IntN(2000)))
				case 3, 4:
					target = server.URL + "/v1/refunds"

					form.Set("payment_intent", id)
					form.Set("amount", strconv.Itoa(1+random.IntN(300)))
				case 5:
					form.Set("metadata[n]", strconv.Itoa(random.IntN(100)))
				case 6:
					_ = server.Authenticate(id, random.IntN(4) > 0) // mostly nothing waits for it
					server.Advance(time.Second)
					server.AddWebhook(rec.URL+"/"+strconv.Itoa(random.IntN(3)), testSecret)
				default:
					if random.IntN(30) == 0 {
						target += "/cancel"
					}
				}

				_, _, _ = post(t.Context(), target, "", form) // dropped ones have no answer
			}
		})
	}

	done.Wait()
	requireConsistent(t, server)
}

// requireConsistent checks that the books add up, once nothing is on its way.
func requireConsistent(t *testing.T, server *sandbox.Server) {
	t.Helper()

	require.Eventually(t, func() bool { return len(inconsistencies(t, server)) == 0 }, patience, glance)
	require.Empty(t, inconsistencies(t, server))
}

func inconsistencies(t *testing.T, server *sandbox.Server) []string {
	t.Helper()

	var (
		wrong    []string
		refunded = map[string]int64{}
		captured = map[string]int64{}
		entries  []sandbox.BookEntry
	)

	for entry := range server.Books(sandbox.BooksFilter{}) {
		entries = append(entries, entry)
	}

	objects := make([]booked, len(entries))

	for n, entry := range entries {
		if entry.Kind == sandbox.KindDelivery {
			continue
		}

		require.NoError(t, json.Unmarshal(entry.Object, &objects[n]))

		switch object := objects[n]; entry.Kind {
		case sandbox.KindRefund:
			if object.Status != "failed" && object.Status != "canceled" {
				refunded[object.Charge] += object.Amount
			}
		case sandbox.KindCharge:
			captured[entry.Intent] += object.AmountCaptured
		}
	}

	for n, entry := range entries {
		object := objects[n]

		switch entry.Kind {
		case sandbox.KindIntent:
			if entry.SucceededCharges > 1 || object.AmountReceived != captured[object.ID] ||
				(object.Status == "succeeded") != (object.AmountReceived > 0) {
				wrong = append(wrong, object.ID)
			}
		case sandbox.KindCharge:
			if object.AmountRefunded != refunded[object.ID] || object.AmountRefunded > object.Amount ||
				object.Refunded != (object.AmountRefunded == object.Amount && object.Amount > 0 && refunded[object.ID] > 0) {
				wrong = append(wrong, object.ID)
			}
		}
	}

	return wrong
}
