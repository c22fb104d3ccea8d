package tests

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

// An event of the other mode, or of somebody else's account, is answered 200 and
// changes nothing.
func TestWebhook_ForeignEventsChangeNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t, through(t, newOwner("acct_1").handler))

	created := w.create(order)
	intent := created.text("stripe_payment_intent_id")
	event := func(id, envelope, object string) string {
		return fmt.Sprintf(`{"id":%q,"type":"payment_intent.succeeded","created":%d%s,`+
			`"data":{"object":{"id":%q,"status":"succeeded","client_secret":"pi_secret_x"%s}}}`,
			id, time.Now().Unix(), envelope, intent, object)
	}

	foreign := map[string]string{
		"evt_live":      event("evt_live", `,"livemode":true`, ""),
		"evt_object":    event("evt_object", "", `,"livemode":true`),
		"evt_disagrees": event("evt_disagrees", `,"livemode":false`, `,"livemode":true`),
		"evt_connected": event("evt_connected", `,"livemode":false,"account":"acct_9"`, ""),
		"evt_both":      event("evt_both", `,"livemode":true,"account":"acct_9"`, `,"livemode":true`),
	}
	for id, body := range foreign {
		for range 2 {
			require.Equal(t, http.StatusOK, w.webhook(body).status, "Stripe would send it for days")
		}

		require.Equal(t, "pending", w.status(created.text("id")), id)
	}

	require.Equal(t, len(foreign), w.count(`SELECT count(*) FROM stripe_events
		WHERE outcome = 'foreign' AND payload = '' AND object_id = '' AND created_at IS NOT NULL
		  AND type = 'payment_intent.succeeded'`))

	metrics := string(w.get("/metrics").body)
	require.Contains(t, metrics, fmt.Sprintf(
		`marketflow_webhook_events_total{outcome="foreign",type="payment_intent.succeeded"} %d`, len(foreign)))

	// An event of ours says so in any of these ways, or says nothing.
	for i, ours := range []string{
		`,"livemode":false`, `,"livemode":null,"account":null`, `,"account":""`, `,"account":"acct_1"`, "",
	} {
		require.Equal(t, http.StatusOK, w.webhook(event(fmt.Sprintf("evt_ours_%d", i), ours, "")).status)
	}

	require.Equal(t, "succeeded", w.status(created.text("id")))
	require.Equal(t, len(foreign)+5, w.count("SELECT count(*) FROM stripe_events"))
}

// An earlier release parked events of the other mode. Reprocessing such an event
// marks it as foreign.
func TestWebhook_ForeignEventIsNoLongerParked(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	body := `{"id":"evt_old","type":"payment_intent.succeeded","data":{"object":{"id":"pi_unknown","status":"succeeded"}}}`
	require.Equal(t, http.StatusOK, w.webhook(body).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked'"))

	w.exec("UPDATE stripe_events SET payload = $1", []byte(strings.Replace(body, `"type"`, `"livemode":true,"type"`, 1)))

	require.NoError(t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		for range 2 {
			applied, err := tools.ReprocessEvent.Do(ctx, "evt_old", operations.Decision{})
			require.NoError(t, err)
			require.Equal(t, ports.EventForeign, applied.Outcome)
		}

		return nil
	}))
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'foreign'"))
}
