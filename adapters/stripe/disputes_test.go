package stripe_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

const oneTransaction = `{"id":"txn_1","amount":-1000,"fee":1500,"currency":"usd","created":1700000001}`

// disputeJSON is a dispute as Stripe writes it, with some fields replaced.
func disputeJSON(replaced ...string) string {
	form := `{"id":"du_1","amount":1000,"currency":"usd","status":"needs_response","reason":"fraudulent",` +
		`"payment_intent":"pi_1","balance_transactions":[` + oneTransaction + `],"created":1700000000,"livemode":false,` +
		`"evidence_details":{"due_by":1700600000,"submission_count":0},` +
		`"payment_method_details":{"card":{"network_reason_code":"10.4"}},"metadata":{}}`

	return strings.NewReplacer(replaced...).Replace(form)
}

func readDispute(t *testing.T, form string) (ports.DisputeObject, error) {
	t.Helper()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, form) })

	return bed.gateway.Dispute(t.Context(), "du_1")
}

func TestDispute_IsReadAsItIs(t *testing.T) {
	t.Parallel()

	got, err := readDispute(t, disputeJSON())
	require.NoError(t, err)
	require.Equal(t, "pi_1", got.IntentID)
	require.Equal(t, dispute.NeedsResponse, got.Status)
	require.Equal(t, time.Unix(1700600000, 0).UTC(), got.EvidenceDueBy)
	require.Equal(t, "10.4", got.NetworkReasonCode)
	require.Len(t, got.Balance, 1)
	require.Equal(t, "-10.00 USD", got.Balance[0].Amount.String())
	require.Equal(t, "15.00 USD", got.Balance[0].Fee.String())

	for name, c := range map[string]struct {
		replaced []string
		check    func(t *testing.T, got ports.DisputeObject)
	}{
		"a status that is not known": {
			[]string{`"needs_response"`, `"prevented"`},
			func(t *testing.T, got ports.DisputeObject) {
				t.Helper()
				require.Equal(t, dispute.Status("prevented"), got.Status)
			},
		},
		"a status that cannot be one": {
			[]string{`"needs_response"`, `7`},
			func(t *testing.T, got ports.DisputeObject) { t.Helper(); require.True(t, got.Blocks()) },
		},
		"an expanded intent": {
			[]string{`"pi_1"`, `{"id":"pi_2"}`},
			func(t *testing.T, got ports.DisputeObject) { t.Helper(); require.Equal(t, "pi_2", got.IntentID) },
		},
		"of a charge alone": {
			[]string{`"pi_1"`, `null`},
			func(t *testing.T, got ports.DisputeObject) { t.Helper(); require.Empty(t, got.IntentID) },
		},
		"nobody may answer": {
			[]string{`1700600000`, `0`},
			func(t *testing.T, got ports.DisputeObject) { t.Helper(); require.True(t, got.EvidenceDueBy.IsZero()) },
		},
		"an older version's code": {
			[]string{`"payment_method_details":{"card":{"network_reason_code":"10.4"}}`, `"network_reason_code":"13.1"`},
			func(t *testing.T, got ports.DisputeObject) {
				t.Helper()
				require.Equal(t, "13.1", got.NetworkReasonCode)
			},
		},
		"no money has moved": {
			[]string{oneTransaction, ``},
			func(t *testing.T, got ports.DisputeObject) { t.Helper(); require.Empty(t, got.Balance) },
		},
		"its balance is in another currency": {
			[]string{`"fee":1500,"currency":"usd"`, `"fee":1500,"currency":"eur"`},
			func(t *testing.T, got ports.DisputeObject) {
				t.Helper()
				require.Equal(t, "-10.00 EUR", got.Balance[0].Amount.String())
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := readDispute(t, disputeJSON(c.replaced...))
			require.NoError(t, err)
			c.check(t, got)
		})
	}
}

// What money depends on is there, or the dispute is not read.
func TestDispute_IsNotGuessed(t *testing.T) {
	t.Parallel()

	for name, replaced := range map[string][]string{
		"no amount":                   {`"amount":1000,`, ``},
		"a negative amount":           {`"amount":1000,`, `"amount":-1000,`},
		"no currency":                 {`"amount":1000,"currency":"usd"`, `"amount":1000`},
		"no time":                     {`1700000000`, `0`},
		"another dispute":             {`du_1`, `du_2`},
		"a transaction as an id":      {oneTransaction, `"txn_1"`},
		"a transaction of no amount":  {`"amount":-1000,`, ``},
		"a currency that nobody has":  {`"fee":1500,"currency":"usd"`, `"fee":1500,"currency":"xyz"`},
		"more transactions than sane": {oneTransaction, strings.Repeat(oneTransaction+",", 100) + oneTransaction},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := readDispute(t, disputeJSON(replaced...))
			require.Error(t, err)
		})
	}
}

func TestDisputes_OneThatCannotBeReadHidesNoOther(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, `{"has_more":false,"data":[{"id":"du_0"},`+disputeJSON()+`]}`)
	})

	var (
		ids  []string
		errs []error
	)

	for d, err := range bed.gateway.DisputesBetween(t.Context(), time.Now(), time.Now()) {
		if err != nil {
			errs = append(errs, err)
		} else {
			ids = append(ids, d.ProviderID)
		}
	}

	require.Equal(t, []string{"du_1"}, ids)
	require.Len(t, errs, 1)

	_, err := bed.gateway.Disputes(t.Context(), "pi_1")
	require.Error(t, err, "of one payment all are read, or none")
}

// A stand-in may list whatever it has: what is of another payment takes nothing of this one.
func TestMoney_OfAnotherPaymentIsLeftOut(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/disputes" {
			answer(w, http.StatusOK, `{"has_more":false,"data":[`+disputeJSON("pi_1", "pi_2")+`,`+disputeJSON()+`]}`)

			return
		}

		answer(w, http.StatusOK, `{"has_more":false,"data":[
			{"id":"re_2","amount":500,"currency":"usd","status":"succeeded","payment_intent":"pi_2","created":1,"metadata":{}},
			{"id":"re_1","amount":400,"currency":"usd","status":"succeeded","payment_intent":"pi_1","created":1,"metadata":{}}]}`)
	})

	disputes, err := bed.gateway.Disputes(t.Context(), "pi_1")
	require.NoError(t, err)
	require.Len(t, disputes, 1)

	refunds, err := bed.gateway.RefundsOf(t.Context(), "pi_1")
	require.NoError(t, err)
	require.Len(t, refunds, 1)
	require.Equal(t, "re_1", refunds[0].ID)
}

// Whoever may not list disputes, or asks a stand-in without them, sees none, and payments are read
// all the same. An outage is an error, and so are refunds that cannot be read, unless a stand-in has no
// such route.
func TestDisputes_WhereThereIsNoList(t *testing.T) {
	t.Parallel()

	for status, missing := range map[int]bool{
		400: true, 403: true, 404: true, 405: true, 501: true, 401: false, 429: false, 500: false,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(w, status, `{"error":{"type":"invalid_request_error","message":"no"}}`)
			})

			found, err := bed.gateway.Disputes(t.Context(), "pi_1")
			require.Empty(t, found)

			if missing {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}

			refunds, err := bed.gateway.RefundsOf(t.Context(), "pi_1")
			require.Empty(t, refunds)
			require.Equal(t, status == http.StatusNotFound, err == nil, "%v", err)
		})
	}
}

// Evidence is never given to the bank by an omission: submit is always said.
func TestCalls_SubmitEvidence(t *testing.T) {
	t.Parallel()

	for submit, want := range map[string]string{"": "false", "true": "true"} {
		order := operation.Order{Options: map[string]string{
			dispute.OptionDispute: "0190d5a5-7c1f-7000-8000-0000000000aa", "customer_name": "Jenny & Söhne", "service_date": "",
		}}
		if submit != "" {
			order.Options[dispute.OptionSubmit] = submit
		}

		mark := operation.Mark{Kind: operation.SubmitEvidence, Tenant: 1}
		call := mustCall(t, order, mark)
		require.Equal(t, "/v1/disputes/du_1", call.Path)
		require.Contains(t, call.Key, "mf_submit_evidence_")
		require.Contains(t, call.Params, "evidence%5Bcustomer_name%5D=Jenny+%26+S%C3%B6hne")
		require.Contains(t, call.Params, "evidence%5Bservice_date%5D=&")
		require.Contains(t, call.Params, "submit="+want)
		require.Contains(t, call.Params, "metadata%5Bmarketflow_evidence%5D=1.")
		require.NotContains(t, call.Params, "dispute_id")
	}
}

func mustCall(t *testing.T, order operation.Order, mark operation.Mark) ports.Call {
	t.Helper()

	call, err := stripe.Calls{}.SubmitEvidence(mark, "du_1", order)
	require.NoError(t, err)

	return call
}
