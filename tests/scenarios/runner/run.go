package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say what to run.
type Options struct {
	// N scenarios of Seed are run, from number First, or where Only is not negative that one
	// alone.
	N, First int
	Seed     uint64
	Only     int
	// Lanes run side by side; 0 is four.
	Lanes int
	// Hand is how many faults a scenario is dealt; 0 is five.
	Hand int
	// Faults limits the faults to those with one of these names, or a part of one; empty is all.
	Faults []string
	// Redeals is how often the faults that fired too rarely are dealt once more.
	Redeals int
	// Race builds the service with the race detector, Overlay with swapped source
	// files; Binary is a service that is built already.
	Race            bool
	Overlay, Binary string
	// Sabotage are the SQL statements that are run on each scenario's fresh database.
	Sabotage []string
	// Patience bounds each wait for quiet; 0 is 40 s.
	Patience time.Duration
	// StopAtFirst ends the run at the first violation.
	StopAtFirst bool
	// Discard removes also what a failed scenario left behind.
	Discard bool
	// Out gets a line for each scenario; nil for none.
	Out io.Writer
}

func (o Options) withDefaults() Options {
	if o.Lanes == 0 {
		o.Lanes = 4
	}

	if o.Hand == 0 {
		o.Hand = 5
	}

	if o.Patience == 0 {
		o.Patience = quietWithin
	}

	if o.Out == nil {
		o.Out = io.Discard
	}

	return o
}

func (o Options) faultNames() []string {
	all := faultNames()

	chosen := func(name, part string) bool {
		return name == part || !slices.Contains(all, part) && strings.Contains(name, part)
	}

	return slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		return len(o.Faults) > 0 && !slices.ContainsFunc(o.Faults, func(part string) bool { return chosen(name, part) })
	})
}

// again is the command that runs one scenario once more.
func (o Options) again(number int) string {
	command := fmt.Sprintf("go run ./tests/scenarios -seed %d -only %d -hand %d", o.Seed, number, o.Hand)
	if len(o.Faults) > 0 {
		command += fmt.Sprintf(" -faults %q", strings.Join(o.Faults, ";"))
	}

	if o.Race {
		command += " -race"
	}

	if o.Overlay != "" {
		command += " -overlay " + o.Overlay
	}

	return command
}

// Report is what a run adds up to.
type Report struct {
	Outcomes []Outcome
	// Missing are the names of faults that fired less often than they had to.
	Missing []string
	Took    time.Duration
}

// Failed are the scenarios that broke a promise.
func (r Report) Failed() []Outcome {
	return slices.DeleteFunc(slices.Clone(r.Outcomes), func(o Outcome) bool { return len(o.Violations) == 0 })
}

// Run plays scenarios side by side. An error means that the run itself could
// not be done; violations are in the report.
func Run(ctx context.Context, o Options) (report Report, err error) {
	begun := time.Now()
	o = o.withDefaults()

	dir, err := workDir()
	if err != nil {
		return report, err
	}

	defer func() {
		if o.Discard || err == nil && len(report.Failed()) == 0 {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()

	if o.Binary == "" {
		if o.Binary, err = Build(ctx, dir, o.Overlay, o.Race); err != nil {
			return report, err
		}
	}

	report.Outcomes, report.Missing, err = playUntilFired(ctx, dir, o)
	report.Took = time.Since(begun)

	return report, err
}

func workDir() (string, error) {
	dir, err := os.MkdirTemp("", "marketflow-scenarios-")
	if err != nil {
		return "", fmt.Errorf("making a directory: %w", err)
	}

	// PostgreSQL may run as another user, who has to reach its data.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("opening the directory: %w", err)
	}

	return dir, nil
}

// playUntilFired deals the faults that fired too rarely once more, fewer at a time: a fault waits
// for its moment, and the other faults of its hand may keep that moment away.
func playUntilFired(ctx context.Context, dir string, o Options) (outcomes []Outcome, rare []string, err error) {
	const hand = 3

	for range 1 + o.Redeals {
		played, err := playAll(ctx, filepath.Join(dir, "from-"+strconv.Itoa(o.First)), o)
		outcomes = append(outcomes, played...)
		rare = missing(o, outcomes)

		if err != nil || len(rare) == 0 || o.StopAtFirst && len(Report{Outcomes: outcomes}.Failed()) > 0 {
			return outcomes, rare, err
		}

		o.First += o.N
		o.Faults, o.Hand = rare, min(hand, o.Hand)
		o.N = (len(rare) + o.Hand - 1) / o.Hand
	}

	return outcomes, rare, nil
}

func playAll(ctx context.Context, dir string, o Options) ([]Outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	numbers := make(chan int)

	go func() {
		defer close(numbers)

		for _, n := range o.numbers() {
			select {
			case numbers <- n:
			case <-ctx.Done():
				return
			}
		}
	}()

	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		outcomes []Outcome
	)

	for i := range min(o.Lanes, len(o.numbers())) {
		wg.Go(func() {
			err := playLane(ctx, i, dir, o, numbers, func(outcome Outcome) {
				mu.Lock()
				defer mu.Unlock()

				outcome.Print(o.Out)

				outcomes = append(outcomes, outcome)
				if len(outcome.Violations) > 0 && o.StopAtFirst {
					cancel(errFirst)
				}
			})
			if err != nil {
				cancel(err)
			}
		})
	}

	wg.Wait()

	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errFirst) {
		return outcomes, cause
	}

	return outcomes, nil
}

var errFirst = errors.New("a first violation is enough")

func (o Options) numbers() []int {
	if o.Only >= 0 {
		return []int{o.Only}
	}

	numbers := make([]int, o.N)
	for i := range numbers {
		numbers[i] = o.First + i
	}

	return numbers
}

func playLane(
	ctx context.Context, index int, dir string, o Options, numbers <-chan int, done func(Outcome),
) (err error) {
	l, err := newLane(ctx, index, dir)
	if err != nil {
		return fmt.Errorf("setting up lane %d: %w", index, err)
	}

	defer func() { err = errors.Join(err, l.close()) }()

	for n := range numbers {
		outcome, err := play(ctx, l, o.Binary, n, o)
		if errors.Is(context.Cause(ctx), errFirst) {
			return nil
		}

		if err != nil {
			return err
		}

		done(outcome)
	}

	return nil
}

// missing are the faults that fired too rarely: a fault that never fired proves
// nothing. Each must have fired at least half as often as it was dealt, and at
// least once.
func missing(o Options, outcomes []Outcome) []string {
	if o.Only >= 0 {
		return nil
	}

	dealt, fired := tally(outcomes)

	var found []string

	for _, name := range slices.Sorted(maps.Keys(dealt)) {
		if least := max(1, dealt[name]/2); fired[name] < least {
			found = append(found, name)
		}
	}

	return found
}

func tally(outcomes []Outcome) (dealt, fired map[string]int) {
	dealt, fired = map[string]int{}, map[string]int{}

	for _, outcome := range outcomes {
		for _, name := range outcome.Faults {
			dealt[name]++
		}

		for name, n := range outcome.Fired {
			fired[name] += n
		}
	}

	return dealt, fired
}

// Print writes what the run adds up to.
func (r Report) Print(out io.Writer) {
	dealt, fired := tally(r.Outcomes)
	requests, longest := 0, time.Duration(0)

	for _, outcome := range r.Outcomes {
		requests += outcome.Requests
		longest = max(longest, outcome.Quiet)
	}

	fmt.Fprintf(out, "\n%-58s %6s %6s\n", "fault", "dealt", "fired")

	for _, name := range slices.Sorted(maps.Keys(fired)) {
		fmt.Fprintf(out, "%-58s %6d %6d\n", name, dealt[name], fired[name])
	}

	fmt.Fprintf(out, "\n%d scenarios, %d requests, %d kinds of faults, %d violated, %d faults too rare, "+
		"quiet after %.1f s at most, %.0f s in all\n", len(r.Outcomes), requests, len(fired), len(r.Failed()), len(r.Missing),
		longest.Seconds(), r.Took.Seconds())

	for _, name := range r.Missing {
		fmt.Fprintf(out, "too rare: %s: dealt %d times, fired %d times\n", name, dealt[name], fired[name])
	}

	for _, failed := range r.Failed() {
		fmt.Fprintf(out, "FAILED scenario %d of seed %d: %s\n", failed.Number, failed.Seed, failed.Violations[0])
	}
}
