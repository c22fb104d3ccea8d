package postgres_test

import (
	"testing"

	"github.com/marketflow/marketflow/internal/pgtest"
	"github.com/marketflow/marketflow/ports/portstest"
)

// execModes are all values of default_query_exec_mode, pgx's setting for poolers
// that keep no prepared statements.
func execModes() []string {
	return []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}
}

// The contracts hold in every mode. (cache_statement, the default, has the suites
// of its own.) Groups send arrays, of which some modes do not ask PostgreSQL for
// the type.
func TestStore_ExecModes(t *testing.T) {
	t.Parallel()

	for _, mode := range execModes()[1:] {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()

			alone := func(tb testing.TB) portstest.StoreBed {
				tb.Helper()

				return bedAt(tb, with(tb, pgtest.New(tb).URL, "default_query_exec_mode", mode))
			}

			portstest.Claims(t, alone)
			portstest.Payments(t, alone)
			portstest.Inbox(t, alone)
			portstest.Backlog(t, alone)
			portstest.Reconciliation(t, alone)

			if mode != "exec" && mode != "simple_protocol" {
				return
			}

			grouped := func(tb testing.TB) portstest.StoreBed {
				tb.Helper()

				return alwaysGrouped(alone(tb))
			}

			t.Run("Grouped", func(t *testing.T) {
				t.Parallel()
				portstest.Claims(t, grouped)
				portstest.Inbox(t, grouped)
			})
		})
	}
}
