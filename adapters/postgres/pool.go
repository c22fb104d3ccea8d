package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
)

// PoolConfig says how to reach the database.
type PoolConfig struct {
	// URL is postgres://…, or a keyword/value string, as libpq reads them.
	URL string
	// MaxConns is the most connections that are open at once.
	MaxConns int32
	// Tracer makes a span of each statement; nil for none.
	Tracer trace.TracerProvider
	// Ready has all connections opened before they are needed, with the
	// statements of requests planned: a request that does both waits for them as
	// long as for a dozen commits.
	Ready bool
}

// NewPool opens a pool. It does not connect yet.
func NewPool(ctx context.Context, c PoolConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, presentable(err)
	}

	config.MaxConns = c.MaxConns
	config.MaxConnLifetime = time.Hour
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.MaxConnIdleTime = 10 * time.Minute

	if config.ConnConfig.ConnectTimeout == 0 { // connect_timeout, where the URL has it
		config.ConnConfig.ConnectTimeout = 2 * time.Second
	}

	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "marketflow"
	}
	// A process that is stopped inside a transaction must not hold its locks.
	params["idle_in_transaction_session_timeout"] = "10s"
	maps.Copy(params, PlannerSettings())

	planned := c.Ready && config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	follow := func() {}

	if c.Ready {
		config.MinConns = c.MaxConns
		config.BeforeConnect, follow = firstAlone(config.ConnConfig.ConnectTimeout)
	}

	// One after the other, for the same reason.
	var planning sync.Mutex

	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// Without this a UUID goes as text, through database/sql's interfaces.
		pgxuuid.Register(conn.TypeMap())

		defer follow()

		// What cannot be planned now fails when it is used.
		if planned {
			planning.Lock()
			defer planning.Unlock()

			_ = plan(ctx, conn)
		}

		return nil
	}

	if c.Tracer != nil {
		config.ConnConfig.Tracer = newTracer(c.Tracer, config.ConnConfig)
	}

	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the pool: %w", presentable(err))
	}

	return pool, nil
}

// firstAlone lets the first connection be made before all others, because the
// start of the service waits for it. They follow once follow is called, or after
// a while, should the first not come about.
func firstAlone(atMost time.Duration) (before func(context.Context, *pgx.ConnConfig) error, follow func()) {
	var begun atomic.Bool

	there := make(chan struct{})
	follow = sync.OnceFunc(func() { close(there) })
	time.AfterFunc(atMost, follow)

	return func(ctx context.Context, _ *pgx.ConnConfig) error {
		if begun.CompareAndSwap(false, true) {
			return nil
		}

		select {
		case <-there:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, follow
}

// plan prepares the statements of requests and has PostgreSQL plan them.
func plan(ctx context.Context, conn *pgx.Conn) error {
	for _, text := range []string{
		sqlc.ClaimPayment, sqlc.CompletePayment, sqlc.ApplyEvent, sqlc.GetPayment,
		sqlc.ClaimPayments, sqlc.CompletePayments, sqlc.ApplyEvents,
	} {
		prepared, err := conn.Prepare(ctx, text, text) // under its own text pgx finds it again
		if err != nil {
			return fmt.Errorf("preparing %s: %w", statementName(text), err)
		}

		nothing := strings.TrimSuffix(strings.Repeat("NULL,", len(prepared.ParamOIDs)), ",")

		// Past pgx, whose tracer would make a span of it.
		err = conn.PgConn().Exec(ctx, "EXPLAIN EXECUTE "+prepared.Name+"("+nothing+")").Close()
		if err != nil {
			return fmt.Errorf("planning %s: %w", statementName(text), err)
		}
	}

	return nil
}

// PlannerSettings are how statements are planned on every connection.
//
// Each of ours looks its rows up by a key. So one plan is right for all
// arguments, and making it takes longer than running it. And no plan may read
// whole tables, as one that was made while they were empty would: it stays in use
// until they are next analysed.
func PlannerSettings() map[string]string {
	const off = "off"

	return map[string]string{
		"plan_cache_mode":  "force_generic_plan",
		"enable_seqscan":   off,
		"enable_hashjoin":  off,
		"enable_mergejoin": off,
		"jit":              off, // a plan that has to read a table after all counts as dear
	}
}

// tracer makes a span of each statement and of nothing else. It is no
// pgx.PrepareTracer: preparing happens once on each connection, inside the
// statement that needs it, and its span would have the same name. And it is no
// pgxpool.AcquireTracer: a connection is nearly always there at once, and the
// pool's metrics tell how long others waited.
type tracer struct{ statements *otelpgx.Tracer }

// newTracer names spans and attributes as OpenTelemetry's database conventions
// say.
func newTracer(provider trace.TracerProvider, config *pgx.ConnConfig) tracer {
	spans := otelpgx.NewTracer(
		otelpgx.WithTracerProvider(provider),
		otelpgx.WithSpanNameFunc(statementName),
		// Neither the arguments nor the text: a create's statements are several
		// kilobytes, more than the rest of its trace, and the name leads to them.
		otelpgx.WithDisableSQLStatementInAttributes(),
		// The same for every span of a pool, so it is not worked out for each.
		otelpgx.WithDisableConnectionDetailsInAttributes(),
		otelpgx.WithTracerAttributes(
			semconv.ServerAddress(config.Host),
			semconv.ServerPort(int(config.Port)),
			semconv.DBNamespace(config.Database)),
	)

	return tracer{statements: spans}
}

// TraceQueryStart implements pgx.QueryTracer.
func (t tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	ctx = t.statements.TraceQueryStart(ctx, conn, data)

	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		name := statementName(data.SQL)
		span.SetAttributes(semconv.DBOperationName(name), semconv.DBQuerySummary(name))
	}

	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	// otelpgx has a name of its own for PostgreSQL's code.
	if pg, ok := errors.AsType[*pgconn.PgError](data.Err); ok {
		trace.SpanFromContext(ctx).SetAttributes(
			semconv.ErrorTypeKey.String(pg.Code), semconv.DBResponseStatusCode(pg.Code))
	}

	t.statements.TraceQueryEnd(ctx, conn, data)
}

// statementName is the name that sqlc's comment gives a statement, or its first
// word.
func statementName(sql string) string {
	rest, named := strings.CutPrefix(sql, "-- name: ")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")

	if !named {
		return strings.ToUpper(word)
	}

	return word
}
