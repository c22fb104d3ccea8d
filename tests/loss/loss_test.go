package loss

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
	"github.com/marketflow/marketflow/tests/servers"
)

// program is the service under test, built once.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()

	if testing.Short() {
		return m.Run()
	}

	dir, err := os.MkdirTemp("", "marketflow-service-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()

		program, err = runner.Build(context.Background(), dir, "", false)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return m.Run()
}

// The drills, shortened; `go run ./tests/scenarios -drill losses` runs all of them at full
// length.

// TestDrill_Standby: a standby that is behind is promoted.
func TestDrill_Standby(t *testing.T) {
	t.Parallel()
	runDrill(t, "standby")
}

// TestDrill_Drawn: the same while other things go wrong, as a few seeds say.
func TestDrill_Drawn(t *testing.T) {
	t.Parallel()

	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			runSeed(t, "drawn", seed)
		})
	}
}

// TestDrill_Late: it is promoted a day later, when Stripe has forgotten the keys.
func TestDrill_Late(t *testing.T) {
	t.Parallel()
	runDrill(t, "late")
}

// TestDrill_Restore: a restore as docs/operations.md says, with the processes left running.
func TestDrill_Restore(t *testing.T) {
	t.Parallel()
	runDrill(t, "pitr")
}

// TestDrill_RestoreStopped: the same with the processes stopped meanwhile.
func TestDrill_RestoreStopped(t *testing.T) {
	t.Parallel()
	runDrill(t, "pitr-stopped")
}

// TestDrill_Whole: the database is gone, and an empty one takes its place.
func TestDrill_Whole(t *testing.T) {
	t.Parallel()
	runDrill(t, "whole")
}

// TestDrill_Upgrade: the release before is upgraded, and then the last minutes are lost.
func TestDrill_Upgrade(t *testing.T) {
	t.Parallel()
	runDrill(t, "upgrade")
}

// TestDrill_Unsynced: PostgreSQL is killed with commits that it had not written.
func TestDrill_Unsynced(t *testing.T) {
	t.Parallel()
	runDrill(t, "unsynced")
}

// TestDrill_Copy: a dump in another server is refused.
func TestDrill_Copy(t *testing.T) {
	t.Parallel()
	runDrill(t, "copy")
}

// TestDrill_Two: of two deployments on one Stripe account one loses its last minutes.
func TestDrill_Two(t *testing.T) {
	t.Parallel()
	runDrill(t, "two")
}

func runDrill(t *testing.T, name string) {
	t.Helper()
	runSeed(t, name, 1)
}

func runSeed(t *testing.T, name string, seed uint64) {
	t.Helper()

	if testing.Short() {
		t.Skip("takes a while")
	}

	result, err := Drill(t.Context(), name, Options{Seed: seed, For: 6 * time.Second, RPS: 25, Binary: program})
	if errors.Is(err, servers.ErrNoProgram) {
		t.Skip(err)
	}

	require.NoError(t, err, result)
	t.Log(result)
	require.Empty(t, result.Broken())
}

// TestProcedure: what is to be typed is read from the page, without its indent.
func TestProcedure(t *testing.T) {
	t.Parallel()

	blocks, err := procedure(t.Context(), "### Restore to a point in time")
	require.NoError(t, err)
	require.Len(t, blocks, 4)
	require.Contains(t, blocks[1], "\nEND\n")
	require.Equal(t, "marketflow reconcile --since 48h\n", blocks[3][:len("marketflow reconcile --since 48h\n")])

	_, err = procedure(t.Context(), "### No such heading")
	require.Error(t, err)
}
