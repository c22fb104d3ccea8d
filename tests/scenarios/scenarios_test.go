package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

// service is the program under test, built once.
var service string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()

	if testing.Short() {
		return m.Run()
	}

	dir, err := os.MkdirTemp("", "marketflow-service-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()

		service, err = runner.Build(context.Background(), dir, "", false)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return m.Run()
}

// TestScenarios runs a fixed set of scenarios in which each fault is dealt once. `make scenarios N=200`
// deals more of them.
func TestScenarios(t *testing.T) {
	t.Parallel()

	if testing.Short() {
		t.Skip("takes some minutes")
	}

	const hand = 10 // more than elsewhere, so that it takes no longer

	var out strings.Builder

	report, err := runner.Run(t.Context(), runner.Options{
		N: (runner.Kinds() + hand - 1) / hand, Seed: 1, Only: -1, Hand: hand, Redeals: 2, Binary: service, Out: &out,
	})
	require.NoError(t, err, out.String())

	report.Print(&out)
	t.Log(out.String())
	require.Empty(t, report.Failed())
	require.Empty(t, report.Missing)
}

// The drills are faults that scenarios are too short for. Here they are shortened;
// `go run ./tests/scenarios -drill all` runs them at full length.

// TestDrill_OneKey: 64 clients with one key on two processes get one payment, one capture and
// one cancel.
func TestDrill_OneKey(t *testing.T) {
	t.Parallel()
	runDrill(t, "onekey")
}

// TestDrill_Storm: each event twenty times, shuffled, is applied once.
func TestDrill_Storm(t *testing.T) {
	t.Parallel()
	runDrill(t, "storm")
}

// TestDrill_Outage: Stripe answers nobody for a while; then every operation is
// finished, once.
func TestDrill_Outage(t *testing.T) {
	t.Parallel()
	runDrill(t, "outage")
}

// TestDrill_Kills: kill -9 in a loop loses nothing that was answered.
func TestDrill_Kills(t *testing.T) {
	t.Parallel()
	runDrill(t, "kills")
}

// TestDrill_Refunds: of fifty refunds at once on two processes as many are given back as were paid
// for.
func TestDrill_Refunds(t *testing.T) {
	t.Parallel()
	runDrill(t, "refunds")
}

func runDrill(t *testing.T, name string) {
	t.Helper()

	if testing.Short() {
		t.Skip("takes a while")
	}

	result, err := runner.Drill(t.Context(), name, runner.DrillOptions{
		Seed: 1, For: 6 * time.Second, RPS: 50, Binary: service,
		AnswerWithin: 10 * time.Second, FinishWithin: 30 * time.Second,
	})
	require.NoError(t, err)
	t.Log(strings.Join(result.Figures, "\n"))
	require.Empty(t, result.Violations, result.Report)
}
