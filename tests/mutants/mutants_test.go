package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

// TestMutants_Apply: the text that each mutant replaces is still in its file, and the tests that show it
// are there. The whole hunt is run too rarely to notice that.
func TestMutants_Apply(t *testing.T) {
	t.Parallel()

	root, err := runner.ModuleRoot(t.Context())
	require.NoError(t, err)

	for _, m := range mutants() {
		_, err := m.overlay(root, t.TempDir())
		require.NoError(t, err, m.name)

		if m.tested != (tested{}) {
			require.NotEmpty(t, testsOf(t, filepath.Join(root, m.tested.in), m.tested.run), "%s: there is no %s", m.name, m.tested.run)
		}
	}
}

// testsOf are the tests of a directory whose names a pattern fits.
func testsOf(t *testing.T, dir, pattern string) (names []string) {
	t.Helper()

	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)

	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)

		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			if name := string(found[1]); regexp.MustCompile(pattern).MatchString(name) {
				names = append(names, name)
			}
		}
	}

	return names
}
