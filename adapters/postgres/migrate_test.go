package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/migrations"
	"github.com/marketflow/marketflow/tests/pgtest"
)

func newMigrator(t *testing.T, url string) *postgres.Migrator {
	t.Helper()

	m, err := postgres.NewMigrator(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })

	return m
}

// Every migration's Down leaves exactly the schema that was there before its Up,
// and its second Up makes exactly what its first one made.
func TestMigrator_EachUpDownUp(t *testing.T) {
	t.Parallel()

	url := pgtest.New(t).URL
	requireReversible(t, newMigrator(t, url), url)
}

// The next release adds columns, and takes them away again when it is taken back.
// A column that is dropped and added again has another number; nothing may depend
// on that.
func TestMigrator_PlainAddColumn(t *testing.T) {
	t.Parallel()

	url := pgtest.New(t).URL
	m := newMigratorWith(t, url, map[string]string{"90001_add_columns.sql": addColumns})

	require.NoError(t, m.Up(t.Context()))
	require.Contains(t, schema(t, url), "column payments.one_more integer f 7")
	requireReversible(t, m, url)
}

// addColumns is the plainest migration that there is, for every table of ours.
const addColumns = `-- +goose Up
ALTER TABLE payments ADD COLUMN one_more INTEGER DEFAULT 7;
ALTER TABLE operations ADD COLUMN one_more INTEGER;
ALTER TABLE payment_transitions ADD COLUMN one_more TEXT;
ALTER TABLE stripe_events ADD COLUMN one_more TEXT NOT NULL DEFAULT '';
ALTER TABLE installation ADD COLUMN one_more BOOLEAN;
ALTER TABLE reconciliation ADD COLUMN one_more UUID;
ALTER TABLE reconciliation_lease ADD COLUMN one_more UUID;
ALTER TABLE reconciliation_sweeps ADD COLUMN one_more UUID;

-- +goose Down
ALTER TABLE payments DROP COLUMN one_more;
ALTER TABLE operations DROP COLUMN one_more;
ALTER TABLE payment_transitions DROP COLUMN one_more;
ALTER TABLE stripe_events DROP COLUMN one_more;
ALTER TABLE installation DROP COLUMN one_more;
ALTER TABLE reconciliation DROP COLUMN one_more;
ALTER TABLE reconciliation_lease DROP COLUMN one_more;
ALTER TABLE reconciliation_sweeps DROP COLUMN one_more;
`

// newMigratorWith has further migrations after the product's.
func newMigratorWith(t *testing.T, url string, further map[string]string) *postgres.Migrator {
	t.Helper()

	m, err := postgres.NewMigratorOf(t.Context(), url, filesWith(t, further), soon)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })

	return m
}

// newMigratorOfBefore has the migrations of the release before operations of every kind.
func newMigratorOfBefore(t *testing.T, url string) *postgres.Migrator {
	t.Helper()

	const last = "00013"

	files := filesWith(t, nil)
	maps.DeleteFunc(files, func(name string, _ *fstest.MapFile) bool { return name[:len(last)] > last })

	m, err := postgres.NewMigratorOf(t.Context(), url, files, soon)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })

	return m
}

// filesWith are the product's migrations and further ones.
func filesWith(t *testing.T, further map[string]string) fstest.MapFS {
	t.Helper()

	files := fstest.MapFS{}

	names, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)

	for _, name := range names {
		text, err := migrations.FS.ReadFile(name)
		require.NoError(t, err)

		files[name] = &fstest.MapFile{Data: text}
	}

	for name, text := range further {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}

	return files
}

// requireReversible begins and ends with all migrations applied.
func requireReversible(t *testing.T, m *postgres.Migrator, url string) {
	t.Helper()

	before := [][]string{schema(t, url)}

	for applied(t, m) > 0 {
		require.NoError(t, m.Down(t.Context()))
		before = append(before, schema(t, url))
	}

	require.Empty(t, before[len(before)-1], "nothing is left")
	require.Greater(t, len(before), 2)

	// Up goes all the way at once, so each step down is met from above again.
	for _, want := range before {
		require.NoError(t, m.Up(t.Context()))
		require.NoError(t, m.Up(t.Context()), "up again does nothing")
		require.Equal(t, before[0], schema(t, url))
		require.NoError(t, m.Check(t.Context()))

		for range applied(t, m) {
			if slices.Equal(want, schema(t, url)) {
				break
			}

			require.NoError(t, m.Down(t.Context()))
		}

		require.Equal(t, want, schema(t, url))
	}

	require.NoError(t, m.Up(t.Context()))
}

func TestMigrator_StatusAndCheck(t *testing.T) {
	t.Parallel()

	url := pgtest.NewEmpty(t).URL
	m := newMigrator(t, url)

	require.ErrorIs(t, m.Check(t.Context()), postgres.ErrBehind, "an empty database")
	require.Zero(t, applied(t, m))

	require.NoError(t, postgres.Migrate(t.Context(), url))
	require.NoError(t, m.Check(t.Context()))

	list, err := m.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "00001_create_payments.sql", list[0].Name)
	require.Equal(t, postgres.Migration{Name: "river", Applied: true}, list[len(list)-1])
	require.Equal(t, len(list), applied(t, m))

	require.NoError(t, m.Down(t.Context()))
	require.ErrorIs(t, m.Check(t.Context()), postgres.ErrBehind, "the newest is missing")
	require.Equal(t, len(list)-1, applied(t, m))
}

// A deployment starts several processes at once.
func TestMigrator_ConcurrentUp(t *testing.T) {
	t.Parallel()

	const processes = 4

	url := pgtest.NewEmpty(t).URL

	var all sync.WaitGroup

	errs := make([]error, processes)
	for i := range errs {
		all.Go(func() { errs[i] = postgres.Migrate(t.Context(), url) })
	}

	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, newMigrator(t, url).Check(t.Context()))
	require.Equal(t, schema(t, pgtest.New(t).URL), schema(t, url))
}

// The operator reads one line that says which variable to look at.
func TestMigrator_Unreachable(t *testing.T) {
	t.Parallel()

	_, err := postgres.NewMigrator(t.Context(), "postgres://nobody:hunter2@127.0.0.1:1/none")
	require.ErrorContains(t, err, "DATABASE_URL")
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.NotErrorIs(t, err, postgres.ErrBehind)
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, err.Error(), "\n")
	require.Equal(t, 1, strings.Count(err.Error(), "refused"), "with and without TLS is the same to a reader")

	_, err = postgres.NewMigrator(t.Context(), "postgres://%")
	require.Error(t, err)
}

// The payments table is the contract that section 5 of the design gives to
// whoever reads the database. Further columns are no breach of it.
func TestMigrations_PaymentsTable(t *testing.T) {
	t.Parallel()

	url := pgtest.New(t).URL

	require.Subset(t, lines(t, url, `
		SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
		       || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
		       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
		  FROM pg_attribute a
		  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		 WHERE a.attrelid = 'payments'::regclass AND a.attnum > 0 AND NOT a.attisdropped`), []string{
		"id uuid not null default uuid_generate_v4()",
		"stripe_payment_intent_id character varying(255) not null",
		"idempotency_key character varying(255)",
		"amount numeric(19,4) not null",
		"currency character varying(3) not null default 'USD'::character varying",
		"status character varying(50) not null default 'pending'::character varying",
		"metadata jsonb",
		"created_at timestamp with time zone not null default now()",
		"updated_at timestamp with time zone not null default now()",
	})

	require.Equal(t, []string{
		"CHECK (((amount_refund_pending >= (0)::numeric) AND (amount_refunded >= (0)::numeric) AND " +
			"(amount_disputed >= (0)::numeric) AND (overdrawn >= (0)::numeric) AND " +
			"(((amount_refund_pending + amount_refunded) + amount_disputed) <= (amount_captured + overdrawn))))",
		"CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'succeeded'::character varying, " +
			"'failed'::character varying, 'cancelled'::character varying])::text[])))",
		"CHECK ((amount > (0)::numeric))",
		"PRIMARY KEY (id)",
		"UNIQUE (idempotency_key, tenant)",
		"UNIQUE (stripe_payment_intent_id)",
	}, lines(t, url, `
		SELECT pg_get_constraintdef(oid) FROM pg_constraint
		 WHERE conrelid = 'payments'::regclass AND contype <> 'n'
		 ORDER BY contype, pg_get_constraintdef(oid) COLLATE "C"`))

	require.Equal(t, []string{
		"CREATE INDEX idx_payments_created_at ON public.payments USING btree (created_at DESC)",
		"CREATE INDEX idx_payments_idempotency ON public.payments USING btree (idempotency_key) " +
			"WHERE (idempotency_key IS NOT NULL)",
		"CREATE INDEX idx_payments_status ON public.payments USING btree (status)",
		"CREATE INDEX idx_payments_stripe_id ON public.payments USING btree (stripe_payment_intent_id)",
		"CREATE INDEX payments_customer ON public.payments USING btree (customer_id, created_at, id) " +
			"WHERE (customer_id IS NOT NULL)",
		"CREATE INDEX payments_holds ON public.payments USING btree (capture_before) WHERE (capture_before IS NOT NULL)",
		"CREATE INDEX payments_overdrawn ON public.payments USING btree (id) WHERE (overdrawn > (0)::numeric)",
		"CREATE INDEX payments_tenant ON public.payments USING btree (tenant, created_at, id) WHERE (tenant <> 1)",
	}, lines(t, url, `
		SELECT indexdef FROM pg_indexes
		 WHERE tablename = 'payments' AND NOT indexdef LIKE 'CREATE UNIQUE%'
		 ORDER BY indexname`))

	require.Equal(t, []string{"uuid-ossp"}, lines(t, url, `SELECT extname FROM pg_extension WHERE extname = 'uuid-ossp'`))
}

// What the checks are for: no code of ours, however wrong, writes these rows.
func TestMigrations_PaymentsChecks(t *testing.T) {
	t.Parallel()

	pool := pgtest.New(t).Pool()

	for name, values := range map[string]string{
		"amount of nothing": "'pi_1', 0, 'pending'",
		"negative amount":   "'pi_1', -1, 'pending'",
		"unknown status":    "'pi_1', 1, 'paid'",
		"no intent":         "NULL, 1, 'pending'",
	} {
		_, err := pool.Exec(t.Context(),
			"INSERT INTO payments (stripe_payment_intent_id, amount, status) VALUES ("+values+")")
		require.Error(t, err, name)
	}

	_, err := pool.Exec(t.Context(), "INSERT INTO payments (stripe_payment_intent_id, amount) VALUES ('pi_1', 999999999999999.9999)")
	require.NoError(t, err)

	_, err = pool.Exec(t.Context(), "INSERT INTO payments (stripe_payment_intent_id, amount) VALUES ('pi_1', 1)")
	require.ErrorContains(t, err, "payments_stripe_payment_intent_id_key")
}

// Whoever looks with psql's \d+ is told what each table holds.
func TestMigrations_TablesHaveComments(t *testing.T) {
	t.Parallel()

	require.Empty(t, lines(t, pgtest.New(t).URL, `
		SELECT relname::text FROM pg_class
		 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
		   AND relname NOT LIKE 'goose_db_version%' AND relname NOT LIKE 'river_%'
		   AND obj_description(oid, 'pg_class') IS NULL`), "tables without a comment")
}

// applied counts what is applied.
func applied(t *testing.T, m *postgres.Migrator) int {
	t.Helper()

	list, err := m.Status(t.Context())
	require.NoError(t, err)

	n := 0

	for _, one := range list {
		if one.Applied {
			n++
		}
	}

	return n
}

// schema describes everything in a database but the migrators' own notes.
func schema(t *testing.T, url string) []string {
	t.Helper()

	return lines(t, url, `
		WITH ours AS (
		    SELECT c.oid, c.relname, c.relkind
		      FROM pg_class c
		     WHERE c.relnamespace = 'public'::regnamespace
		       AND c.relname NOT LIKE 'goose_db_version%'
		       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
		)
		SELECT format('%s %s', relkind, relname) FROM ours
		UNION ALL
		SELECT format('column %s.%s %s %s %s', relname, a.attname, format_type(a.atttypid, a.atttypmod),
		              a.attnotnull, concat_ws(' ', pg_get_expr(d.adbin, d.adrelid), nullif(a.attidentity, ''), o.collname))
		  FROM ours
		  JOIN pg_attribute a ON a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped
		  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		  LEFT JOIN pg_collation o ON o.oid = a.attcollation AND o.collname <> 'default'
		UNION ALL
		SELECT format('constraint %s.%s %s', relname, conname, pg_get_constraintdef(k.oid))
		  FROM pg_constraint k JOIN ours ON ours.oid = k.conrelid
		UNION ALL
		SELECT format('index %s', pg_get_indexdef(oid)) FROM ours WHERE relkind = 'i'
		UNION ALL
		SELECT format('function %s %s', p.oid::regprocedure, p.prosrc)
		  FROM pg_proc p
		 WHERE p.pronamespace = 'public'::regnamespace
		   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
		UNION ALL
		SELECT format('trigger %s', pg_get_triggerdef(g.oid))
		  FROM pg_trigger g JOIN ours ON ours.oid = g.tgrelid WHERE NOT tgisinternal
		UNION ALL
		SELECT format('type %s %s', y.typname, y.typtype)
		  FROM pg_type y
		 WHERE y.typnamespace = 'public'::regnamespace AND y.typtype <> 'b' AND y.typname NOT LIKE 'goose_db_version%'
		UNION ALL
		SELECT format('extension %s', extname) FROM pg_extension WHERE extname <> 'plpgsql'
		UNION ALL
		SELECT format('comment %s.%s %s', relname, a.attname, d.description)
		  FROM pg_description d
		  JOIN ours ON ours.oid = d.objoid AND d.classoid = 'pg_class'::regclass
		  LEFT JOIN pg_attribute a ON a.attrelid = ours.oid AND a.attnum = d.objsubid AND d.objsubid > 0
		ORDER BY 1`)
}

func lines(t *testing.T, url, query string) []string {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)

	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()

	rows, err := conn.Query(t.Context(), query)
	require.NoError(t, err)

	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)

	return texts
}

// The release before does not know of rejected operations: a person has to look at them.
func TestMigrations_RejectedOperationsGoBack(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	m := newMigrator(t, db.URL)
	order := newOrder(t, "order_1")
	store := newStore(db.Pool())
	_, err := store.Reject(t.Context(), mustBegin(t, store, order), errors.New("the account may not charge yet"))
	require.NoError(t, err)

	has := func() bool {
		list, err := m.Status(t.Context())
		require.NoError(t, err)

		for _, one := range list {
			if one.Name == "00009_reject_payment_requests.sql" {
				return one.Applied
			}
		}

		return false
	}

	for has() {
		require.NoError(t, m.Down(t.Context()))
	}

	var state string

	err = db.Pool().QueryRow(t.Context(), "SELECT state FROM payment_requests").Scan(&state)
	require.NoError(t, err)
	require.Equal(t, "needs_attention", state)
	require.NoError(t, m.Up(t.Context()))
}
