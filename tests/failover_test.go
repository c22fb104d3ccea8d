package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// healsWithin is how soon the service writes again once there is a primary.
const healsWithin = 10 * time.Second

// A standby is promoted, and the old primary comes back at its address as a standby.
// Of the hosts in DATABASE_URL the service finds the one that takes writes.
func TestFailover_FindsThePrimaryAmongItsHosts(t *testing.T) {
	t.Parallel()

	old, next := cluster(t)
	w := newWorld(t, func(c *config.Config) { c.DatabaseURL = config.Secret(bothHosts(t, old, next)) })
	shop := openShop(w)
	shop.awaitMore("before")

	pgtest.Demote(t, old, next)
	pgtest.Promote(t, next)

	promoted := time.Now()

	shop.awaitMore("after")
	require.Less(t, time.Since(promoted), healsWithin)
	require.Equal(t, http.StatusOK, w.get("/readyz").status)
	shop.close(next)
}

// The old primary is made read-only and keeps its sessions. A proxy, or an address
// that moved, leads new connections to the new primary. The service has to notice by
// itself that its old connections are of no use.
func TestFailover_LeavesAPrimaryThatBecameReadOnly(t *testing.T) {
	t.Parallel()

	old, next := cluster(t)
	way := newTurnout(t, old.Port)
	w := newWorld(t, func(c *config.Config) { c.DatabaseURL = config.Secret(throughPort(t, old.URL(), way.port())) })
	shop := openShop(w)
	shop.awaitMore("before")

	fence(t, old)
	w.eventually(func() bool { return w.get("/readyz").status == http.StatusServiceUnavailable }, "/readyz tells")

	unhealthy := w.get("/health")
	require.Equal(t, http.StatusServiceUnavailable, unhealthy.status)
	require.Equal(t, "read-only", unhealthy.text("database"))

	awaitReplayed(t, old, next)
	pgtest.Promote(t, next)
	way.target.Store(int64(next.Port))

	promoted := time.Now()

	shop.awaitMore("after")
	require.Less(t, time.Since(promoted), healsWithin)
	w.eventually(func() bool { return w.get("/readyz").status == http.StatusOK }, "it is ready again")

	// Nothing is read from the old primary any more.
	created := w.create(`{"amount":7,"currency":"USD"}`)
	for range 20 {
		require.Equal(t, http.StatusOK, w.get("/payments/"+created.text("id")).status)
	}

	// Background work, which has connections of its own, goes on too.
	w.eventually(func() bool {
		return ask[int](t, next, "SELECT count(*) FROM river_job WHERE state = 'completed' AND finalized_at > $1", promoted) > 0
	}, "jobs run on the new primary")

	shop.sold.Add(1)
	shop.close(next)
}

// cluster is a migrated primary and its standby.
func cluster(t *testing.T) (primary, standby *servers.Postgres) {
	t.Helper()

	primary = pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	require.NoError(t, postgres.Migrate(t.Context(), primary.URL()))

	return primary, pgtest.NewStandby(t, primary)
}

// shop is four clients that order all the time. Each repeats an order until it is
// answered 201.
type shop struct {
	w       *world
	stop    context.CancelFunc
	clients sync.WaitGroup
	sold    atomic.Int64
}

func openShop(w *world) *shop {
	w.t.Helper()

	ctx, stop := context.WithCancel(w.t.Context())
	s := &shop{w: w, stop: stop}

	for client := range 4 {
		s.clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				s.order(fmt.Sprintf("order_%d_%d", client, n))
			}
		})
	}

	w.t.Cleanup(func() { stop(); s.clients.Wait() })

	return s
}

func (s *shop) order(key string) {
	body := fmt.Sprintf(`{"amount":12.50,"currency":"USD","idempotency_key":%q}`, key)

	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if s.w.create(body).status == http.StatusCreated {
			s.sold.Add(1)

			return
		}
	}
}

// awaitMore waits until every client must have sold something since the call.
func (s *shop) awaitMore(when string) {
	s.w.t.Helper()

	enough := s.sold.Load() + 40
	s.w.eventually(func() bool { return s.sold.Load() >= enough }, "orders are taken "+when)
}

// close ends the sale and checks that Stripe and the database that is left have each
// order once.
func (s *shop) close(left *servers.Postgres) {
	s.w.t.Helper()
	s.stop()
	s.clients.Wait()

	sold := int(s.sold.Load())
	require.Equal(s.w.t, sold, s.w.intents())
	require.Equal(s.w.t, sold, ask[int](s.w.t, left, "SELECT count(*) FROM payments"))
}

// ask reads one value from a server.
func ask[T any](tb testing.TB, server *servers.Postgres, query string, args ...any) T {
	tb.Helper()

	conn, err := pgx.Connect(tb.Context(), server.URL())
	require.NoError(tb, err)

	var value T

	err = conn.QueryRow(tb.Context(), query, args...).Scan(&value)
	require.NoError(tb, conn.Close(tb.Context()))
	require.NoError(tb, err)

	return value
}

// fence makes a primary read-only, its sessions too, and waits for open transactions.
func fence(t *testing.T, primary *servers.Postgres) {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), primary.URL())
	require.NoError(t, err)

	for _, statement := range []string{"ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"} {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}

	require.NoError(t, conn.Close(t.Context()))
	require.Eventually(t, func() bool {
		return ask[string](t, primary, "SHOW default_transaction_read_only") == "on" &&
			ask[int](t, primary, "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL") == 0
	}, healsWithin, 20*time.Millisecond)
}

// awaitReplayed waits until the standby has all that the primary has.
func awaitReplayed(t *testing.T, primary, standby *servers.Postgres) {
	t.Helper()

	end := ask[string](t, primary, "SELECT pg_current_wal_lsn()::text")

	require.Eventually(t, func() bool {
		return ask[bool](t, standby, "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end)
	}, healsWithin, 20*time.Millisecond)
}

// bothHosts names two servers in one URL.
func bothHosts(t *testing.T, one, other *servers.Postgres) string {
	t.Helper()

	first, err := url.Parse(one.URL())
	require.NoError(t, err)

	return fmt.Sprintf("%s://%s@%s,127.0.0.1:%d%s?%s",
		first.Scheme, first.User, first.Host, other.Port, first.Path, first.RawQuery)
}

func throughPort(t *testing.T, target string, port int) string {
	t.Helper()

	address, err := url.Parse(target)
	require.NoError(t, err)

	address.Host = fmt.Sprintf("127.0.0.1:%d", port)

	return address.String()
}

// turnout is a proxy that leads each new connection to its current target.
type turnout struct {
	listener net.Listener
	target   atomic.Int64
}

func newTurnout(t *testing.T, port int) *turnout {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	s := &turnout{listener: listener}
	s.target.Store(int64(port))

	var all sync.WaitGroup

	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}

			all.Go(func() { s.lead(client) })
		}
	})

	// Connections end with the service, whose cleanup comes first.
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })

	return s
}

func (s *turnout) port() int { return s.listener.Addr().(*net.TCPAddr).Port } //nolint:forcetypeassert // TCP

func (s *turnout) lead(client net.Conn) {
	defer func() { _ = client.Close() }()

	server, err := new(net.Dialer).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.target.Load()))
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	var both sync.WaitGroup

	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}

	both.Wait()
}
