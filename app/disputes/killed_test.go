package disputes_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/sandbox"
)

// A process that is killed between any two steps of giving evidence: recovery finishes what was begun, the
// bank gets it once, and the same request gets its answer then.
func TestEvidence_KilledAtEachStep(t *testing.T) {
	t.Parallel()

	b := &disputed{World: apptest.New(t)}
	given := map[int]int{}

	ask := func(ctx context.Context, w *apptest.World, key operation.Key) (operations.Answer, error) {
		return disputes.NewEvidence(w.DisputeChange()).Do(ctx, disputes.EvidenceCommand{
			Command: b.command(key), Evidence: parcel, Submit: true,
		})
	}

	b.requireKilled(t, ask, dispute.UnderReview, func(run int) {
		submissions := b.submissions(t)
		require.LessOrEqual(t, submissions, 1, "step %d", run)

		given[submissions]++
	})

	t.Logf("submissions after recovery: %v", given)
	require.NotZero(t, given[0])
	require.Greater(t, given[1], 1)
}

// The same of an acceptance.
func TestAccept_KilledAtEachStep(t *testing.T) {
	t.Parallel()

	b := &disputed{World: apptest.New(t)}
	b.requireKilled(t, func(ctx context.Context, w *apptest.World, key operation.Key) (operations.Answer, error) {
		return disputes.NewAccept(w.DisputeChange()).Do(ctx, b.command(key))
	}, dispute.Lost, func(int) {})
}

// requireKilled kills a process at each step of ask. After recovery our dispute is Stripe's, then look is
// called, and the same request leads to status.
func (b *disputed) requireKilled(
	t *testing.T, ask func(context.Context, *apptest.World, operation.Key) (operations.Answer, error), status dispute.Status,
	look func(run int),
) {
	t.Helper()

	const fewestSteps = 8

	var key operation.Key

	steps := b.KilledAtEachStep(func(run int) func(context.Context, *apptest.World) {
		b.payment, b.dispute = b.Disputed(operation.Key(fmt.Sprintf("order_%d", run)), sandbox.Complaint{})
		key = operation.Key(fmt.Sprintf("ask_%d", run))

		return func(ctx context.Context, process *apptest.World) { _, _ = ask(ctx, process, key) }
	}, func(run int) {
		require.Equal(t, dispute.Status(b.statusAtStripe(t)), b.Dispute(b.dispute.ID).Status, "step %d", run)
		look(run)
		b.ForgetReplays()

		answer, err := ask(t.Context(), b.World, key)
		require.NoError(t, err, "step %d", run)
		require.Equal(t, http.StatusOK, answer.Response.Status, "step %d: %s", run, answer.Response.Body)
		require.Equal(t, string(status), b.statusAtStripe(t), "step %d", run)
		require.Equal(t, status, b.Dispute(b.dispute.ID).Status, "step %d", run)
		require.LessOrEqual(t, b.submissions(t), 1, "step %d", run)
	})

	t.Logf("%d steps", steps)
	require.GreaterOrEqual(t, steps, fewestSteps)
}

// statusAtStripe is that of the last dispute in Stripe's books, which is the run's.
func (b *disputed) statusAtStripe(t *testing.T) string {
	t.Helper()

	status, _, _ := b.at(t)

	return status
}

func (b *disputed) submissions(t *testing.T) int {
	t.Helper()

	_, submissions, _ := b.at(t)

	return submissions
}
