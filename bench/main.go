// Command bench measures what the service adds to what PostgreSQL and the
// provider cost anyway. README.md says how to read what it writes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
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
	quick := flag.Bool("quick", false, "under a minute: fewer rounds, shorter ones, no growth")
	profile := flag.Bool("profile", false, "keep the service's profiles in "+profiles)
	only := flag.String("only", "", "only workloads whose names match this expression")
	sizes := flag.String("sizes", "", "other sizes of tables for growth than 10000,1000000,10000000; the first is the floor")
	out := flag.String("out", "bench/results", "where the results are written")
	base := flag.String("base", "", "compare with this other build of marketflow instead of with the floors")
	floor := flag.String("floor", "", "serve a bare handler (the benchmark runs itself with this)")

	flag.Parse()

	if *floor != "" {
		return serveFloor(ctx, *floor)
	}

	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("reading -only: %w", err)
	}

	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  "+format+"\n", append([]any{time.Since(begin).Seconds()}, args...)...)
	}

	r, err := startRig(ctx, *profile, say)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, r.stop()) }()

	s := &suite{rig: r, plan: fullPlan(), only: chosen, out: *out, begin: begin}
	if *quick {
		s.plan = quickPlan()
	}

	if *sizes != "" {
		if s.sizes, err = parseSizes(*sizes); err != nil {
			return err
		}
	}

	version, err := r.version(ctx)
	if err != nil {
		return err
	}

	s.rep.Date, s.rep.Quick = begin.UTC().Format(time.DateOnly), *quick
	s.rep.Machine = describeMachine(version, r.redis)

	if *base != "" {
		return s.compare(ctx, *base)
	}

	if err := s.run(ctx); err != nil {
		return err
	}

	fmt.Print(s.rep.markdown())
	say("written to %s", s.path)

	return nil
}

func parseSizes(text string) ([]uint64, error) {
	var sizes []uint64

	for one := range strings.SplitSeq(text, ",") {
		size, err := strconv.ParseUint(strings.TrimSpace(one), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading -sizes: %w", err)
		}

		sizes = append(sizes, size)
	}

	return sizes, nil
}

// version is PostgreSQL's.
func (r *rig) version(ctx context.Context) (string, error) {
	db, err := r.open(ctx, r.postgres.URL())
	if err != nil {
		return "", err
	}
	defer db.Close()

	var version string
	if err := db.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return "", fmt.Errorf("asking for the server's version: %w", err)
	}

	return "PostgreSQL " + version, nil
}
