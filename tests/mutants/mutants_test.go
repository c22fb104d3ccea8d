package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

// TestMutants_Apply: every mutant's text is still in its file, so that none rots
// between the runs of the whole hunt.
func TestMutants_Apply(t *testing.T) {
	t.Parallel()

	root, err := runner.ModuleRoot(t.Context())
	require.NoError(t, err)

	for _, m := range mutants() {
		_, err := m.overlay(root, t.TempDir())
		require.NoError(t, err, m.name)
	}
}
