package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

// TestMutants_Apply: the text that each mutant replaces is still in its file. The
// whole hunt is run too rarely to notice that.
func TestMutants_Apply(t *testing.T) {
	t.Parallel()

	root, err := runner.ModuleRoot(t.Context())
	require.NoError(t, err)

	for _, m := range mutants() {
		_, err := m.overlay(root, t.TempDir())
		require.NoError(t, err, m.name)
	}
}
