package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// requests makes the n-th request of a workload in buf.
type requests func(buf []byte, n uint64) []byte

// load is what is sent, and how.
type load struct {
	addr        string
	connections int
	requests    requests
	// accept says which statuses are successes; others fail the slice once
	// there are many.
	accept func(status int) bool
	// answered, where it is not nil, hears of every success.
	answered func(n uint64, a answer, took time.Duration)
}

// outcome is what a slice of load saw. Latencies are in microseconds.
type outcome struct {
	latencies *hdrhistogram.Histogram
	failures  int64
	firstBad  string
	elapsed   time.Duration
	// sent is when the last request was.
	sent time.Time
}

func (o *outcome) succeeded() int64 { return o.latencies.TotalCount() }

func (o *outcome) perSecond() float64 { return float64(o.succeeded()) / o.elapsed.Seconds() }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// schedule says when the next request is due; false ends the load.
type schedule func() (n uint64, due time.Time, ok bool)

// closedModel: each connection sends its next request once the last is answered. It
// ends after a while, or after count requests where count is not 0.
func (l *load) closedModel(ctx context.Context, first *atomic.Uint64, lasts time.Duration, count uint64) (*outcome, error) {
	end, last := time.Now().Add(lasts), first.Load()+count

	return l.run(ctx, func() (uint64, time.Time, bool) {
		now := time.Now()
		if now.After(end) {
			return 0, now, false
		}

		n := first.Add(1) - 1

		return n, now, count == 0 || n < last
	})
}

// openModel: requests are due at a constant rate, whether or not the ones before are
// answered. Latency counts from when a request was due, so a stall is seen by
// every request that it delays.
func (l *load) openModel(ctx context.Context, first *atomic.Uint64, rate float64, lasts time.Duration) (*outcome, error) {
	var begin time.Time

	from := first.Load()
	start := sync.OnceFunc(func() { begin = time.Now() }) // once all connections are there

	o, err := l.run(ctx, func() (uint64, time.Time, bool) {
		start()

		n := first.Add(1) - 1
		due := begin.Add(time.Duration(float64(n-from) / rate * float64(time.Second)))

		if due.Sub(begin) >= lasts {
			return 0, due, false
		}

		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}

		return n, due, true
	})
	if o != nil {
		// Without the time that the last ones took to be answered.
		o.elapsed = max(lasts, o.sent.Sub(begin))
	}

	return o, err
}

func (l *load) run(ctx context.Context, next schedule) (*outcome, error) {
	results := make([]*outcome, l.connections)
	failed := make([]error, l.connections)
	conns := make([]*connection, 0, l.connections)

	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()

	for range l.connections {
		c, err := dial(ctx, l.addr)
		if err != nil {
			return nil, err
		}

		conns = append(conns, c)
	}

	var group sync.WaitGroup

	begin := time.Now()

	for i, c := range conns {
		group.Go(func() { results[i], failed[i] = l.drive(ctx, c, next) })
	}

	group.Wait()

	whole := &outcome{latencies: newHistogram(), elapsed: time.Since(begin)}
	for _, one := range results {
		whole.latencies.Merge(one.latencies)
		whole.failures += one.failures

		if one.sent.After(whole.sent) {
			whole.sent = one.sent
		}

		if whole.firstBad == "" {
			whole.firstBad = one.firstBad
		}
	}

	err := errors.Join(failed...)
	if err == nil && whole.failures*100 > whole.succeeded() {
		err = fmt.Errorf("%w: %d of %d requests, such as %s",
			errStatus, whole.failures, whole.failures+whole.succeeded(), whole.firstBad)
	}

	return whole, err
}

// drive sends one connection's share.
func (l *load) drive(ctx context.Context, c *connection, next schedule) (*outcome, error) {
	mine := &outcome{latencies: newHistogram()}

	var buf []byte

	for ctx.Err() == nil {
		n, due, ok := next()
		if !ok {
			break
		}

		buf = l.requests(buf[:0], n)
		mine.sent = time.Now()

		got, err := c.exchange(buf)
		if err != nil {
			return mine, err
		}

		if !l.accept(got.status) {
			mine.failures++
			mine.firstBad = fmt.Sprintf("%d %s", got.status, got.body)

			continue
		}

		took := time.Since(due)
		if err := mine.latencies.RecordValue(max(1, took.Microseconds())); err != nil {
			return mine, fmt.Errorf("recording a latency: %w", err)
		}

		if l.answered != nil {
			l.answered(n, got, took)
		}
	}

	return mine, nil
}
