package main

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryLimit_LeavesRoomInAContainer(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		cgroup uint64
		err    error
		want   int64
	}{
		{cgroup: 64 << 20, want: (64 << 20) / 10 * 9},
		{cgroup: 100 << 20, want: (100 << 20) / 10 * 9},
		{cgroup: 128 << 20, want: softLimit},
		{cgroup: 4 << 30, want: softLimit},
		{cgroup: math.MaxUint64, want: softLimit},
		{err: errors.New("memory is not limited"), want: softLimit},
	} {
		require.Equal(t, c.want, memoryLimit(func() (uint64, error) { return c.cgroup, c.err }))
	}
}
