package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
)

func TestFrom_FindsTheFaultInAChain(t *testing.T) {
	t.Parallel()

	inner := fault.Newf(fault.Invalid, "amount %q", "x")
	err := fmt.Errorf("decoding: %w", inner)

	require.Same(t, inner, fault.From(err))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestFrom_HidesForeignErrorsFromTheClient(t *testing.T) {
	t.Parallel()

	cause := errors.New("pq: password is hunter2")
	f := fault.From(cause)

	require.Equal(t, fault.Internal, f.Kind)
	require.NotContains(t, f.Detail, "hunter2")
	require.ErrorIs(t, f, cause)
	require.ErrorContains(t, f, "hunter2", "the log must see the cause")
}

func TestAfter_LeavesTheOriginalAlone(t *testing.T) {
	t.Parallel()

	original := fault.New(fault.Unavailable, "down")
	delayed := original.After(2 * time.Second)

	require.Zero(t, original.RetryAfter)
	require.Equal(t, 2*time.Second, delayed.RetryAfter)
}
