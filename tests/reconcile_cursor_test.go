package tests

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
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
	// inFlight are under way now, most at once so far.
	inFlight, most int
}

// watchStripe puts a proxy before Stripe for what starts from now on. instead may
// answer a request, and is true then; it may also keep it waiting.
func (w *world) watchStripe(instead func(http.ResponseWriter, *http.Request) bool) *watched {
	w.t.Helper()

	base, err := url.Parse(w.stripe.URL)
	require.NoError(w.t, err)

	watch, proxy := &watched{}, httputil.NewSingleHostReverseProxy(base)
	proxy.ErrorLog = log.New(io.Discard, "", 0)

	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/account" { // whose the key is, each start asks
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
	w.adopt("another way to the same Stripe")

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

// take returns the calls since the last time whose path begins with prefix.
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

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()

	_, err := w.db.Pool().Exec(w.t.Context(), statement, args...)
	require.NoError(w.t, err)
}

// setCursor is a time relative to the database's now.
func (w *world) setCursor(at time.Duration) {
	w.t.Helper()
	w.exec(`INSERT INTO reconciliation VALUES (TRUE, now() + $1::interval)
		ON CONFLICT (singleton) DO UPDATE SET through = EXCLUDED.through`, at)
}

// cursor is how long ago it is.
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

// createAgo makes a payment that long ago, by Stripe's clock.
func (w *world) createAgo(ago time.Duration) answer {
	w.t.Helper()

	w.stripe.Advance(-ago)
	defer w.stripe.Advance(ago)

	created := w.create(`{"amount":10,"currency":"USD"}`)
	require.Equal(w.t, http.StatusCreated, created.status)

	return created
}

// A run by hand moves the cursor where it has looked from there on, and no other.
func TestReconcileByHandMovesTheCursor(t *testing.T) {
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

// An older release wrote cursors by its process's clock. One in the future hides
// nothing and is put right, whoever runs.
func TestReconcileCursorInTheFuture(t *testing.T) {
	t.Parallel()

	for name, ahead := range map[string]time.Duration{"A day": 24 * time.Hour, "Years": 20_000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			missing := w.createAgo(7 * time.Hour)
			w.exec("DELETE FROM payments")
			w.exec("DELETE FROM payment_requests")
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
		require.Greater(t, w.cursor(), time.Hour, "what it has not looked at is still to be looked at")
	})

	t.Run("A little", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t)
		watch := w.watchStripe(nil)
		w.setCursor(5 * time.Minute) // a standby whose clock is behind
		_, err := w.reconcileScheduled()
		require.NoError(t, err)
		w.requireCursor(time.Minute, "it was ahead by less than is looked at twice anyway")

		for _, call := range watch.take("/v1/events") {
			require.WithinDuration(t, time.Now().Add(-15*time.Minute), createdBound(call, "gte"), time.Minute)
		}
	})
}

// A run that could not write an intent back looks at it again at the next one.
func TestReconcileCursorStaysBeforeWhatFailed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	lost := w.createAgo(5 * time.Hour)

	for _, statement := range []string{
		"DELETE FROM payments",
		"DELETE FROM payment_requests",
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

// A contradiction stands here for a person: it does not keep the cursor for ever.
func TestReconcileCursorPassesContradictions(t *testing.T) {
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

// A run that is stopped half-way has kept what it did, and the next one goes on.
func TestReconcileKeepsItsProgress(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	early, late := w.createAgo(19*time.Hour), w.createAgo(time.Hour)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM payment_requests")
	w.setCursor(-20 * time.Hour)

	ctx, cancel := context.WithCancel(t.Context())
	watch := w.watchStripe(func(_ http.ResponseWriter, r *http.Request) bool {
		// The hours of the late one are not read to their end.
		if createdBound(r.URL, "lte").After(time.Now().Add(-time.Hour)) && ctx.Err() == nil {
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
	require.Zero(t, w.count("SELECT count(*) FROM reconciliation_lease"), "others need not wait")
	watch.take("")

	_, err = w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.get("/payments/"+late.text("id")).status)

	for _, call := range watch.take("/v1/events") {
		require.False(t, createdBound(call, "gte").Before(reached.Add(-16*time.Minute)), "it goes on where the other stopped")
	}
}

// Where very much has happened the windows are as short as they have to be, and
// nothing is left out between them.
func TestReconcileManyIntents(t *testing.T) {
	t.Parallel()

	const foreign, pages = 2500, 11

	w := newWorld(t)
	w.stripe.Advance(-2 * time.Hour)

	var ours []answer

	for n := range foreign {
		if n%500 == 250 {
			ours = append(ours, w.create(`{"amount":10,"currency":"USD"}`))
		}

		w.foreignIntent()

		if n%2 == 0 { // two in a second
			w.stripe.Advance(time.Second)
		}
	}

	w.stripe.Advance(2*time.Hour - foreign/2*time.Second)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM payment_requests")

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

// foreignIntent is another program's on the same account.
func (w *world) foreignIntent() {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.stripe.URL+"/v1/payment_intents",
		strings.NewReader("amount=500&currency=usd"))
	require.NoError(w.t, err)
	req.SetBasicAuth(secretKey, "")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	require.Equal(w.t, http.StatusOK, resp.StatusCode)
}

// Where a key may not read events, intents are held against the records all the same.
func TestReconcileWithoutEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	missing := w.createAgo(20 * time.Hour)
	w.exec("DELETE FROM payments")
	w.exec("DELETE FROM payment_requests")
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

// Two runs at once do not ask Stripe twice: the second waits, and a service's own
// is left out.
func TestReconcileOneAtATime(t *testing.T) {
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
	require.Len(t, watch.take("/v1"), 1, "nobody else has asked for anything")

	release()
	both.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	require.Equal(t, 1, watch.most)
	w.requireCursor(time.Minute, "")
}

// What is younger than a minute is still on its way; to look at nothing is no
// clean run.
func TestReconcileRefusesToLookAtNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.ReconcileInterval = 0 })

	for _, since := range []time.Time{time.Now().Add(-10 * time.Second), time.Now().Add(time.Hour)} {
		_, err := w.reconcileAs(func(ctx context.Context, r *reconcile.Reconcile) (reconcile.Report, error) {
			return r.Do(ctx, reconcile.Options{Since: since})
		})
		require.ErrorContains(t, err, "nothing to look at")
	}
}
