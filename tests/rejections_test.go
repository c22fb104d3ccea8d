package tests

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// rejections makes Stripe reject every create because of the deployment until the
// returned function is called.
func (w *world) rejections(f sandbox.Fault) (repair func()) {
	w.t.Helper()

	f.Action, f.Count = sandbox.Error, -1
	id := w.faultCreates(f)

	return func() { require.NoError(w.t, w.stripe.RemoveFault(id)) }
}

func accountIncomplete() sandbox.Fault {
	return sandbox.Fault{
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "testmode_charges_only",
		Message: "Your account cannot currently make live charges.",
	}
}

// Once the account, the URL or the settings are repaired, the same key and body
// succeed, under the same key at Stripe.
func TestRejected_TheSameKeySucceedsOnceItIsRepaired(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]sandbox.Fault{
		"AccountIncomplete": accountIncomplete(),
		"MethodsOff": {
			Status: http.StatusBadRequest, Type: "invalid_request_error",
			Message: "No valid payment method types for this Payment Intent.",
		},
		"WrongURL": {Status: http.StatusNotFound, Type: "invalid_request_error", Message: "Unrecognized request URL"},
		"Unknown":  {Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "of_the_future", Message: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			repair := w.rejections(fault)

			for range 3 {
				rejected := w.create(order)
				rejected.problem(http.StatusBadGateway, "rejected-by-provider")
				require.Contains(t, rejected.text("detail"), fault.Message)
				require.Contains(t, rejected.text("detail"), "same idempotency key")
				require.Empty(t, rejected.header.Get("Idempotent-Replayed"))
			}

			w.create(strings.Replace(order, "1000.00", "1000.01", 1)).
				problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
			require.Equal(t, 1, w.count("SELECT count(*) FROM operations WHERE state = 'rejected' AND last_error <> ''"))
			require.Contains(t, string(w.get("/metrics").body),
				`marketflow_operations_finished_total{by="request",kind="create",outcome="deployment_rejected"} 3`)

			repair()

			created := w.create(order)
			require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
			require.Equal(t, string(created.body), string(w.create(order).body))
			require.Equal(t, 1, w.intents())
			require.Equal(t, 1, w.count("SELECT count(*) FROM operations"))
		})
	}
}

// Recovery sends nothing that was rejected, because the client may have ordered again.
func TestRejected_RecoveryLeavesItAlone(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.RecoveryInterval = 50 * time.Millisecond })
	repair := w.rejections(accountIncomplete())

	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	keyless := w.create(`{"amount":10,"currency":"USD"}`)
	keyless.problem(http.StatusBadGateway, "rejected-by-provider")
	require.NotContains(t, keyless.text("detail"), "idempotency key")
	repair()

	// Another operation, which recovery does finish, shows that recovery ran.
	lost := w.faultCreates(sandbox.Fault{Action: sandbox.DropBefore, Count: 3})
	w.create(`{"amount":5,"currency":"USD","idempotency_key":"lost"}`).problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.NoError(t, w.stripe.RemoveFault(lost))
	w.eventually(func() bool { return w.count("SELECT count(*) FROM payments") == 1 }, "recovery finishes what is pending")

	require.Equal(t, 2, w.count("SELECT count(*) FROM operations WHERE state = 'rejected'"))
	require.Equal(t, 1, w.intents())
}

// Of several requests that reopen the operation at once one sends.
func TestRejected_IsReopenedOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	repair := w.rejections(accountIncomplete())
	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	repair()

	var (
		all     sync.WaitGroup
		answers [16]answer
	)

	for i := range answers {
		all.Go(func() { answers[i] = w.create(order) })
	}

	all.Wait()

	var created []byte

	for _, a := range answers {
		switch a.status {
		case http.StatusCreated:
			require.True(t, created == nil || bytes.Equal(created, a.body))
			created = a.body
		case http.StatusConflict:
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}

	require.NotNil(t, created)
	require.Equal(t, 1, w.intents())
}

// Where Stripe keeps the rejection under the key, the client is told that the key is
// used up and that a new one is safe.
func TestRejected_KeptByStripeNeedsANewKey(t *testing.T) {
	t.Parallel()

	kept := false
	w := newWorld(t, through(t, func(stripe *httputil.ReverseProxy) http.Handler {
		stripe.ModifyResponse = func(answer *http.Response) error {
			if kept && answer.StatusCode == http.StatusBadRequest {
				answer.Header.Set("Idempotent-Replayed", "true")
			}

			return nil
		}

		return stripe
	}))
	w.rejections(accountIncomplete())

	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")

	kept = true
	again := w.create(order)
	again.problem(http.StatusBadGateway, "rejected-by-provider")
	require.Contains(t, again.text("detail"), "until about "+time.Now().UTC().Add(24*time.Hour).Format("2006-01-02T15:"))
	require.Contains(t, again.text("detail"), "use a new key")
}

// A key that Stripe may have forgotten is not sent, and the client is told to use a new
// one.
func TestRejected_TooOldNeedsANewKey(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	repair := w.rejections(accountIncomplete())
	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	repair()

	w.exec("UPDATE operations SET created_at = created_at - interval '24 hours'")

	old := w.create(order)
	old.problem(http.StatusBadGateway, "rejected-by-provider")
	require.Contains(t, old.text("detail"), "use a new key")
	require.Zero(t, w.intents())
	w.create(strings.Replace(order, "1000.00", "5", 1)).problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

// A rejection of the order's own amount is the key's answer for ever: 422, as the client
// can change the amount.
func TestRejected_AnAmountIsUnprocessable(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	const small = `{"amount":0.10,"currency":"USD","idempotency_key":"small"}`

	rejected := w.create(small)
	rejected.problem(http.StatusUnprocessableEntity, "rejected-by-provider")

	for _, again := range []answer{w.create(small), w.second().create(small)} {
		require.Equal(t, rejected.status, again.status)
		require.Equal(t, string(rejected.body), string(again.body))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	}

	w.create(strings.Replace(small, "0.10", "10", 1)).problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

// A request that never left the machine does not count as an attempt: once Stripe is
// back, its rejection is final.
func TestNotSent_TheNextAnswerIsBelieved(t *testing.T) {
	t.Parallel()

	var stripe door

	w := newWorld(t, func(c *config.Config) {
		c.RecoveryInterval = 50 * time.Millisecond

		stripe.handler = newProxy(t, c.StripeAPIBase)
		c.StripeAPIBase = "http://" + stripe.open(t)
	})

	stripe.close()

	keyless := w.create(`{"amount":0.10,"currency":"USD"}`)
	keyless.problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.Contains(t, keyless.text("detail"), "nothing has been sent yet")
	require.Contains(t, keyless.text("detail"), "may create a second payment")

	const small = `{"amount":0.10,"currency":"USD","idempotency_key":"small"}`

	first := w.create(small)
	first.problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.Contains(t, first.text("detail"), "same idempotency key")
	require.NotEmpty(t, first.header.Get("Retry-After"))

	stripe.open(t)
	w.eventually(func() bool { return w.create(small).status == http.StatusUnprocessableEntity }, "the rejection is final")
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM operations WHERE state = 'finished'") == 2
	}, "recovery finishes the other")
	require.Zero(t, w.intents())
}

// door is an address that can be closed. Connections to it fail then.
type door struct {
	handler http.Handler
	address string
	server  *http.Server
}

func (d *door) open(t *testing.T) (address string) {
	t.Helper()

	if d.address == "" {
		d.address = "127.0.0.1:0"
	}

	var listener net.Listener

	require.Eventually(t, func() bool {
		var err error

		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", d.address)

		return err == nil
	}, 20*time.Second, 10*time.Millisecond)

	server := &http.Server{Handler: d.handler, ReadHeaderTimeout: time.Minute}
	d.address, d.server = listener.Addr().String(), server

	go func() { _ = server.Serve(listener) }()

	t.Cleanup(d.close)

	return d.address
}

func (d *door) close() { _ = d.server.Close() }
