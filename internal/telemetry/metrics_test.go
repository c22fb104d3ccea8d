package telemetry_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// Every metric, with something in it, satisfies Prometheus's own linter.
func TestMetrics_Lint(t *testing.T) {
	t.Parallel()

	problems, err := testutil.GatherAndLint(everything(t).Registry())
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestMetrics_PromtoolFindsNothingToCheck(t *testing.T) {
	t.Parallel()

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool in PATH; Debian has it in the package prometheus")
	}

	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(scrape(t, everything(t), "text/plain"))
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Empty(t, string(out))
}

func TestMetrics_Payments(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	m.PaymentChanged(paid(t, payment.Pending, "1000.00", "USD"))
	m.PaymentChanged(paid(t, payment.Succeeded, "1000.00", "USD"))
	m.PaymentChanged(paid(t, payment.Succeeded, "0.50", "USD"))
	m.PaymentChanged(paid(t, payment.Succeeded, "500", "JPY"))
	m.PaymentChanged(paid(t, payment.Succeeded, "1.500", "KWD"))
	m.PaymentChanged(paid(t, payment.Succeeded, "300", "ISK"))
	m.PaymentChanged(paid(t, payment.Failed, "7", "EUR"))

	part := paid(t, payment.Succeeded, "9", "GBP")
	part.Captured = amount(t, "4.50", "GBP").Money()
	m.PaymentChanged(part)

	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_total{currency="USD",status="pending"}`:   1,
		`marketflow_payments_total{currency="USD",status="succeeded"}`: 2,
		`marketflow_payments_total{currency="EUR",status="failed"}`:    1,
		`marketflow_payments_amount_total{currency="USD"}`:             1000.5,
		`marketflow_payments_amount_total{currency="JPY"}`:             500,
		`marketflow_payments_amount_total{currency="KWD"}`:             1.5,
		`marketflow_payments_amount_total{currency="ISK"}`:             300,
		`marketflow_payments_amount_total{currency="GBP"}`:             4.5, // what was captured
	})
	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_amount_total{currency="EUR"}`:             0,
		`marketflow_payments_total{currency="EUR",status="succeeded"}`: 0,
	})
}

func TestMetrics_WhatTheCoreDecides(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	m.Replayed(ports.ReplayFromCache)
	m.DuplicatePrevented(fault.KeyReused)
	m.OperationFinished(operation.Capture, operation.ByRecovery, operation.OutcomeDone)
	m.EventTaken("payment_intent.succeeded", ports.EventApplied, 3*time.Second)
	m.EventTaken("payment_intent.succeeded", ports.EventApplied, 0)              // no time known
	m.EventTaken("payment_intent.succeeded", ports.EventDuplicate, 24*time.Hour) // arrived in time before
	m.EventTaken("payment_intent.canceled", ports.EventStale, -time.Second)      // their clock is ahead
	m.DiscrepancyFound(ports.DiscrepancyMissingPayment, true)

	requireMetrics(t, m, map[string]float64{
		`marketflow_idempotent_replays_total{source="cache"}`:                                  1,
		`marketflow_idempotent_replays_total{source="database"}`:                               0,
		`marketflow_idempotency_rejections_total{kind="idempotency-key-reused"}`:               1,
		`marketflow_idempotency_rejections_total{kind="idempotency-key-in-use"}`:               0,
		`marketflow_operations_finished_total{by="recovery",kind="capture",outcome="done"}`:    1,
		`marketflow_operations_finished_total{by="request",kind="create",outcome="rejected"}`:  0,
		`marketflow_operations_finished_total{by="request",kind="cancel",outcome="done"}`:      0,
		`marketflow_webhook_events_total{outcome="applied",type="payment_intent.succeeded"}`:   2,
		`marketflow_webhook_events_total{outcome="duplicate",type="payment_intent.succeeded"}`: 1,
		`marketflow_webhook_lag_seconds_count{}`:                                               2,
		`marketflow_webhook_lag_seconds_sum{}`:                                                 3,
		`marketflow_discrepancies_total{kind="missing_payment",repaired="true"}`:               1,
		`marketflow_discrepancies_total{kind="contradiction",repaired="false"}`:                0,
	})
}

func TestMetrics_Adapters(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	m.Stripe().Call("create_intent", "done", "", 300*time.Millisecond)
	m.Stripe().Call("create_intent", "not_sent", "breaker_open", 0)
	m.Stripe().InFlight(2)
	m.Stripe().InFlight(-1)
	m.Stripe().BreakerState(true)
	m.MemoryCache().Hit()
	m.RateLimit().Limited()
	m.Jobs().Job("recover", "completed", -time.Second, time.Second)
	m.RequestsInFlight(3)
	m.ObserveBuild("v1.2.3")
	m.ObserveSecrets(func() int { return 2 })

	requireMetrics(t, m, map[string]float64{
		`marketflow_stripe_calls_total{operation="create_intent",outcome="done",reason=""}`:                 1,
		`marketflow_stripe_calls_total{operation="create_intent",outcome="not_sent",reason="breaker_open"}`: 1,
		`marketflow_stripe_request_duration_seconds_count{operation="create_intent",outcome="done"}`:        1,
		`marketflow_stripe_requests_in_flight{}`:                                                            1,
		`marketflow_stripe_breaker_open{}`:                                                                  1,
		`marketflow_replay_cache_operations_total{cache="memory",outcome="hit"}`:                            1,
		`marketflow_rate_limit_decisions_total{outcome="limited"}`:                                          1,
		`marketflow_http_requests_in_flight{}`:                                                              3,
		`marketflow_jobs_total{kind="recover",result="completed"}`:                                          1,
		`marketflow_unreadable_secrets{}`:                                                                   2,
		`marketflow_jobs_total{kind="reconcile",result="failed"}`:                                           0,
		`marketflow_job_wait_seconds_sum{}`:                                                                 0,
	})
	require.NotContains(t, values(t, m),
		`marketflow_stripe_request_duration_seconds_count{operation="create_intent",outcome="not_sent"}`)
	require.Contains(t, scrape(t, m, "text/plain"), `version="v1.2.3"`)

	m.Stripe().BreakerState(false)
	requireMetrics(t, m, map[string]float64{`marketflow_stripe_breaker_open{}`: 0})
}

// Whatever is passed, the number of series has an end.
func TestMetrics_LabelsAreBounded(t *testing.T) {
	t.Parallel()

	const many = 5000

	m := telemetry.NewMetrics()

	for i := range many {
		text := "evil_" + strconv.Itoa(i)
		m.ObserveRequest(t.Context(), text, text, i, time.Second)
		m.Replayed(ports.ReplaySource(text))
		m.DuplicatePrevented(fault.Kind(text))
		m.OperationFinished(operation.Kind(text), operation.Finisher(text), operation.Outcome(text))
		m.EventTaken(text, ports.EventOutcome(text), time.Second)
		m.DiscrepancyFound(ports.DiscrepancyKind(text), true)
		m.PaymentChanged(paid(t, payment.Status(text), "1", "USD"))
		m.Stripe().Call(text, text, text, time.Second)
		m.Jobs().Job(text, text, time.Second, time.Second)
	}

	families, err := m.Registry().Gather()
	require.NoError(t, err)

	for _, family := range families {
		require.LessOrEqual(t, len(family.GetMetric()), 710, family.GetName())
	}

	// Nothing is lost: what has no series of its own is counted as other.
	var requests uint64

	for _, metric := range familyOf(t, m, "marketflow_http_request_duration_seconds").GetMetric() {
		requests += metric.GetHistogram().GetSampleCount()
	}

	require.EqualValues(t, many, requests)
}

func TestMetrics_UnknownEventTypeIsOther(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	for _, eventType := range []string{"", "invoice.created", "payment_intent.invented", "client_secret_123"} {
		m.EventTaken(eventType, ports.EventIgnored, 0)
	}

	requireMetrics(t, m, map[string]float64{`marketflow_webhook_events_total{outcome="ignored",type="other"}`: 4})

	for _, metric := range familyOf(t, m, "marketflow_webhook_events_total").GetMetric() {
		require.NotRegexp(t, "invoice|invented|secret", labelsOf(metric))
	}
}

func TestMetrics_ExemplarsOfSampledSpansOnly(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()

	sampled, span := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "sampled")
	defer span.End()

	unsampled, other := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).
		Tracer("test").Start(t.Context(), "unsampled")
	defer other.End()

	m.ObserveRequest(sampled, "/payments", http.MethodPost, http.StatusCreated, 3*time.Millisecond)
	m.ObserveRequest(unsampled, "/payments", http.MethodPost, http.StatusCreated, 30*time.Millisecond)
	m.ObserveRequest(t.Context(), "/payments", http.MethodPost, http.StatusCreated, 300*time.Millisecond)

	page := scrape(t, m, "application/openmetrics-text")
	require.Contains(t, page, `# {trace_id="`+span.SpanContext().TraceID().String()+`"}`)
	require.NotContains(t, page, other.SpanContext().TraceID().String())
	require.Equal(t, 1, strings.Count(page, "trace_id"))
	require.NotContains(t, scrape(t, m, "text/plain"), "trace_id")
}

func TestMetrics_HandlerAnswersAFewScrapesAtOnce(t *testing.T) {
	t.Parallel()

	const scrapes = 12

	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	m := telemetry.NewMetrics()
	m.ObserveBacklog(backlogFunc(func(context.Context) (ports.BacklogStats, error) {
		asked <- struct{}{}

		<-release

		return ports.BacklogStats{}, nil
	}))

	handler := m.Handler()
	codes := make(chan int, scrapes)

	for range scrapes {
		go func() {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))

			codes <- answer.Code
		}()
	}

	<-asked

	const allowed = 4

	for range scrapes - allowed { // these are answered while the collection hangs
		require.Equal(t, http.StatusServiceUnavailable, <-codes)
	}

	close(release)

	for range allowed {
		require.Equal(t, http.StatusOK, <-codes)
	}
}

func TestBacklog_IsAskedWhenPrometheusAsks(t *testing.T) {
	t.Parallel()

	var asked atomic.Int64

	m := telemetry.NewMetrics()
	m.ObserveBacklog(backlogFunc(func(ctx context.Context) (ports.BacklogStats, error) {
		asked.Add(1)

		_, bounded := ctx.Deadline()
		require.True(t, bounded)

		span := trace.SpanContextFromContext(ctx)
		require.True(t, span.IsValid() && !span.IsSampled(), "a scrape begins no trace of its own")

		return ports.BacklogStats{
			Operations:       map[operation.State]int64{operation.Pending: 3},
			OldestUnfinished: 90 * time.Second,
			Lapsing:          4, Overdrawn: 5, OldestRefund: 6 * time.Second,
			Parked:       2,
			OldestParked: 1500 * time.Millisecond,
			Disputes: ports.OpenDisputes{
				Unanswered: map[ports.TimeLeft]int64{ports.WithinThree: 2, ports.Later: 7},
				AtStake:    []money.Money{disputedYen(t)},
			},
		}, nil
	}))
	require.Zero(t, asked.Load())

	begin := time.Now()
	want := map[string]float64{
		`marketflow_operations{state="pending"}`:            3,
		`marketflow_operations{state="needs_attention"}`:    0,
		`marketflow_oldest_pending_operation_age_seconds{}`: 90,
		`marketflow_lapsing_holds{}`:                        4,
		`marketflow_overdrawn_payments{}`:                   5,
		`marketflow_oldest_pending_refund_age_seconds{}`:    6,
		`marketflow_parked_events{}`:                        2,
		`marketflow_unanswered_disputes{left="3d"}`:         2,
		`marketflow_unanswered_disputes{left="later"}`:      7,
		`marketflow_disputed_amount{currency="JPY"}`:        1500,
		`marketflow_oldest_parked_event_age_seconds{}`:      1.5,
		`marketflow_backlog_collection_success{}`:           1,
	}

	for range 5 {
		requireMetrics(t, m, want)
	}

	require.LessOrEqual(t, asked.Load(), 1+int64(time.Since(begin)/time.Second), "more than once a second")
}

func TestBacklog_TellsThatTheDatabaseDoesNot(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	m.ObserveBacklog(backlogFunc(func(ctx context.Context) (ports.BacklogStats, error) {
		<-ctx.Done() // a database that hangs

		return ports.BacklogStats{}, errors.New("no database")
	}))

	got := values(t, m)
	require.Zero(t, got[`marketflow_backlog_collection_success{}`])
	require.Contains(t, got, `marketflow_backlog_collection_success{}`)
	require.NotContains(t, got, `marketflow_parked_events{}`)
	require.NotContains(t, got, `marketflow_oldest_pending_operation_age_seconds{}`)
}

func TestBackground_IsAskedWhenPrometheusAsks(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	m.ObserveBackground(background{jobs: 2, oldest: 90 * time.Second, through: time.Unix(1_700_000_000, 5)}, background{})
	requireMetrics(t, m, map[string]float64{
		`marketflow_jobs_waiting{}`:                         2,
		`marketflow_oldest_waiting_job_age_seconds{}`:       90,
		`marketflow_reconciled_through_timestamp_seconds{}`: 0,
	})

	m = telemetry.NewMetrics()
	m.ObserveBackground(background{err: errors.New("no database")}, background{through: time.Unix(1_700_000_000, 5)})
	requireMetrics(t, m, map[string]float64{`marketflow_reconciled_through_timestamp_seconds{}`: 1_700_000_000})
	require.NotContains(t, values(t, m), `marketflow_jobs_waiting{}`)
}

type background struct {
	jobs    int64
	oldest  time.Duration
	through time.Time
	err     error
}

func (b background) Waiting(context.Context) (int64, time.Duration, error) {
	return b.jobs, b.oldest, b.err
}

func (b background) ReconciledThrough(context.Context) (through, now time.Time, err error) {
	return b.through, time.Now(), b.err
}

func TestPools_AreObserved(t *testing.T) {
	t.Parallel()

	m := everything(t)

	requireMetrics(t, m, map[string]float64{
		`marketflow_database_max_connections{pool="requests"}`:                7,
		`marketflow_database_max_connections{pool="background"}`:              7,
		`marketflow_database_connections{pool="background",state="acquired"}`: 0,
		`marketflow_database_acquire_wait_seconds_total{pool="requests"}`:     0,
		`marketflow_redis_connections{}`:                                      1,
		`marketflow_redis_pool_timeouts_total{}`:                              0,
		`marketflow_replay_cache_memory_entries{}`:                            0,
	})
}

// everything has a value in every metric.
func everything(t *testing.T) *telemetry.Metrics {
	t.Helper()

	m := telemetry.NewMetrics()
	m.ObserveBuild("v1.2.3")
	m.ObserveRequest(t.Context(), "/payments", http.MethodPost, http.StatusCreated, time.Second)
	m.EventTaken("payment_intent.succeeded", ports.EventApplied, time.Second)
	m.PaymentChanged(paid(t, payment.Succeeded, "1", "USD"))
	m.Stripe().Call("create_intent", "done", "", time.Second)
	m.MemoryCache().Miss()
	m.RateLimit().Allowed()
	m.ObserveBacklog(backlogFunc(func(context.Context) (ports.BacklogStats, error) { return ports.BacklogStats{}, nil }))
	m.ObserveBackground(background{}, background{})
	m.Jobs().Job("recover", "completed", time.Second, time.Second)
	m.Handler()

	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nothing?pool_max_conns=7")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	m.ObservePool("requests", pool)
	m.ObservePool("background", pool)

	cache, err := memory.NewReplayCache(memory.DefaultBounds(), m.MemoryCache())
	require.NoError(t, err)
	m.ObserveMemoryCache(cache)

	client, err := redis.NewClient(redis.Config{URL: "redis://" + miniredis.RunT(t).Addr(), Timeout: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.Ping(t.Context()))
	m.ObserveRedisPool(client)

	return m
}

type backlogFunc func(context.Context) (ports.BacklogStats, error)

func (f backlogFunc) Backlog(ctx context.Context) (ports.BacklogStats, error) { return f(ctx) }

func amount(t *testing.T, text, code string) money.Price {
	t.Helper()

	currency, err := money.ParseCurrency(code)
	require.NoError(t, err)
	a, err := money.ParsePrice(text, currency)
	require.NoError(t, err)

	return a
}

// paid is a payment with a status, of which all was captured if it has succeeded.
func paid(t *testing.T, status payment.Status, text, code string) payment.Payment {
	t.Helper()

	p := payment.Payment{Status: status, Amount: amount(t, text, code)}
	p.Captured = p.Received()

	return p
}

func scrape(t *testing.T, m *telemetry.Metrics, accept string) string {
	t.Helper()

	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	request.Header.Set("Accept", accept)

	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	require.Equal(t, http.StatusOK, answer.Code)
	require.Contains(t, answer.Header().Get("Content-Type"), accept)

	page, err := io.ReadAll(answer.Body)
	require.NoError(t, err)

	return string(page)
}

// requireMetrics compares the metrics that want names.
func requireMetrics(t *testing.T, m *telemetry.Metrics, want map[string]float64) {
	t.Helper()

	got := values(t, m)
	maps.DeleteFunc(got, func(name string, _ float64) bool {
		_, wanted := want[name]

		return !wanted
	})
	require.Equal(t, want, got)
}

// values are all that is measured, by name{label="value",…}.
func values(t *testing.T, m *telemetry.Metrics) map[string]float64 {
	t.Helper()

	families, err := m.Registry().Gather()
	require.NoError(t, err)

	all := map[string]float64{}

	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := labelsOf(metric)
			if h := metric.GetHistogram(); h != nil {
				all[family.GetName()+"_count"+labels] = float64(h.GetSampleCount())
				all[family.GetName()+"_sum"+labels] = h.GetSampleSum()
			} else {
				all[family.GetName()+labels] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}

	return all
}

func labelsOf(metric *dto.Metric) string {
	pairs := make([]string, 0, len(metric.GetLabel()))
	for _, pair := range metric.GetLabel() {
		pairs = append(pairs, pair.GetName()+"="+strconv.Quote(pair.GetValue()))
	}

	return "{" + strings.Join(pairs, ",") + "}"
}

func familyOf(t *testing.T, m *telemetry.Metrics, name string) *dto.MetricFamily {
	t.Helper()

	families, err := m.Registry().Gather()
	require.NoError(t, err)

	for _, family := range families {
		if family.GetName() == name {
			return family
		}
	}

	require.Fail(t, "no such metric", name)

	return nil
}

func BenchmarkMetrics(b *testing.B) {
	m := telemetry.NewMetrics()
	traced, span := sdktrace.NewTracerProvider().Tracer("bench").Start(b.Context(), "request")

	defer span.End()

	currency, err := money.ParseCurrency("USD")
	require.NoError(b, err)
	a, err := money.NewPrice(100, currency)
	require.NoError(b, err)

	for name, op := range map[string]func(){
		"Request": func() {
			m.ObserveRequest(b.Context(), "/payments", http.MethodPost, http.StatusCreated, time.Millisecond)
		},
		"RequestTraced": func() {
			m.ObserveRequest(traced, "/payments", http.MethodPost, http.StatusCreated, time.Millisecond)
		},
		"PaymentChanged": func() { m.PaymentChanged(payment.Payment{Status: payment.Succeeded, Amount: a, Captured: a.Money()}) },
		"EventHandled":   func() { m.EventTaken("payment_intent.succeeded", ports.EventApplied, time.Second) },
		"StripeCall":     func() { m.Stripe().Call("create_intent", "done", "", time.Millisecond) },
		"Replayed":       func() { m.Replayed(ports.ReplayFromCache) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()

			for b.Loop() {
				op()
			}
		})
	}
}

func disputedYen(t *testing.T) money.Money {
	t.Helper()

	yen, err := money.ParseCurrency("JPY")
	require.NoError(t, err)

	return money.Of(1500, yen)
}
