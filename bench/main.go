// Command bench measures what the service adds to the cost of PostgreSQL and
// the provider. README.md explains how to read its results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	quick := flag.Bool("quick", false, "about a minute: fewer and shorter rounds, fewer workloads, no growth")
	only := flag.String("only", "", "run only the workloads whose names match this expression")
	base := flag.String("base", "", "compare with this other build of marketflow instead of the floors")
	floor := flag.String("floor", "", "serve a floor; the benchmark starts itself with this")

	flag.Parse()

	if *floor != "" {
		return serveFloor(ctx, *floor)
	}

	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("reading -only: %w", err)
	}

	r := &rig{begin: time.Now()}
	s := &suite{rig: r, plan: fullPlan(), only: chosen, events: newWebhooks("bench")}

	if *quick {
		s.plan = quickPlan()
	}

	defer func() { err = errors.Join(err, r.stop()) }()
	defer recoverFailure(&err)

	r.start(ctx)
	s.run(ctx, *base)

	return nil
}

// failure ends the benchmark. Whatever fails makes its figures worthless, so the
// first error goes straight to run, which stops what was started and returns it.
type failure struct{ error }

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](value T, err error) T {
	check(err)

	return value
}

func recoverFailure(err *error) {
	switch f := recover().(type) {
	case nil:
	case failure:
		*err = f.error
	default:
		panic(f)
	}
}
