package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// exchangeTimeout is far above every time-out of the service.
const exchangeTimeout = 30 * time.Second

// load sends a row's requests for a while, or its count of them.
//
// Closed (rate 0): each connection sends its next request once the last is
// answered. Open: requests are due at a constant rate, whether or not the ones
// before are answered. Latency counts from when a request was due, so every
// request that a stall delays shows it.
type load struct {
	row

	addr  string
	lasts time.Duration
	// answered, where it is not nil, hears of every success.
	answered func(n uint64, took time.Duration)
}

// tally is what the connections of a load saw.
type tally struct {
	begin time.Time
	first uint64

	mu        sync.Mutex
	latencies *hdrhistogram.Histogram
	failed    int64
	failure   string // the first one
	lastSent  time.Time
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Microseconds(), 3) }

func record(h *hdrhistogram.Histogram, t time.Duration) {
	_ = h.RecordValue(max(1, t.Microseconds())) // nothing takes an hour
}

// quantile in milliseconds.
func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtQuantile(q)) / 1000
}

// warmUp sends what does not count: it opens connections and fills caches.
func (l *load) warmUp(ctx context.Context) {
	warm := &load{row: l.row, addr: l.addr, lasts: time.Second / 2}

	if l.stream.keys > 0 { // each once, so that no request meets another with its key
		warm.count = l.stream.keys
		_, _, err := warm.run(ctx)
		check(err)

		warm.count = 0
	}

	_, _, err := warm.run(ctx)
	check(err)
}

// run returns the rate and the latencies, and how many requests succeeded.
func (l *load) run(ctx context.Context) (one sample, done int64, err error) {
	conns := make([]net.Conn, l.connections)
	for i := range conns {
		conns[i] = must(new(net.Dialer).DialContext(ctx, "tcp", l.addr))
	}

	t := &tally{begin: time.Now(), first: l.stream.next.Load(), latencies: newHistogram()}
	group, ctx := errgroup.WithContext(ctx)

	for _, conn := range conns {
		group.Go(func() error { return l.drive(ctx, conn, t) })
	}

	err = group.Wait()
	elapsed := time.Since(t.begin)

	if l.rate > 0 { // without the time until the last ones were answered
		elapsed = max(l.lasts, t.lastSent.Sub(t.begin))
	}

	done = t.latencies.TotalCount()
	one[perSecond], one[failed] = float64(done)/elapsed.Seconds(), float64(t.failed)
	one[p50], one[p99], one[p999] = quantile(t.latencies, 50), quantile(t.latencies, 99), quantile(t.latencies, 99.9)

	if err == nil && t.failed*100 > done {
		err = fmt.Errorf("%s: %d requests failed and %d succeeded; the first failure: %s", l.title, t.failed, done, t.failure)
	}

	return one, done, err
}

// due waits for the next request's time; false ends the load.
func (l *load) due(t *tally) (n uint64, due time.Time, more bool) {
	if l.rate == 0 && l.count == 0 && time.Since(t.begin) >= l.lasts {
		return 0, due, false
	}

	n, due = l.stream.next.Add(1)-1, time.Now()

	if l.rate > 0 {
		after := time.Duration(float64(n-t.first) / l.rate * float64(time.Second))
		if after >= l.lasts {
			return n, due, false
		}

		due = t.begin.Add(after)
		time.Sleep(time.Until(due))

		return n, due, true
	}

	return n, due, l.count == 0 || n-t.first < l.count
}

// drive sends one connection's share.
func (l *load) drive(ctx context.Context, conn net.Conn, t *tally) error {
	defer func() { _ = conn.Close() }()

	var request []byte

	in := bufio.NewReaderSize(conn, 8<<10)

	for ctx.Err() == nil {
		n, due, more := l.due(t)
		if !more {
			break
		}

		request = l.stream.form(request[:0], n)
		sent := time.Now()

		status, body, err := exchange(conn, in, request)
		if err != nil {
			return err
		}

		t.note(status, body, sent, time.Since(due))

		if l.answered != nil && isOK(status) {
			l.answered(n, time.Since(due))
		}
	}

	return nil
}

func (t *tally) note(status int, body []byte, sent time.Time, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if sent.After(t.lastSent) {
		t.lastSent = sent
	}

	if isOK(status) {
		record(t.latencies, took)

		return
	}

	if t.failed++; t.failed == 1 {
		t.failure = fmt.Sprintf("%d %s", status, body)
	}
}

// exchange sends a request and reads its answer. The load shares its cores with
// what it measures, and this costs a tenth of what net/http's client does.
func exchange(conn net.Conn, in *bufio.Reader, request []byte) (status int, body []byte, err error) {
	_ = conn.SetDeadline(time.Now().Add(exchangeTimeout)) // fails as the next write does

	if _, err := conn.Write(request); err != nil {
		return 0, nil, err
	}

	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("reading an answer: %w", err)
	}

	body, err = io.ReadAll(response.Body)

	return response.StatusCode, body, errors.Join(err, response.Body.Close())
}

func isOK(status int) bool { return status >= http.StatusOK && status < http.StatusMultipleChoices }
