package pgtest

import (
	"errors"
	"testing"

	"github.com/marketflow/marketflow/tests/servers"
)

// NewStandby returns a server of the test's own that follows the primary, a server
// of NewServer. Promote makes it the primary. It needs pg_basebackup beside the
// server's programs, and skips the test where there is none.
func NewStandby(tb testing.TB, primary *servers.Postgres) *servers.Postgres {
	tb.Helper()

	server, err := servers.StartStandby(tb.Context(), primary, temporaryDir(tb), servers.Volatile())

	switch {
	case errors.Is(err, servers.ErrNoProgram):
		tb.Skipf("pgtest: no standby: %v", err)
	case err != nil:
		tb.Fatalf("pgtest: %v", err)
	}

	endAfter(tb, server)

	return server
}

// Demote restarts a primary as a standby of another server: a reader, at the
// address that it had.
func Demote(tb testing.TB, server, follows *servers.Postgres) {
	tb.Helper()

	if err := server.Demote(tb.Context(), follows); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}

// Promote makes a standby the primary; it can be written when Promote returns.
func Promote(tb testing.TB, standby *servers.Postgres) {
	tb.Helper()

	if err := standby.Promote(tb.Context()); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}
