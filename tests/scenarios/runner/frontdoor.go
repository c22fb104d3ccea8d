package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// listening is a server on a free port of 127.0.0.1.
type listening struct {
	url    string
	server *http.Server
}

func listen(ctx context.Context, handler http.Handler) (*listening, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}

	l := &listening{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second},
	}

	go func() { _ = l.server.Serve(listener) }()

	return l, nil
}

func (l *listening) close() { _ = l.server.Close() }

// balancer hands Stripe's webhooks to the processes in turn, as a load balancer
// would. An attempt that meets a process that is down is lost.
type balancer struct {
	targets []string
	next    atomic.Uint64
	proxy   *httputil.ReverseProxy
	// accepted counts answers of 200.
	accepted atomic.Int64
}

func newBalancer(targets []string) *balancer {
	b := &balancer{targets: targets}
	b.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = b.targets[b.next.Add(1)%uint64(len(b.targets))]
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 32, ResponseHeaderTimeout: 5 * time.Second},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusOK {
				b.accepted.Add(1)
			}

			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
	}

	return b
}

// ServeHTTP implements http.Handler.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.proxy.ServeHTTP(w, r) }

// stripeDoor is one process's way to the sandbox. It knows which calls the process
// is waiting for.
type stripeDoor struct {
	sandbox http.Handler

	mu      sync.Mutex
	waiting map[*http.Request]time.Time
	// calls counts how often each was sent.
	calls map[call]int
	// another counts the answered calls that came with another account's key.
	another atomic.Int64
}

// call is something that the process asked Stripe to do.
type call struct{ key, path, params string }

// sent are the calls that the process has sent, once each.
func (d *stripeDoor) sent() []call {
	d.mu.Lock()
	defer d.mu.Unlock()

	return slices.Collect(maps.Keys(d.calls))
}

// ServeHTTP implements http.Handler.
func (d *stripeDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost || r.Method == http.MethodDelete {
		path := r.URL.Path
		if r.Method == http.MethodDelete {
			path = "DELETE " + path // as the operation has it
		}

		params, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the process has gone away
		}

		r.Body = io.NopCloser(bytes.NewReader(params))

		d.mu.Lock()
		d.waiting[r] = time.Now()
		d.calls[call{r.Header.Get("Idempotency-Key"), path, string(params)}]++
		d.mu.Unlock()

		defer func() {
			d.mu.Lock()
			delete(d.waiting, r)
			d.mu.Unlock()
		}()
	}

	d.sandbox.ServeHTTP(w, r)

	if r.Header.Get("Authorization") == "Bearer "+anotherKey {
		d.another.Add(1)
	}
}

// oldest is when the call was sent that has waited the longest.
func (d *stripeDoor) oldest() (since time.Time, waiting bool) {
	d.mu.Lock()
	defer d.mu.Unlock()

	for _, at := range d.waiting {
		if !waiting || at.Before(since) {
			since, waiting = at, true
		}
	}

	return since, waiting
}
