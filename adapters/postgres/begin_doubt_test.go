package postgres_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// A group's answer is lost after its commit. When it is repeated it writes nothing, because
// the operation is there. So the operation is looked for alone, and if there is no
// connection for that, nobody may say that nothing was written.
func TestStore_BeginInAGroupStaysInDoubt(t *testing.T) {
	t.Parallel()

	url := pgtest.New(t).URL
	proxy := newProxy(t, url)

	var (
		left    atomic.Int64 // how many connections are still given
		limited = newPool(t, proxy.url, 1).Config()
	)

	limited.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
		if left.Add(-1) >= 0 {
			return true, nil
		}

		<-ctx.Done()

		return false, ctx.Err()
	}

	pool, err := pgxpool.NewWithConfig(t.Context(), limited)
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	store := postgres.AlwaysGrouped(postgres.NewStore(pool, pool))

	left.Store(1)
	mustBegin(t, store, newOrder(t, "")) // the statement is prepared

	left.Store(2) // the group, and the group again
	proxy.lose(toClient, 1)

	order := newOrder(t, "order_1")
	_, err = store.Begin(t.Context(), order)

	one := newPool(t, url, 1)
	_, missing := postgres.NewStore(one, one).FindByID(t.Context(), order.ID)
	require.NoError(t, missing, "it was written")
	require.Equal(t, fault.Unknown, fault.KindOf(err), "%v", err)
}
