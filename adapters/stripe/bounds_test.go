package stripe_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// errorBody is an error as Stripe writes it.
func errorBody(t *testing.T, kind, code, message string) string {
	t.Helper()

	form, err := json.Marshal(map[string]any{"error": map[string]string{"type": kind, "code": code, "message": message}})
	require.NoError(t, err)

	return string(form)
}

// Stripe's messages are passed on, stored and logged, so they are cut to a sentence.
func TestBounds_Messages(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ message, want string }{
		"short":     {"too small & <odd> №", "too small & <odd> №"},
		"long":      {strings.Repeat("m", 100_000), strings.Repeat("m", 500) + "…"},
		"wide":      {strings.Repeat("ж", 400), strings.Repeat("ж", 250) + "…"},
		"lines":     {"a\r\nb\x1b[31mc\x00d", "a  b [31mc d"},
		"reversed":  {"a\u202eb", "a b"},
		"no UTF-8?": {"a\ufffdb", "a\ufffdb"},
		"a secret":  {"of sk_live_abc123" + strings.Repeat("m", 600), "of sk_live_***"},
		"cut in a secret": {
			strings.Repeat("m", 490) + " sk_live_abc123", strings.Repeat("m", 490) + " sk_live_***…",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			kind, status := "invalid_request_error", http.StatusBadRequest
			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(w, status, errorBody(t, kind, "amount_too_small", c.message))
			})

			_, err := bed.gateway.Send(t.Context(), create(t), false)

			var rejected *ports.RejectedError

			require.ErrorAs(t, err, &rejected)
			require.Contains(t, rejected.Message, c.want)
			require.LessOrEqual(t, len(rejected.Message), 520)

			_, err = bed.gateway.Send(t.Context(), create(t), true)
			requireOutcome(t, "unknown", err)
			require.Contains(t, err.Error(), c.want)
			require.Less(t, len(err.Error()), 700)

			for _, line := range bed.logs.All() {
				require.Less(t, len(fmt.Sprint(line.Message, line.ContextMap())), 700)
			}
		})
	}
}

func TestBounds_Codes(t *testing.T) {
	t.Parallel()

	for _, odd := range []string{strings.Repeat("c", 101), "a b", "Ä", "code\n", "'; select 1"} {
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusBadRequest, errorBody(t, odd, odd, "no"))
		})

		_, err := bed.gateway.Send(t.Context(), create(t), false)

		var rejected *ports.DeploymentError

		require.ErrorAs(t, err, &rejected)
		require.Empty(t, rejected.Code)

		_, err = bed.gateway.Send(t.Context(), create(t), true)
		require.NotContains(t, err.Error(), odd)
	}
}

func TestBounds_RequestIDs(t *testing.T) {
	t.Parallel()

	for header, want := range map[string]string{
		"req_7Gx":                        "req_7Gx",
		"req_" + strings.Repeat("r", 64): "req_" + strings.Repeat("r", 64),
		"req_" + strings.Repeat("r", 65): "",
		strings.Repeat("r", 200_000):     "",
		"req_":                           "",
		"req_a b":                        "",
		"REQ_1":                          "",
		"req_\u00e9":                     "",
	} {
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Request-Id", header)
			answer(w, http.StatusUnauthorized, errorBody(t, "invalid_request_error", "", "no"))
		})

		_, err := bed.gateway.Send(t.Context(), create(t), false)

		var unknown *stripe.UnknownError

		require.ErrorAs(t, err, &unknown)
		require.Equal(t, want, unknown.RequestID)
		require.Less(t, len(err.Error()), 300)
	}
}

// An intent whose id cannot be looked up again is not the one that was asked for,
// whatever else it says.
func TestBounds_IntentIDs(t *testing.T) {
	t.Parallel()

	long := "pi_" + strings.Repeat("x", 252)

	for id, want := range map[string]string{
		"pi_1": "done", "pi_1-2": "done", "pi_3MtwBwLkdIwHu7ix28a3tqPa": "done", long: "done", long + "x": "unknown",
		"": "unknown", "pi_": "unknown", "pi": "unknown", "ch_1": "unknown", "PI_1": "unknown", "xpi_1": "unknown",
		"pi_\r\n\x1b[31m1": "unknown", "pi_a b": "unknown", "pi_'; select 1 --": "unknown", "pi_\u202e2": "unknown",
		"pi_é": "unknown", "pi_1\n": "unknown", "pi_1/confirm": "unknown",
	} {
		form, err := json.Marshal(id)
		require.NoError(t, err)

		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, strings.Replace(intentJSON, `"pi_1"`, string(form), 1))
		})

		object, err := bed.gateway.Send(t.Context(), create(t), false)
		requireOutcome(t, want, err)

		if want == "done" {
			require.Equal(t, id, object.Intent.ID)

			continue
		}

		_, err = bed.gateway.Intent(t.Context(), id)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%q is not asked for", id)

		_, err = newWebhooks(t).Parse([]byte(`{"type":"payment_intent.succeeded","data":{"object":{"id":` + string(form) + `}}}`))
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", id)

		for intent, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
			require.Error(t, err, "%v", intent)
		}
	}
}

func TestBounds_ClientSecrets(t *testing.T) {
	t.Parallel()

	for secret, want := range map[string]string{
		"pi_1_secret_Zm9v":       "done",
		strings.Repeat("s", 518): "done",
		strings.Repeat("s", 519): "unknown",
		"pi_1_secret_ x":         "unknown",
		"<script>":               "unknown",
		"pi_1_secret_\n":         "unknown",
	} {
		form, err := json.Marshal(secret)
		require.NoError(t, err)

		body := strings.Replace(intentJSON, `"`+clientSecret+`"`, string(form), 1)
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, body) })

		_, err = bed.gateway.Send(t.Context(), create(t), false)
		requireOutcome(t, want, err)

		event, err := newWebhooks(t).Parse([]byte(`{"type":"payment_intent.succeeded","data":{"object":` + body + `}}`))
		require.NoError(t, err, "an event finishes the payment all the same")
		require.Equal(t, want == "done", event.Intent.ClientSecret == secret)
		require.Equal(t, want != "done", event.Intent.ClientSecret == "")
	}
}

// A bad id hides no object after it, and does not become a list's cursor.
func TestBounds_ListedIDs(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, `{"data":[{"id":"pi_2"},{"id":"pi_\n"},{"id":5},{"id":"pi_1"}],"has_more":false}`)
	})

	var (
		ids  []string
		errs int
	)

	for intent, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
		if err != nil {
			errs++

			continue
		}

		ids = append(ids, intent.ID)
	}

	require.Equal(t, []string{"pi_2"}, ids)
	require.Equal(t, 1, errs, "an object that is not an intent ends the list")
	require.Equal(t, 1, bed.logs.FilterMessageSnippet("impossible id").Len())

	bed = newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, `{"data":[{"id":"pi_2"},{"id":"pi_1&limit=1"}],"has_more":true}`)
	})
	errs = 0

	for _, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
		if err != nil {
			errs++
		}
	}

	require.Equal(t, 1, errs)
}

// An object is never a megabyte; a list of a hundred may be.
func TestBounds_Bodies(t *testing.T) {
	t.Parallel()

	padding := `,"padding":"` + strings.Repeat("x", 2<<20) + `"}`
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/v1/payment_intents" {
			answer(w, http.StatusOK, `{"data":[{"id":"pi_1"}],"has_more":false`+padding)

			return
		}

		answer(w, http.StatusOK, strings.TrimSuffix(intentJSON, "}")+padding)
	})

	_, err := bed.gateway.Send(t.Context(), create(t), false)
	requireOutcome(t, "unknown", err)
	bed.meter.require(t, 3, "unknown", "undecodable")

	_, err = bed.gateway.Intent(t.Context(), "pi_1")
	require.Error(t, err)

	for _, err := range bed.gateway.Intents(t.Context(), time.Unix(0, 0), time.Now()) {
		require.NoError(t, err)
	}
}

func TestBounds_Events(t *testing.T) {
	t.Parallel()

	for _, envelope := range []string{
		`"id":"evt_1\n","type":"charge.refunded"`,
		`"id":"evt 1","type":"charge.refunded"`,
		`"id":"evt_\u202e1","type":"charge.refunded"`,
		`"id":"1","type":"charge.refunded"`,
		`"id":"_1","type":"charge.refunded"`,
		`"id":"1evt_1","type":"charge.refunded"`,
		`"id":"Evt_1","type":"charge.refunded"`,
		`"id":"evt-x_1","type":"charge.refunded"`,
		`"id":"évt_1","type":"charge.refunded"`,
		`"id":"evt_","type":"charge.refunded"`,
		`"id":"evt_` + strings.Repeat("x", 252) + `","type":"charge.refunded"`,
		`"id":"evt_1","type":"charge refunded"`,
		`"id":"evt_1","type":"charge.refunded\u202e"`,
		`"id":"evt_1","type":"Charge.refunded"`,
		`"id":"evt_1","type":"charge-refunded"`,
		`"id":"evt_1","type":"` + strings.Repeat("x", 256) + `"`,
	} {
		_, err := newWebhooks(t).Parse([]byte(`{` + envelope + `,"data":{"object":{"id":"ch_1"}}}`))
		require.Equal(t, fault.Invalid, fault.KindOf(err), envelope)
	}

	for object, want := range map[string]string{
		`{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15"}`: "ch_3MmlLrLkdIwHu7ix0snN0B15",
		`{"id":"cs_test_a1"}`:                  "cs_test_a1",
		`{"id":"x9_A-_z"}`:                     "x9_A-_z",
		`{"id":"a__"}`:                         "a__",
		`{"id":"ch_\u0007"}`:                   "",
		`{"id":"a b"}`:                         "",
	} {
		event, err := newWebhooks(t).Parse([]byte(`{"id":"evt_1","type":"charge.captured","data":{"object":` + object + `}}`))
		require.NoError(t, err)
		require.Equal(t, want, event.ObjectID)
	}
}

// Who adds an event destination with thin events is told which ones to choose.
func TestParse_AThinEvent(t *testing.T) {
	t.Parallel()

	for _, body := range []string{
		`{"id":"evt_test_65R9Ijk8","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered",` +
			`"livemode":false,"created":"2024-09-17T06:20:52.246Z","related_object":{"id":"mtr_1","type":"billing.meter",` +
			`"url":"/v1/billing/meters/mtr_1"},"reason":null}`,
		`{"id":"evt_1","object":"v2.core.event","type":"v2.core.event_destination.ping","created":"2024-09-17T06:20:52Z",` +
			`"data":{"some":"thing"}}`,
		`{"id":"evt_1","object":"v2.core.event_of_the_future","type":"a","created":5}`,
		`{"id":"evt_1","type":"v1.payment_intent.succeeded","related_object":{"id":"pi_1"}}`,
	} {
		_, err := newWebhooks(t).Parse([]byte(body))
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.Contains(t, fault.From(err).Detail, "thin event", body)
		require.Contains(t, fault.From(err).Detail, "snapshot", body)
	}

	for _, body := range []string{`{}`, `[]`, `{"object":"event","type":"a"}`, `{"object":5}`, `{"type":"a","data":{}}`} {
		_, err := newWebhooks(t).Parse([]byte(body))
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.NotContains(t, fault.From(err).Detail, "thin", body)
	}
}
