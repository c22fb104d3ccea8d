package stripe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/ports"
)

const tooSmall = `{"error":{"type":"invalid_request_error","code":"amount_too_small","message":"too small"}}`

// An attempt that fails before there is a connection has sent nothing.
func TestSend_NotSent(t *testing.T) {
	t.Parallel()

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)

	secured := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secured.Close)

	proxied := func(handler http.HandlerFunc) *http.Transport {
		proxy := httptest.NewServer(handler)
		t.Cleanup(proxy.Close)

		address, err := url.Parse(proxy.URL)
		require.NoError(t, err)

		return &http.Transport{Proxy: http.ProxyURL(address)}
	}

	for name, c := range map[string]struct {
		network *http.Transport
		base    string
		reason  string
		timeout time.Duration // of an attempt; zero is the default
	}{
		"connection refused": {&http.Transport{}, "http://" + closedAddress(t), "connection", 0},
		"no such host": {&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		}}, "http://stripe.invalid", "connection", 0},
		"an unknown certificate": {&http.Transport{}, secured.URL, "connection", 0},
		"a server without TLS":   {&http.Transport{}, "https" + plain.URL[len("http"):], "connection", 0},
		"another version of TLS": {&http.Transport{TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		}}, secured.URL, "connection", 0},
		"a proxy that does not connect": {proxied(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}), secured.URL, "connection", 0},
		"no answer to the dial": {&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()

			return nil, ctx.Err()
		}}, "http://stripe.invalid", "timeout", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			meter := &recorder{}
			gateway := stripe.NewGateway(
				stripe.Config{SecretKey: "sk_test_1", APIBase: c.base, AttemptTimeout: c.timeout, MaxAttempts: 2},
				stripe.WithTransport(c.network), stripe.WithSleep(noSleep), stripe.WithMeter(meter))

			_, err := gateway.Send(t.Context(), create(t), false)
			requireOutcome(t, "not_sent", err)
			meter.require(t, 2, "not_sent", c.reason)
			require.NotContains(t, err.Error(), "sk_test_1")
		})
	}
}

// If the caller gives up before there is a connection, nothing was sent either.
func TestSend_CallerGivesUpBeforeTheConnection(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	network := &http.Transport{DialContext: func(dialing context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-dialing.Done()

		return nil, dialing.Err()
	}}
	gateway := stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", APIBase: "http://stripe.invalid"},
		stripe.WithTransport(network), stripe.WithSleep(noSleep))

	_, err := gateway.Send(ctx, create(t), false)
	requireOutcome(t, "not_sent", err)
	require.ErrorIs(t, err, context.Canceled)
}

// An attempt that was not sent does not make the next one a copy, and says nothing
// about what an earlier one may have done.
func TestSend_AttemptsThatAreNotSent(t *testing.T) {
	t.Parallel()

	const (
		cut   = "cut"   // no connection
		lost  = "lost"  // a connection, and no answer
		small = "small" // a rejection
	)

	for name, c := range map[string]struct {
		attempts []string
		want     string
		measured []string
	}{
		"not sent, then rejected": {
			[]string{cut, small}, "rejected", []string{"not_sent connection", "rejected status_400"},
		},
		"not sent twice, then rejected": {
			[]string{cut, cut, small}, "rejected", []string{"not_sent connection", "not_sent connection", "rejected status_400"},
		},
		"lost, then not sent": {
			[]string{lost, cut, cut}, "unknown", []string{"unknown connection", "not_sent connection", "not_sent connection"},
		},
		"lost, not sent, rejected": {
			[]string{lost, cut, small}, "unknown", []string{"unknown connection", "not_sent connection", "unknown status_400"},
		},
		"not sent, lost, rejected": {
			[]string{cut, lost, small}, "unknown", []string{"not_sent connection", "unknown connection", "unknown status_400"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var number atomic.Int64

			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.attempts[number.Load()-1] == lost {
					panic(http.ErrAbortHandler)
				}

				answer(w, http.StatusBadRequest, tooSmall)
			}))
			t.Cleanup(server.Close)

			// One connection for each attempt.
			network := &http.Transport{DisableKeepAlives: true, DialContext: func(
				ctx context.Context, network, address string,
			) (net.Conn, error) {
				if c.attempts[number.Add(1)-1] == cut {
					return nil, &net.OpError{Op: "dial", Err: errCut}
				}

				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			meter := &recorder{}
			gateway := stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", APIBase: server.URL},
				stripe.WithTransport(network), stripe.WithSleep(noSleep), stripe.WithMeter(meter))

			_, err := gateway.Send(t.Context(), create(t), false)
			requireOutcome(t, c.want, err)
			require.Equal(t, c.measured, meter.take())
		})
	}
}

// Stripe replays a rejection that it keeps under the key, even when the cause is
// repaired: whoever repairs it must know.
func TestSend_AKeptRejection(t *testing.T) {
	t.Parallel()

	for _, kept := range []bool{false, true} {
		bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			if kept {
				w.Header().Set("Idempotent-Replayed", "true")
			}

			answer(w, http.StatusBadRequest, `{"error":{"type":"invalid_request_error","code":"testmode_charges_only"}}`)
		})

		_, err := bed.gateway.Send(t.Context(), create(t), false)

		var rejected *ports.DeploymentError

		require.ErrorAs(t, err, &rejected)
		require.Equal(t, kept, rejected.Kept)
		require.Equal(t, "testmode_charges_only", rejected.Code)
	}
}

// Failing to connect counts as a failure of Stripe, although nothing was sent.
func TestSend_NotSentOpensTheBreaker(t *testing.T) {
	t.Parallel()

	meter := &recorder{}
	gateway := stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", APIBase: "http://" + closedAddress(t)},
		stripe.WithSleep(noSleep), stripe.WithMeter(meter))

	for range 8 {
		_, err := gateway.Send(t.Context(), create(t), false)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	}

	require.Equal(t, 1, meter.opened)
}

// closedAddress is an address where nothing listens.
func closedAddress(t *testing.T) string {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	return listener.Addr().String()
}

var errCut = errors.New("connection refused")

// A request leaves in one piece: headers and body apart would be two system calls and two
// packets.
func TestSend_InOneWrite(t *testing.T) {
	t.Parallel()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, intentJSON)
	}))
	t.Cleanup(server.Close)

	var writes atomic.Int64

	network := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)

		return countedConn{conn, &writes}, err
	}}
	t.Cleanup(network.CloseIdleConnections)

	gateway := stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", APIBase: server.URL}, stripe.WithTransport(network))

	for n := range int64(3) {
		_, err := gateway.Send(t.Context(), create(t), false)
		require.NoError(t, err)
		require.Equal(t, n+1, writes.Load())
	}
}

// countedConn counts what is written.
type countedConn struct {
	net.Conn

	writes *atomic.Int64
}

// Write implements net.Conn.
func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)

	return c.Conn.Write(p)
}
