// Command mutants checks the checker: it builds the service with one safeguard
// removed at a time and says whether the scenarios notice, the drill that loses the
// database's last minutes, or a test. A mutant that cannot be built any more, or that nothing
// notices, fails the run.
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

	"github.com/marketflow/marketflow/tests/loss"
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
	flag.IntVar(&s.most, "n", 120, "a mutant that survives this many scenarios has escaped")
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

var errUnnoticed = errors.New("nothing noticed")

// hunt runs the mutant's tests or drill, or scenarios until one notices it.
func (m mutant) hunt(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "marketflow-mutant-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}

	defer func() { _ = os.RemoveAll(dir) }()

	if m.tested != (tested{}) {
		return m.runTests(ctx, dir)
	}

	binary, err := m.build(ctx, dir)
	if err != nil {
		return err
	}

	out := io.Discard
	if s.verbose {
		out = os.Stdout
	}

	if m.drill != "" {
		return m.lose(ctx, s, binary, out)
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

// lose runs the mutant's drill, as short as the tests do.
func (m mutant) lose(ctx context.Context, s settings, binary string, out io.Writer) error {
	const during, rps = 6 * time.Second, 25

	begun := time.Now()

	result, err := loss.Drill(ctx, m.drill, loss.Options{Seed: s.seed, For: during, RPS: rps, Binary: binary, Discard: true})
	if err != nil {
		return fmt.Errorf("drill %s: %w", m.drill, err)
	}

	fmt.Fprint(out, result)

	took := time.Since(begun).Seconds()

	broken := result.Promises()
	if len(broken) == 0 {
		return fmt.Errorf("%w in drill %s, %.0f s (%s)", errUnnoticed, m.drill, took, m.why)
	}

	fmt.Printf("%-24s caught   by drill %s, %.0f s: %s\n", m.name, m.drill, took, strings.Join(broken, "; "))

	return nil
}

// runTests runs the mutant's tests.
func (m mutant) runTests(ctx context.Context, dir string) error {
	begun := time.Now()

	root, err := runner.ModuleRoot(ctx)
	if err != nil {
		return err
	}

	overlay, err := m.overlay(root, dir)
	if err != nil {
		return err
	}

	by, err := m.test(ctx, root, overlay, dir)
	if err != nil {
		return fmt.Errorf("%w by %s of %s (%s)", err, m.tested.run, m.tested.in, m.why)
	}

	fmt.Printf("%-24s caught   by %s of %s, %.0f s\n", m.name, by, m.tested.in, time.Since(begun).Seconds())

	return nil
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
