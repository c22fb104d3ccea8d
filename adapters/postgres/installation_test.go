package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

func TestStore_InstallationPort(t *testing.T) {
	t.Parallel()
	portstest.Installation(t, newBed)
}

// What was recorded before, who changed it and why stay in the database.
func TestStore_AdoptKeepsTheReason(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 2))

	_, err := store.Bind(t.Context(), binding.Binding{
		Host: "api.stripe.com", Mode: binding.Live, Account: "acct_1", System: "7", Database: "a",
	})
	require.NoError(t, err)

	_, err = store.Rebind(t.Context(), ports.Adoption{
		To: binding.Binding{Host: "api.stripe.com", Mode: binding.Live}, Actor: "root@db1", Reason: "restored after the fire",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"root@db1|restored after the fire|api.stripe.com|live|acct_1|7|a"}, lines(t, db.URL,
		`SELECT concat_ws('|', actor, reason, stripe_host, stripe_mode, stripe_account, system_identifier, database_name)
		   FROM installation_adoptions`))
}

// A role that may not ask for the server's identifier can still be served: the
// database's name is compared, and what was recorded stays.
func TestStore_HereWithoutPermission(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)

	role := "asks_nothing_" + strings.ReplaceAll(uuid.NewString(), "-", "")

	// The function is the database's own, like every object in its catalog.
	_, err := db.Pool().Exec(t.Context(),
		"REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; CREATE ROLE "+role+" LOGIN PASSWORD 'x'")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Pool().Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+role)
		require.NoError(t, err)
	})

	here, err := newStore(newPool(t, asRole(t, db.URL, role), 1)).Here(t.Context())
	require.NoError(t, err)
	require.Empty(t, here.System)
	require.NotEmpty(t, here.Database)
}

func asRole(t *testing.T, address, role string) string {
	t.Helper()

	u, err := url.Parse(address)
	require.NoError(t, err)

	u.User = url.UserPassword(role, "x")

	return u.String()
}

func checkServer(t *testing.T, address string) ([]string, error) {
	t.Helper()

	return newStore(newPool(t, address, 1)).CheckServer(t.Context())
}

// A commit that is acknowledged before it is durable is refused wherever it was
// set; what only a crash of the machine could cost is said.
func TestStore_CheckServer(t *testing.T) {
	t.Parallel()

	for name, set := range map[string]string{
		"TheDatabase": `ALTER DATABASE %s SET synchronous_commit = off`,
		"TheRole":     `ALTER ROLE marketflow IN DATABASE %s SET synchronous_commit = off`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)

			warnings, err := checkServer(t, db.URL)
			require.NoError(t, err)
			require.Contains(t, strings.Join(warnings, "\n"), "fsync is off", "the tests' server is such a one")

			database := pgx.Identifier{db.Pool().Config().ConnConfig.Database}.Sanitize()
			_, err = db.Pool().Exec(t.Context(), strings.ReplaceAll(set, "%s", database))
			require.NoError(t, err)

			_, err = checkServer(t, db.URL)
			require.ErrorContains(t, err, "synchronous_commit is off")
		})
	}

	t.Run("TheConnection", func(t *testing.T) {
		t.Parallel()

		db := pgtest.New(t)

		_, err := checkServer(t, db.URL+"&synchronous_commit=off")
		require.ErrorContains(t, err, "synchronous_commit is off")

		_, err = checkServer(t, db.URL+"&synchronous_commit=local")
		require.NoError(t, err, "there is no standby that it could fail over to")
	})

	t.Run("TheCollation", func(t *testing.T) {
		t.Parallel()

		db := pgtest.New(t)

		_, err := db.Pool().Exec(t.Context(), `UPDATE pg_database SET datcollversion = '1.0' WHERE datname = current_database()`)
		require.NoError(t, err)

		warnings, err := checkServer(t, db.URL)
		require.NoError(t, err)
		require.Contains(t, strings.Join(warnings, "\n"), "collation was of version 1.0")
	})
}

// `dev` touches nothing that it did not make.
func TestCheckForDev(t *testing.T) {
	t.Parallel()

	check := func(url string, own bool) error { return postgres.CheckForDev(t.Context(), url, own) }

	empty := pgtest.NewEmpty(t).URL
	require.NoError(t, check(empty, false))
	require.NoError(t, check(empty, true))

	somebodys := pgtest.NewEmpty(t)
	_, err := somebodys.Pool().Exec(t.Context(), "CREATE SCHEMA app; CREATE TABLE app.customers ()")
	require.NoError(t, err)
	require.ErrorContains(t, check(somebodys.URL, false), "neither empty nor made by")

	fresh := pgtest.New(t).URL
	require.Error(t, check(fresh, false), "`serve` may be about to start on it")
	require.NoError(t, check(fresh, true), "in dev's own server, from an earlier release")

	require.NoError(t, postgres.MarkMadeByDev(t.Context(), fresh, "127.0.0.1:12111"))
	require.NoError(t, check(fresh, false))

	store := newStore(newPool(t, fresh, 1))
	recorded, err := store.Binding(t.Context())
	require.NoError(t, err)
	require.Equal(t, binding.Binding{Host: "127.0.0.1:12111"}, recorded)

	_, err = store.Rebind(t.Context(), ports.Adoption{To: binding.Binding{Host: "api.stripe.com", Mode: binding.Live}})
	require.NoError(t, err)
	require.Error(t, check(fresh, false), "a person said that it is something else now")
	require.Error(t, check(fresh, true))
}
