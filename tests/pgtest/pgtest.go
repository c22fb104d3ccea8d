package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tidyUp bounds what happens after a test.
const tidyUp = 30 * time.Second

// DB is the database of one test.
type DB struct {
	// URL connects to it as a superuser.
	URL string

	tb   testing.TB
	pool func() *pgxpool.Pool
}

// New returns a database with the product's schema. It fails the test when there
// is none to be had.
func New(tb testing.TB) *DB {
	tb.Helper()

	migrations, err := productMigrations()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	db := NewFrom(tb, migrations)
	if err := db.makeNow(tb.Context()); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	return db
}

// makeNow says that the database was made in the server's present life. Its template may be
// older than the server's last start, and then the product would take it for a database
// that may have lost commits.
func (db *DB) makeNow(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}

	_, err = conn.Exec(ctx, "UPDATE installation SET incarnation = marketflow_incarnation()")

	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("setting the database up: %w", err)
	}

	return nil
}

// NewEmpty returns a database without any schema, for tests of the migrations.
func NewEmpty(tb testing.TB) *DB {
	tb.Helper()

	return NewFrom(tb, Migrations{})
}

// NewFrom returns a database with the schema of the given migrations, which run
// only when no process has run them yet.
func NewFrom(tb testing.TB, migrations Migrations) *DB {
	tb.Helper()

	server, err := sharedServer()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	admin, err := pgx.Connect(tb.Context(), server.url)
	if err != nil {
		tb.Fatalf("pgtest: connecting to the test server: %v", err)
	}

	name := databaseName(tb.Name(), time.Now())
	tb.Cleanup(func() { leave(tb, server, admin, name) })

	if err := create(tb.Context(), admin, name, migrations); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	db := &DB{URL: urlOf(admin, name), tb: tb}
	db.pool = sync.OnceValue(db.connect)

	return db
}

// Pool returns a pool of connections, the same at each call, which is closed
// after the test. Like t.FailNow it belongs in the test's own goroutine at first.
func (db *DB) Pool() *pgxpool.Pool {
	db.tb.Helper()

	return db.pool()
}

// Exec runs SQL for what the product does not do. Rows of operations, which the product's schema
// keeps from being deleted, are lost as with a restored backup: no trigger is asked.
func (db *DB) Exec(statement string, args ...any) {
	db.tb.Helper()

	ctx := db.tb.Context()

	err := pgx.BeginFunc(ctx, db.Pool(), func(tx pgx.Tx) error {
		if strings.HasPrefix(statement, "DELETE FROM operations") {
			if _, err := tx.Exec(ctx, "SET LOCAL session_replication_role = replica"); err != nil {
				return fmt.Errorf("leaving out triggers: %w", err)
			}
		}

		_, err := tx.Exec(ctx, statement, args...)

		return err
	})
	if err != nil {
		db.tb.Fatalf("pgtest: %s: %v", statement, err)
	}
}

func (db *DB) connect() *pgxpool.Pool {
	// The pool outlives tb.Context, which ends before the test's cleanups run.
	pool, err := pgxpool.New(context.WithoutCancel(db.tb.Context()), db.URL)
	if err != nil {
		db.tb.Fatalf("pgtest: making a pool: %v", err)
	}

	db.tb.Cleanup(func() { db.closePool(pool) })

	return pool
}

// closePool tells of connections that the test did not give back, for which
// Close would wait for ever.
func (db *DB) closePool(pool *pgxpool.Pool) {
	closed := make(chan struct{})

	go func() {
		defer close(closed)

		pool.Close()
	}()

	select {
	case <-closed:
	case <-time.After(tidyUp):
		db.tb.Errorf("pgtest: the test still holds %d connections of its pool", pool.Stat().AcquiredConns())
	}
}

// leave drops the database of a test that passed, and keeps that of a failed one.
func leave(tb testing.TB, server server, admin *pgx.Conn, name string) {
	tb.Helper()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), tidyUp)
	defer cancel()

	defer func() { _ = admin.Close(ctx) }() // there is nothing left to lose

	if !tb.Failed() {
		if err := drop(ctx, admin, name); err != nil {
			tb.Errorf("pgtest: %v", err)
		}

		return
	}

	tb.Logf("pgtest: the database is kept: psql '%s'", urlOf(admin, name))

	if err := errors.Join(keep(ctx, admin, name), server.stay()); err != nil {
		tb.Errorf("pgtest: %v", err)
	}
}
