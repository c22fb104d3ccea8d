package tests

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// requireRecovery makes an outcome unknown that the background work alone finds
// out, and wants that soon.
func (w *world) requireRecovery() {
	w.t.Helper()

	_, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.Saved500, Method: http.MethodPost, Path: "/v1/payment_intents",
	})
	require.NoError(w.t, err)
	w.create(order).problem(http.StatusServiceUnavailable, "outcome-unknown")

	require.Eventually(w.t, func() bool {
		return w.count("SELECT count(*) FROM payment_requests WHERE state = 'completed'") == 1
	}, 10*time.Second, 20*time.Millisecond, "the claim is recovered")
}

// recovery is the job as River sees it.
type recovery struct{}

func (recovery) Kind() string { return "recover" }

// aClock that a test sets.
type aClock struct{ now time.Time }

func (c *aClock) Now() time.Time       { return c.now }
func (c *aClock) NowOrNil() *time.Time { return &c.now }

// A process whose clock is ahead has asked for the jobs of the next minutes, and
// dies. The others do not wait until their clocks come there.
func TestRecoveryAfterAProcessAheadOfTime(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.eventually(func() bool { return w.count("SELECT count(*) FROM river_job WHERE kind = 'recover'") > 0 }, "a first job")

	ahead := &aClock{}

	jobs, err := river.NewClient(riverpgxv5.New(w.db.Pool()), &river.Config{Test: river.TestConfig{Time: ahead}})
	require.NoError(t, err)

	require.NoError(t, pgx.BeginFunc(t.Context(), w.db.Pool(), func(tx pgx.Tx) error {
		for start, s := time.Now(), 0; s < 120; s++ {
			ahead.now = start.Add(time.Duration(s) * time.Second)

			_, err := jobs.InsertTx(t.Context(), tx, recovery{},
				&river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: time.Second}})
			if err != nil {
				return err
			}
		}

		// What they keep others from is what the service says.
		_, err := tx.Exec(t.Context(), `UPDATE river_job SET state = 'completed', finalized_at = now(), scheduled_at = now(),
			unique_states = (SELECT unique_states FROM river_job WHERE kind = 'recover' ORDER BY id LIMIT 1)
			WHERE state = 'available'`)

		return err
	}))

	w.requireRecovery()
}

// A reconciliation that takes longer than its interval leaves recovery alone.
func TestRecoveryWhileReconciliationTakesLong(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.ReconcileInterval = time.Second })

	_, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.HangRequest, Method: http.MethodGet, Path: "/v1/events", Count: -1,
	})
	require.NoError(t, err)
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM river_job WHERE kind = 'reconcile'") > 5
	}, "more runs are asked for than there are workers")

	w.requireRecovery()
}
