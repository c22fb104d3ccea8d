package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// compare measures this build of the service against another one in turns, on
// one database: what a change gave.
func (s *suite) compare(ctx context.Context, base string) error {
	url, err := s.newDatabase(ctx, "bench")
	if err != nil {
		return err
	}

	if s.main, err = s.serve(ctx, url); err != nil {
		return err
	}

	if s.binary, err = filepath.Abs(base); err != nil {
		return fmt.Errorf("finding the other build: %w", err)
	}

	before, err := s.serve(ctx, url)
	if err != nil {
		return err
	}

	if err := loadPayments(ctx, s.main.db, s.payments); err != nil {
		return err
	}

	var created, read atomic.Uint64

	for _, w := range []burden{
		{"webhooks, 1", 1, webhooks("bench"), &s.next},
		{"webhooks, 16", 16, webhooks("bench"), &s.next},
		{"webhooks, 64", 64, webhooks("bench"), &s.next},
		{"creates, 1", 1, creates(newRun()), &created},
		{"creates, 16", 16, creates(newRun()), &created},
		{"creates, 64", 64, creates(newRun()), &created},
		{"replays, 16", 16, replays(newRun(), 1), &read},
		{"reads, 16", 16, reads(s.payments), &read},
	} {
		if !s.only.MatchString(w.name) {
			continue
		}

		err := s.duel(result{Workload: w.name, Model: modelClosed, Connections: w.connections, FloorName: "base"},
			s.under(ctx, w, s.main), s.under(ctx, w, before))
		if err != nil {
			return err
		}
	}

	fmt.Print(s.rep.comparison())

	return nil
}

// burden is a load that two services take turns with.
type burden struct {
	name        string
	connections int
	requests    requests
	next        *atomic.Uint64
}

// under measures a service with a load.
func (s *suite) under(ctx context.Context, w burden, of *service) func(round int) (sample, error) {
	load := &load{addr: of.addr, connections: w.connections, requests: w.requests, accept: isOK}

	return func(int) (sample, error) {
		return s.slice(ctx, of, func(ctx context.Context) (*outcome, error) {
			return load.closedModel(ctx, w.next, s.lasts, 0)
		})
	}
}

// comparison is each workload before and after.
func (rep *report) comparison() string {
	var text strings.Builder

	fmt.Fprintln(&text, "| Workload | | per second | p50 ms | p99 ms | CPU service µs | CPU PostgreSQL µs | "+
		"Allocations | Commits | WAL bytes |")
	fmt.Fprintln(&text, "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |")

	for _, r := range rep.Results {
		for i, s := range []sample{*r.Floor, r.Subject} {
			fmt.Fprintf(&text, "| %s | %s | %.0f | %.2f | %.2f | %.0f | %.0f | %.0f | %.2f | %.0f |\n", r.Workload,
				[]string{"before", "after"}[i], s.PerSecond, s.P50, s.P99, s.ServiceCPU, s.PostgresCPU, s.Allocations, s.Commits, s.WAL)
		}

		fmt.Fprintf(&text, "| | ratio | **%.2f** (%.2f–%.2f); CPU %.2f | | | | | | | |\n",
			r.Ratio, r.RatioLeast, r.RatioMost, r.CPURatio)
	}

	return text.String()
}
