package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

func newBackgroundPool(tb testing.TB, url string, maxConns int32) *pgxpool.Pool {
	tb.Helper()

	pool, err := postgres.NewPool(tb.Context(), postgres.PoolConfig{URL: url, MaxConns: maxConns, Background: true})
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)

	return pool
}

// The background pool keeps no plan and has the settings that the server gives everybody.
func TestNewPool_Background(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	hot, background := newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, 1)

	for name, wanted := range postgres.PlannerSettings() {
		const show = "SELECT current_setting($1), reset_val, boot_val FROM pg_settings WHERE name = $1"

		var now, reset, theServers string

		require.NoError(t, hot.QueryRow(t.Context(), show, name).Scan(&now, &reset, &theServers))
		require.Equal(t, wanted, now, name)

		require.NoError(t, background.QueryRow(t.Context(), show, name).Scan(&now, &reset, &theServers))
		require.Equal(t, theServers, now, name)
		require.Equal(t, theServers, reset, name)
	}

	_, err := postgres.NewStore(hot, background).Operations(t.Context(), 0, []operation.State{operation.Pending}, 1)
	require.NoError(t, err)

	var abandoned string

	var prepared int

	require.NoError(t, background.QueryRow(t.Context(), `SELECT current_setting('idle_in_transaction_session_timeout'),
		(SELECT count(*) FROM pg_prepared_statements)`).Scan(&abandoned, &prepared))
	require.Equal(t, "10s", abandoned)
	require.Zero(t, prepared)
}

// hotCalls are those that a request or a webhook may wait for, and those that run the same
// statements.
func hotCalls(store *postgres.Store) map[string]func(context.Context) error {
	id, event := uuid.New(), ports.Event{ID: "evt_1", Raw: []byte("{}")}
	op := ports.Operation{ID: id, Lease: uuid.New()}
	same := ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		return p, ports.FrozenResponse{}, nil
	}}

	return map[string]func(context.Context) error{
		"Ping": store.Ping,
		"Find": func(ctx context.Context) error {
			_, err := store.Find(ctx, operation.DefaultTenant, "order_1")
			return err
		},
		"FindByID": func(ctx context.Context) error { _, err := store.FindByID(ctx, id); return err },
		"Payment":  func(ctx context.Context) error { _, err := store.Payment(ctx, id); return err },
		"Take": func(ctx context.Context) error {
			_, err := store.Take(ctx, 1, ports.Lease{Token: uuid.New(), For: time.Minute})

			return err
		},
		"FinishOn": func(ctx context.Context) error { _, err := store.FinishOn(ctx, id, "request", same); return err },
		"FinishRejected": func(ctx context.Context) error {
			_, err := store.FinishRejected(ctx, op, ports.FrozenResponse{})

			return err
		},
		"Release": func(ctx context.Context) error { return store.Release(ctx, op, time.Second, errors.New("no")) },
		"Extend":  func(ctx context.Context) error { return store.Extend(ctx, op, time.Second) },
		"GiveUp":  func(ctx context.Context) error { return store.GiveUp(ctx, id, errors.New("no")) },
		"Reject":  func(ctx context.Context) error { _, err := store.Reject(ctx, op, errors.New("no")); return err },
		"Reopen": func(ctx context.Context) error {
			_, err := store.Reopen(ctx, id, ports.Lease{Token: id}, nil)

			return err
		},
		"Apply":        func(ctx context.Context) error { _, err := store.Apply(ctx, event); return err },
		"Park":         func(ctx context.Context) error { return store.Park(ctx, event, ports.ParkedUnknown) },
		"StoreForeign": func(ctx context.Context) error { _, err := store.StoreForeign(ctx, event); return err },
		"ReadyFor":     func(ctx context.Context) error { _, err := store.ReadyFor(ctx, "pi_1"); return err },
		"Event":        func(ctx context.Context) error { _, err := store.Event(ctx, "evt_1"); return err },
		"Operation":    func(ctx context.Context) error { _, err := store.Operation(ctx, id); return err },
		"OperationByKey": func(ctx context.Context) error {
			_, err := store.OperationByKey(ctx, operation.DefaultTenant, "order_1")
			return err
		},
		"Incarnation":       func(ctx context.Context) error { _, _, err := store.Incarnation(ctx); return err },
		"Reconciled":        func(ctx context.Context) error { _, err := store.Reconciled(ctx); return err },
		"ParkHints":         func(ctx context.Context) error { return store.ParkHints(ctx, "pi_1") },
		"SetInstallationID": func(ctx context.Context) error { return store.SetInstallationID(ctx, id) },
		"InstallationID":    func(ctx context.Context) error { _, err := store.InstallationID(ctx); return err },
		"Binding":           func(ctx context.Context) error { _, err := store.Binding(ctx); return err },
		"Here":              func(ctx context.Context) error { _, err := store.Here(ctx); return err },
		"Bind":              func(ctx context.Context) error { _, err := store.Bind(ctx, binding.Binding{}); return err },
		"CheckServer":       func(ctx context.Context) error { _, err := store.CheckServer(ctx); return err },
		"Write": func(ctx context.Context) error {
			_, err := store.Write(ctx, ports.FullPayment{Payment: payment.Payment{ID: id}}, nil, "", "")

			return err
		},
	}
}

func backgroundCalls(store *postgres.Store) map[string]func(context.Context) error {
	id, from := uuid.New(), ports.PaymentPosition{}
	lease := ports.Lease{Token: id, For: time.Minute}
	filter := ports.EventFilter{Outcome: ports.EventParked}

	return map[string]func(context.Context) error{
		"History":      func(ctx context.Context) error { _, err := store.History(ctx, id); return err },
		"OperationsOn": func(ctx context.Context) error { _, err := store.OperationsOn(ctx, id); return err },
		"Operations": func(ctx context.Context) error {
			_, err := store.Operations(ctx, 0, []operation.State{operation.Pending}, 1)

			return err
		},
		"AuditOf":           func(ctx context.Context) error { _, err := store.AuditOf(ctx, "pi_1"); return err },
		"Hints":             func(ctx context.Context) error { _, err := store.Hints(ctx, ports.InboxPosition{}, 1); return err },
		"Ready":             func(ctx context.Context) error { _, _, err := store.Ready(ctx, ports.InboxPosition{}, 1); return err },
		"Events":            func(ctx context.Context) error { _, err := store.Events(ctx, filter, 1); return err },
		"Backlog":           func(ctx context.Context) error { _, err := store.Backlog(ctx); return err },
		"Adoptions":         func(ctx context.Context) error { _, err := store.Adoptions(ctx); return err },
		"NewestIntents":     func(ctx context.Context) error { _, err := store.NewestIntents(ctx, 1); return err },
		"ReconciledThrough": func(ctx context.Context) error { _, _, err := store.ReconciledThrough(ctx); return err },
		"MoveReconciledThrough": func(ctx context.Context) error {
			_, err := store.MoveReconciledThrough(ctx, time.Time{}, time.Now(), "")

			return err
		},
		"EndReconciliation":     func(ctx context.Context) error { _, err := store.EndReconciliation(ctx, ""); return err },
		"HoldReconciliation":    func(ctx context.Context) error { _, err := store.HoldReconciliation(ctx, lease); return err },
		"ReleaseReconciliation": func(ctx context.Context) error { return store.ReleaseReconciliation(ctx, id) },
		"UnknownEvents":         func(ctx context.Context) error { _, err := store.UnknownEvents(ctx, []string{"evt_1"}); return err },
		"PaymentsByIntent": func(ctx context.Context) error {
			_, err := store.PaymentsByIntent(ctx, []string{"pi_1"})

			return err
		},
		"OpenPayments": func(ctx context.Context) error {
			_, _, err := store.OpenPayments(ctx, time.Time{}, from, 1)

			return err
		},
		"ListPayments": func(ctx context.Context) error {
			_, err := store.ListPayments(ctx, ports.PaymentFilter{Tenant: operation.DefaultTenant}, from, 1)

			return err
		},
		"IndexMetadata":       func(ctx context.Context) error { _, err := store.IndexMetadata(ctx, 0, 1); return err },
		"MetadataNames":       func(ctx context.Context) error { _, err := store.MetadataNames(ctx); return err },
		"ForgetMetadataName":  func(ctx context.Context) error { _, err := store.ForgetMetadataName(ctx, "x", 1); return err },
		"ReportMetadataNames": store.ReportMetadataNames,
		"Sweep":               func(ctx context.Context) error { _, err := store.Sweep(ctx, 1); return err },
		"SetSweep":            func(ctx context.Context) error { return store.SetSweep(ctx, 1, from) },
	}
}

// What requests wait for goes on while every connection of the background pool is taken,
// and the reverse.
func TestStore_PoolsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()

	for name, calls := range map[string]func(*postgres.Store) map[string]func(context.Context) error{
		"Hot": hotCalls, "Background": backgroundCalls,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			hot, background := newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, 1)

			full := hot
			if name == "Hot" {
				full = background
			}

			conn, err := full.Acquire(t.Context())
			require.NoError(t, err)
			t.Cleanup(conn.Release)

			for call, do := range calls(postgres.NewStore(hot, background, portstest.IndexedNames()...)) {
				if err := do(t.Context()); err != nil {
					require.Equal(t, fault.NotFound, fault.KindOf(err), "%s: %v", call, err)
				}
			}
		})
	}
}

// lockTables makes whoever reads them wait, until unlock.
func lockTables(t *testing.T, db *pgtest.DB, tables string) (unlock func()) {
	t.Helper()

	tx, err := db.Pool().Begin(t.Context())
	require.NoError(t, err)

	unlock = func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }
	t.Cleanup(unlock)

	_, err = tx.Exec(t.Context(), "LOCK TABLE "+tables)
	require.NoError(t, err)

	return unlock
}

// waiting tells whether somebody waits for a lock.
func waiting(t *testing.T, db *pgtest.DB) bool {
	t.Helper()

	rows, err := db.Pool().Query(t.Context(),
		"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	require.NoError(t, err)

	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	require.NoError(t, err)

	return len(pids) > 0
}

// A report may take longer than what a request waits for.
func TestStore_SlowReport(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.NewStore(newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, 1))
	unlock := lockTables(t, db, "audit, payments")
	report := make(chan error, 1)

	go func() { _, err := store.AuditOf(t.Context(), "pi_1"); report <- err }()

	require.Eventually(t, func() bool { return waiting(t, db) }, 20*time.Second, 5*time.Millisecond)

	_, err := store.Payment(t.Context(), uuid.New())
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)

	select {
	case err := <-report:
		require.Fail(t, "the report has ended", "%v", err)
	default:
	}

	unlock()
	require.NoError(t, <-report)
}

// A report ends with its caller, in the server too.
func TestStore_ReportEndsWithItsCaller(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.NewStore(newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, 1))
	report := make(chan error, 1)

	lockTables(t, db, "audit")

	ctx, giveUp := context.WithCancel(t.Context())

	go func() { _, err := store.AuditOf(ctx, "pi_1"); report <- err }()

	require.Eventually(t, func() bool { return waiting(t, db) }, 20*time.Second, 5*time.Millisecond)
	giveUp()
	require.ErrorIs(t, <-report, context.Canceled)
	require.Eventually(t, func() bool { return !waiting(t, db) }, 20*time.Second, 5*time.Millisecond,
		"the server goes on with the statement")
}
