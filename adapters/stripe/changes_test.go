package stripe_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// changes are the calls on the intent of intentJSON.
func changes(t *testing.T) map[string]ports.Call {
	t.Helper()

	capture, err := stripe.Calls{}.CapturePayment(markOf(operation.Capture, operationID), "pi_1", priced(t, 400, "USD"))
	require.NoError(t, err)
	cancel, err := stripe.Calls{}.CancelPayment(markOf(operation.Cancel, operationID), "pi_1", operation.Order{})
	require.NoError(t, err)

	return map[string]ports.Call{"capture": capture, "cancel": cancel}
}

// What is rejected because of the state is so for a copy too: the core reads what became of
// the original. Of other rejections only the first send's count.
func TestSend_OutcomesOfChanges(t *testing.T) {
	t.Parallel()

	coded := func(code string) string {
		return `{"error":{"type":"invalid_request_error","code":"` + code + `","message":"no",` +
			`"payment_intent":{"id":"pi_1","client_secret":"` + clientSecret + `"}}}`
	}
	card := `{"error":{"type":"card_error","code":"expired_card","message":"declined","payment_intent":{"id":"pi_1"}}}`
	reused := `{"error":{"type":"idempotency_error","message":"other parameters"}}`
	html := `<html><body>502 Bad Gateway</body></html>`

	for name, c := range map[string]struct {
		status   int
		body     string
		outcome  string // on the first send
		reason   string
		attempts int    // on the first send
		copy     string // the outcome on a copy
		about    string // of a rejection: state, amount or nothing
	}{
		"done":                  {200, intentJSON, "done", "", 1, "done", ""},
		"another amount":        {200, strings.Replace(intentJSON, "1999", "5", 1), "done", "", 1, "done", ""},
		"another intent":        {200, strings.Replace(intentJSON, "pi_1", "pi_2", 1), "unknown", "mismatch", 1, "unknown", ""},
		"an impossible id":      {200, strings.Replace(intentJSON, "pi_1", "..", 1), "unknown", "undecodable", 3, "unknown", ""},
		"{}":                    {200, `{}`, "unknown", "undecodable", 3, "unknown", ""},
		"HTML 200":              {200, html, "unknown", "undecodable", 3, "unknown", ""},
		"state":                 {400, coded("payment_intent_unexpected_state"), "rejected", "status_400", 1, "rejected", "state"},
		"already captured":      {400, coded("charge_already_captured"), "rejected", "status_400", 1, "rejected", "state"},
		"expired":               {400, coded("charge_expired_for_capture"), "rejected", "status_400", 1, "rejected", "state"},
		"authorization expired": {400, coded("capture_charge_authorization_expired"), "rejected", "status_400", 1, "rejected", "state"},
		"unauthorized":          {400, coded("capture_unauthorized_payment"), "rejected", "status_400", 1, "rejected", "state"},
		"state, 402":            {402, coded("payment_intent_unexpected_state"), "rejected", "status_402", 1, "rejected", "state"},
		"too large":             {400, coded("amount_too_large"), "rejected", "status_400", 1, "rejected", "amount"},
		"too small":             {400, coded("amount_too_small"), "rejected", "status_400", 1, "rejected", "amount"},
		"no amount":             {400, coded("invalid_charge_amount"), "rejected", "status_400", 1, "rejected", "amount"},
		"card":                  {402, card, "rejected", "status_402", 1, "rejected", ""},
		"account":               {400, coded("testmode_charges_only"), "deployment_rejected", "status_400", 1, "unknown", ""},
		"our mistake":           {400, coded("parameter_unknown"), "deployment_rejected", "status_400", 1, "unknown", ""},
		"of tomorrow":           {400, coded("of_the_future"), "deployment_rejected", "status_400", 1, "unknown", ""},
		"402, not the bank":     {402, coded("account_invalid"), "deployment_rejected", "status_402", 1, "unknown", ""},
		"no such intent":        {404, coded("resource_missing"), "deployment_rejected", "status_404", 1, "unknown", ""},
		"404 of a proxy":        {404, html, "unknown", "status_404", 1, "unknown", ""},
		"400 of a proxy":        {400, html, "unknown", "status_400", 1, "unknown", ""},
		"idempotency_error":     {400, reused, "rejected", "idempotency_error", 1, "rejected", "state"},
		"state, by a 500":       {500, coded("payment_intent_unexpected_state"), "unknown", "status_5xx", 1, "unknown", ""},
		"401":                   {401, coded(""), "unknown", "status_401", 1, "unknown", ""},
		"403":                   {403, coded(""), "unknown", "status_403", 1, "unknown", ""},
		"409":                   {409, coded(""), "unknown", "status_409", 3, "unknown", ""},
		"424":                   {424, coded(""), "unknown", "status_424", 1, "unknown", ""},
		"lock_timeout":          {429, coded("lock_timeout"), "unknown", "lock_timeout", 3, "unknown", ""},
		"500":                   {500, `{"error":{"type":"api_error"}}`, "unknown", "status_5xx", 1, "unknown", ""},
		"502 of a proxy":        {502, html, "unknown", "status_5xx", 3, "unknown", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var arrived atomic.Int64

			for _, call := range changes(t) {
				bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
					arrived.Add(1)
					answer(w, c.status, c.body)
				})

				for resend, want := range map[bool]string{false: c.outcome, true: c.copy} {
					_, err := bed.gateway.Send(t.Context(), call, resend)
					requireOutcome(t, want, err)
					bed.meter.require(t, c.attempts, want, c.reason)
					require.NotContains(t, errorText(err), clientSecret)

					if rejected, ok := errors.AsType[*ports.RejectedError](err); ok {
						require.Equal(t, c.about == "state", rejected.State)
						require.Equal(t, c.about == "amount", rejected.Amount)
						require.False(t, rejected.Kept)
						require.NotEmpty(t, rejected.Message)
					}
				}
			}

			require.EqualValues(t, 4*c.attempts, arrived.Load())
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

func TestSend_ChangesAreSentAsTheyAre(t *testing.T) {
	t.Parallel()

	got := make(chan received, 1)
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)

		got <- received{r, string(body)}

		answer(w, http.StatusOK, intentJSON)
	})

	for action, call := range changes(t) {
		object, err := bed.gateway.Send(t.Context(), call, false)
		require.NoError(t, err)
		require.Equal(t, "pi_1", object.Intent.ID)

		r := <-got
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, "/v1/payment_intents/pi_1/"+action, r.URL.Path)
		require.Equal(t, call.Key, r.Header.Get("Idempotency-Key"))
		require.Equal(t, call.Params, r.body)
		require.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
	}

	names := map[string]bool{}
	for _, span := range bed.spans.Ended() {
		names[span.Name()] = true
	}

	require.Contains(t, names, "stripe.capture_intent")
	require.Contains(t, names, "stripe.cancel_intent")
}

// A kept rejection of a change says so, as a create's does.
func TestSend_AKeptRejectionOfAChange(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Idempotent-Replayed", "true")
		answer(w, http.StatusBadRequest, `{"error":{"type":"invalid_request_error","code":"testmode_charges_only","message":"no"}}`)
	})

	for _, call := range changes(t) {
		_, err := bed.gateway.Send(t.Context(), call, false)

		var deployment *ports.DeploymentError

		require.ErrorAs(t, err, &deployment)
		require.True(t, deployment.Kept)
		require.Equal(t, "testmode_charges_only", deployment.Code)
	}
}

// Also one because of the state, which may have changed since.
func TestSend_AKeptRejectionBecauseOfTheState(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Idempotent-Replayed", "true")
		answer(w, http.StatusBadRequest,
			`{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state","message":"no"}}`)
	})

	for _, call := range changes(t) {
		_, err := bed.gateway.Send(t.Context(), call, true)

		var rejected *ports.RejectedError

		require.ErrorAs(t, err, &rejected)
		require.True(t, rejected.State)
		require.True(t, rejected.Kept)
	}
}

func TestSend_TheAnswerOfACapture(t *testing.T) {
	t.Parallel()

	mark := markOf(operation.Capture, operationID)
	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, `{"id":"pi_1","amount":1000,"amount_capturable":0,"amount_received":400,"currency":"usd",`+
			`"capture_method":"manual","status":"succeeded","latest_charge":"ch_1","created":1705314600,`+
			`"metadata":{"payment_id":"`+paymentID.String()+`","marketflow_capture":"`+mark.String()+`"}}`)
	})

	object, err := bed.gateway.Send(t.Context(), changes(t)["capture"], true)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, object.Intent.Status)
	require.Equal(t, "4.00 USD", object.Intent.Captured.String())
	require.Equal(t, "0.00 USD", object.Intent.Capturable.String())
	require.Equal(t, mark, object.Intent.Capture)
	bed.meter.require(t, 1, "done", "") // the answer is enough
}
