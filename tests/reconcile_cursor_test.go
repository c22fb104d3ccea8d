package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
)

// watched is Stripe behind a proxy that takes notes and may answer itself.
type watched struct {
	mu sync.Mutex
	// calls are the paths and queries of the requests, in order.
	calls []*url.URL
	// inFlight are the calls under way now; most is the highest that it ever was.
	inFlight, most int
}

// watchStripe puts a proxy before Stripe for whatever starts after it. instead may
// answer a request and return true; it may also keep the request waiting.
func (w *world) watchStripe(instead func(http.ResponseWriter, *http.Request) bool) *watched {
	w.t.Helper()

	watch, proxy := &watched{}, newProxy(w.t, w.stripe.URL)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/account" { // each start asks which account the key belongs to
			proxy.ServeHTTP(rw, r)

			return
		}

		watch.enter(r.URL)
		defer watch.leave()

		if instead == nil || !instead(rw, r) {
			proxy.ServeHTTP(rw, r)
		}
	}))

	w.t.Cleanup(server.Close)
	w.config.StripeAPIBase = server.URL
	_, err := w.adopt("another way to the same Stripe")
	require.NoError(w.t, err)

	return watch
}

func (s *watched) enter(u *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.calls = append(s.calls, u)
	s.inFlight++
	s.most = max(s.most, s.inFlight)
}

func (s *watched) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.inFlight--
}

// take returns the calls since it was last called whose path begins with prefix.
func (s *watched) take(prefix string) []*url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()

	found := slices.DeleteFunc(s.calls, func(u *url.URL) bool { return !strings.HasPrefix(u.Path, prefix) })
	s.calls = nil

	return found
}

// createdBound is a bound of a list; zero where there is none.
func createdBound(u *url.URL, bound string) time.Time {
	seconds, err := strconv.ParseInt(u.Query().Get("created["+bound+"]"), 10, 64)
	if err != nil {
		return time.Time{}
	}

	return time.Unix(seconds, 0)
}

// setCursor sets the cursor to a time relative to the database's now.
func (w *world) setCursor(at time.Duration) {
	w.t.Helper()
	w.exec(`INSERT INTO reconciliation VALUES (TRUE, now() + $1::interval)
		ON CONFLICT (singleton) DO UPDATE SET through = EXCLUDED.through`, at)
}

// cursor is how long ago the cursor's time is.
func (w *world) cursor() time.Duration {
	w.t.Helper()

	var seconds float64

	require.NoError(w.t, w.db.Pool().QueryRow(w.t.Context(),
		"SELECT extract(epoch FROM now() - through)::float8 FROM reconciliation").Scan(&seconds))

	return time.Duration(seconds * float64(time.Second))
}

func (w *world) requireCursor(ago time.Duration, what string) {
	w.t.Helper()
	require.InDelta(w.t, ago.Seconds(), w.cursor().Seconds(), 90, what)
}

// createAgo creates a payment that is that old by Stripe's clock.
func (w *world) createAgo(ago time.Duration) answer {
	w.t.Helper()

	w.stripe.Advance(-ago)
	defer w.stripe.Advance(ago)

	created := w.create(`{"amount":10,"currency":"USD"}`)
	require.Equal(w.t, http.StatusCreated, created.status)

	return created
}

// A run by hand moves the cursor only if it has looked at everything since the cursor.
func TestReconcile_ByHandMovesTheCursor(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	w.reconcileSince(time.Hour, false)
	require.Zero(t, w.count("SELECT count(*) FROM reconciliation"), "nobody has looked at the hours before")

	report := w.reconcileSince(24*time.Hour, false)
	w.requireCursor(time.Minute, "as far back as a first run looks")
	require.WithinDuration(t, time.Now().Add(-24*time.Hour), report.Since, time.Minute)
	require.WithinDuration(t, time.Now().Add(-time.Minute), report.Until, time.Minute)
	require.Equal(t, report.Until, report.Cursor)

	for _, c := range []struct {
		cursor, back time.Duration
		dryRun       bool
		want         time.Duration
	}{
		{2 * time.Hour, 3 * time.Hour, false, time.Minute},
		{2 * time.Hour, time.Hour, false, 2 * time.Hour},
		{2 * time.Hour, 3 * time.Hour, true, 2 * time.Hour},
		{-2 * time.Hour, 3 * time.Hour, true, -2 * time.Hour},
		{90 * 24 * time.Hour, 100 * 24 * time.Hour, false, time.Minute},
	} {
		w.setCursor(-c.cursor)
		w.reconcileSince(c.back, c.dryRun)
		w.requireCursor(c.want, fmt.Sprintf("%+v", c))
	}
}

// An older release set the cursor by its process's clock. A cursor in the future hides
// nothing and is put right by any run.
func TestReconcile_CursorInTheFutureIsPutRight(t *testing.T) {
	t.Parallel()

	for name, ahead := range map[string]time.Duration{"A day": 24 * time.Hour, "Years": 20_000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			missing := w.createAgo(7 * time.Hour)
			w.exec("DELETE FROM payments")
			w.exec("DELETE FROM operations")
			w.setCursor(ahead)

			w.config.ReconcileInterval = time.Hour
			w.start(w.config)
			w.eventually(func() bool { return w.get("/payments/"+missing.text("id")).status == http.StatusOK }, "it is back at once")
			w.eventually(func() bool { return w.cursor() > 0 && w.cursor() < 3*time.Minute }, "the cursor is right")
		})
	}

	t.Run("By hand", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t)
		w.setCursor(24 * time.Hour)
		w.reconcileSince(time.Hour, false)
		require.Greater(t, w.cursor(), time.Hour, "the hours that it has not looked at are left for a later run")
	})

	t.Run("A little", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t)
		watch := w.watchStripe(nil)
		w.setCursor(5 * time.Minute) // a standby whose clock is behind
		_, err := w.reconcileScheduled()
		require.NoError(t, err)
		w.requireCursor(time.Minute, "it was ahead by less than runs overlap")

		for _, call := range watch.take("/v1/events") {
			require.WithinDuration(t, time.Now().Add(-15*time.Minute), createdBound(call, "gte"), time.Minute)
		}
	})
}

// As long as something may be missing from the database, an old cursor stops all sending. So
// it moves although nobody wants reconciliation to run.
func TestReconcile_CursorMovesWhileSomethingMayBeMissing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.exec("UPDATE installation SET incarnation = 'an earlier life'")
	w.exec(`INSERT INTO reconciliation (through, incarnation, looked_at)
		VALUES (now() - interval '21 hours', marketflow_incarnation(), now() - interval '22 hours')`)

	w.config.ReconcileInterval = 0
	w.start(w.config)
	w.eventually(func() bool { return w.cursor() < 3*time.Minute }, "it has moved")
}

// Where a run could not write an intent back, the next run looks at it again.
func TestReconcile_CursorStaysBeforeWhatFailed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	lost := w.createAgo(5 * time.Hour)

	for _, statement := range []string{
		"DELETE FROM payments",
		"DELETE FROM operations",
		"ALTER TABLE payments ADD CONSTRAINT interrupted CHECK (false) NOT VALID",
	} {
		w.exec(statement)
	}

	w.setCursor(-10 * time.Hour)

	report, err := w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, 1, report.Left())
	require.Greater(t, w.cursor(), 5*time.Hour, "it stays before the intent")
	require.WithinDuration(t, time.Now().Add(-time.Minute), report.Until, time.Minute, "what came later was looked at")

	w.exec("ALTER TABLE payments DROP CONSTRAINT interrupted")
	_, err = w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.get("/payments/"+lost.text("id")).status)
	w.requireCursor(time.Minute, "now it is there")
}

// A contradiction is left to a person, so it does not hold the cursor.
func TestReconcile_CursorPassesContradictions(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createAgo(5 * time.Hour)
	w.exec("UPDATE payments SET amount = amount + 1")
	w.setCursor(-10 * time.Hour)

	report, err := w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, 1, report.Found[ports.DiscrepancyContradiction])
	w.requireCursor(time.Minute, "")
}

// A run that is stopped half-way keeps what it has done, and the next run goes on there.
func TestReconcile_KeepsItsProgress(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	early, late := w.createAgo(19*time.Hour), w.createAgo(time.Hour)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM operations")
	w.setCursor(-20 * time.Hour)

	ctx, cancel := context.WithCancel(t.Context())
	watch := w.watchStripe(func(_ http.ResponseWriter, r *http.Request) bool {
		// The run is stopped while it reads the hours of the late payment. They may end in
		// the very second in which it was made.
		if createdBound(r.URL, "lte").After(time.Now().Add(-time.Hour-10*time.Second)) && ctx.Err() == nil {
			cancel()
			<-r.Context().Done()
		}

		return false
	})

	report, err := w.reconcileAs(func(_ context.Context, r *reconcile.Reconcile) (reconcile.Report, error) {
		return r.Do(ctx, reconcile.Options{Back: 21 * time.Hour})
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, http.StatusOK, w.get("/payments/"+early.text("id")).status)
	require.Equal(t, http.StatusNotFound, w.get("/payments/"+late.text("id")).status)

	reached := time.Now().Add(-w.cursor())
	require.WithinDuration(t, report.Until, reached, time.Second)
	require.WithinRange(t, reached, time.Now().Add(-19*time.Hour), time.Now().Add(-time.Hour))
	require.Zero(t, w.count("SELECT count(*) FROM reconciliation_lease"), "other runs need not wait")
	watch.take("")

	_, err = w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.get("/payments/"+late.text("id")).status)

	for _, call := range watch.take("/v1/events") {
		require.False(t, createdBound(call, "gte").Before(reached.Add(-16*time.Minute)), "it goes on where the first run stopped")
	}
}

// Where there are very many intents the windows become shorter, and nothing is left out
// between them.
func TestReconcile_ManyIntentsInShorterWindows(t *testing.T) {
	t.Parallel()

	const foreign, pages = 2500, 11

	w := newWorld(t)
	w.stripe.Advance(-2 * time.Hour)

	var ours []answer

	for n := range foreign {
		if n%500 == 250 {
			ours = append(ours, w.create(`{"amount":10,"currency":"USD"}`))
		}

		w.createIntent("amount=500&currency=usd") // another program's, on the same account

		if n%2 == 0 { // two in a second
			w.stripe.Advance(time.Second)
		}
	}

	w.stripe.Advance(2*time.Hour - foreign/2*time.Second)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM operations")

	watch := w.watchStripe(nil)
	report := w.reconcileSince(24*time.Hour, false)
	require.Equal(t, len(ours), report.Repaired[ports.DiscrepancyMissingPayment])
	require.Equal(t, len(ours), report.Intents)

	for _, created := range ours {
		require.Equal(t, http.StatusOK, w.get("/payments/"+created.text("id")).status)
	}

	lists := map[string]int{}
	for _, call := range watch.take("/v1/payment_intents") {
		lists[call.Query().Get("created[gte]")+" to "+call.Query().Get("created[lte]")]++
	}

	require.Greater(t, len(lists), 3)

	for window, n := range lists {
		require.LessOrEqual(t, n, pages, window)
	}
}

// Where the key may not read events, intents are still compared with the records.
func TestReconcile_ComparesIntentsWithoutEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	missing := w.createAgo(20 * time.Hour)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM operations")
	w.setCursor(-23 * time.Hour)
	w.watchStripe(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/events" {
			return false
		}

		rw.WriteHeader(http.StatusForbidden)

		return true
	})

	_, err := w.reconcileScheduled()
	require.ErrorContains(t, err, "listing the provider's events")
	require.Equal(t, http.StatusOK, w.get("/payments/"+missing.text("id")).status)
	w.requireCursor(23*time.Hour, "events have not been looked at")
}

// Only one run asks Stripe at a time: a second one by hand waits, and a scheduled one is
// skipped.
func TestReconcile_OneAtATime(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.StripeTimeout = time.Minute })
	w.setCursor(-time.Hour)

	held, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	hold := sync.OnceFunc(func() { close(held); <-released })
	watch := w.watchStripe(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/events" {
			hold()
		}

		return false
	})

	t.Cleanup(release)

	var both sync.WaitGroup

	waits := make(chan struct{})
	errs := make([]error, 2)
	run := func(i int, waiting func()) {
		_, errs[i] = w.reconcileAs(func(ctx context.Context, r *reconcile.Reconcile) (reconcile.Report, error) {
			return r.Do(ctx, reconcile.Options{Back: 2 * time.Hour, Waiting: waiting})
		})
	}

	both.Go(func() { run(0, nil) })
	<-held
	both.Go(func() { run(1, func() { close(waits) }) })
	<-waits

	_, err := w.reconcileScheduled()
	require.ErrorIs(t, err, reconcile.ErrReconciling)
	require.Len(t, watch.take("/v1"), 1, "no other run has asked for anything")

	release()
	both.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	require.Equal(t, 1, watch.most)
	w.requireCursor(time.Minute, "")
}

// What is younger than a minute is left alone. A run that would look at nothing else
// fails, because it must not pass for a clean one.
func TestReconcile_FailsWhenThereIsNothingToLookAt(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.ReconcileInterval = 0 })

	for _, since := range []time.Time{time.Now().Add(-10 * time.Second), time.Now().Add(time.Hour)} {
		_, err := w.reconcileAs(func(ctx context.Context, r *reconcile.Reconcile) (reconcile.Report, error) {
			return r.Do(ctx, reconcile.Options{Since: since})
		})
		require.ErrorContains(t, err, "nothing to look at")
	}
}
