package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// send sends a request to a path of the sandbox with headers in pairs, and
// returns the status and the error.
func send(t *testing.T, url, method, path, body string, headers ...string) (int, string) {
	t.Helper()

	got := caller{t, url, "", ""}.call(method, path, body, append([]string{"Authorization", ""}, headers...)...)
	text, _ := got.body["error"].(string)

	return got.status, text
}

func TestControl_ClockStaysWhereTimesCanBeWritten(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for _, advance := range []string{
		"2562047h", "-2562047h", "1600000h", "-300000h", "9999999h", "", "1", "soon", "1e30h", "NaN",
	} {
		status, answer := control(t, server, "POST", "/clock", fmt.Sprintf(`{"advance":%q}`, advance))
		require.Equal(t, http.StatusBadRequest, status, advance)
		require.NotEmpty(t, answer["error"])
	}

	status, _ := control(t, server, "POST", "/clock", `{"advance":"876000h"}`) // a hundred years
	require.Equal(t, http.StatusOK, status)

	// Twice as far is too far, and would overflow soon after.
	for range 3 {
		status, _ = control(t, server, "POST", "/clock", `{"advance":"876000h"}`)
		require.Equal(t, http.StatusBadRequest, status)
	}

	require.Error(t, server.MoveClock(1<<63-1))
	require.Error(t, server.MoveClock(-1<<63))

	before := server.Now()
	server.Advance(1<<63 - 1)
	require.WithinDuration(t, before, server.Now(), time.Minute)

	// What is made then can be read.
	_, err := newClient(server.URL).PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	status, state := control(t, server, "GET", "/clock", "")
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, state["now"])
}

func TestControl_RefusesAbsurdFaults(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for _, rule := range []string{
		`{"action":"latency","p50":"-1s"}`, `{"action":"latency","p50":"2h"}`, `{"action":"latency","p50":"1s","p99":"100000h"}`,
		`{"action":"webhook_delay","delay":"-1s"}`, `{"action":"webhook_delay","delay":"2562047h"}`,
		`{"action":"webhook_duplicate","copies":1000000000}`, `{"action":"webhook_duplicate","copies":-1}`,
		`{"action":"webhook_reorder","window":-2}`, `{"action":"hold","nth":-1}`, `{"action":"hold","count":-2}`,
		`{"action":"hold","nth":9223372036854775807,"count":9223372036854775807}`, `{"action":"reject"}`,
		`{"action":"reject","status":200}`, `{"action":"roll_forward","delay":"-1s"}`,
	} {
		status, _ := control(t, server, "POST", "/faults", rule)
		require.Equal(t, http.StatusBadRequest, status, rule)
	}

	require.Empty(t, server.Faults())
}

// The control API needs no key, so other people's web pages must be kept out.
func TestControl_KeepsWebPagesOut(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	own := server.URL

	const hang, body = "/_sandbox/hang", `{"on":true}`

	for name, headers := range map[string][]string{
		"another site":            {"Sec-Fetch-Site", "cross-site"},
		"another port":            {"Sec-Fetch-Site", "same-site"},
		"an older browser":        {"Origin", "https://evil.example"},
		"a page without origin":   {"Origin", "null"},
		"a form of another site":  {"Origin", "https://evil.example", "Content-Type", "text/plain"},
		"DNS rebinding":           {"Host", "evil.example", "Origin", "http://evil.example", "Content-Type", "application/json"},
		"rebinding, newer":        {"Host", "evil.example", "Sec-Fetch-Site", "same-origin", "Content-Type", "application/json"},
		"text from its own page":  {"Origin", own, "Sec-Fetch-Site", "same-origin", "Content-Type", "text/plain"},
		"a form from its own":     {"Origin", own, "Content-Type", "application/x-www-form-urlencoded"},
		"no type from its own":    {"Origin", own, "Content-Type", ""},
		"another site, with JSON": {"Origin", "https://evil.example", "Content-Type", "application/json"},
	} {
		for _, call := range [][2]string{
			{"POST", hang},
			{"POST", "/_sandbox/clock"},
			{"POST", "/_sandbox/faults"},
			{"POST", "/_sandbox/faults/x/release"},
			{"POST", "/_sandbox/events/evt_x/resend"},
			{"POST", "/_sandbox/payment_intents/pi_x/lapse"},
			{"POST", "/_sandbox/refunds/re_x"},
			{"POST", "/_sandbox/disputes/du_x"},
			{"POST", "/_sandbox/payments/pi_x/dispute"},
			{"POST", "/_sandbox/dashboard/v1/refunds"},
		} {
			status, why := send(t, own, call[0], call[1], body, headers...)
			require.Contains(t, []int{http.StatusForbidden, http.StatusUnsupportedMediaType}, status, "%s: %s", name, call[1])
			require.NotEmpty(t, why)
		}
	}

	status, _ := send(t, own, "DELETE", "/_sandbox/faults", "", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, status)

	status, _ = send(t, own, "GET", "/_sandbox/deliveries", "", "Host", "evil.example", "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusForbidden, status)

	on, _ := server.Hung()
	require.False(t, on)

	// Programs say nothing of where they are, and its own page may.
	for _, headers := range [][]string{
		{},
		{"Content-Type", "text/plain"},
		{"Host", "sandbox:12111"},
		{"Origin", own, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/json; charset=utf-8"},
	} {
		status, why := send(t, own, "POST", hang, `{"on":false}`, headers...)
		require.Equal(t, http.StatusOK, status, why)
	}
}

// The customer's page is a form of the sandbox's own; other sites' forms are not.
func TestAuthenticatePage_IsItsOwnForm(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	_, got := payWith(t, caller{t, server.URL, testKey, ""},
		"payment_method=pm_card_authenticationRequired&return_url=https://shop.example/")
	action, _ := got.body["next_action"].(map[string]any)["redirect_to_url"].(map[string]any)
	page, _ := action["url"].(string)

	post := func(headers ...string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader("result=approve"))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}

		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())

		return response.StatusCode
	}

	require.Equal(t, http.StatusForbidden, post("Origin", "https://evil.example"))
	require.Equal(t, http.StatusSeeOther, post("Origin", server.URL, "Sec-Fetch-Site", "same-origin"))
}

func TestWebhookEndpoints_AreOnThisMachine(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}
	open := caller{t, sandbox.Start(t, sandbox.WithOptions(sandbox.Options{AllowRemoteWebhooks: true})).URL, testKey, ""}

	for address, isHere := range map[string]bool{
		"http://127.0.0.1:9/hook": true, "http://localhost:9/": true, "https://[::1]:9/": true, "http://127.8.9.1/": true,
		"http://shop.localhost:9/": true, "http://LOCALHOST/": true,
		"http://169.254.169.254/latest": false, "https://shop.example/hook": false, "http://10.0.0.1/": false,
		"http://127.0.0.1.evil.example/": false, "http://localhost.evil.example/": false, "http://0.0.0.0:9/": false,
		"http://127.0.0.1@evil.example/": false, "http://[::ffff:10.0.0.1]/": false, "http://127.1/": false,
	} {
		form := "enabled_events[]=*&url=" + address
		made := c.call("POST", "/v1/webhook_endpoints", form)

		if isHere {
			require.Equal(t, http.StatusOK, made.status, address)
		} else {
			require.Equal(t, http.StatusBadRequest, made.status, address)
			require.Equal(t, "url_invalid", made.text("code"))
			require.Contains(t, made.text("message"), "--allow-remote-webhooks")
		}

		require.Equal(t, http.StatusOK, open.call("POST", "/v1/webhook_endpoints", form).status, address)
	}

	made := c.call("POST", "/v1/webhook_endpoints", "enabled_events[]=*&url=http://127.0.0.1:9/")
	require.Equal(t, http.StatusBadRequest,
		c.call("POST", "/v1/webhook_endpoints/"+made.text("id"), "url=http://10.0.0.1/").status)
}

// A client that holds its connection open without a request is let go of.
func TestServer_HeadersMayNotBeHuge(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)

	defer cancel()

	connection, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)

	defer func() { _ = connection.Close() }()

	_, err = fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("a", 100<<10))
	require.NoError(t, err)

	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
	require.NoError(t, response.Body.Close())
}
