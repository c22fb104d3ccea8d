package stripe_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestIntent_Statuses(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		status, lastError string
		want              payment.Status
	}{
		{"requires_payment_method", "null", payment.Pending},
		{"requires_payment_method", `{"code":"card_declined"}`, payment.Failed},
		{"requires_payment_method", `{}`, payment.Failed},
		{"requires_confirmation", "null", payment.Pending},
		{"requires_action", `{"code":"card_declined"}`, payment.Pending},
		{"requires_capture", "null", payment.Pending},
		{"processing", "null", payment.Pending},
		{"succeeded", `{"code":"card_declined"}`, payment.Succeeded},
		{"canceled", "null", payment.Cancelled},
		{"of_the_future", "null", payment.Pending},
	} {
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, `{"id":"pi_1","status":"`+c.status+`","last_payment_error":`+c.lastError+`}`)
		})

		intent, err := bed.gateway.Intent(t.Context(), "pi_1")
		require.NoError(t, err)
		require.Equal(t, c.want, intent.Status, "%+v", c)
	}
}

func TestIntent_Outcomes(t *testing.T) {
	t.Parallel()

	missing := `{"error":{"type":"invalid_request_error","code":"resource_missing"}}`
	noRoute := `{"error":{"type":"invalid_request_error","message":"Unrecognized request URL"}}`

	for name, c := range map[string]struct {
		status   int
		body     string
		reason   string
		attempts int
		kind     fault.Kind
	}{
		"missing":          {404, missing, "rejected not_found", 1, fault.NotFound},
		"unknown path":     {404, noRoute, "unknown status_404", 1, fault.Internal},
		"404 of a proxy":   {404, "<html>", "unknown status_404", 1, fault.Internal},
		"another intent":   {200, `{"id":"pi_2"}`, "unknown mismatch", 1, fault.Internal},
		"{}":               {200, `{}`, "unknown mismatch", 1, fault.Internal},
		"500":              {500, `{"error":{"type":"api_error"}}`, "unknown status_5xx", 3, fault.Internal},
		"502 of a proxy":   {502, "<html>", "unknown status_5xx", 3, fault.Internal},
		"HTML":             {200, "<html>", "unknown undecodable", 3, fault.Internal},
		"wrong secret key": {401, `{"error":{"type":"invalid_request_error"}}`, "unknown status_401", 1, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, c.status, c.body) })

			_, err := bed.gateway.Intent(t.Context(), "pi_1")
			require.Error(t, err)
			require.Equal(t, c.kind, fault.KindOf(err))

			outcome, reason, _ := strings.Cut(c.reason, " ")
			bed.meter.require(t, c.attempts, outcome, reason)
		})
	}
}

// An intent that is not ours may have an amount that ours cannot have.
func TestIntent_ForeignAmountIsNoAmount(t *testing.T) {
	t.Parallel()

	for _, amount := range []string{
		`"amount":100,"currency":"xyz"`, `"amount":0,"currency":"usd"`, `"amount":100000000,"currency":"usd"`,
		`"amount":-5,"currency":"usd"`, `"amount":100`, `"currency":"usd"`, `"amount":null,"currency":null`,
	} {
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, `{"id":"pi_1","status":"succeeded",`+amount+`}`)
		})

		intent, err := bed.gateway.Intent(t.Context(), "pi_1")
		require.NoError(t, err)
		require.True(t, intent.Amount.IsZero(), amount)
	}
}

func TestIntents_AsksForWhatItNeeds(t *testing.T) {
	t.Parallel()

	var asked []url.Values

	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query())

		if r.URL.Query().Get("starting_after") == "" {
			answer(w, http.StatusOK, `{"data":[{"id":"pi_2"},{"id":"pi_1"}],"has_more":true}`)

			return
		}

		answer(w, http.StatusOK, `{"data":[{"id":"pi_0"}],"has_more":false}`)
	})

	var ids []string

	for intent, err := range bed.gateway.Intents(t.Context(), time.Unix(100, 999), time.Unix(200, 0)) {
		require.NoError(t, err)

		ids = append(ids, intent.ID)
	}

	require.Equal(t, []string{"pi_2", "pi_1", "pi_0"}, ids)
	require.Equal(t, []url.Values{
		{"created[gte]": {"100"}, "created[lte]": {"200"}, "limit": {"100"}},
		{"created[gte]": {"100"}, "created[lte]": {"200"}, "limit": {"100"}, "starting_after": {"pi_1"}},
	}, asked)
}

// A list that does not advance ends with an error, instead of being read for ever.
func TestIntents_EndsAListThatDoesNotAdvance(t *testing.T) {
	t.Parallel()

	for name, body := range map[string]string{
		"the same page": `{"data":[{"id":"pi_1"}],"has_more":true}`,
		"an empty page": `{"data":[],"has_more":true}`,
		"no ids":        `{"data":[{}],"has_more":true}`,
		"no objects":    `{"data":[5],"has_more":true}`,
		"no page":       `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, body) })

			var last error

			for _, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
				require.NoError(t, last, "an error is the end")

				last = err
			}

			require.Error(t, last)
		})
	}
}

func TestIntents_RetriesAPage(t *testing.T) {
	t.Parallel()

	calls := 0
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls%2 == 1 {
			w.WriteHeader(http.StatusInternalServerError)

			return
		}

		more := r.URL.Query().Get("starting_after") == ""
		answer(w, http.StatusOK, fmt.Sprintf(`{"data":[{"id":"pi_%d"}],"has_more":%t}`, calls, more))
	})

	var ids []string

	for intent, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
		require.NoError(t, err)

		ids = append(ids, intent.ID)
	}

	require.Equal(t, []string{"pi_2", "pi_4"}, ids)
}

func TestEvents_ABadEventHidesNoOther(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query()["types[]"]; !slices.Equal(got, handledTypes) {
			t.Errorf("asked for types %v", got)
		}

		answer(w, http.StatusOK, `{"has_more":false,"data":[
			{"id":"evt_2","type":"payment_intent.succeeded","data":{}},
			{"id":"evt_1","type":"payment_intent.canceled","data":{"object":{"id":"pi_1"}}}]}`)
	})

	var (
		events []ports.Event
		errs   []error
	)

	for event, err := range bed.gateway.Events(t.Context(), time.Unix(0, 0), time.Now()) {
		if err != nil {
			errs = append(errs, err)

			continue
		}

		events = append(events, event)
	}

	require.Len(t, errs, 1)
	require.Equal(t, fault.Invalid, fault.KindOf(errs[0]))
	require.Len(t, events, 1)
	require.Equal(t, "evt_1", events[0].ID)
	require.Equal(t, payment.Cancelled, events[0].Change)
	require.JSONEq(t, `{"id":"evt_1","type":"payment_intent.canceled","data":{"object":{"id":"pi_1"}}}`, string(events[0].Raw))
}
