package stripe_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

type behaviour func(r *http.Request) (*http.Response, error)

// fakeStripe answers in the bubble's time, without a network.
type fakeStripe struct {
	mu    sync.Mutex
	serve behaviour
	calls atomic.Int64
}

func (f *fakeStripe) RoundTrip(r *http.Request) (*http.Response, error) {
	f.calls.Add(1)
	f.mu.Lock()
	serve := f.serve
	f.mu.Unlock()

	return serve(r)
}

func (f *fakeStripe) become(serve behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.serve = serve
}

// dead accepts and never answers.
func dead(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()

	return nil, r.Context().Err()
}

// delayed answers after d.
func delayed(d time.Duration, serve behaviour) behaviour {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return serve(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func always(status int, body string) behaviour {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

// replayed marks the answer as one that Stripe keeps under the key.
func replayed(serve behaviour) behaviour {
	return func(r *http.Request) (*http.Response, error) {
		response, err := serve(r)
		response.Header.Set("Idempotent-Replayed", "true")

		return response, err
	}
}

// after answers with the intent, after d.
func after(d time.Duration) behaviour {
	return delayed(d, always(http.StatusOK, intentJSON))
}

// healthy answers as Stripe does, in 50 ms.
func healthy(r *http.Request) (*http.Response, error) { return after(50 * time.Millisecond)(r) }

type overloadBed struct {
	testBed

	stripe *fakeStripe
	asked  ports.Call
}

type result struct {
	took time.Duration
	err  error
}

func newOverloadBed(t *testing.T, config stripe.Config) *overloadBed {
	t.Helper()

	bed := &overloadBed{testBed: testBed{meter: &recorder{}}, stripe: &fakeStripe{serve: healthy}}
	config.SecretKey, config.APIBase = "sk_test_1", "http://stripe.invalid"
	bed.gateway = stripe.NewGateway(config, stripe.WithTransport(bed.stripe), stripe.WithMeter(bed.meter))
	bed.asked = create(t)

	return bed
}

// try creates one intent.
func (b *overloadBed) try(ctx context.Context) result {
	began := time.Now()
	_, err := b.gateway.Send(ctx, b.asked, false)

	return result{time.Since(began), err}
}

// begin creates one intent in a goroutine.
func (b *overloadBed) begin(ctx context.Context) <-chan result {
	ended := make(chan result, 1)

	go func() { ended <- b.try(ctx) }()

	return ended
}

// load begins n creates, with a pause after each.
func (b *overloadBed) load(ctx context.Context, n int, pause time.Duration) []<-chan result {
	begun := make([]<-chan result, 0, n)

	for range n {
		begun = append(begun, b.begin(ctx))

		time.Sleep(pause)
	}

	return begun
}

// wait returns the results and the longest time that one took.
func wait(begun []<-chan result) (all []result, longest time.Duration) {
	for _, ended := range begun {
		r := <-ended
		all = append(all, r)
		longest = max(longest, r.took)
	}

	return all, longest
}

const perSecond50 = 20 * time.Millisecond

// Stripe answers nothing for a minute under 50 requests a second: each caller waits
// less than a second, almost nothing is sent, and a second after Stripe is back all
// calls succeed.
func TestOverload_ADeadStripeCostsLessThanASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		wait(bed.load(t.Context(), 100, perSecond50))
		bed.meter.require(t, 100, "done", "")

		bed.stripe.become(dead)
		bed.stripe.calls.Store(0)

		_, longest := wait(bed.load(t.Context(), 3000, perSecond50))
		require.Less(t, longest, time.Second)
		require.True(t, bed.meter.open)
		require.Less(t, bed.stripe.calls.Load(), int64(100))
		require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)

		bed.stripe.become(healthy)
		wait(bed.load(t.Context(), 50, perSecond50))
		bed.meter.take()
		wait(bed.load(t.Context(), 50, perSecond50))
		bed.meter.require(t, 50, "done", "")
		require.NoError(t, bed.gateway.Ready())
		require.False(t, bed.meter.open)
		require.Zero(t, bed.meter.inFlight)
	})
}

// What was waiting when Stripe stalled may have been executed.
func TestOverload_StalledAttemptsAreUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(dead)

		all, _ := wait(bed.load(t.Context(), 8, 0))
		for _, r := range all {
			requireOutcome(t, "unknown", r.err)
			require.Equal(t, 700*time.Millisecond, r.took)
		}

		bed.meter.require(t, 8, "unknown", "stalled")
		requireOutcome(t, "not_sent", bed.try(t.Context()).err)
		bed.meter.require(t, 1, "not_sent", "breaker_open")
	})
}

// Seven are too few to tell a dead Stripe from a slow one.
func TestOverload_FewSlowCallsAreNoStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(after(9 * time.Second))
		wait(bed.load(t.Context(), 7, 0))
		bed.meter.require(t, 7, "done", "")
	})
}

// Ten slow calls among answered ones are left alone.
func TestOverload_SlowCallsAmongAnsweredOnesAreNoStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(after(9 * time.Second))
		slow := bed.load(t.Context(), 10, 0)

		synctest.Wait()
		bed.stripe.become(healthy)
		wait(bed.load(t.Context(), 100, 100*time.Millisecond))

		all, _ := wait(slow)
		for _, r := range all {
			require.Equal(t, result{9 * time.Second, nil}, r)
		}

		bed.meter.require(t, 110, "done", "")
	})
}

// An attempt without an answer ends after its time-out, and the loop goes on.
func TestOverload_AnAttemptTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{AttemptTimeout: 2 * time.Second, MaxAttempts: 2})
		bed.stripe.become(dead)

		r := bed.try(t.Context())
		requireOutcome(t, "unknown", r.err)
		require.GreaterOrEqual(t, r.took, 4*time.Second)
		require.Less(t, r.took, 4100*time.Millisecond)
		bed.meter.require(t, 2, "unknown", "timeout")
	})
}

// While the breaker is open one probe at a time is sent, with a short time-out.
func TestOverload_OneProbeAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.open(t)

		for range 3 {
			time.Sleep(251 * time.Millisecond)
			require.NoError(t, bed.gateway.Ready())

			probe := bed.begin(t.Context())

			synctest.Wait()
			require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)
			requireOutcome(t, "not_sent", bed.try(t.Context()).err)

			r := <-probe
			requireOutcome(t, "unknown", r.err)
			require.Equal(t, 750*time.Millisecond, r.took)
			require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)
		}
	})
}

// When a probe's caller gives up, the next attempt is a probe.
func TestOverload_AnAbandonedProbeIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.open(t)
		time.Sleep(251 * time.Millisecond)

		ctx, cancel := context.WithCancel(t.Context())
		probe := bed.begin(ctx)

		synctest.Wait()
		cancel()
		requireOutcome(t, "unknown", (<-probe).err)
		require.NoError(t, bed.gateway.Ready())

		bed.stripe.become(healthy)
		require.NoError(t, bed.try(t.Context()).err)
		require.False(t, bed.meter.open)
	})
}

func TestOverload_BeyondTheSlotsCallsAreShed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{MaxInFlight: 5})
		bed.stripe.become(after(500 * time.Millisecond))
		begun := bed.load(t.Context(), 20, 0)

		synctest.Wait()
		require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)

		shed := 0
		all, _ := wait(begun)

		for _, r := range all {
			if r.err != nil {
				requireOutcome(t, "not_sent", r.err)
				require.Zero(t, r.took)

				shed++
			}
		}

		require.Equal(t, 15, shed)
		require.Equal(t, 5, bed.meter.most)
		require.Zero(t, bed.meter.inFlight)
		require.Contains(t, bed.meter.take(), "not_sent no_slot")
		require.NoError(t, bed.gateway.Ready())
	})
}

// With fewer slots than a stall needs calls, all of them are enough.
func TestOverload_FewSlotsStallToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{MaxInFlight: 2})
		bed.stripe.become(dead)

		wait(bed.load(t.Context(), 2, 0))
		bed.meter.require(t, 2, "unknown", "stalled")
		require.True(t, bed.meter.open)
	})
}

// Which answers open the breaker: those that a working API never gives.
func TestOverload_WhatOpensTheBreaker(t *testing.T) {
	t.Parallel()

	const failure = `{"error":{"type":"invalid_request_error","message":"no"}}`

	for name, c := range map[string]struct {
		serve behaviour
		opens bool
	}{
		"200":              {always(200, intentJSON), false},
		"mismatch":         {always(200, strings.Replace(intentJSON, "1999", "1", 1)), false},
		"400":              {always(400, failure), false},
		"401":              {always(401, failure), false},
		"402":              {always(402, failure), false},
		"404":              {always(404, failure), false},
		"409":              {always(409, failure), false},
		"lock timeout":     {always(429, `{"error":{"type":"invalid_request_error","code":"lock_timeout"}}`), false},
		"500":              {always(500, failure), true},
		"500 of long ago":  {replayed(always(500, failure)), false},
		"502":              {always(502, "<html>"), true},
		"HTML 200":         {always(200, "<html>"), true},
		"no connection":    {func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }, true},
		"a short deadline": {dead, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bed := newOverloadBed(t, stripe.Config{})
				bed.stripe.become(c.serve)

				for range 30 {
					ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
					bed.try(ctx)
					cancel()
				}

				require.Equal(t, c.opens, bed.meter.opened > 0)
			})
		})
	}
}

// Callers who wait a second each, one after the other, open the breaker.
func TestOverload_CallersDeadlinesOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(dead)

		for range 8 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			requireOutcome(t, "unknown", bed.try(ctx).err)
			cancel()
		}

		require.True(t, bed.meter.open)
	})
}

// After a 429 calls are shed for a moment, which grows with each further one.
func TestOverload_ThrottlingShedsForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{MaxAttempts: 1})
		bed.stripe.become(always(http.StatusTooManyRequests, `{"error":{"type":"invalid_request_error","code":"rate_limit"}}`))

		wait(bed.load(t.Context(), 1000, 10*time.Millisecond))

		sent := bed.stripe.calls.Load()
		require.Greater(t, sent, int64(10))
		require.Less(t, sent, int64(50))
		require.False(t, bed.meter.open, "Stripe is alive")
		require.Contains(t, bed.meter.take(), "not_sent throttled")

		bed.stripe.become(healthy)
		time.Sleep(time.Second)
		require.NoError(t, bed.try(t.Context()).err)

		// After a success the next pause is a short one.
		bed.stripe.become(always(http.StatusTooManyRequests, ""))
		bed.try(t.Context())
		require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, bed.gateway.Ready())
	})
}

// Stripe limits reads and writes separately: a 429 to a list sheds no create, and
// the other way round.
func TestOverload_ReadsAndWritesAreThrottledSeparately(t *testing.T) {
	t.Parallel()

	limited := always(http.StatusTooManyRequests, `{"error":{"type":"invalid_request_error","code":"rate_limit"}}`)

	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bed := newOverloadBed(t, stripe.Config{MaxAttempts: 1})
				bed.stripe.become(func(r *http.Request) (*http.Response, error) {
					if r.Method == method {
						return limited(r)
					}

					return always(http.StatusOK, intentJSON)(r)
				})

				read := func() error {
					_, err := bed.gateway.Intent(t.Context(), "pi_1")

					return err
				}
				write := func() error { return bed.try(t.Context()).err }

				if method == http.MethodPost {
					read, write = write, read
				}

				for range 5 {
					requireOutcome(t, "unknown", read())
					require.ErrorIs(t, read(), ports.ErrUnavailable, "shed for a moment")
					require.NoError(t, write())
					require.Equal(t, method == http.MethodGet, bed.gateway.Ready() == nil, "Ready is about creates")
					time.Sleep(time.Second)
				}

				require.Equal(t, []string{"unknown status_429", "not_sent throttled", "done "}, bed.meter.take()[:3])
			})
		})
	}
}

// Many 429s to attempts that were under way together make one pause, not many.
func TestOverload_ABurstOf429IsOnePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{MaxAttempts: 1})
		bed.stripe.become(delayed(10*time.Millisecond, always(http.StatusTooManyRequests, "")))
		wait(bed.load(t.Context(), 100, 0))
		bed.meter.require(t, 100, "unknown", "status_429")
		require.ErrorIs(t, bed.gateway.Ready(), ports.ErrUnavailable)

		time.Sleep(50 * time.Millisecond)
		require.NoError(t, bed.gateway.Ready())
	})
}

// A call that was sent once and is then shed stays unknown: ErrUnavailable
// would say that nothing was sent.
func TestOverload_ShedAfterASendIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(always(http.StatusBadGateway, ""))

		pause := stripe.WithSleep(func(ctx context.Context, _ time.Duration) error {
			bed.stripe.become(dead)
			bed.begin(ctx) // it takes the only slot
			synctest.Wait()

			return nil
		})
		bed.gateway = stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", MaxInFlight: 1},
			stripe.WithTransport(bed.stripe), stripe.WithMeter(bed.meter), pause)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		requireOutcome(t, "unknown", bed.try(ctx).err)
		require.Equal(t, []string{"unknown status_5xx", "not_sent no_slot"}, bed.meter.take())
	})
}

// If the next attempt would come after the deadline, the gateway does not wait for it.
func TestOverload_NoPauseBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.stripe.become(always(http.StatusConflict, ""))

		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			r := bed.try(ctx)

			cancel()
			requireOutcome(t, "unknown", r.err)
			require.Less(t, r.took, 10*time.Millisecond)
		}
	})
}

// Reads go through the same gate.
func TestOverload_ReadsAreShedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newOverloadBed(t, stripe.Config{})
		bed.open(t)

		_, err := bed.gateway.Intent(t.Context(), "pi_1")
		require.ErrorIs(t, err, ports.ErrUnavailable)

		for _, err := range bed.gateway.Events(t.Context(), time.Now(), time.Now()) {
			require.ErrorIs(t, err, ports.ErrUnavailable)
		}
	})
}

// open makes Stripe dead and the breaker find out.
func (b *overloadBed) open(t *testing.T) {
	t.Helper()
	b.stripe.become(dead)
	wait(b.load(t.Context(), 8, 0))
	b.meter.take()
	require.True(t, b.meter.open)
}

// BenchmarkSend_NoNetwork is what the gateway itself costs.
func BenchmarkSend_NoNetwork(b *testing.B) {
	gateway := stripe.NewGateway(
		stripe.Config{SecretKey: "sk_test_1", APIBase: "http://stripe.invalid"},
		stripe.WithTransport(&fakeStripe{serve: always(http.StatusOK, intentJSON)}),
	)
	order := order(b, 1999, nil)
	mark := markOf(operation.Create, paymentID)

	b.ReportAllocs()

	for b.Loop() {
		call, err := stripe.Calls{}.CreatePayment(mark, "", order)
		if err != nil {
			b.Fatal(err)
		}

		if _, err := gateway.Send(b.Context(), call, false); err != nil {
			b.Fatal(err)
		}
	}
}
