package stripe_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

var paymentID = uuid.MustParse("0190d5a5-7c1f-7000-8000-000000000001")

const clientSecret = "pi_1_secret_Zm9vYmFy"

// intentJSON is what Stripe answers to create().
const intentJSON = `{"id":"pi_1","object":"payment_intent","amount":1999,"currency":"usd",` +
	`"client_secret":"` + clientSecret + `","created":1705314600,"status":"requires_payment_method",` +
	`"metadata":{"payment_id":"0190d5a5-7c1f-7000-8000-000000000001","Payment_ID":"x"}}`

func TestSend_SendsExactlyTheParameters(t *testing.T) {
	t.Parallel()

	var got []received

	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}

		got = append(got, received{r.Clone(context.Background()), string(body)})

		if len(got) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)

			return
		}

		answer(w, http.StatusOK, intentJSON)
	})

	call := createFor(t, "order_1", order(t, 1999, map[string]string{"z": "ж &=+%", "a": "", "order no": "7"}))
	_, err := bed.gateway.Send(t.Context(), call, false)
	require.NoError(t, err)
	require.Len(t, got, 2)

	for _, r := range got {
		require.Equal(t, call.Params, r.body)
		require.Equal(t, "/v1/payment_intents", r.URL.Path)
		require.Equal(t, "mf_create_"+paymentID.String(), r.Header.Get("Idempotency-Key"))
		require.Equal(t, "Bearer sk_test_1", r.Header.Get("Authorization"))
		require.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
		require.Equal(t, int64(len(r.body)), r.ContentLength)
		require.Empty(t, r.TransferEncoding)
		require.Empty(t, r.Header.Get("X-Stripe-Client-Telemetry"))
	}
}

// A request that another version of ours has stored is sent unchanged.
func TestSend_SendsAStoredRequestUnchanged(t *testing.T) {
	t.Parallel()

	params := "currency=usd&amount=1999&metadata[payment_id]=" + paymentID.String() + "&description=an%20old+field"
	body := make(chan string, 1)
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body <- string(text)

		answer(w, http.StatusOK, intentJSON)
	})

	call := ports.Call{Key: "marketflow_payment_1", Path: "/v1/payment_intents", Params: params}
	_, err := bed.gateway.Send(t.Context(), call, true)
	require.NoError(t, err)
	require.Equal(t, params, <-body)
}

func TestSend_DoesNotSendAnUnreadableRequest(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	good := create(t)
	intents := "/v1/payment_intents"

	for name, call := range map[string]ports.Call{
		"no key":            {Path: intents, Params: good.Params},
		"long key":          {Path: intents, Params: good.Params, Key: strings.Repeat("k", 256)},
		"no form":           {Path: intents, Params: "%zz", Key: "k"},
		"no amount":         {Path: intents, Params: "currency=usd&metadata[payment_id]=1", Key: "k"},
		"no currency":       {Path: intents, Params: "amount=1&metadata[payment_id]=1", Key: "k"},
		"no payment id":     {Path: intents, Params: "amount=1&currency=usd", Key: "k"},
		"no path":           {Params: good.Params, Key: "k"},
		"another path":      {Path: "/v1/refunds", Params: good.Params, Key: "k"},
		"another host":      {Path: "//example.com/v1/payment_intents", Params: good.Params, Key: "k"},
		"an unknown action": {Path: intents + "/pi_1/increment_authorization", Key: "k"},
		"no action":         {Path: intents + "/pi_1/", Key: "k"},
		"no id":             {Path: intents + "/", Key: "k"},
		"an impossible id":  {Path: intents + "/../capture", Key: "k"},
		"more than an id":   {Path: intents + "/pi_1/x/capture", Key: "k"},
		"a query":           {Path: intents + "/pi_1?x=/capture", Key: "k"},
	} {
		_, err := bed.gateway.Send(t.Context(), call, false)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, ports.ErrUnavailable)
	}
}

// Every answer that Stripe, or something in its place, may give. The first send can
// prove "rejected" and "deployment_rejected"; of the answers to a copy only a 402 can.
func TestSend_Outcomes(t *testing.T) {
	t.Parallel()

	invalid := `{"error":{"type":"invalid_request_error","code":"amount_too_small","message":"too small"}}`
	coded := func(code string) string {
		return `{"error":{"type":"invalid_request_error","code":"` + code + `","message":"no"}}`
	}
	card := `{"error":{"type":"card_error","code":"card_declined","message":"declined"}}`
	named := `{"error":{"type":"card_error","payment_intent":{"id":"pi_1"}}}`
	reused := `{"error":{"type":"idempotency_error","message":"other parameters"}}`
	locked := `{"error":{"type":"invalid_request_error","code":"lock_timeout"}}`
	html := `<html><body>502 Bad Gateway</body></html>`

	for name, c := range map[string]struct {
		status   int
		body     string
		advice   string // Stripe-Should-Retry
		outcome  string // on the first send
		reason   string
		attempts int    // on the first send
		copy     string // the outcome on a copy
		copies   int    // attempts on a copy
	}{
		"done":              {200, intentJSON, "", "done", "", 1, "done", 1},
		"done, 201":         {201, intentJSON, "", "done", "", 1, "done", 1},
		"400":               {400, invalid, "", "rejected", "status_400", 1, "unknown", 1},
		"400, too large":    {400, coded("amount_too_large"), "", "rejected", "status_400", 1, "unknown", 1},
		"400, no amount":    {400, coded("invalid_charge_amount"), "", "rejected", "status_400", 1, "unknown", 1},
		"400, account":      {400, coded("testmode_charges_only"), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"400, key":          {400, coded("api_key_expired"), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"400, method":       {400, coded("payment_method_unactivated"), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"400, our mistake":  {400, coded("parameter_unknown"), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"400, of tomorrow":  {400, coded("amount_of_the_future"), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"400, no code":      {400, coded(""), "", "deployment_rejected", "status_400", 1, "unknown", 1},
		"404":               {404, invalid, "", "deployment_rejected", "status_404", 1, "unknown", 1},
		"404 of a proxy":    {404, html, "", "unknown", "status_404", 1, "unknown", 1},
		"402, not the bank": {402, coded("account_invalid"), "", "deployment_rejected", "status_402", 1, "deployment_rejected", 1},
		"402":               {402, card, "", "rejected", "status_402", 1, "rejected", 1},
		"402, intent named": {402, named, "", "unknown", "status_402", 1, "unknown", 1},
		"402 of a proxy":    {402, html, "", "unknown", "status_402", 1, "unknown", 1},
		"400 of a proxy":    {400, html, "", "unknown", "status_400", 1, "unknown", 1},
		"400 untyped":       {400, `{"error":{}}`, "", "unknown", "status_400", 1, "unknown", 1},
		"400 without error": {400, `{}`, "", "unknown", "status_400", 1, "unknown", 1},
		"idempotency_error": {400, reused, "", "unknown", "idempotency_error", 1, "unknown", 1},
		"401":               {401, invalid, "", "unknown", "status_401", 1, "unknown", 1},
		"403":               {403, invalid, "", "unknown", "status_403", 1, "unknown", 1},
		"405":               {405, invalid, "", "unknown", "status_4xx", 1, "unknown", 1},
		"409":               {409, invalid, "", "unknown", "status_409", 3, "unknown", 3},
		"409, no retry":     {409, invalid, "false", "unknown", "status_409", 1, "unknown", 1},
		"424":               {424, invalid, "", "unknown", "status_424", 1, "unknown", 1},
		"lock_timeout":      {429, locked, "", "unknown", "lock_timeout", 3, "unknown", 3},
		"500":               {500, `{"error":{"type":"api_error"}}`, "", "unknown", "status_5xx", 1, "unknown", 1},
		"500, retry":        {500, `{"error":{"type":"api_error"}}`, "true", "unknown", "status_5xx", 3, "unknown", 3},
		"502 of a proxy":    {502, html, "", "unknown", "status_5xx", 3, "unknown", 3},
		"503, no retry":     {503, html, "false", "unknown", "status_5xx", 1, "unknown", 1},
		"redirect":          {307, "", "", "unknown", "status_3xx", 1, "unknown", 1},
		"HTML 200":          {200, html, "", "unknown", "undecodable", 3, "unknown", 3},
		"empty 200":         {200, "", "", "unknown", "undecodable", 3, "unknown", 3},
		"{} 200":            {200, `{}`, "", "unknown", "undecodable", 3, "unknown", 3},
		"null 200":          {200, `null`, "", "unknown", "undecodable", 3, "unknown", 3},
		"cut 200":           {200, intentJSON[:len(intentJSON)/2], "", "unknown", "undecodable", 3, "unknown", 3},
		"other types":       {200, strings.Replace(intentJSON, "1999", `"1999"`, 1), "", "unknown", "undecodable", 3, "unknown", 3},
		"wrong amount":      {200, strings.Replace(intentJSON, "1999", "199900", 1), "", "unknown", "mismatch", 1, "unknown", 1},
		"wrong currency":    {200, strings.Replace(intentJSON, "usd", "eur", 1), "", "unknown", "mismatch", 1, "unknown", 1},
		"wrong payment":     {200, strings.Replace(intentJSON, "0190", "0290", 1), "", "unknown", "mismatch", 1, "unknown", 1},
		"no amount":         {200, strings.Replace(intentJSON, `"amount"`, `"sum"`, 1), "", "unknown", "mismatch", 1, "unknown", 1},
		"no metadata":       {200, strings.Replace(intentJSON, `"metadata"`, `"data"`, 1), "", "unknown", "mismatch", 1, "unknown", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var arrived atomic.Int64

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
				arrived.Add(1)
				w.Header().Set("Stripe-Should-Retry", c.advice)
				w.Header().Set("Location", "/elsewhere")
				answer(w, c.status, c.body)
			})

			_, err := bed.gateway.Send(t.Context(), create(t), false)
			requireOutcome(t, c.outcome, err)
			bed.meter.require(t, c.attempts, c.outcome, c.reason)

			_, err = bed.gateway.Send(t.Context(), create(t), true)
			requireOutcome(t, c.copy, err)
			bed.meter.require(t, c.copies, c.copy, c.reason)
			require.EqualValues(t, c.attempts+c.copies, arrived.Load())
		})
	}
}

// Stripe would replay the same answer again, whatever it advises.
func TestSend_AReplayedErrorIsNotRepeated(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Idempotent-Replayed", "true")
		w.Header().Set("Stripe-Should-Retry", "true")
		answer(w, http.StatusBadGateway, `{"error":{"type":"api_error"}}`)
	})

	_, err := bed.gateway.Send(t.Context(), create(t), true)
	requireOutcome(t, "unknown", err)
	bed.meter.require(t, 1, "unknown", "status_5xx")
}

// Only the very first send can be rejected for certain: once an attempt's answer was
// lost, a rejection of the next one says nothing about it.
func TestSend_RejectionAfterALostAnswerIsUnknown(t *testing.T) {
	t.Parallel()

	calls := 0
	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			panic(http.ErrAbortHandler)
		}

		answer(w, http.StatusBadRequest, `{"error":{"type":"invalid_request_error","message":"no"}}`)
	})

	_, err := bed.gateway.Send(t.Context(), create(t), false)
	requireOutcome(t, "unknown", err)
	require.Equal(t, 2, calls)
}

func TestSend_AnotherAttemptFindsTheIntent(t *testing.T) {
	t.Parallel()

	for name, first := range map[string]struct {
		reason string
		answer func(w http.ResponseWriter)
	}{
		"connection reset": {"connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		"reset in the body": {"connection", func(w http.ResponseWriter) {
			answer(w, http.StatusOK, intentJSON[:100])
			w.(http.Flusher).Flush() //nolint:forcetypeassert // it is net/http's
			panic(http.ErrAbortHandler)
		}},
		"cut short of its length": {"connection", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			answer(w, http.StatusOK, intentJSON[:100])
		}},
		"in use": {"status_409", func(w http.ResponseWriter) { answer(w, http.StatusConflict, "{}") }},
		"{}":     {"undecodable", func(w http.ResponseWriter) { answer(w, http.StatusOK, "{}") }},
		// What one attempt decoded does not reach the next one's answer.
		"part of another": {"undecodable", func(w http.ResponseWriter) {
			answer(w, http.StatusOK, `{"id":"","status":"succeeded","last_payment_error":{},"client_secret":"y"}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			calls := 0
			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls++; calls == 1 {
					first.answer(w)

					return
				}

				answer(w, http.StatusOK, intentJSON)
			})

			object, err := bed.gateway.Send(t.Context(), create(t), false)
			require.NoError(t, err)
			require.Equal(t, ports.Intent{
				ID: "pi_1", ClientSecret: clientSecret, Amount: order(t, 1999, nil).Amount,
				Status: payment.Pending, IntentStatus: payment.IntentRequiresPaymentMethod, PaymentID: paymentID,
				Metadata: map[string]string{"Payment_ID": "x"}, CreatedAt: time.Unix(1705314600, 0).UTC(),
			}, object.Intent)
			require.Equal(t, []string{"unknown " + first.reason, "done "}, bed.meter.take())
		})
	}
}

// net/http itself resends a POST that has an Idempotency-Key when a kept connection
// dies. The gateway prevents that: each send is an attempt of its own.
func TestSend_NetHTTPResendsNothing(t *testing.T) {
	t.Parallel()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })

	var served sync.WaitGroup

	t.Cleanup(served.Wait)
	served.Go(func() {
		// The first connection answers once and dies when it is used again.
		serveOne(t, listener, intentJSON, "")
		serveOne(t, listener, intentJSON)
	})

	bed := newBedAt(t, "http://"+listener.Addr().String())

	_, err = bed.gateway.Send(t.Context(), create(t), false)
	require.NoError(t, err)
	bed.meter.require(t, 1, "done", "")

	_, err = bed.gateway.Send(t.Context(), create(t), false)
	require.NoError(t, err)
	require.Equal(t, []string{"unknown connection", "done "}, bed.meter.take())
}

// serveOne answers a connection's requests in turn; an empty answer closes it.
func serveOne(t *testing.T, listener net.Listener, answers ...string) {
	t.Helper()

	connection, err := listener.Accept()
	if err != nil {
		t.Error(err)

		return
	}
	defer connection.Close() //nolint:errcheck // it is the test's end

	reader := bufio.NewReader(connection)

	for _, body := range answers {
		request, err := http.ReadRequest(reader)
		if err != nil {
			t.Error(err)

			return
		}

		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			t.Error(err)
		}

		if body == "" {
			return
		}

		if _, err := fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Error(err)
		}
	}
}

func TestSend_HonoursItsContext(t *testing.T) {
	t.Parallel()

	arrived := make(chan struct{}, 3)
	bed := newBed(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client has gone

		arrived <- struct{}{}

		<-r.Context().Done()
	})

	ctx, cancel := context.WithCancel(t.Context())

	go func() {
		<-arrived
		cancel()
	}()

	_, err := bed.gateway.Send(ctx, create(t), false)
	requireOutcome(t, "unknown", err)
	require.ErrorIs(t, err, context.Canceled)
	bed.meter.require(t, 1, "unknown", "cancelled")

	// The deadline passes once the request has arrived, however slow the machine is.
	passing := expiring{t.Context(), make(chan struct{})}

	go func() {
		<-arrived
		close(passing.expired)
	}()

	_, err = bed.gateway.Send(passing, create(t), false)
	requireOutcome(t, "unknown", err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	bed.meter.require(t, 1, "unknown", "deadline")
}

// expiring is a context whose deadline passes when expired is closed.
type expiring struct {
	context.Context //nolint:containedctx // it is one

	expired chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.expired }

func (e expiring) Err() error {
	select {
	case <-e.expired:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A truncated answer holds the client secret, and stripe-go's errors quote it.
func TestGateway_KeepsSecretsOutOfErrorsLogsAndSpans(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"truncated": {200, intentJSON[:len(intentJSON)-10]},
		"no JSON":   {502, "the secret is " + clientSecret + ` and sk_live_abc123`},
		"no error":  {400, `{"client_secret":"` + clientSecret + `"}`},
		"message":   {400, `{"error":{"type":"invalid_request_error","message":"` + clientSecret + ` of sk_live_abc123"}}`},
		"unknown":   {401, `{"error":{"type":"invalid_request_error","message":"Invalid API Key: sk_live_abc123"}}`},
		"an intent": {402, `{"error":{"type":"card_error","payment_intent":` + intentJSON + `}}`},
		"done":      {200, intentJSON},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, c.status, c.body) })

			_, err := bed.gateway.Send(t.Context(), create(t), false)

			var told strings.Builder

			fmt.Fprintf(&told, "%+v %#v", err, err)

			for e := err; e != nil; e = errors.Unwrap(e) {
				fmt.Fprintf(&told, "%+v", e)
			}

			for _, line := range bed.logs.All() {
				fmt.Fprintln(&told, line.Message, line.ContextMap())
			}

			for _, span := range bed.spans.Ended() {
				fmt.Fprintln(&told, span.Name(), span.Attributes(), span.Status(), span.Events())
			}

			require.NotContains(t, told.String(), "Zm9vYmFy")
			require.NotContains(t, told.String(), "abc123")
			require.NotContains(t, told.String(), "sk_test_1")
		})
	}
}

func TestGateway_TracesEachAttempt(t *testing.T) {
	t.Parallel()

	calls := 0
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") == "" || r.Header.Get("Baggage") != "" {
			t.Error("Stripe gets the trace's id and nothing else of it")
		}

		calls++
		w.Header().Set("Request-Id", fmt.Sprintf("req_%d", calls))

		if calls == 1 {
			answer(w, http.StatusConflict, "{}")

			return
		}

		w.Header().Set("Idempotent-Replayed", "true")
		answer(w, http.StatusOK, intentJSON)
	})

	_, err := bed.gateway.Send(t.Context(), create(t), false)
	require.NoError(t, err)

	spans := map[string]sdktrace.ReadOnlySpan{}

	for _, span := range bed.spans.Ended() {
		spans[span.SpanContext().SpanID().String()] = span
	}

	var told []string

	for _, span := range bed.spans.Ended() {
		if span.Name() != "POST" {
			continue
		}

		attempt := spans[span.Parent().SpanID().String()]
		require.Equal(t, "stripe.create_intent", attempt.Name())

		attributes := map[string]any{}
		for _, a := range attempt.Attributes() {
			attributes[string(a.Key)] = a.Value.AsInterface()
		}

		require.Equal(t, paymentID.String(), attributes["marketflow.payment.id"])

		told = append(told, fmt.Sprintln(attributes["stripe.attempt"], attributes["stripe.request_id"],
			attributes["stripe.outcome"], attributes["stripe.reason"], attributes["stripe.idempotent_replayed"],
			attempt.Status().Code))
	}

	require.Equal(t, []string{"1 req_1 unknown status_409 false Error\n", "2 req_2 done  true Unset\n"}, told)
}

func TestGateway_ErrorsNameTheRequestID(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", "req_7")
		answer(w, http.StatusUnauthorized, `{"error":{"type":"invalid_request_error","message":"Invalid API Key provided"}}`)
	})

	_, err := bed.gateway.Send(t.Context(), create(t), false)

	var unknown *stripe.UnknownError

	require.ErrorAs(t, err, &unknown)
	require.Equal(t, stripe.ReasonUnauthorized, unknown.Reason)
	require.Equal(t, http.StatusUnauthorized, unknown.Status)
	require.Equal(t, "req_7", unknown.RequestID)
	require.EqualError(t, err, "stripe create_intent: outcome unknown (status_401) at attempt 1, req_7: "+
		"status 401 invalid_request_error : Invalid API Key provided")
}

// received is a request as the server got it.
type received struct {
	*http.Request

	body string
}

// testBed is a gateway that calls a server of the test's, and all that it reports.
type testBed struct {
	gateway *stripe.Gateway
	meter   *recorder
	logs    *observer.ObservedLogs
	spans   *tracetest.SpanRecorder
}

func newBed(t *testing.T, handler http.HandlerFunc) testBed {
	t.Helper()

	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)

	return newBedAt(t, server.URL)
}

func newBedAt(t *testing.T, address string) testBed {
	t.Helper()

	core, logs := observer.New(zap.DebugLevel)
	bed := testBed{meter: &recorder{}, logs: logs, spans: tracetest.NewSpanRecorder()}
	bed.gateway = stripe.NewGateway(
		stripe.Config{SecretKey: "sk_test_1", APIBase: address},
		stripe.WithSleep(noSleep),
		stripe.WithMeter(bed.meter),
		stripe.WithLogger(zap.New(core)),
		stripe.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(bed.spans))),
	)

	return bed
}

// create is the call that makes the intent of intentJSON.
func create(tb testing.TB) ports.Call {
	tb.Helper()

	return createFor(tb, "", order(tb, 1999, nil))
}

func createFor(tb testing.TB, key operation.Key, order operation.Order) ports.Call {
	tb.Helper()

	call, err := stripe.Calls{}.CreatePayment(markOf(operation.Create, paymentID), key, order)
	require.NoError(tb, err)

	return call
}

// installationID is that of every mark here.
var installationID = uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa")

func markOf(kind operation.Kind, id uuid.UUID) operation.Mark {
	return operation.Installation{ID: installationID}.Mark(operation.DefaultTenant, kind, id, operation.Fingerprint{1, 2, 3})
}

func answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // in some tests the client has gone
}

func requireOutcome(t *testing.T, want string, err error) {
	t.Helper()

	var (
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
		unknown    *stripe.UnknownError
	)

	switch {
	case err == nil:
		require.Equal(t, want, "done")
	case errors.As(err, &deployment):
		require.Equal(t, want, "deployment_rejected", "%v", err)
	case errors.As(err, &rejected):
		require.Equal(t, want, "rejected", "%v", err)
	case errors.As(err, &unknown):
		require.Equal(t, want, "unknown", "%v", err)
		require.NotErrorIs(t, err, ports.ErrUnavailable)
	default:
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Equal(t, want, "not_sent", "%v", err)
	}
}

// recorder is a Meter that remembers.
type recorder struct {
	mu       sync.Mutex
	calls    []string
	inFlight int
	most     int
	open     bool
	opened   int
}

func (r *recorder) Call(_, outcome, reason string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.calls = append(r.calls, outcome+" "+reason)
}

func (r *recorder) InFlight(delta int) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.inFlight += delta
	r.most = max(r.most, r.inFlight)
}

func (r *recorder) BreakerState(open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if open && !r.open {
		r.opened++
	}

	r.open = open
}

// take returns what was measured since the last time.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()

	calls := r.calls
	r.calls = nil

	return calls
}

// require wants n attempts since the last time, all with this outcome and reason.
func (r *recorder) require(t *testing.T, n int, outcome, reason string) {
	t.Helper()

	if outcome == "done" {
		reason = ""
	}

	want := make([]string, n)
	for i := range want {
		want[i] = outcome + " " + reason
	}

	require.Equal(t, want, r.take())
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// order is an order for so many cents.
func order(tb testing.TB, minor int64, metadata map[string]string) operation.Order {
	tb.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(tb, err)
	amount, err := money.NewPrice(minor, currency)
	require.NoError(tb, err)

	return operation.Order{Amount: amount, Metadata: metadata}
}
