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

// Lifetimes of connections. A connection that was kept for ever would stay with a
// server that has stopped being the primary, and with the address that DNS gave then.
const (
	connLifetime = 5 * time.Minute
	connJitter   = time.Minute // so that a pool does not renew all connections at once
	connIdle     = 2 * time.Minute
)

// abandonedAfter is when PostgreSQL ends an idle transaction: a process that hangs
// inside one must not hold its locks for longer.
const abandonedAfter = "10s"

// PoolConfig says how to reach the database.
type PoolConfig struct {
	// URL is postgres://…, or a keyword/value string, as libpq reads them. Of several
	// hosts the first that can be written is used.
	URL string
	// MaxConns is the most connections that are open at once.
	MaxConns int32
	// Tracer makes a span of each statement; nil for none.
	Tracer trace.TracerProvider
	// Ready opens all connections before they are needed, and plans the statements of
	// requests on them. A request that had to do both would wait as long as for a
	// dozen commits.
	Ready bool
	// Once is for statements that run once and may take long: none stays prepared, and
	// when the caller gives up, the server ends the statement.
	Once bool
	// Background is for statements that nobody's payment waits for: none stays prepared,
	// so each is planned for its arguments, with the server's own settings.
	Background bool
}

// NewPool opens a pool. It does not connect yet.
//
// All its connections are to a server that can be written. When a statement fails
// because its server is read-only, that connection and the idle ones are closed: a
// primary that was demoted may live on as a standby and keep them open.
func NewPool(ctx context.Context, c PoolConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, presentable(err)
	}

	config.MaxConns = c.MaxConns
	config.MaxConnLifetime = connLifetime
	config.MaxConnLifetimeJitter = connJitter
	config.MaxConnIdleTime = connIdle

	configureConn(config.ConnConfig, c)
	prepareConns(config, c.Ready)

	return open(ctx, config)
}

// configureConn sets what each connection starts with.
func configureConn(conn *pgx.ConnConfig, c PoolConfig) {
	if conn.ConnectTimeout == 0 { // the URL has no connect_timeout
		conn.ConnectTimeout = 2 * time.Second
	}

	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "marketflow"
	}

	if (c.Once || c.Background) && keepsPrepared(conn) {
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}

	if c.Once {
		// A statement that its caller gave up must not go on in the server, perhaps for
		// hours.
		conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: conn.ConnectTimeout}
		}
	}

	if keepsPrepared(conn) {
		conn.RuntimeParams["idle_in_transaction_session_timeout"] = abandonedAfter
		maps.Copy(conn.RuntimeParams, PlannerSettings())
	}

	if c.Tracer != nil {
		conn.Tracer = newTracer(c.Tracer, conn)
	}
}

// keepsPrepared tells whether statements stay prepared on a connection.
func keepsPrepared(conn *pgx.ConnConfig) bool {
	return conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
}

// prepareConns sets what is done with each new connection before its first use.
func prepareConns(config *pgxpool.Config, ready bool) {
	allowOthers := func() {}

	if ready {
		config.MinConns = config.MaxConns
		config.BeforeConnect, allowOthers = firstAlone(config.ConnConfig.ConnectTimeout)
	}

	// Connections plan one after the other, so that the first one is soon ready.
	var planning sync.Mutex

	keepsPrepared := keepsPrepared(config.ConnConfig)
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerTypes(conn.TypeMap())

		defer allowOthers()

		if !keepsPrepared {
			return limitAbandoned(ctx, conn)
		}

		if ready {
			planning.Lock()
			defer planning.Unlock()

			_ = plan(ctx, conn) // what cannot be planned now fails when it is used
		}

		return nil
	}
}

// open opens a pool that keeps only connections to servers that can be written.
func open(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	var opened atomic.Pointer[pgxpool.Pool]

	conn := config.ConnConfig
	conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	onPgError := conn.OnPgError

	conn.OnPgError = func(c *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		if !isReadOnly(err) {
			return onPgError(c, err)
		}

		if pool := opened.Load(); pool != nil {
			pool.Reset()
		}

		return false
	}

	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the pool: %w", presentable(err))
	}

	opened.Store(pool)

	return pool, nil
}

// registerTypes tells pgx how to send our types.
func registerTypes(types *pgtype.Map) {
	// Without this a UUID is sent as text, through database/sql's interfaces.
	pgxuuid.Register(types)

	// Where pgx does not ask PostgreSQL for a parameter's type, it uses the Go type's.
	types.RegisterDefaultPgType(uuid.UUID{}, "uuid")
	types.RegisterDefaultPgType([]uuid.UUID{}, "_uuid")

	registerArrays(types)
}

// limitAbandoned sets idle_in_transaction_session_timeout where statements do not stay
// prepared. Such a mode is mostly chosen because of a pooler, and a pooler refuses
// start-up parameters that it does not know. The planner's settings are not needed
// then: they are for statements that stay prepared.
func limitAbandoned(ctx context.Context, conn *pgx.Conn) error {
	// Through pgconn, because pgx would make a span of it.
	err := conn.PgConn().Exec(ctx, "SET idle_in_transaction_session_timeout = '"+abandonedAfter+"'").Close()
	if err != nil {
		return fmt.Errorf("limiting abandoned transactions: %w", err)
	}

	return nil
}

// firstAlone holds all other connections back while the first one is made, because the
// start of the service waits for that. The others may connect once allowOthers is
// called, or after atMost if the first one fails.
func firstAlone(atMost time.Duration) (beforeConnect func(context.Context, *pgx.ConnConfig) error, allowOthers func()) {
	var begun atomic.Bool

	allowed := make(chan struct{})
	allowOthers = sync.OnceFunc(func() { close(allowed) })
	time.AfterFunc(atMost, allowOthers)

	return func(ctx context.Context, _ *pgx.ConnConfig) error {
		if begun.CompareAndSwap(false, true) {
			return nil
		}

		select {
		case <-allowed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, allowOthers
}

// plan prepares the statements of requests and has PostgreSQL plan them.
func plan(ctx context.Context, conn *pgx.Conn) error {
	for _, text := range []string{
		sqlc.GetPayments, sqlc.BeginOperations,
		sqlc.FinishOperations, sqlc.InsertPayments, sqlc.InsertFirstTransitions, sqlc.ListParkedObjects,
		sqlc.LockPaymentsByIntent, sqlc.LockFreePaymentsByIntent, sqlc.ListEventOutcomes,
		sqlc.InsertEvents, sqlc.UpdatePayments, sqlc.InsertTransitions, sqlc.LockOperations, sqlc.LockPayment,
	} {
		prepared, err := conn.Prepare(ctx, text, text) // pgx later finds it by its text
		if err != nil {
			return fmt.Errorf("preparing %s: %w", statementName(text), err)
		}

		nulls := strings.TrimSuffix(strings.Repeat("NULL,", len(prepared.ParamOIDs)), ",")

		// Through pgconn, because pgx would make a span of it.
		err = conn.PgConn().Exec(ctx, "EXPLAIN EXECUTE "+prepared.Name+"("+nulls+")").Close()
		if err != nil {
			return fmt.Errorf("planning %s: %w", statementName(text), err)
		}
	}

	return nil
}

// PlannerSettings are the planner's settings on every connection.
//
// Each of our statements finds its rows by a key. So one plan is right for all
// arguments, and to plan takes longer than to execute. And no plan may read a whole
// table: a plan that was made while the table was empty would, and it stays in use
// until the table is next analysed.
func PlannerSettings() map[string]string {
	const off = "off"

	return map[string]string{
		"plan_cache_mode":  "force_generic_plan",
		"enable_seqscan":   off,
		"enable_hashjoin":  off,
		"enable_mergejoin": off,
		"jit":              off, // without it a plan that must read a table seems expensive enough to compile
	}
}

// namePrefix begins a statement that sqlc has made.
const namePrefix = "-- name: "

// tracer makes a span of each statement and of nothing else. It does not implement
// pgx.PrepareTracer: a statement is prepared once on each connection, inside the call
// that needs it, and that span would have the same name. Nor pgxpool.AcquireTracer: a
// connection is nearly always free, and the pool's metrics tell how long others wait.
type tracer struct{ statements *otelpgx.Tracer }

// newTracer names spans and attributes by OpenTelemetry's database conventions.
func newTracer(provider trace.TracerProvider, config *pgx.ConnConfig) tracer {
	spans := otelpgx.NewTracer(
		otelpgx.WithTracerProvider(provider),
		otelpgx.WithSpanNameFunc(statementName),
		// No SQL text: that of a create is several kilobytes, more than the rest of its
		// trace, and the statement's name leads to it.
		otelpgx.WithDisableSQLStatementInAttributes(),
		// They are the same for every span of a pool, so they are computed once, below.
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
	// otelpgx uses another attribute for PostgreSQL's code.
	if pg, ok := errors.AsType[*pgconn.PgError](data.Err); ok {
		trace.SpanFromContext(ctx).SetAttributes(
			semconv.ErrorTypeKey.String(pg.Code), semconv.DBResponseStatusCode(pg.Code))
	}

	t.statements.TraceQueryEnd(ctx, conn, data)
}

type transactionSpanKey struct{}

// startTransaction begins the span of a transaction, whose trips have none of their own.
func (t tracer) startTransaction(ctx context.Context, conn *pgx.Conn, name string) context.Context {
	ctx = t.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: namePrefix + name})

	return context.WithValue(ctx, transactionSpanKey{}, true)
}

func inTransactionSpan(ctx context.Context) bool { return ctx.Value(transactionSpanKey{}) != nil }

// TraceBatchStart implements pgx.BatchTracer: a round trip is one span, with the name
// of its first statement that has one.
func (t tracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	if inTransactionSpan(ctx) {
		return ctx
	}

	var text string

	for _, queued := range data.Batch.QueuedQueries {
		if text = queued.SQL; strings.HasPrefix(text, namePrefix) {
			break
		}
	}

	return t.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: text})
}

// TraceBatchQuery implements pgx.BatchTracer.
func (t tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (t tracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	if inTransactionSpan(ctx) {
		return
	}

	t.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{Err: data.Err})
}

// statementName is the name that sqlc's comment gives a statement, or its first
// word.
func statementName(sql string) string {
	rest, named := strings.CutPrefix(sql, namePrefix)
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")

	if !named {
		return strings.ToUpper(word)
	}

	return word
}
