package sandbox_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

// Stripe, "Webhook versioning": an endpoint's version is chosen when it is made,
// and its events carry it.
func TestWebhookEndpoints_ChooseTheirVersion(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for version, right := range map[string]bool{
		"2023-10-16": true, "2020-08-27": true, "2024-10-28.acacia": true, "2026-03-25.dahlia": true,
		"newest": false, "2023-10": false, "2023-13-01": false, "2023-02-30": false, "2024-10-28.": false,
		"2024-10-28.a.b": false, "2024-10-28.ACACIA": false, "2024-10-28 acacia": false, "20241028": false,
		"%201": false, "2024-10-28.acacia%0A": false,
	} {
		made := c.call("POST", "/v1/webhook_endpoints", "url=http://127.0.0.1:9/&enabled_events[]=*&api_version="+version)
		if !right {
			require.Equal(t, http.StatusBadRequest, made.status, version)
			require.Equal(t, "api_version", made.text("param"), version)

			continue
		}

		require.Equal(t, http.StatusOK, made.status, version)
		require.Equal(t, version, made.text("api_version"))
		require.Equal(t, version, c.call("GET", "/v1/webhook_endpoints/"+made.text("id"), "").text("api_version"))
	}

	made := c.call("POST", "/v1/webhook_endpoints", "url=http://127.0.0.1:9/&enabled_events[]=*")
	require.Contains(t, made.body, "api_version")
	require.Nil(t, made.body["api_version"])
}

func TestWebhookEndpoints_EachHasItsOwn(t *testing.T) {
	t.Parallel()

	state := filepath.Join(t.TempDir(), "state")
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{StateFile: state}))
	c := caller{t, server.URL, testKey, ""}

	type endpoint struct {
		*recorder

		version, secret string
	}

	endpoints := map[string]*endpoint{"2024-10-28.acacia": {}, "2020-08-27": {}, "": {}}

	for version, e := range endpoints {
		e.recorder = newRecorder(t, always(http.StatusOK))
		form := versionParam("url="+e.URL+"&enabled_events[]=payment_intent.created", version)
		made := c.call("POST", "/v1/webhook_endpoints", form)
		e.secret, e.version = made.text("secret"), version

		if version == "" {
			e.version = "2023-10-16"
		}
	}

	check := func(nth int) {
		for _, e := range endpoints {
			sent := e.wait(t, nth)[nth-1]
			require.Equal(t, e.version, sent.event(t).APIVersion)
			require.NoError(t, webhook.ValidatePayload(sent.body, sent.signature, e.secret))

			for _, other := range endpoints {
				if other != e {
					require.Error(t, webhook.ValidatePayload(sent.body, sent.signature, other.secret))
				}
			}
		}
	}

	c.call("POST", "/v1/payment_intents", createForm)
	check(1)

	events, _ := c.call("GET", "/v1/events?type=payment_intent.created", "").body["data"].([]any)
	first, _ := events[0].(map[string]any)
	require.Equal(t, "2023-10-16", first["api_version"],
		"the Events API has the account's version")

	require.NoError(t, server.Close())

	server = sandbox.Start(t, sandbox.WithOptions(sandbox.Options{StateFile: state}))
	c.url = server.URL
	c.call("POST", "/v1/payment_intents", createForm)
	check(2)
}

func TestWebhookEndpoints_DisabledGetsNothing(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	other := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithWebhook(other.URL, testSecret))
	c := caller{t, server.URL, testKey, ""}

	made := c.call("POST", "/v1/webhook_endpoints", "url="+rec.URL+"&enabled_events[]=payment_intent.created")
	require.Equal(t, "enabled", made.text("status"))

	path := "/v1/webhook_endpoints/" + made.text("id")
	disabled := c.call("POST", path, "disabled=true")
	require.Equal(t, "disabled", disabled.text("status"))
	require.Equal(t, "disabled", c.call("POST", path, "description=x").text("status"), "it stays so")

	missed := c.call("POST", "/v1/payment_intents", createForm)
	require.Equal(t, "enabled", c.call("POST", path, "disabled=false").text("status"))

	heard := c.call("POST", "/v1/payment_intents", createForm)
	require.Equal(t, heard.text("id"), rec.wait(t, 1)[0].event(t).GetObjectValue("id"))
	other.wait(t, 6)
	require.Len(t, rec.all(), 1)
	require.NotEqual(t, missed.text("id"), heard.text("id"))
}

// An endpoint that is disabled while it fails is not tried again.
func TestWebhookEndpoints_DisabledEndsRetries(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusInternalServerError))
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{RetryBase: time.Hour}))
	c := caller{t, server.URL, testKey, ""}
	made := c.call("POST", "/v1/webhook_endpoints", "url="+rec.URL+"&enabled_events[]=payment_intent.created")

	c.call("POST", "/v1/payment_intents", createForm)
	rec.wait(t, 1)
	require.Eventually(t, func() bool { return !server.Deliveries("", made.text("id"))[0].NextAttempt.IsZero() }, patience, glance)

	c.call("POST", "/v1/webhook_endpoints/"+made.text("id"), "disabled=true")
	server.Advance(2 * time.Hour)

	marker := newRecorder(t, always(http.StatusOK))
	server.AddWebhook(marker.URL, testSecret)
	c.call("POST", "/v1/payment_intents", createForm)
	marker.wait(t, 3)
	require.Len(t, rec.all(), 1)
}

func TestWebhookEndpoints_ConnectHearsOfConnectedAccounts(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	platform, live := caller{t, server.URL, testKey, ""}, caller{t, server.URL, liveKey, ""}
	seller, other := caller{t, server.URL, testKey, "acct_1Seller"}, caller{t, server.URL, otherKey, ""}
	liveSeller := caller{t, server.URL, liveKey, "acct_1Seller"}

	own, connect, liveConnect := newRecorder(t, always(200)), newRecorder(t, always(200)), newRecorder(t, always(200))
	form := "enabled_events[]=payment_intent.created&url="

	platform.call("POST", "/v1/webhook_endpoints", form+own.URL)
	require.Equal(t, http.StatusOK, platform.call("POST", "/v1/webhook_endpoints", "connect=true&"+form+connect.URL).status)

	made := live.call("POST", "/v1/webhook_endpoints", "connect=true&"+form+liveConnect.URL)
	require.Equal(t, true, made.body["livemode"])

	intents := map[string]string{}
	for name, c := range map[string]caller{"own": platform, "seller": seller, "other": other, "liveSeller": liveSeller} {
		intents[name] = c.call("POST", "/v1/payment_intents", createForm).text("id")
	}

	ofSeller := connect.wait(t, 1)[0].event(t)
	require.Equal(t, "acct_1Seller", ofSeller.Account)
	require.Equal(t, intents["seller"], ofSeller.GetObjectValue("id"))

	ofOwn := own.wait(t, 1)[0].event(t)
	require.Empty(t, ofOwn.Account)
	require.Equal(t, intents["own"], ofOwn.GetObjectValue("id"))

	// A live Connect endpoint gets events of both modes.
	both := make([]string, 0, 2)

	for _, sent := range liveConnect.wait(t, 2) {
		event := sent.event(t)
		id := event.GetObjectValue("id")
		both = append(both, id)

		require.Equal(t, id == intents["liveSeller"], event.Livemode)
	}

	require.ElementsMatch(t, []string{intents["seller"], intents["liveSeller"]}, both)
	require.Len(t, connect.all(), 1)
	require.Len(t, own.all(), 1)
}

func TestControl_DeliveriesAndResendToOne(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, func(n int) int {
		if n == 1 {
			return http.StatusServiceUnavailable
		}

		return http.StatusOK
	})
	other := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{RetryBase: time.Millisecond}))
	c := caller{t, server.URL, testKey, ""}
	one := c.call("POST", "/v1/webhook_endpoints", "url="+rec.URL+"&enabled_events[]=payment_intent.created").text("id")
	two := c.call("POST", "/v1/webhook_endpoints", "url="+other.URL+"&enabled_events[]=payment_intent.canceled").text("id")

	c.call("POST", "/v1/payment_intents", createForm)
	rec.wait(t, 2)

	var attempts []any

	deliveries := func(query string) []any { return controlList(t, server, "/deliveries?"+query) }

	require.Eventually(t, func() bool {
		found := deliveries("endpoint=" + one)
		if len(found) == 1 {
			attempts, _ = found[0].(map[string]any)["log"].([]any)
		}

		return len(attempts) == 2
	}, patience, glance)

	for n, status := range []float64{503, 200} {
		attempt, _ := attempts[n].(map[string]any)
		require.InDelta(t, status, attempt["status"], 0)
	}

	require.Empty(t, deliveries("endpoint="+two))

	event, _ := deliveries("")[0].(map[string]any)["event"].(string)
	require.Len(t, deliveries("event="+event), 1)

	status, _ := control(t, server, "POST", "/events/"+event+"/resend", fmt.Sprintf(`{"endpoint":%q}`, two))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, event, other.wait(t, 1)[0].event(t).ID)
	require.Len(t, rec.all(), 2, "the other endpoint does not get it again")

	for _, path := range []string{"/events/evt_none/resend", "/events/" + event + "/resend"} {
		status, _ = control(t, server, "POST", path, `{"endpoint":"we_none"}`)
		require.Equal(t, http.StatusNotFound, status)
	}

	status, _ = control(t, server, "GET", "/deliveries?colour=red", "")
	require.Equal(t, http.StatusBadRequest, status)

	require.True(t, slices.ContainsFunc(server.Deliveries(event, two), func(d sandbox.Delivery) bool { return d.URL == other.URL }))
}
