package pgtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

func TestDatabaseName(t *testing.T) {
	t.Parallel()

	now := time.Unix(1700000000, 0)
	name := databaseName("TestÄ/With a very long, long name/"+strings.Repeat("x", 80), now)

	require.Regexp(t, `^pgtest_1700000000_[a-z2-7]{8}_test__with_a_very_long__long_name_x*$`, name)
	require.Len(t, name, nameLimit)

	again := databaseName("TestÄ/With a very long, long name/"+strings.Repeat("x", 80), now)
	require.NotEqual(t, name, again, "two tests in one second, on two machines")

	created, ok := createdAt(name)
	require.True(t, ok)
	require.Equal(t, now, created)

	_, ok = createdAt(templatePrefix + "0123456789abcdef")
	require.False(t, ok, "a template is no test's database")
}

func TestProductMigrations_HashIsStable(t *testing.T) {
	t.Parallel()

	one, err := productMigrations()
	require.NoError(t, err)
	two, err := productMigrations()
	require.NoError(t, err)

	require.Len(t, one.Hash, 64)
	require.Equal(t, one.Hash, two.Hash)
}

// BenchmarkClone is what a test pays for its database, beside connecting.
func BenchmarkClone(b *testing.B) {
	migrations, err := productMigrations()
	require.NoError(b, err)

	server, err := sharedServer()
	require.NoError(b, err)

	admin, err := pgx.Connect(b.Context(), server.url)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, admin.Close(b.Context())) })

	for b.Loop() {
		name := databaseName(b.Name(), time.Now())
		require.NoError(b, create(b.Context(), admin, name, migrations))
		b.StopTimer()
		require.NoError(b, drop(b.Context(), admin, name))
		b.StartTimer()
	}
}

func TestKeep_OnlyTheNewest(t *testing.T) {
	t.Parallel()

	server := NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})

	admin, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(context.WithoutCancel(t.Context()))) })

	const more = 2

	names := make([]string, 0, keptDatabases+more)

	for n := range keptDatabases + more {
		name := databaseName(t.Name(), time.Unix(1700000000+int64(n), 0))
		names = append(names, name)

		require.NoError(t, create(t.Context(), admin, name, Migrations{}))
		require.NoError(t, keep(t.Context(), admin, name))
	}

	left, err := list(t.Context(), admin, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix)
	require.NoError(t, err)
	require.ElementsMatch(t, names[more:], left)
}

func TestSweep_ByAge(t *testing.T) {
	t.Parallel()

	server := NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})

	admin, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(context.WithoutCancel(t.Context()))) })

	up := func(context.Context, string) error { return nil }
	now := time.Now()
	old, young := databaseName("old", now.Add(-time.Hour)), databaseName("young", now)

	require.NoError(t, create(t.Context(), admin, old, Migrations{Hash: "one", Up: up}))
	require.NoError(t, create(t.Context(), admin, young, Migrations{Hash: "one", Up: up}))

	all := "SELECT datname FROM pg_database WHERE starts_with(datname, $1)"

	require.NoError(t, sweepTests(t.Context(), admin, now.Add(-time.Minute)))
	left, err := list(t.Context(), admin, all, prefix)
	require.NoError(t, err)
	require.Len(t, left, 2, "the young one and the template")
	require.Contains(t, left, young)

	require.NoError(t, sweepTemplates(t.Context(), admin, now.Add(-time.Minute)))
	left, err = list(t.Context(), admin, all, templatePrefix)
	require.NoError(t, err)
	require.Len(t, left, 1, "the template is young")

	require.NoError(t, sweepTemplates(t.Context(), admin, now.Add(time.Minute)))
	left, err = list(t.Context(), admin, all, templatePrefix)
	require.NoError(t, err)
	require.Empty(t, left)
}
