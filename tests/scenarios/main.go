// Command scenarios runs the service while faults are injected and says whether its
// promises held. See docs/guarantees.md.
//
//	go run ./tests/scenarios -n 100 -seed 7
//	go run ./tests/scenarios -seed 7 -only 42
//	go run ./tests/scenarios -drill outage -for 60s -rps 50
//	go run ./tests/scenarios -drill standby -for 20s -rps 50
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/tests/loss"
	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	o := runner.Options{Out: os.Stdout, Redeals: 2}
	d := runner.DrillOptions{}

	var faults, drill string

	flag.IntVar(&o.N, "n", 20, "how many scenarios")
	flag.Uint64Var(&o.Seed, "seed", 0, "what everything is drawn from; 0 draws a seed")
	flag.IntVar(&o.Only, "only", -1, "run only the scenario with this number")
	flag.IntVar(&o.Lanes, "lanes", 0, "how many scenarios run side by side (default 4)")
	flag.IntVar(&o.Hand, "hand", 0, "how many faults a scenario is dealt (default 5)")
	flag.StringVar(&faults, "faults", "", "only faults with one of these names, or a part of one, separated by semicolons")
	flag.BoolVar(&o.Race, "race", false, "build the service with the race detector")
	flag.StringVar(&o.Overlay, "overlay", "", "a `file` for go build -overlay, to build the service with")
	flag.StringVar(&o.Binary, "binary", "", "a `file`: run this service instead of building one")
	flag.BoolVar(&o.StopAtFirst, "first", false, "stop at the first violation")
	flag.StringVar(&drill, "drill", "", "one fault at full length: "+strings.Join(runner.Drills(), ", ")+", or all; "+
		"or a database that loses its last minutes: "+strings.Join(loss.Drills(), ", ")+", or losses for all of these")
	flag.DurationVar(&d.For, "for", time.Minute, "how long an outage or a kill loop lasts")
	flag.IntVar(&d.RPS, "rps", 50, "the load of an outage, in requests per second")
	flag.Parse()

	if faults != "" {
		o.Faults = strings.Split(faults, ";")
	}

	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano()) % 1_000_000
	}

	fmt.Printf("seed %d\n", o.Seed)

	if drill != "" {
		d.Seed, d.Race, d.Overlay, d.Binary = o.Seed, o.Race, o.Overlay, o.Binary

		if drill == "losses" || slices.Contains(loss.Drills(), drill) {
			return runLosses(ctx, drill, d)
		}

		return runDrills(ctx, drill, d)
	}

	report, err := runner.Run(ctx, o)
	report.Print(os.Stdout)

	if err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)

		return 1
	}

	if len(report.Failed()) > 0 || len(report.Missing) > 0 {
		return 1
	}

	return 0
}

func runDrills(ctx context.Context, name string, o runner.DrillOptions) int {
	names := []string{name}
	if name == "all" {
		names = runner.Drills()
	}

	code := 0

	for _, name := range names {
		result, err := runner.Drill(ctx, name, o)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)

			return 1
		}

		fmt.Printf("%-7s %d violations\n", result.Name, len(result.Violations))

		for _, figure := range result.Figures {
			fmt.Printf("        %s\n", figure)
		}

		if len(result.Violations) > 0 {
			fmt.Println(result.Report)

			code = 1
		}
	}

	return code
}

// runLosses runs drills in which the database loses its last minutes.
func runLosses(ctx context.Context, name string, d runner.DrillOptions) int {
	names := []string{name}
	if name == "losses" {
		names = loss.Drills()
	}

	code := 0

	for _, name := range names {
		result, err := loss.Drill(ctx, name, loss.Options{
			Seed: d.Seed, For: d.For, RPS: d.RPS, Race: d.Race, Overlay: d.Overlay, Binary: d.Binary,
		})

		fmt.Printf("%s: %d broken\n%s", result.Name, len(result.Broken()), result)

		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		}

		if err != nil || len(result.Broken()) > 0 {
			code = 1
		}
	}

	return code
}
