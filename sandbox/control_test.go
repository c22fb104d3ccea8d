package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// control calls the control API and decodes its answer.
func control(t *testing.T, server *sandbox.Server, method, path, body string) (status int, decoded map[string]any) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_sandbox"+path, strings.NewReader(body))
	require.NoError(t, err)

	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)

	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, json.Unmarshal(text, &decoded), string(text))

	return response.StatusCode, decoded
}

// controlList reads a door that answers an array.
func controlList(t *testing.T, server *sandbox.Server, path string) []any {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/_sandbox"+path, nil)
	require.NoError(t, err)

	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)

	var list []any

	require.NoError(t, json.NewDecoder(response.Body).Decode(&list))
	require.NoError(t, response.Body.Close())

	return list
}

// A crash test's walk: hold the answer, wait until it is held, look at the
// books, let go.
func TestControl_HoldWaitRelease(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	status, rule := control(t, server, "POST", "/faults", `{"action":"hold","path":"/v1/payment_intents"}`)
	require.Equal(t, http.StatusOK, status)

	path, _ := rule["id"].(string)
	path = "/faults/" + path
	answered := make(chan int, 1)

	go func() {
		response, _, _ := post(t.Context(), server.URL+"/v1/payment_intents", "k1", intentForm()) // an error has no status
		answered <- response.StatusCode
	}()

	status, rule = control(t, server, "GET", path+"/wait?timeout=10s", "")
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 1, rule["fired"])
	require.EqualValues(t, 1, rule["held"])
	require.Equal(t, 1, countIntents(server))

	status, _ = control(t, server, "POST", path+"/release", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusOK, <-answered)

	status, rule = control(t, server, "GET", path, "")
	require.Equal(t, http.StatusOK, status)
	require.EqualValues(t, 1, rule["matched"])
}

func TestControl_NoSuchDoor(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for method, path := range map[string]string{"GET": "/nowhere", "PUT": "/faults", "POST": "/books"} {
		status, answer := control(t, server, method, path, "")
		require.Equal(t, http.StatusNotFound, status, path)
		require.Equal(t, "no such object: "+method+" /_sandbox"+path, answer["error"])
	}
}

func TestControl_ClearLetsGoOfEverything(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))

	for _, rule := range []string{
		`{"action":"hold_before","path":"/v1/payment_intents"}`, `{"action":"webhook_reorder","window":9,"delay":"1h"}`,
	} {
		status, _ := control(t, server, "POST", "/faults", rule)
		require.Equal(t, http.StatusOK, status)
	}

	answered := make(chan int, 1)

	go func() {
		response, _, _ := post(t.Context(), server.URL+"/v1/payment_intents", "k1", intentForm()) // an error has no status
		answered <- response.StatusCode
	}()

	require.NoError(t, server.WaitFault(t.Context(), "fault_1", 1))
	mustPost(t, server.URL+"/v1/payment_intents", "k2", intentForm())
	require.NoError(t, server.WaitFault(t.Context(), "fault_2", 1))

	status, _ := control(t, server, "DELETE", "/faults", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusOK, <-answered)
	rec.wait(t, 2)
	require.Error(t, server.WaitFault(t.Context(), "fault_1", 1))
}

func TestControl_Hang(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	status, state := control(t, server, "POST", "/hang", `{"on":true}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"on": true, "caught": 0.0}, state)

	cut := make(chan error, 1)

	go func() {
		_, _, err := post(t.Context(), server.URL+"/v1/payment_intents", "k1", intentForm())
		cut <- err
	}()

	require.Eventually(t, func() bool {
		_, caught := server.Hung()

		return caught == 1
	}, patience, glance)

	_, state = control(t, server, "GET", "/hang", "")
	require.EqualValues(t, 1, state["caught"])

	status, _ = control(t, server, "POST", "/hang", `{"on":false}`)
	require.Equal(t, http.StatusOK, status)
	require.Error(t, <-cut)

	status, _ = control(t, server, "POST", "/hang", `on`)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestControl_Resend(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
	mustPost(t, server.URL+"/v1/payment_intents", "", intentForm())

	id := rec.wait(t, 1)[0].event(t).ID
	status, _ := control(t, server, "POST", "/events/"+id+"/resend", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, id, rec.wait(t, 2)[1].event(t).ID)

	status, _ = control(t, server, "POST", "/events/evt_none/resend", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestAuthenticate_PublicURLAndStrangers(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{PublicURL: "https://stripe.example/"}))
	form := intentForm()
	form.Set("confirm", "true")
	form.Set("payment_method", "pm_card_authenticationRequired")

	_, body := mustPost(t, server.URL+"/v1/payment_intents", "", form)

	var intent struct {
		ID         string `json:"id"`
		Secret     string `json:"client_secret"`
		NextAction struct {
			SDK struct {
				URL string `json:"stripe_js"`
			} `json:"use_stripe_sdk"`
		} `json:"next_action"`
	}

	require.NoError(t, json.Unmarshal([]byte(body), &intent))

	page := intent.NextAction.SDK.URL
	require.True(t, strings.HasPrefix(page, "https://stripe.example/_sandbox/authenticate/"+intent.ID), page)

	page = server.URL + strings.TrimPrefix(page, "https://stripe.example")

	for _, stranger := range []string{
		strings.ReplaceAll(page, intent.Secret, "guess"), strings.ReplaceAll(page, "/"+intent.ID+"?", "/pi_none?"),
	} {
		response, _ := mustPost(t, stranger, "", url.Values{"result": {"approve"}})
		require.Equal(t, http.StatusNotFound, response.StatusCode)
	}

	// Without a return_url the page itself says how it ended.
	for range 2 {
		response, shown := mustPost(t, page, "", url.Values{"result": {"approve"}})
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Contains(t, shown, "<strong>succeeded</strong>")
	}
}

// The books can be read while deliveries are added to them.
func TestControl_BooksDuringResend(t *testing.T) {
	t.Parallel()

	rec, server := newRecorder(t, always(http.StatusOK)), sandbox.Start(t)
	api := newClient(server.URL)
	makeIntents(t, api, 5)
	server.AddWebhook(rec.URL, "")

	var resending sync.WaitGroup

	for list := api.Events.List(nil); list.Next(); {
		event := list.Event().ID

		resending.Go(func() { assert.NoError(t, server.Resend(event)) })
	}

	for range 20 {
		for entry := range server.Books(sandbox.BooksFilter{}) {
			require.NotEmpty(t, entry.ID)
		}
	}

	resending.Wait()
	rec.wait(t, 5)
}
