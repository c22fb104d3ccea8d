package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// answer is a response whose body was read.
type answer struct {
	StatusCode int
	Header     http.Header
}

// post sends a form with a key, over a connection of its own: net/http sends a
// request with an Idempotency-Key again by itself when a reused one dies.
func post(ctx context.Context, target, key string, form url.Values) (answer, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, "", err
	}

	request.Header.Set("Authorization", "Bearer "+testKey)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	response, err := client.Do(request)
	if err != nil {
		return answer{}, "", err
	}

	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()

	return answer{StatusCode: response.StatusCode, Header: response.Header}, string(body), err
}

func mustPost(t *testing.T, target, key string, form url.Values) (answer, string) {
	t.Helper()

	response, body, err := post(t.Context(), target, key, form)
	require.NoError(t, err)

	return response, body
}

func intentForm() url.Values {
	return url.Values{
		"amount": {"2000"}, "currency": {"usd"}, "payment_method_types[]": {"card"}, "metadata[payment_id]": {"p1"},
	}
}

func countIntents(s *sandbox.Server) int {
	count := 0
	for range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		count++
	}

	return count
}

func addFault(t *testing.T, s *sandbox.Server, f sandbox.Fault) string {
	t.Helper()

	status, err := s.AddFault(f)
	require.NoError(t, err)

	return status.ID
}

func requireFired(t *testing.T, s *sandbox.Server, id string, fired int) {
	t.Helper()

	status, err := s.Fault(id)
	require.NoError(t, err)
	require.Equal(t, fired, status.Fired)
}

// Each fault hits the first create; the second, under the same key, shows what
// the first one did.
func TestFault_FirstCallAndReplay(t *testing.T) {
	t.Parallel()

	anError := func(_ *testing.T, _ answer, _ string, err error) bool { return err != nil }
	status := func(want int, contains string) func(*testing.T, answer, string, error) bool {
		return func(_ *testing.T, r answer, body string, err error) bool {
			return err == nil && r.StatusCode == want && strings.Contains(body, contains)
		}
	}

	tests := []struct {
		fault    sandbox.Fault
		hit      func(*testing.T, answer, string, error) bool
		executed bool
		second   int
	}{
		{sandbox.Fault{Action: sandbox.DropBefore}, anError, false, 200},
		{sandbox.Fault{Action: sandbox.DropAfter}, anError, true, 200},
		{sandbox.Fault{Action: sandbox.ResetBody}, func(_ *testing.T, _ answer, body string, err error) bool {
			return errors.Is(err, syscall.ECONNRESET) && strings.Contains(body, `"id": "pi_`)
		}, true, 200},
		{sandbox.Fault{Action: sandbox.Truncate}, status(200, `"id": "pi_`), true, 200},
		{sandbox.Fault{Action: sandbox.EmptyObject}, status(200, "{}"), true, 200},
		{sandbox.Fault{Action: sandbox.HTML}, status(502, "<html>"), true, 200},
		{sandbox.Fault{Action: sandbox.HTML, Status: 504}, status(504, "<html>"), true, 200},
		{sandbox.Fault{Action: sandbox.HTMLBefore}, status(502, "<html>"), false, 200},
		{sandbox.Fault{Action: sandbox.Saved500}, status(500, "api_error"), true, 500},
		{sandbox.Fault{Action: sandbox.Error, Status: 409}, status(409, "idempotency_key_in_use"), false, 200},
		{sandbox.Fault{Action: sandbox.Error, Status: 424}, status(424, "api_error"), false, 200},
		{sandbox.Fault{Action: sandbox.Error, Status: 429}, status(429, "rate_limit"), false, 200},
		{sandbox.Fault{Action: sandbox.Error, Status: 401}, status(401, "Invalid API Key"), false, 200},
		{sandbox.Fault{Action: sandbox.Error, Status: 429, Code: "lock_timeout"}, status(429, "lock_timeout"), false, 200},
		{sandbox.Fault{Action: sandbox.Latency, P50: time.Millisecond}, status(200, "pi_"), true, 200},
		{sandbox.Fault{Action: sandbox.LatencyAfter, P50: time.Millisecond, P99: time.Millisecond}, status(200, "pi_"), true, 200},
	}

	for _, test := range tests {
		t.Run(string(test.fault.Action)+"_"+test.fault.Code+http.StatusText(test.fault.Status), func(t *testing.T) {
			t.Parallel()

			server := sandbox.Start(t)
			test.fault.Path = "/v1/payment_intents"
			id := addFault(t, server, test.fault)

			response, body, err := post(t.Context(), server.URL+"/v1/payment_intents", "k1", intentForm())
			require.True(t, test.hit(t, response, body, err), "got %v %s %v", response, body, err)
			requireFired(t, server, id, 1)

			booked := 0
			if test.executed {
				booked = 1
			}

			require.Equal(t, booked, countIntents(server))

			again, _ := mustPost(t, server.URL+"/v1/payment_intents", "k1", intentForm())
			require.Equal(t, test.second, again.StatusCode)
			require.Equal(t, test.executed, again.Header.Get("Idempotent-Replayed") == "true")
			require.Equal(t, 1, countIntents(server))
		})
	}
}

func TestFault_MatchesByCountKeyAndMetadata(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"
	second := addFault(t, server, sandbox.Fault{
		Action: sandbox.Error, Status: 503, Nth: 2, Count: 2, Metadata: map[string]string{"payment_id": "p1"},
	})
	other := addFault(t, server, sandbox.Fault{Action: sandbox.Error, Status: 503, Key: "never", Count: -1})

	statuses := make([]int, 0, 4)

	for range 4 {
		response, _ := mustPost(t, target, "", intentForm())
		statuses = append(statuses, response.StatusCode)
	}

	require.Equal(t, []int{200, 503, 503, 200}, statuses)
	requireFired(t, server, second, 2)
	requireFired(t, server, other, 0)

	// The rule follows a payment's metadata into calls that only name it.
	api := newClient(server.URL)
	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	_, err = api.PaymentIntents.Cancel(intent.ID, nil)
	require.NoError(t, err)

	status, err := server.Fault(second)
	require.NoError(t, err)
	require.Equal(t, 4, status.Matched)
}

func TestFault_HoldKeepsAnswerOfExecutedRequest(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"
	hold := addFault(t, server, sandbox.Fault{Action: sandbox.Hold})

	answered := make(chan int, 1)

	go func() {
		response, _, _ := post(t.Context(), target, "k1", intentForm()) // an error has no status
		answered <- response.StatusCode
	}()

	require.NoError(t, server.WaitFault(t.Context(), hold, 1))
	require.Equal(t, 1, countIntents(server))
	require.Empty(t, answered)

	require.NoError(t, server.ReleaseFault(hold))
	require.Equal(t, http.StatusOK, <-answered)
}

func TestFault_HoldBeforeExecutesThoughClientIsGone(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"
	hold := addFault(t, server, sandbox.Fault{Action: sandbox.HoldBefore})
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)

	go func() {
		_, _, err := post(ctx, target, "k1", intentForm())
		gone <- err
	}()

	require.NoError(t, server.WaitFault(t.Context(), hold, 1))
	require.Zero(t, countIntents(server))

	conflict, body := mustPost(t, target, "k1", intentForm())
	require.Equal(t, http.StatusConflict, conflict.StatusCode)
	require.Contains(t, body, "idempotency_key_in_use")
	require.Equal(t, "true", conflict.Header.Get("Stripe-Should-Retry"))

	hangUp()
	require.ErrorIs(t, <-gone, context.Canceled)
	require.NoError(t, server.ReleaseFault(hold))
	require.Eventually(t, func() bool { return countIntents(server) == 1 }, patience, glance)
}

func TestHang_CatchesEverythingAndExecutesNothing(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	server.Hang(true)

	cut := make(chan error, 1)

	go func() {
		_, _, err := post(t.Context(), server.URL+"/v1/payment_intents", "k1", intentForm())
		cut <- err
	}()

	require.Eventually(t, func() bool {
		_, caught := server.Hung()

		return caught == 1
	}, patience, glance)

	server.Hang(false)
	require.Error(t, <-cut)
	require.Zero(t, countIntents(server))

	response, _ := mustPost(t, server.URL+"/v1/payment_intents", "k1", intentForm())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func TestServer_CloseLetsGoOfHeldRequests(t *testing.T) {
	t.Parallel()

	server, err := sandbox.Listen(t.Context(), "127.0.0.1:0", sandbox.Options{})
	require.NoError(t, err)

	id := addFault(t, server, sandbox.Fault{Action: sandbox.HangRequest})
	done := make(chan error, 1)

	go func() {
		_, _, err := post(t.Context(), server.URL+"/v1/payment_intents", "", intentForm())
		done <- err
	}()

	require.NoError(t, server.WaitFault(t.Context(), id, 1))
	require.NoError(t, server.Close())
	require.Error(t, <-done)
}

func TestControl_FaultsOverHTTP(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	handler := func(method, target, body string) (int, string) {
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, httptest.NewRequest(method, target, strings.NewReader(body)))

		return recorder.Code, recorder.Body.String()
	}

	code, body := handler("POST", "/_sandbox/faults", `{"action":"latency","p50":"1ms","p99":"2ms","count":-1}`)
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"id":"fault_1"`)
	require.Contains(t, body, `"p99":"2ms"`)

	for _, bad := range []string{
		`{"action":"nap"}`, `{"action":"latency"}`, `{"acton":"hold"}`, `{"action":"error","status":200}`,
		`{"action":"hold","event":"*"}`, `{"action":"webhook_lose","path":"/"}`, `{"action":"hold","path":"["}`,
		`{"action":"webhook_signature","variant":"blue"}`, `{"action":"latency","p50":"soon"}`,
	} {
		code, body = handler("POST", "/_sandbox/faults", bad)
		require.Equal(t, http.StatusBadRequest, code, "%s: %s", bad, body)
	}

	mustPost(t, server.URL+"/v1/payment_intents", "", intentForm())

	code, body = handler("GET", "/_sandbox/faults/fault_1/wait?fired=1&timeout=5s", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"fired":1`)

	code, _ = handler("GET", "/_sandbox/faults/fault_1/wait?fired=2&timeout=1ms", "")
	require.Equal(t, http.StatusRequestTimeout, code)

	code, _ = handler("POST", "/_sandbox/faults/fault_9/release", "")
	require.Equal(t, http.StatusNotFound, code)

	code, _ = handler("DELETE", "/_sandbox/faults/fault_1", "")
	require.Equal(t, http.StatusOK, code)
	require.Empty(t, server.Faults())

	code, body = handler("POST", "/_sandbox/clock", `{"advance":"25h"}`)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"offset":"25h0m0s"`)
	require.WithinDuration(t, time.Now().Add(25*time.Hour), server.Now(), time.Minute)

	code, body = handler("GET", "/_sandbox/books?kind=intent&metadata[payment_id]=p1", "")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, 1, strings.Count(body, "\n"))
	require.Contains(t, body, `"payment_id":"p1"`)

	for _, bad := range []string{"kind=intents", "metdata[a]=b"} {
		code, _ = handler("GET", "/_sandbox/books?"+bad, "")
		require.Equal(t, http.StatusBadRequest, code)
	}

	code, body = handler("GET", "/_sandbox/books?metadata[payment_id]=p2", "")
	require.Equal(t, http.StatusOK, code)
	require.Empty(t, body)
}

// A test that stops its sandbox itself is not stuck in the cleanup.
func TestServer_ClosesTwice(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())
}

func TestFault_RefusesStatusesThatHTTPHasNot(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for _, f := range []sandbox.Fault{
		{Action: sandbox.Error, Status: 200}, {Action: sandbox.Error, Status: 1000}, {Action: sandbox.HTML, Status: 42},
	} {
		_, err := server.AddFault(f)
		require.ErrorContains(t, err, "status")
	}
}
