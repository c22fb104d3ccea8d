// Command mutants checks the checker: it builds the service with one safeguard
// removed at a time and says whether the scenarios notice. A mutant that cannot be
// built any more, or that no scenario notices, fails the run.
//
//	go run ./tests/mutants
//	go run ./tests/mutants -only no-recovery
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

func main() { os.Exit(run()) }

// settings are the flags.
type settings struct {
	only    string
	seed    uint64
	most    int
	lanes   int
	verbose bool
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var s settings

	flag.StringVar(&s.only, "only", "", "only the mutants whose `name` contains this")
	flag.Uint64Var(&s.seed, "seed", 1, "what the scenarios are drawn from")
	flag.IntVar(&s.most, "n", 40, "a mutant that survives this many scenarios has escaped")
	flag.IntVar(&s.lanes, "lanes", 0, "how many scenarios run side by side (default 4)")
	flag.BoolVar(&s.verbose, "v", false, "print the failures' reports")
	flag.Parse()

	begun, escaped := time.Now(), 0

	for _, m := range mutants() {
		if !strings.Contains(m.name, s.only) {
			continue
		}

		if err := m.hunt(ctx, s); err != nil {
			fmt.Printf("%-24s ESCAPED  %v\n", m.name, err)

			escaped++
		}
	}

	fmt.Printf("\n%d escaped, %.0f s in all\n", escaped, time.Since(begun).Seconds())

	return min(escaped, 1)
}

// patience is enough for an intact service to become quiet. A mutant often does not,
// so a longer wait would only cost time.
const patience = 12 * time.Second

var errUnnoticed = errors.New("no scenario noticed")

// hunt runs scenarios until one notices the mutant.
func (m mutant) hunt(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "marketflow-mutant-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}

	defer func() { _ = os.RemoveAll(dir) }()

	binary, err := m.build(ctx, dir)
	if err != nil {
		return err
	}

	out := io.Discard
	if s.verbose {
		out = os.Stdout
	}

	report, err := runner.Run(ctx, runner.Options{
		N: s.most, Seed: s.seed, Only: -1, Lanes: s.lanes, Faults: m.faults, Binary: binary, Sabotage: m.sql,
		StopAtFirst: true, Discard: true, Out: out, Patience: patience,
	})
	if err != nil {
		return err
	}

	for _, failed := range report.Failed() {
		what, _, _ := strings.Cut(failed.Violations[0], "\n")
		fmt.Printf("%-24s caught   by scenario %d of %d played, %.0f s: %s\n",
			m.name, failed.Number, len(report.Outcomes), report.Took.Seconds(), shorten(what))

		return nil
	}

	return fmt.Errorf("%w in %d scenarios, %.0f s (%s)", errUnnoticed, len(report.Outcomes), report.Took.Seconds(), m.why)
}

func (m mutant) build(ctx context.Context, dir string) (string, error) {
	root, err := runner.ModuleRoot(ctx)
	if err != nil {
		return "", err
	}

	overlay, err := m.overlay(root, dir)
	if err != nil {
		return "", err
	}

	return runner.Build(ctx, dir, overlay, false)
}

func shorten(text string) string {
	const most = 150

	if len(text) > most {
		return text[:most] + "…"
	}

	return text
}
