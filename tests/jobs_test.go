package tests

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// A long search through Stripe's list for one operation does not hold up the recovery
// of others, although the search is asked for again meanwhile.
func TestRecovery_GoesOnWhileASearchTakesLong(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	_, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.HangRequest, Method: http.MethodGet, Path: "/v1/payment_intents", Count: -1,
	})
	require.NoError(t, err)
	w.faultCreates(sandbox.Fault{
		Action: sandbox.Error, Count: -1, Metadata: map[string]string{"stuck": "yes"}, Status: http.StatusConflict,
	})
	w.faultCreates(sandbox.Fault{Action: sandbox.DropAfter, Count: 3, Metadata: map[string]string{"stuck": "no"}})

	w.create(`{"amount":5,"currency":"USD","metadata":{"stuck":"yes"}}`).problem(http.StatusServiceUnavailable, "outcome-unknown")
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM operations WHERE attempts > 5") == 1
	}, "more runs than there are workers have tried it")

	w.create(`{"amount":5,"currency":"USD","metadata":{"stuck":"no"}}`).problem(http.StatusServiceUnavailable, "outcome-unknown")
	w.requireRecovered()
}

// requireRecovered checks that the one operation that can be finished is finished soon.
func (w *world) requireRecovered() {
	w.t.Helper()

	require.Eventually(w.t, func() bool {
		return w.count("SELECT count(*) FROM operations WHERE state = 'finished'") == 1
	}, 10*time.Second, 20*time.Millisecond, "the operation is recovered")
}

// requireRecovery makes an outcome unknown, which only background work can find out,
// and checks that it does so soon.
func (w *world) requireRecovery() {
	w.t.Helper()

	w.faultCreates(sandbox.Fault{Action: sandbox.Saved500})
	w.create(order).problem(http.StatusServiceUnavailable, "outcome-unknown")
	w.requireRecovered()
}

// setBack is a database whose clock was set back by four hours.
type setBack struct{ ports.Operations }

func (s setBack) Take(ctx context.Context, limit int, lease ports.Lease) ([]ports.Operation, error) {
	ops, err := s.Operations.Take(ctx, limit, lease)
	for i := range ops {
		ops[i].Age -= 4 * time.Hour
	}

	return ops, err
}

// When the database's clock is set back, a key that Stripe has forgotten is still not
// sent again.
func TestRecovery_ForgottenKeyIsNotSentAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.RecoveryInterval = time.Hour })

	w.faultCreates(sandbox.Fault{Action: sandbox.DropAfter, Count: 3})
	w.create(order).problem(http.StatusServiceUnavailable, "outcome-unknown")
	w.stripe.Advance(25 * time.Hour)

	w.exec("UPDATE operations SET created_at = now() - interval '25 hours', retry_at = now()")
	require.NoError(t, w.service.Stop(context.Background()))

	w.config.RecoveryInterval = 100 * time.Millisecond
	w.start(w.config, bootstrap.With[ports.Operations](setBack{postgres.NewStore(w.db.Pool(), w.db.Pool())}))
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM operations WHERE attempts > 1") == 1
	}, "recovery has taken it")

	// At a day's age the next try is minutes away.
	w.exec("UPDATE operations SET retry_at = now()")
	w.requireRecovered()
	require.Equal(t, 1, w.intents())
}

// recovery is the job as River sees it.
type recovery struct{}

func (recovery) Kind() string { return "recover" }

// fixedClock is a clock that a test sets.
type fixedClock struct{ now time.Time }

func (c *fixedClock) Now() time.Time       { return c.now }
func (c *fixedClock) NowOrNil() *time.Time { return &c.now }

// A process whose clock is ahead inserts the jobs of the next minutes and dies. The
// other processes do not wait until their clocks get there.
func TestRecovery_GoesOnAfterAProcessWhoseClockWasAhead(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.eventually(func() bool { return w.count("SELECT count(*) FROM river_job WHERE kind = 'recover'") > 0 }, "a first job")

	ahead := &fixedClock{}

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

		// Which later jobs these keep out is what the service says in unique_states.
		_, err := tx.Exec(t.Context(), `UPDATE river_job SET state = 'completed', finalized_at = now(), scheduled_at = now(),
			unique_states = (SELECT unique_states FROM river_job WHERE kind = 'recover' ORDER BY id LIMIT 1)
			WHERE state = 'available'`)

		return err
	}))

	w.requireRecovery()
}

// A reconciliation that takes longer than its interval does not hold up recovery.
func TestRecovery_GoesOnWhileReconciliationTakesLong(t *testing.T) {
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
