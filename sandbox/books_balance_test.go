package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// row is what the checks below need of any object.
type row struct {
	ID             string           `json:"id"`
	Status         string           `json:"status"`
	Amount         int64            `json:"amount"`
	AmountCaptured int64            `json:"amount_captured"`
	AmountRefunded int64            `json:"amount_refunded"`
	Net            int64            `json:"net"`
	Fee            int64            `json:"fee"`
	Source         string           `json:"source"`
	Transaction    string           `json:"balance_transaction"`
	Failure        string           `json:"failure_balance_transaction"`
	Refundable     bool             `json:"is_charge_refundable"`
	Rows           []map[string]any `json:"balance_transactions"`
	Charge         string           `json:"charge"`
}

// everybody does things to payments: the shop by the API, a person in its Dashboard,
// the customers and their banks.
type everybody struct {
	t      *testing.T
	url    string
	random *rand.Rand
}

// post is tried without a care for its answer: most acts do not fit the state.
func (e everybody) post(path, body string) {
	request, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, e.url+path, strings.NewReader(body))
	if err != nil {
		return
	}

	request.Header.Set("Authorization", "Bearer "+testKey)

	if !strings.HasPrefix(body, "{") {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}

	if response, err := http.DefaultClient.Do(request); err == nil { // a killed sandbox answers nothing
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

func (e everybody) pick(among ...string) string { return among[e.random.IntN(len(among))] }

// one is the id of a random object of a kind, or none.
func (e everybody) one(resource string) string {
	found := rows(e.t, e.url, resource, "?limit=100")
	if len(found) == 0 {
		return "none"
	}

	return found[e.random.IntN(len(found))].ID
}

func (e everybody) act() {
	amount := strconv.Itoa(1 + e.random.IntN(2000))

	switch e.random.IntN(11) {
	case 0, 1:
		e.post("/v1/payment_intents", url.Values{
			"amount": {"2000"}, "currency": {"usd"}, "payment_method_types[]": {"card"}, "confirm": {"true"},
			"capture_method": {e.pick("automatic", "automatic", "automatic_async", "manual")},
			"payment_method": {e.pick("pm_card_visa", "pm_card_visa", "pm_card_bypassPending", "pm_card_refundFail",
				"pm_card_pendingRefund", "pm_card_refundRequiresAction", "pm_card_createDispute",
				"pm_card_createDisputeInquiry", "pm_card_createMultipleDisputes", "pm_card_createIssuerFraudRecord")},
		}.Encode())
	case 2:
		e.post("/v1/payment_intents/"+e.one("payment_intents")+"/capture", "amount_to_capture="+amount)
	case 3, 4:
		e.post("/_sandbox/dashboard/v1/refunds", `{"charge":"`+e.one("charges")+`","amount":`+amount+`}`)
		e.post("/v1/refunds", "amount="+amount+"&charge="+e.one("charges"))
	case 5:
		e.post("/_sandbox/refunds/"+e.one("refunds"),
			`{"status":"`+e.pick("failed", "succeeded", "pending", "requires_action", "canceled")+`"}`)
	case 6:
		e.post("/_sandbox/payments/"+e.one("charges")+"/dispute",
			e.pick(`{}`, `{"inquiry":true}`, `{"final":true}`, `{"amount":`+amount+`}`))
	case 7:
		e.post("/_sandbox/disputes/"+e.one("disputes"),
			`{"status":"`+e.pick("won", "lost", "warning_closed", "needs_response")+`"}`)
	case 8:
		e.post("/v1/disputes/"+e.one("disputes"), "evidence[uncategorized_text]="+
			e.pick("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", "a letter"))
	case 9:
		e.post(e.pick("/v1/disputes/"+e.one("disputes")+"/close", "/_sandbox/dashboard/v1/refunds/"+
			e.one("refunds")+"/cancel", "/_sandbox/payments/"+e.one("charges")+"/early_fraud_warning"), "")
	default:
		e.post("/_sandbox/clock", `{"advance":"`+e.pick("1m", "25h", "140h", "800h")+`"}`)
	}
}

// rows are all objects of a kind.
func rows(t *testing.T, base, resource, query string) []row {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/"+resource+query, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+testKey)

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil // killed
	}

	defer func() { _ = response.Body.Close() }()

	var page struct {
		Data []row `json:"data"`
		More bool  `json:"has_more"`
	}

	if json.NewDecoder(response.Body).Decode(&page) != nil {
		return nil
	}

	if page.More && !strings.Contains(query, "limit=100") {
		return append(page.Data, rows(t, base, resource, "?starting_after="+page.Data[len(page.Data)-1].ID)...)
	}

	return page.Data
}

// outOfBalance tells what does not add up: the balance against its transactions,
// these against the objects, and refunds against captures.
func outOfBalance(t *testing.T, base string) (wrong []string) {
	t.Helper()

	available, pending := money(t, newClient(base))
	moved, listed := map[string]int64{}, int64(0) // net of fees that are not for disputes

	for _, each := range rows(t, base, "balance_transactions", "") {
		listed += each.Net
		moved[each.Source] += each.Amount
	}

	if listed != available+pending {
		wrong = append(wrong, fmt.Sprintf("transactions of %d, a balance of %d", listed, available+pending))
	}

	check := func(id string, got, want int64) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s moved %d, not %d", id, got, want))
		}
	}
	refunded, given := map[string]int64{}, map[string]int64{}

	for _, r := range rows(t, base, "refunds", "") {
		failed := r.Status == "failed" || r.Status == "canceled"

		switch {
		case r.Transaction == "" || failed:
			check(r.ID, moved[r.ID], 0)
		default:
			check(r.ID, moved[r.ID], -r.Amount)

			given[r.Charge] += r.Amount
		}

		if !failed {
			refunded[r.Charge] += r.Amount
		}

		if (r.Failure != "") != (failed && r.Transaction != "") {
			wrong = append(wrong, r.ID+" is "+r.Status+" with the failure transaction "+r.Failure)
		}
	}

	for _, d := range rows(t, base, "disputes", "") {
		inquiry := strings.HasPrefix(d.Status, "warning_")

		switch {
		case inquiry || d.Status == "won":
			check(d.ID, moved[d.ID], 0)
		case d.Status == "lost":
			if moved[d.ID] < -d.Amount || moved[d.ID] > 0 {
				wrong = append(wrong, d.ID+" is lost and gave back too much")
			}
		default:
			check(d.ID, moved[d.ID], -d.Amount)
		}

		if inquiry != (len(d.Rows) == 0) || len(d.Rows) > 2 || d.Refundable != (inquiry || d.Status == "won") {
			wrong = append(wrong, fmt.Sprintf("%s is %s with %d rows", d.ID, d.Status, len(d.Rows)))
		}
	}

	for _, c := range rows(t, base, "charges", "") {
		if c.Transaction != "" {
			check(c.ID, moved[c.ID], c.AmountCaptured)
		}

		if given[c.ID] > c.AmountCaptured || c.AmountRefunded != refunded[c.ID] || c.AmountRefunded > c.Amount {
			wrong = append(wrong, fmt.Sprintf("%s of %d says %d refunded, and %d are: %d in money", c.ID, c.AmountCaptured,
				c.AmountRefunded, refunded[c.ID], given[c.ID]))
		}
	}

	return wrong
}

// Whatever everybody does, and all at once, the books are in balance.
func TestBalance_RandomActs(t *testing.T) {
	t.Parallel()

	for name, options := range map[string]sandbox.Options{
		"on credit": {}, "from the balance": {RefundsNeedBalance: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := sandbox.Start(t, sandbox.WithOptions(options))
			allAtOnce(t, server.URL, 60)
			require.Eventually(t, func() bool { return len(outOfBalance(t, server.URL)) == 0 }, patience, 20*glance)
			require.Empty(t, outOfBalance(t, server.URL))
			require.NotEmpty(t, rows(t, server.URL, "disputes", ""))
		})
	}
}

func allAtOnce(t *testing.T, base string, acts int) {
	t.Helper()

	var done sync.WaitGroup

	for n := range uint64(4) {
		done.Go(func() {
			e := everybody{t: t, url: base, random: rand.New(rand.NewPCG(n, 13))}
			for range acts {
				e.act()
			}
		})
	}

	done.Wait()
}

// … and a SIGKILL in the middle of it leaves them so.
func TestBalance_SurvivesSIGKILL(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	base, kill := child(t, path)

	var acting sync.WaitGroup

	acting.Go(func() { allAtOnce(t, base, 60) })
	require.Eventually(t, func() bool {
		return len(rows(t, base, "disputes", "?limit=100")) > 5 && len(rows(t, base, "refunds", "?limit=100")) > 10
	}, patience, glance)
	kill()
	acting.Wait()

	server := reopen(t, sandbox.Options{StateFile: path})
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	require.Empty(t, outOfBalance(t, server.URL))
	require.Greater(t, len(rows(t, server.URL, "refunds", "")), 10)
}
