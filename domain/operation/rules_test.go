package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
)

var one, other = operation.Fingerprint{1}, operation.Fingerprint{2}

// A standing where nothing is missing, and some after a loss: reconciliation's cursor is young
// or old, and it is through or not.
var (
	through = operation.Standing{Reconciled: true}
	behind  = operation.Standing{Behind: operation.BehindMost}
	far     = operation.Standing{Behind: operation.BehindMost + 1}
	once    = operation.Standing{Reconciled: true, Behind: operation.BehindMost + 1}
)

func TestMaySend(t *testing.T) {
	t.Parallel()

	require.True(t, operation.MaySend(operation.SendFor, through))
	require.False(t, operation.MaySend(operation.SendFor+1, through), "the provider may have forgotten its key")
	require.True(t, operation.MaySend(operation.SendFor, behind))
	require.False(t, operation.MaySend(0, far), "it may have been sent before the loss, a day ago")
	require.False(t, operation.MaySend(0, once), "a call of the life before was under way when reconciliation looked")
	require.False(t, operation.MaySend(0, operation.Standing{Behind: operation.Unknown}))
}

func TestRow_Repeated(t *testing.T) {
	t.Parallel()

	const young, old = time.Hour, 24 * time.Hour

	for name, c := range map[string]struct {
		state operation.State
		asked operation.Fingerprint
		age   time.Duration
		s     operation.Standing
		held  bool
		want  operation.Repeat
	}{
		"finished":                       {operation.Finished, one, old, far, false, operation.Replayed},
		"finished, for another":          {operation.Finished, other, old, through, false, operation.Reused},
		"pending, for another":           {operation.Pending, other, young, through, false, operation.Reused},
		"rejected, for another":          {operation.Rejected, other, old, through, false, operation.Reused},
		"held":                           {operation.Pending, one, young, through, true, operation.InHand},
		"not held":                       {operation.Pending, one, old, far, false, operation.TakenOver},
		"needs attention":                {operation.NeedsAttention, one, young, through, false, operation.Waits},
		"rejected":                       {operation.Rejected, one, young, through, false, operation.Reopened},
		"rejected, the cursor is young":  {operation.Rejected, one, young, behind, false, operation.Reopened},
		"rejected, the cursor is old":    {operation.Rejected, one, young, far, false, operation.NotNow},
		"rejected, one look is through":  {operation.Rejected, one, young, once, false, operation.NotNow},
		"rejected long ago":              {operation.Rejected, one, old, through, false, operation.Expired},
		"rejected long ago, then a loss": {operation.Rejected, one, old, behind, false, operation.NotNow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			row := operation.Row{State: c.state, Fingerprint: one}
			require.Equal(t, c.want, row.Repeated(c.asked, c.age, c.s, c.held))
		})
	}
}

func TestRow_Ends(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		row  operation.Row
		made operation.Fingerprint
		want operation.Ending
	}{
		"pending":                     {operation.Row{State: operation.Pending}, one, operation.Finishes},
		"pending, made for another":   {operation.Row{State: operation.Pending}, other, operation.Finishes},
		"needs attention":             {operation.Row{State: operation.NeedsAttention}, one, operation.Finishes},
		"rejected":                    {operation.Row{State: operation.Rejected}, one, operation.Finishes},
		"finished":                    {operation.Row{State: operation.Finished}, one, operation.Stands},
		"refused":                     {operation.Row{State: operation.Finished, Refused: true}, one, operation.Contradicts},
		"refused, but made for other": {operation.Row{State: operation.Finished, Refused: true}, other, operation.Finishes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c.row.Fingerprint = one
			require.Equal(t, c.want, c.row.Ends(c.made))
		})
	}
}

func TestRow_MayRefuse(t *testing.T) {
	t.Parallel()

	for state, may := range map[operation.State]bool{
		operation.Pending: true, operation.NeedsAttention: true, operation.Finished: false, operation.Rejected: false,
	} {
		row := operation.Row{State: state, Fingerprint: one}
		require.Equal(t, may, row.MayRefuse(one), state)
		require.False(t, row.MayRefuse(other), state)
	}
}

func TestAdopted(t *testing.T) {
	t.Parallel()

	require.Equal(t, operation.Finished, operation.Adopted(true))
	require.Equal(t, operation.NeedsAttention, operation.Adopted(false))
}

func TestCompared_MayPass(t *testing.T) {
	t.Parallel()

	require.True(t, operation.AtHome.MayPass())
	require.True(t, operation.Recorded.MayPass())
	require.False(t, operation.Failed.MayPass())
	require.False(t, operation.Compared("").MayPass())
}
