package main

import (
	"fmt"
	"strings"
)

// judge holds the results against the targets of two cores.
func (rep *report) judge(payments []uint64) {
	rep.Targets = nil
	rep.throughput("webhooks, 16 connections", "0.75 × pgbench", 0.75)
	rep.throughput("webhooks, 64 connections", "1.2 × pgbench", 1.2)
	rep.provider()
	rep.throughput("replays of 1 keys", "0.5 × net/http", 0.5)
	rep.throughput("replays of 1000 keys", "0.5 × net/http", 0.5)
	rep.throughput("reads", "0.8 × net/http + pgx", 0.8)

	for _, workload := range []string{"webhooks", "reads", "replays"} {
		rep.throughput(telemetryOf(workload), "0.9 × without tracing and metrics", 0.9)
	}

	rep.Targets = append(rep.Targets, target{
		"memory", "128 MiB at the top load, 64 MiB idle", fmt.Sprintf("%.0f MiB, %.0f MiB", rep.TopMiB, rep.IdleMiB),
		rep.TopMiB < 128 && rep.IdleMiB < 64,
	})

	for _, size := range payments {
		for _, name := range []string{"webhooks", "creates", "reads"} {
			rep.growth(fmt.Sprintf("%s with %d payments", name, size))
		}
	}
}

func (rep *report) find(workload string) *result {
	for i := range rep.Results {
		if rep.Results[i].Workload == workload {
			return &rep.Results[i]
		}
	}

	return nil
}

func (rep *report) throughput(workload, want string, least float64) {
	if r := rep.find(workload); r != nil {
		got := fmt.Sprintf("%s; CPU %.2f ×", r.ratio(), r.CPURatio)
		rep.Targets = append(rep.Targets, target{workload, want, got, r.Ratio >= least})
	}
}

// provider: the highest rate with added p99 under 25 ms, and what is added at
// the lowest.
func (rep *report) provider() {
	var low, top *result

	for i := range rep.Results {
		r := &rep.Results[i]
		if !strings.HasPrefix(r.Workload, "creates, provider") {
			continue
		}

		if low == nil {
			low = r
		}

		if r.AddedP99 < 25 {
			top = r
		}
	}

	if low == nil {
		return
	}

	got, met := "none", false
	if top != nil {
		got = fmt.Sprintf("%.0f/s, added p99 %.1f ms; %.2f exchanges, %.2f commits",
			top.Subject.PerSecond, top.AddedP99, top.Subject.Exchanges, top.Subject.Commits)
		met = top.Rate >= 1500
	}

	rep.Targets = append(rep.Targets,
		target{"creates, provider 120/380 ms", "1,500/s with added p99 under 25 ms; two round trips, two commits", got, met},
		target{
			fmt.Sprintf("added latency of a create at %.0f/s", low.Rate), "p50 under 1.5 ms, p99 under 5 ms",
			fmt.Sprintf("%.2f ms, %.2f ms (the two statements alone, in pgbench at that rate: %.2f ms)",
				low.AddedP50, low.AddedP99, rep.StatementsMS),
			low.AddedP50 < 1.5 && low.AddedP99 < 5,
		})
}

// growth compares the CPU time of an operation, the service's and PostgreSQL's
// together, and how long one takes.
func (rep *report) growth(workload string) {
	r := rep.find(workload)
	if r == nil {
		return
	}

	cpu := (r.Subject.ServiceCPU + r.Subject.PostgresCPU) / (r.Floor.ServiceCPU + r.Floor.PostgresCPU)
	rep.Targets = append(rep.Targets, target{
		workload, "1.2 × the cost with 10 thousand", fmt.Sprintf("CPU %.2f ×, time %.2f ×", cpu, 1/r.Ratio),
		cpu <= 1.2 && 1/r.Ratio <= 1.2,
	})
}
