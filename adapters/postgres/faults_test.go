package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// soon bounds what a test waits for, generously: it fails, it does not measure.
const soon = 30 * time.Second

// operations are all that a store does with its database.
func operations(t *testing.T, store *postgres.Store) map[string]func(context.Context) error {
	t.Helper()

	op := ports.Operation{ID: uuid.New(), Lease: uuid.New()}
	event := eventFor(newOrder(t, ""), payment.Succeeded)
	completion := completionFor(newOrder(t, ""))

	return map[string]func(context.Context) error{
		"Operation": func(ctx context.Context) error { _, err := store.Begin(ctx, newOrder(t, "order_1")); return err },
		"Find": func(ctx context.Context) error {
			_, err := store.Find(ctx, operation.DefaultTenant, "order_1")
			return err
		},
		"FindByID": func(ctx context.Context) error { _, err := store.FindByID(ctx, op.ID); return err },
		"Take": func(ctx context.Context) error {
			_, err := store.Take(ctx, 1, ports.Lease{Token: uuid.New(), For: time.Minute})

			return err
		},
		"Extend": func(ctx context.Context) error { return store.Extend(ctx, op, time.Minute) },
		"Finish": func(ctx context.Context) error { _, err := store.Finish(ctx, completion); return err },
		"FinishRejected": func(ctx context.Context) error {
			_, err := store.FinishRejected(ctx, op, *completion.Response)

			return err
		},
		"Release": func(ctx context.Context) error { return store.Release(ctx, op, 0, errors.New("no answer")) },
		"GiveUp":  func(ctx context.Context) error { return store.GiveUp(ctx, op.ID, errors.New("lost")) },
		"Payment": func(ctx context.Context) error { _, err := store.Payment(ctx, op.ID); return err },
		"History": func(ctx context.Context) error { _, err := store.History(ctx, op.ID); return err },
		"Apply":   func(ctx context.Context) error { _, err := store.Apply(ctx, event); return err },
		"FinishAndApply": func(ctx context.Context) error {
			_, _, err := store.FinishAndApply(ctx, completion, event)

			return err
		},
		"Park":              func(ctx context.Context) error { return store.Park(ctx, event, ports.ParkedUnknown) },
		"Ready":             func(ctx context.Context) error { _, _, err := store.Ready(ctx, ports.InboxPosition{}, 1); return err },
		"ReadyFor":          func(ctx context.Context) error { _, err := store.ReadyFor(ctx, "pi_1"); return err },
		"Event":             func(ctx context.Context) error { _, err := store.Event(ctx, "evt_1"); return err },
		"Events":            func(ctx context.Context) error { _, err := store.Events(ctx, ports.EventFilter{}, 1); return err },
		"ReconciledThrough": func(ctx context.Context) error { _, _, err := store.ReconciledThrough(ctx); return err },
		"MoveReconciledThrough": func(ctx context.Context) error {
			_, err := store.MoveReconciledThrough(ctx, time.Time{}, time.Now(), "")

			return err
		},
		"HoldReconciliation": func(ctx context.Context) error {
			_, err := store.HoldReconciliation(ctx, ports.Lease{Token: uuid.New(), For: time.Minute})

			return err
		},
		"ReleaseReconciliation": func(ctx context.Context) error { return store.ReleaseReconciliation(ctx, uuid.New()) },
		"Sweep":                 func(ctx context.Context) error { _, err := store.Sweep(ctx, 0); return err },
		"SetSweep": func(ctx context.Context) error {
			return store.SetSweep(ctx, 0, ports.PaymentPosition{CreatedAt: time.Now()})
		},
		"UnknownEvents":    func(ctx context.Context) error { _, err := store.UnknownEvents(ctx, []string{"evt_1"}); return err },
		"PaymentsByIntent": func(ctx context.Context) error { _, err := store.PaymentsByIntent(ctx, []string{"pi_1"}); return err },
		"OpenPayments": func(ctx context.Context) error {
			_, _, err := store.OpenPayments(ctx, time.Time{}, ports.PaymentPosition{CreatedAt: time.Now()}, 1)

			return err
		},
		"FinishOn": func(ctx context.Context) error {
			_, err := store.FinishOn(ctx, op.ID, "request", ports.Change{Decide: cancelling})

			return err
		},
		"Reject": func(ctx context.Context) error { _, err := store.Reject(ctx, op, errors.New("not set up")); return err },
		"Write": func(ctx context.Context) error {
			_, err := store.Write(ctx, ports.FullPayment{Payment: completion.Payment}, nil, ports.EventApplied, "recovery")

			return err
		},
		"Accept": func(ctx context.Context) error {
			_, err := store.Accept(ctx, ports.FullPayment{Payment: completion.Payment}, ports.AuditEntry{ID: uuid.New()})

			return err
		},
		"AdoptOn": func(ctx context.Context) error {
			_, err := store.AdoptOn(ctx, op.ID, ports.Change{Decide: cancelling}, ports.AuditEntry{ID: uuid.New()})

			return err
		},
		"Hints":          func(ctx context.Context) error { _, err := store.Hints(ctx, ports.InboxPosition{}, 1); return err },
		"OperationsOn":   func(ctx context.Context) error { _, err := store.OperationsOn(ctx, op.ID); return err },
		"InstallationID": func(ctx context.Context) error { _, err := store.InstallationID(ctx); return err },
		"Backlog":        func(ctx context.Context) error { _, err := store.Backlog(ctx); return err },
		"ListPayments": func(ctx context.Context) error {
			_, err := store.ListPayments(ctx, ports.PaymentFilter{Tenant: operation.DefaultTenant}, ports.PaymentPosition{}, 1)

			return err
		},
		"ReportMetadataNames": store.ReportMetadataNames,
		"IndexMetadata":       func(ctx context.Context) error { _, err := store.IndexMetadata(ctx, 0, 1); return err },
		"MetadataNames":       func(ctx context.Context) error { _, err := store.MetadataNames(ctx); return err },
	}
}

// requireUnavailable: every operation says that the database is away, and when
// to ask again, and keeps what went wrong from the client.
func requireUnavailable(t *testing.T, store *postgres.Store) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()

	var all sync.WaitGroup

	errs := sync.Map{}

	for name, op := range operations(t, store) {
		all.Go(func() { errs.Store(name, op(ctx)) })
	}

	all.Wait()
	require.NoError(t, ctx.Err(), "none of them hangs")

	errs.Range(func(name, value any) bool {
		err, _ := value.(error)
		require.Error(t, err, name)
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%s: %v", name, err)
		require.Positive(t, fault.From(err).RetryAfter, name)
		require.Equal(t, "The database cannot be reached. Try again.", fault.From(err).Detail, name)

		return true
	})
}

func TestStore_PoolTaken(t *testing.T) {
	t.Parallel()

	pool := newPool(t, pgtest.New(t).URL, 1)
	store := newStore(pool)

	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)

	requireUnavailable(t, store)

	conn.Release()
	mustBegin(t, store, newOrder(t, "order_1"))
}

func TestStore_ServerGone(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	store := newStore(newPool(t, server.URL(), 8))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)
	require.NoError(t, store.Ping(t.Context()))

	require.NoError(t, server.Kill())
	requireUnavailable(t, store)
	require.Eventually(t, func() bool { return store.Ping(t.Context()) != nil }, soon, 10*time.Millisecond)

	require.NoError(t, server.Restart(t.Context(), servers.ShutdownFast))

	mustBegin(t, store, order)
	mustFinish(t, store, order)

	for _, mode := range []servers.Shutdown{servers.ShutdownFast, servers.ShutdownImmediate} {
		require.NoError(t, server.Restart(t.Context(), mode))
		mustBegin(t, store, newOrder(t, operation.Key(uuid.NewString())))
	}
}

// All connections of a busy pool may die at once, as when a proxy before the
// database restarts.
func TestStore_ConnectionsKilled(t *testing.T) {
	t.Parallel()

	for name, conns := range map[string]int32{"One": 1, "AFullPool": 8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			pool := newPool(t, db.URL, conns)
			store := newStore(pool)

			for range 5 {
				fill(t, pool, int(conns))
				kill(t, db, "state = 'idle'")
				mustBegin(t, store, newOrder(t, operation.Key(uuid.NewString())))
			}
		})
	}
}

// A statement waits for a lock when its connection is killed: it is said again
// on another one.
func TestStore_ConnectionKilledInStatement(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	unlock := lock(t, db, "SELECT FROM operations FOR UPDATE")
	done := make(chan error, 1)

	go func() {
		_, err := store.Finish(t.Context(), completionFor(order))
		done <- err
	}()

	kill(t, db, "wait_event_type = 'Lock'")
	unlock()
	require.NoError(t, <-done)
	require.Len(t, mustHistory(t, store, order.ID), 1)
}

// Whoever asked has hung up; what was begun is finished all the same.
func TestStore_CallerHangsUp(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	ctx, hangUp := context.WithCancel(t.Context())
	unlock := lock(t, db, "SELECT FROM operations FOR UPDATE")
	done := make(chan error, 1)

	go func() {
		_, err := store.Finish(ctx, completionFor(order))
		done <- err
	}()

	waitFor(t, db, 1, "wait_event_type = 'Lock'")
	hangUp()
	unlock()
	require.NoError(t, <-done)

	for name, op := range operations(t, store) {
		require.ErrorIs(t, op(ctx), context.Canceled, "%s is not begun", name)
	}
}

// The store's statement is the victim of a deadlock and is said again. A gate in
// a trigger holds it between its two locks until the other transaction waits.
func TestStore_Deadlock(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, with(t, db.URL, "deadlock_timeout", "20ms"), 4))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)
	mustFinish(t, store, order)

	event := eventFor(order, payment.Succeeded)
	require.NoError(t, store.Park(t.Context(), event, ports.ParkedUnknown))

	_, err := db.Pool().Exec(t.Context(), `
		CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql
		    AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
		CREATE TRIGGER gate BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION gate()`)
	require.NoError(t, err)

	openGate := lock(t, db, "SELECT pg_advisory_xact_lock(1)")
	applied, other := make(chan error, 1), make(chan error, 1)

	go func() { // locks the payment, then the event
		done, err := store.Apply(t.Context(), event)
		if err == nil && done.Outcome != ports.EventApplied {
			err = errors.New(string(done.Outcome))
		}

		applied <- err
	}()

	waitFor(t, db, 1, "wait_event_type = 'Lock'")

	go func() { // locks the event, then the payment, and is patient
		other <- pgx.BeginFunc(t.Context(), db.Pool(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `
				SET LOCAL deadlock_timeout = '1h';
				SELECT FROM stripe_events FOR UPDATE;
				SELECT FROM payments FOR UPDATE`)

			return err
		})
	}()

	waitFor(t, db, 2, "wait_event_type = 'Lock'")
	openGate()
	require.NoError(t, <-other, "only the store can have been the victim")
	require.NoError(t, <-applied)
	require.Len(t, mustHistory(t, store, order.ID), 2)
}

// An operator may have chosen a stricter isolation than ours.
func TestStore_SerializationFailure(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, with(t, db.URL, "default_transaction_isolation", "repeatable read"), 4))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)
	mustFinish(t, store, order)

	other, err := db.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), "UPDATE payments SET updated_at = now()")
	require.NoError(t, err)

	done := make(chan error, 1)

	go func() {
		_, err := store.Apply(t.Context(), eventFor(order, payment.Succeeded))
		done <- err
	}()

	waitFor(t, db, 1, "wait_event_type = 'Lock'")
	require.NoError(t, other.Commit(t.Context()))
	require.NoError(t, <-done)
	require.Len(t, mustHistory(t, store, order.ID), 2)
}

func TestStore_LimitsOfTheServer(t *testing.T) {
	t.Parallel()

	for name, limit := range map[string]string{"StatementTimeout": "statement_timeout", "LockTimeout": "lock_timeout"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := newStore(newPool(t, with(t, db.URL, limit, "100ms"), 4))
			order := newOrder(t, "order_1")
			mustBegin(t, newStore(db.Pool()), order)

			unlock := lock(t, db, "SELECT FROM operations FOR UPDATE")
			_, err := store.Finish(t.Context(), completionFor(order))
			require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)

			unlock()
			mustFinish(t, newStore(db.Pool()), order)
		})
	}
}

// Another server has taken over: this one cannot be written to, and nothing is
// wrong with the request.
func TestStore_Standby(t *testing.T) {
	t.Parallel()

	store := newStore(newPool(t, with(t, pgtest.New(t).URL, "default_transaction_read_only", "on"), 4))
	_, err := store.Begin(t.Context(), newOrder(t, "order_1"))

	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	require.Positive(t, fault.From(err).RetryAfter)
}

// What is no trouble of the moment is a bug of ours, and no client reads it.
func TestStore_NoSchema(t *testing.T) {
	t.Parallel()

	store := newStore(newPool(t, pgtest.NewEmpty(t).URL, 4))

	for name, op := range operations(t, store) {
		err := op(t.Context())
		require.Error(t, err, name)
		require.Equal(t, fault.Internal, fault.KindOf(err), "%s: %v", name, err)
		require.NotContains(t, fault.From(err).Detail, "payment", name)
	}
}

// The connection is lost before the nth message of an operation reaches the
// server, or before the nth answer comes back. Nobody knows then what was
// committed; the operation repeats itself and ends as if nothing had been.
func TestStore_LostMessages(t *testing.T) {
	t.Parallel()

	for name, direction := range map[string]direction{"Requests": toServer, "Answers": toClient} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			proxy := newProxy(t, db.URL)
			store := newStore(newPool(t, proxy.url, 1))
			finish(t, store, newOrder(t, "warm")) // prepares the statements

			fired := 0
			for ; ; fired++ {
				order := newOrder(t, operation.Key(uuid.NewString()))

				proxy.lose(direction, fired+1)
				finish(t, store, order)

				if !proxy.calm() {
					break
				}
			}

			require.GreaterOrEqual(t, fired, 10, "each message was lost once")
		})
	}
}

// finish takes two payments through all that may happen to them, one of them
// with and one of them without a transaction.
func finish(t *testing.T, store *postgres.Store, order ports.NewOperation) {
	t.Helper()

	op := mustBegin(t, store, order)
	require.Equal(t, 1, op.Attempts, "one call is one attempt, however often it is repeated")

	completion := completionFor(order)
	done, _, err := store.FinishAndApply(t.Context(), completion, eventFor(order, payment.Failed))
	require.NoError(t, err)
	require.Equal(t, *completion.Response, done.Operation.Response)

	_, err = store.Apply(t.Context(), eventFor(order, payment.Succeeded))
	require.NoError(t, err)

	history := mustHistory(t, store, order.ID)
	require.Len(t, history, 3)
	require.Equal(t, payment.Failed, history[1].To)
	require.Equal(t, payment.Succeeded, history[2].To)

	finishOthers(t, store)

	refused := newOrder(t, "")
	mustBegin(t, store, refused)

	no, err := store.FinishRejected(t.Context(), asked(refused), *completion.Response)
	require.NoError(t, err)
	require.Equal(t, operation.Finished, no.State)
}

// finishOthers takes payments through what is done to one that exists.
func finishOthers(t *testing.T, store *postgres.Store) {
	t.Helper()

	made := func() payment.Payment {
		order := newOrder(t, "")
		mustBegin(t, store, order)
		mustFinish(t, store, order)

		p, err := store.Payment(t.Context(), order.ID)
		require.NoError(t, err)

		return p
	}
	entry := func() ports.AuditEntry {
		return ports.AuditEntry{
			ID: uuid.New(), Actor: "cli:me@here", Action: ports.AuditPaymentAccepted, ObjectType: "payment", Reason: "judged",
		}
	}
	requireCancelled := func(p payment.Payment) {
		now, err := store.Payment(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, payment.Cancelled, now.Status)
		require.Len(t, mustHistory(t, store, p.ID), 2)
	}

	for _, by := range []*ports.AuditEntry{nil, new(entry())} {
		p := made()
		cancel := newCancel(t, ports.NewOperation{Tenant: operation.DefaultTenant, ID: p.ID}, "")
		require.Equal(t, 1, mustBegin(t, store, cancel).Attempts)

		finish := func() (ports.Finished, error) {
			return store.FinishOn(t.Context(), cancel.ID, "request", ports.Change{Decide: cancelling})
		}
		if by != nil {
			finish = func() (ports.Finished, error) {
				return store.AdoptOn(t.Context(), cancel.ID, ports.Change{Decide: cancelling}, *by)
			}
		}

		done, err := finish()
		require.NoError(t, err)
		require.True(t, done.Operation.Finished())
		requireCancelled(p)
	}

	read := made()
	cancelled, _, _ := cancelling(read)
	written, err := store.Write(t.Context(), ports.FullPayment{Payment: cancelled}, nil, ports.EventApplied, "recovery")
	require.NoError(t, err)
	require.True(t, written, "whatever answer was lost")
	requireCancelled(read)

	wrong := made()
	cancelled, _, _ = cancelling(wrong)
	accepted, err := store.Accept(t.Context(), ports.FullPayment{Payment: cancelled}, entry())
	require.NoError(t, err)
	require.True(t, accepted, "whatever answer was lost")
	requireCancelled(wrong)
}

type direction int

const (
	toServer direction = iota
	toClient
)

// proxy stands before a server and cuts connections when told to.
type proxy struct {
	url    string
	server string

	mu       sync.Mutex
	losing   direction
	messages int // to go until one is lost; 0: none is
	// severing: once one is lost all connections are, and nobody gets through.
	severing, severed bool
	conns             map[net.Conn]struct{}
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()

	address, err := url.Parse(target)
	require.NoError(tb, err)

	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)

	p := &proxy{server: address.Host, conns: map[net.Conn]struct{}{}}
	address.Host = listener.Addr().String()
	p.url = address.String()

	var all sync.WaitGroup

	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}

			all.Go(func() { p.serve(tb.Context(), client) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()

		all.Wait()
	})

	return p
}

// lose has the nth message from now on lost.
func (p *proxy) lose(d direction, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.losing, p.messages = d, n
}

// sever has the nth answer from now on lost and cuts everybody off until mend is
// called; with 0 at once.
func (p *proxy) sever(answers int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.losing, p.messages, p.severing = toClient, answers, true
	if answers == 0 {
		p.cutAll()
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.messages, p.severing, p.severed = 0, false, false
}

func (p *proxy) cutAll() {
	p.severed = true

	for conn := range p.conns {
		_ = conn.Close()
	}
}

// enter counts a connection in; false: nobody gets through.
func (p *proxy) enter(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if !p.severed {
		p.conns[conn] = struct{}{}
	}

	return !p.severed
}

func (p *proxy) leave(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()

	delete(p.conns, conn)
}

// calm tells whether what was to be lost is lost, and stops losing.
func (p *proxy) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	lost := p.messages == 0
	p.messages = 0

	return lost
}

func (p *proxy) loses(d direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.messages == 0 || p.losing != d {
		return false
	}

	p.messages--

	if p.messages == 0 && p.severing {
		p.cutAll()
	}

	return p.messages == 0
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()

	if !p.enter(client) {
		return
	}
	defer p.leave(client)

	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	var both sync.WaitGroup

	both.Go(func() { p.copy(server, client, toServer) })
	both.Go(func() { p.copy(client, server, toClient) })
	both.Wait()
}

// copy takes each piece that arrives for a message: either side waits for the
// other's before it sends the next.
func (p *proxy) copy(to, from net.Conn, d direction) {
	defer func() { _, _ = to.Close(), from.Close() }()

	piece := make([]byte, 64<<10)

	for {
		n, err := from.Read(piece)
		if err != nil || p.loses(d) {
			return
		}

		if _, err := to.Write(piece[:n]); err != nil {
			return
		}
	}
}

// fill opens all connections of a pool and leaves them idle.
func fill(tb testing.TB, pool *pgxpool.Pool, n int) {
	tb.Helper()

	conns := make([]*pgxpool.Conn, n)

	for i := range conns {
		conn, err := pool.Acquire(tb.Context())
		require.NoError(tb, err)
		require.NoError(tb, conn.Ping(tb.Context()))

		conns[i] = conn
	}

	for _, conn := range conns {
		conn.Release()
	}
}

const others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "

// waitFor waits until the database has n other connections in that state.
func waitFor(t *testing.T, db *pgtest.DB, n int, state string) {
	t.Helper()

	require.Eventually(t, func() bool {
		var found int

		return db.Pool().QueryRow(t.Context(), "SELECT count(*) "+others+state).Scan(&found) == nil && found >= n
	}, soon, 5*time.Millisecond)
}

// kill ends all of the store's connections in that state, of which there must be one.
func kill(t *testing.T, db *pgtest.DB, state string) {
	t.Helper()

	state += " AND application_name = 'marketflow'"
	waitFor(t, db, 1, state)

	_, err := db.Pool().Exec(t.Context(), "SELECT pg_terminate_backend(pid) "+others+state)
	require.NoError(t, err)
}

// lock runs a statement in a transaction that stays open until unlock.
func lock(t *testing.T, db *pgtest.DB, statement string) (unlock func()) {
	t.Helper()

	tx, err := db.Pool().Begin(t.Context())
	require.NoError(t, err)

	unlock = func() {
		if err := tx.Rollback(context.WithoutCancel(t.Context())); !errors.Is(err, pgx.ErrTxClosed) {
			require.NoError(t, err)
		}
	}
	t.Cleanup(unlock)

	_, err = tx.Exec(t.Context(), statement)
	require.NoError(t, err)

	return unlock
}

// with sets a server's setting for all connections to the url.
func with(tb testing.TB, target, setting, value string) string {
	tb.Helper()

	address, err := url.Parse(target)
	require.NoError(tb, err)

	query := address.Query()
	query.Set(setting, value)
	address.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq knows no other space

	return address.String()
}

func newOrder(t *testing.T, key operation.Key) ports.NewOperation {
	t.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(t, err)

	amount, err := money.NewPrice(1000_00, currency)
	require.NoError(t, err)

	id, err := uuid.NewV7()
	require.NoError(t, err)

	return ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id,
		Kind:  operation.Create,
		Key:   key,
		Order: operation.Order{Amount: amount},
		Call:  ports.Call{Key: id.String(), Path: "/v1/payment_intents", Params: "amount=100000&currency=usd"},
		Lease: ports.Lease{Token: uuid.New(), For: time.Hour},
	}
}

// newCancel asks for the cancellation of order's payment.
func newCancel(t *testing.T, order ports.NewOperation, key operation.Key) ports.NewOperation {
	t.Helper()

	cancel := newOrder(t, key)
	cancel.Kind, cancel.Subject, cancel.Order = operation.Cancel, order.ID, operation.Order{}
	cancel.Call.Path += "/pi_" + order.ID.String() + "/cancel"

	return cancel
}

// cancelling is what a cancel makes of a payment.
func cancelling(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
	p.Status, p.IntentStatus = payment.Cancelled, payment.IntentCanceled

	return p, ports.FrozenResponse{Status: 200, Body: []byte(`{"status":"cancelled"}`)}, nil
}

func completionFor(order ports.NewOperation) ports.Completion {
	return ports.Completion{
		Payment: payment.Payment{
			Tenant: operation.DefaultTenant, ID: order.ID, IntentID: "pi_" + order.ID.String(), Key: order.Key, Amount: order.Order.Amount,
			CreatedAt: time.Now().UTC(),
		}.Begun(payment.Snapshot{Status: payment.Pending, IntentStatus: payment.IntentRequiresPaymentMethod}, time.Now()),
		Fingerprint: order.Fingerprint(), Order: order.Order,
		Response: &ports.FrozenResponse{Status: 201, Body: []byte(`{"client_secret":"pi_secret"}`)},
		Cause:    "request",
	}
}

func eventFor(order ports.NewOperation, change payment.Status) ports.Event {
	intent := "pi_" + order.ID.String()

	return ports.Event{
		ID: "evt_" + string(change) + order.ID.String(), Type: "payment_intent." + string(change),
		ObjectID: intent, Handled: true, IsIntent: true, Change: change, Raw: []byte("{}"),
		Intent: ports.Intent{ID: intent, Amount: order.Order.Amount, Status: change, PaymentID: order.ID},
	}
}

func mustBegin(t *testing.T, store *postgres.Store, order ports.NewOperation) ports.Operation {
	t.Helper()

	op, err := store.Begin(t.Context(), order)
	require.NoError(t, err)
	require.True(t, op.Held())

	return op
}

func mustFinish(t *testing.T, store *postgres.Store, order ports.NewOperation) {
	t.Helper()

	_, err := store.Finish(t.Context(), completionFor(order))
	require.NoError(t, err)
}

func mustHistory(t *testing.T, store *postgres.Store, id uuid.UUID) []ports.Transition {
	t.Helper()

	history, err := store.History(t.Context(), id)
	require.NoError(t, err)

	return history
}
