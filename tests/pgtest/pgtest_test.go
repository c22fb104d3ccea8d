package pgtest_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// notes are migrations with one table. Their hash is their own per test, so that
// the template is made in this test.
func notes(t *testing.T, runs *atomic.Int32) pgtest.Migrations {
	t.Helper()

	return pgtest.Migrations{
		Hash: t.Name() + t.TempDir(),
		Up: func(ctx context.Context, url string) error {
			runs.Add(1)

			return migrateNotes(ctx, url)
		},
	}
}

func migrateNotes(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}

	if _, err := conn.Exec(ctx, "CREATE TABLE notes (note text PRIMARY KEY)"); err != nil {
		return fmt.Errorf("creating notes: %w", err)
	}

	return conn.Close(ctx)
}

func count(t *testing.T, db *pgtest.DB) int {
	t.Helper()

	var n int

	require.NoError(t, db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM notes").Scan(&n))

	return n
}

func TestNew_HasTheProductsSchema(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)

	for _, table := range []string{"payments", "river_job"} {
		var exists bool

		require.NoError(t, db.Pool().QueryRow(t.Context(), "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists))
		require.True(t, exists, table)
	}
}

func TestNewEmpty_HasNoTables(t *testing.T) {
	t.Parallel()

	var tables int

	err := pgtest.NewEmpty(t).Pool().QueryRow(t.Context(),
		"SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").Scan(&tables)
	require.NoError(t, err)
	require.Zero(t, tables)
}

func TestNewFrom_TestsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()

	var runs atomic.Int32

	migrations := notes(t, &runs)

	t.Run("group", func(t *testing.T) {
		t.Parallel()

		for range 8 {
			t.Run("test", func(t *testing.T) {
				t.Parallel()

				db := pgtest.NewFrom(t, migrations)
				require.Zero(t, count(t, db))

				_, err := db.Pool().Exec(t.Context(), "INSERT INTO notes VALUES ('mine')")
				require.NoError(t, err)
				require.Equal(t, 1, count(t, db))
			})
		}
	})

	t.Cleanup(func() { require.EqualValues(t, 1, runs.Load(), "migrated once") })
}

func TestNewFrom_DropsTheDatabase(t *testing.T) { //nolint:tparallel // the inner test must be over before we look
	t.Parallel()

	var (
		runs atomic.Int32
		url  string
	)

	t.Run("passes", func(t *testing.T) {
		db := pgtest.NewFrom(t, notes(t, &runs))
		url = db.URL

		pool := db.Pool()
		require.Same(t, pool, db.Pool())

		// A connection that a test forgot does not keep its database.
		_, err := pgx.Connect(t.Context(), db.URL)
		require.NoError(t, err)
	})

	_, err := pgx.Connect(t.Context(), url)

	var rejection *pgconn.PgError

	require.ErrorAs(t, err, &rejection)
	require.Equal(t, "3D000", rejection.Code, "invalid_catalog_name")
}

func TestNewServer_KeepsCommitsOverACrash(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{})
	require.NoError(t, migrateNotes(t.Context(), server.URL()))

	require.NoError(t, server.Restart(t.Context(), servers.ShutdownCrash))

	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)

	_, err = conn.Exec(t.Context(), "INSERT INTO notes VALUES ('after')")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	require.NoError(t, server.Kill(), "the cleanup copes with a dead server")
}

func TestNewServer_MayBeStoppedByTheTest(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	require.NoError(t, server.Stop(t.Context()))
}
