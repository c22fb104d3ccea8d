package postgres_test

import (
	"testing"

	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// In two modes pgx, for poolers that keep no prepared statements, does not ask
// PostgreSQL for the types of parameters. The contracts hold all the same, also for
// groups, which send arrays. (The other modes send what the default one does.)
func TestStore_ExecModes(t *testing.T) {
	t.Parallel()

	if testing.Short() { // with the race detector it takes minutes, and finds nothing that the default mode does not
		t.Skip("takes a while")
	}

	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()

			alone := func(tb testing.TB) portstest.StoreBed {
				tb.Helper()

				return bedAt(tb, with(tb, pgtest.New(tb).URL, "default_query_exec_mode", mode))
			}

			grouped := func(tb testing.TB) portstest.StoreBed {
				tb.Helper()

				return alwaysGrouped(alone(tb))
			}

			portstest.Payments(t, alone)
			portstest.Customers(t, alone)
			portstest.PaymentLists(t, alone)
			portstest.TenantsApart(t, alone)
			portstest.MetadataIndex(t, alone)
			portstest.Facts(t, alone)
			portstest.Refunds(t, alone)
			portstest.Installation(t, alone)
			portstest.Backlog(t, alone)
			portstest.Reconciliation(t, alone)
			portstest.Decisions(t, alone)
			portstest.Audit(t, alone)

			for name, newBed := range map[string]func(testing.TB) portstest.StoreBed{"Alone": alone, "Grouped": grouped} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					portstest.Operations(t, newBed)
					portstest.Inbox(t, newBed)
				})
			}
		})
	}
}
