package postgres_test

import (
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// Whatever a slip in DATABASE_URL puts a part of the password into, neither pgx's
// repetition of it nor PostgreSQL's is shown; host, port and database are.
func TestPing_ShowsNoSecret(t *testing.T) {
	t.Parallel()

	target, err := url.Parse(pgtest.New(t).URL)
	require.NoError(t, err)

	base := "host=" + target.Hostname() + " port=" + target.Port() + " sslmode=disable "
	password, _ := target.User.Password()
	right := "user=" + target.User.Username() + " password=" + password + " "

	for settings, says := range map[string]string{
		"user= password=SECRETpart dbname=marketflow":           "(SQLSTATE ",
		"user=SECRETpart password=SECRETpart dbname=marketflow": "(SQLSTATE ",
		right + "dbname=no_such_database":                       "this database does not exist (SQLSTATE 3D000)",
		right + "dbname=postgres SECRETpart=1":                  "does not know a parameter of DATABASE_URL",
		right + "dbname=postgres work_mem=SECRETpart":           "or its value (SQLSTATE 22023)",
	} {
		pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: base + settings, MaxConns: 1})
		require.NoError(t, err)
		t.Cleanup(pool.Close)

		err = postgres.Ping(t.Context(), pool)
		require.ErrorContains(t, err, "connecting to PostgreSQL at ", settings)
		require.ErrorContains(t, err, says, settings)
		require.NotContains(t, err.Error(), "SECRET", settings)

		_, err = postgres.NewMigrator(t.Context(), base+settings)
		require.ErrorContains(t, err, "connecting to PostgreSQL at ", settings)
		require.NotContains(t, err.Error(), "\n", "one line")
	}
}

// An error in other words is still the error that it was.
func TestPing_ErrorKeepsItsKind(t *testing.T) {
	t.Parallel()

	pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: "postgres://SECRETpart@127.0.0.1:1/x", MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	err = postgres.Ping(t.Context(), pool)
	require.EqualError(t, err, `connecting to PostgreSQL at 127.0.0.1:1, database "x" (DATABASE_URL): connection refused`)

	var refused *pgconn.ConnectError

	require.ErrorAs(t, err, &refused)

	_, err = newStore(pool).Payment(t.Context(), uuid.New())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.NotContains(t, err.Error(), "SECRET")
	require.NotErrorIs(t, err, pgx.ErrNoRows)
}
