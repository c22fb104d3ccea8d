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
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
)

// Lifetimes of connections. One that is kept for ever stays with a server that
// has stopped being the primary, and with the addresses that DNS gave then.
const (
	connLifetime = 5 * time.Minute
	connJitter   = time.Minute // so that a pool is not renewed all at once
	connIdle     = 2 * time.Minute
)

// abandonedAfter: a process that is stopped inside a transaction must not hold its
// locks for longer.
const abandonedAfter = "10s"

// PoolConfig says how to reach the database.
type PoolConfig struct {
	// URL is postgres://…, or a keyword/value string, as libpq reads them. Of
	// several hosts the first is taken that can be written.
	URL string
	// MaxConns is the most connections that are open at once.
	MaxConns int32
	// Tracer makes a span of each statement; nil for none.
	Tracer trace.TracerProvider
	// Ready has all connections opened before they are needed, with the
	// statements of requests planned: a request that does both waits for them as
	// long as for a dozen commits.
	Ready bool
	// Once is for statements that are said once and may take long: none stays
	// prepared, and the server ends one that is given up.
	Once bool
}

// NewPool opens a pool. It does not connect yet.
//
// All its connections are to a server that can be written. A connection that
// answers otherwise is closed, and the idle ones with it: a primary that was
// demoted may live on as a reader and keep them open.
func NewPool(ctx context.Context, c PoolConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, presentable(err)
	}

	config.MaxConns = c.MaxConns
	config.MaxConnLifetime = connLifetime
	config.MaxConnLifetimeJitter = connJitter
	config.MaxConnIdleTime = connIdle

	conn := config.ConnConfig
	if conn.ConnectTimeout == 0 { // connect_timeout, where the URL has it
		conn.ConnectTimeout = 2 * time.Second
	}

	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "marketflow"
	}

	if c.Once && conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}

	if c.Once {
		// One that is given up must not go on in the server, for hours perhaps.
		conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: conn.ConnectTimeout}
		}
	}

	prepares := conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	if prepares {
		conn.RuntimeParams["idle_in_transaction_session_timeout"] = abandonedAfter
		maps.Copy(conn.RuntimeParams, PlannerSettings())
	}

	follow := func() {}

	if c.Ready {
		config.MinConns = c.MaxConns
		config.BeforeConnect, follow = firstAlone(conn.ConnectTimeout)
	}

	// One after the other, for the same reason.
	var planning sync.Mutex

	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerTypes(conn.TypeMap())

		defer follow()

		if !prepares {
			return limitAbandoned(ctx, conn)
		}

		// What cannot be planned now fails when it is used.
		if c.Ready {
			planning.Lock()
			defer planning.Unlock()

			_ = plan(ctx, conn)
		}

		return nil
	}

	if c.Tracer != nil {
		conn.Tracer = newTracer(c.Tracer, conn)
	}

	return open(ctx, config)
}

// open makes the pool keep to servers that can be written.
func open(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	var made atomic.Pointer[pgxpool.Pool]

	conn := config.ConnConfig
	conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	closes := conn.OnPgError

	conn.OnPgError = func(c *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		if !isReadOnly(err) {
			return closes(c, err)
		}

		if pool := made.Load(); pool != nil {
			pool.Reset()
		}

		return false
	}

	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the pool: %w", presentable(err))
	}

	made.Store(pool)

	return pool, nil
}

// registerTypes tells how our types go to PostgreSQL.
func registerTypes(types *pgtype.Map) {
	// Without this a UUID goes as text, through database/sql's interfaces.
	pgxuuid.Register(types)

	// Where pgx does not ask PostgreSQL for a parameter's type, it goes by Go's.
	types.RegisterDefaultPgType(uuid.UUID{}, "uuid")
	types.RegisterDefaultPgType([]uuid.UUID{}, "_uuid")
}

// limitAbandoned sets what a connection of prepared statements has from its start.
// A pooler between us and PostgreSQL refuses start-up parameters that it does not
// know, and whoever chooses a mode without prepared statements has one mostly. The
// planner's settings are for statements that stay prepared.
func limitAbandoned(ctx context.Context, conn *pgx.Conn) error {
	// Past pgx, whose tracer would make a span of it.
	err := conn.PgConn().Exec(ctx, "SET idle_in_transaction_session_timeout = '"+abandonedAfter+"'").Close()
	if err != nil {
		return fmt.Errorf("limiting abandoned transactions: %w", err)
	}

	return nil
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
		sqlc.BeginOperation, sqlc.FinishOperation, sqlc.ApplyEvent, sqlc.GetPayment,
		sqlc.BeginOperations, sqlc.FinishOperations, sqlc.ApplyEvents,
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
