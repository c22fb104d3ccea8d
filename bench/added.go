package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// added is creates against a provider as slow as Stripe, at rising rates, until
// what the service adds passes 50 ms at p99.
func (s *suite) added(ctx context.Context) {
	const (
		tooMuch = 50   // milliseconds
		most    = 1000 // connections: what is in flight at the top rate, and some

		latency = `{"action":"latency","method":"POST","path":"/v1/payment_intents","count":-1,"p50":"120ms","p99":"380ms"}`
	)

	faults := "http://" + s.sandbox.addr + "/_sandbox/faults"
	must(fetch(ctx, http.MethodPost, faults, latency))

	// Makes connections to the provider and statements ready.
	_, err := s.addedAt(ctx, s.rates[0]*4, most/8)
	check(err)

	for _, rate := range s.rates {
		r, err := s.addedAt(ctx, rate, min(most, max(32, int(rate))))
		if err != nil {
			s.sayf("at %.0f/s: %v", rate, err)

			break
		}

		s.report.results = append(s.report.results, r)
		s.sayf("%s: %.0f/s   added p50 %.2f p99 %.2f ms (%d traced)   foreign %.2f",
			r.title, r.subject[perSecond], r.addedP50, r.addedP99, r.traced, r.subject[foreign])

		if r.addedP99 > tooMuch {
			break
		}
	}

	must(fetch(ctx, http.MethodDelete, faults, ""))

	// A create's two statements at a low rate, when none waits for another.
	bench := s.newPgbench("create", leanCreate()...)
	one, _ := bench.run(ctx, 1, s.unused(), max(2*time.Second, s.lasts), fmt.Sprintf("--rate=%.0f", s.rates[0]))
	s.report.statementsMS = one[p50]
}

// addedAt subtracts the provider's time in each trace from its request's time.
func (s *suite) addedAt(ctx context.Context, rate float64, connections int) (r result, err error) {
	var (
		mu   sync.Mutex
		took = map[string]time.Duration{}
	)

	r.row = row{
		title: fmt.Sprintf("creates, provider 120/380 ms, %.0f/s", rate), connections: connections, rate: rate,
		stream: newCreates(true),
	}
	l := &load{row: r.row, addr: s.main.addr, lasts: max(2*time.Second, s.lasts), answered: func(n uint64, t time.Duration) {
		mu.Lock()
		defer mu.Unlock()

		took[r.stream.trace(n)] = t
	}}

	s.spans.keep()

	r.subject = s.measure(ctx, s.main, func() (one sample, done int64) {
		one, done, err = l.run(ctx)

		return one, done
	})

	time.Sleep(600 * time.Millisecond) // the service exports its last spans within 250 ms

	provider, added := s.spans.providerTimes(), newHistogram()

	for trace, t := range took {
		if theirs, ok := provider[trace]; ok {
			record(added, t-theirs)
		}
	}

	r.traced, r.addedP50, r.addedP99 = added.TotalCount(), quantile(added, 50), quantile(added, 99)

	return r, err
}
