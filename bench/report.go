package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// result is a row with what was measured: medians of its rounds.
type result struct {
	row

	subject sample
	other   *sample // the floor's, where there is one
	// ratio is the median over rounds of subject to floor; then its least and most.
	ratio, least, most float64

	// What the service adds to the provider's own time, in milliseconds, and how
	// many requests' traces told that time.
	addedP50, addedP99 float64
	traced             int64
}

// report is what is written.
type report struct {
	begin   time.Time
	quick   bool
	machine string
	results []result

	idle, top    float64 // MiB
	readyMS      float64
	statementsMS float64 // of a create's two statements in pgbench, at the lowest rate
}

// machine describes what the figures are taken on. What cannot be read is left out.
func (r *rig) machine() string {
	var model, memory, load string

	if cpus, err := r.proc.CPUInfo(); err == nil && len(cpus) > 0 {
		model = cpus[0].ModelName
	}

	if info, err := r.proc.Meminfo(); err == nil && info.MemTotal != nil {
		memory = fmt.Sprintf("%d kB", *info.MemTotal)
	}

	if average, err := r.proc.LoadAvg(); err == nil {
		load = fmt.Sprintf("%.2f %.2f %.2f", average.Load1, average.Load5, average.Load15)
	}

	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()

	return fmt.Sprintf("%d × %s, %s, Linux %s; %s; PostgreSQL %s; commit %s. Load average at start: %s.",
		runtime.NumCPU(), model, memory, strings.TrimSpace(string(kernel)), runtime.Version(), r.version,
		strings.TrimSpace(string(commit)), load)
}

// memory is what is resident of a service now, and the most that ever was, in MiB.
func (r *rig) memory(of *service) (now, most float64) {
	status := must(must(r.proc.Proc(of.pid())).NewStatus())

	return float64(status.VmRSS) / (1 << 20), float64(status.VmHWM) / (1 << 20)
}

// path is where the report is written.
func (rep *report) path() string {
	name := rep.begin.UTC().Format(time.DateOnly)
	if rep.quick {
		name += "-quick"
	}

	return filepath.Join("bench", "results", name+".md")
}

func (rep *report) write() { check(os.WriteFile(rep.path(), []byte(rep.markdown()), 0o600)) }

func (rep *report) markdown() string {
	var b strings.Builder

	command := "make bench"
	if rep.quick {
		command = "make bench-quick"
	}

	fmt.Fprintf(&b, "# %s, `%s`\n\n%s It took %s.\n", rep.begin.UTC().Format(time.DateOnly), command, rep.machine,
		time.Since(rep.begin).Truncate(time.Second))
	fmt.Fprint(&b, "\nEverything ran on this machine, telemetry on, `synchronous_commit` and `fsync` on. How to read it: "+
		"[bench/README.md](../README.md).\n\n## Targets\n\n| | Target | Here | |\n| --- | --- | --- | --- |\n")
	rep.targets(&b)

	fmt.Fprint(&b, "\n## Workloads\n\n| Workload | Load | per second | p50 | p99 | p99.9 ms | "+
		"Floor per second | Ratio (least–most) | CPU ratio | Foreign cores |\n"+
		"| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.results {
		s := r.subject
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.2f | %.2f | %.2f | %s | %.2f |\n",
			r.title, r.load(), s[perSecond], s[p50], s[p99], s[p999], r.floors(), s[foreign])
	}

	fmt.Fprint(&b, "\n## Cost of one operation\n\n| Workload | CPU service µs | "+
		"CPU PostgreSQL µs | client's | the floor's in all | Allocations | Bytes | Exchanges | Statements | Commits | "+
		"WAL bytes | Resident MiB |\n"+
		"| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.results {
		s, floorCPU := r.subject, "–"
		if r.other != nil {
			floorCPU = fmt.Sprintf("%.0f", r.other.cpu())
		}

		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %s | %.0f | %.0f | %.2f | %.2f | %.2f | %.0f | %.0f |\n",
			r.title, s[serviceCPU], s[postgresCPU], s[clientCPU], floorCPU, s[allocations], s[allocated], s[exchanges], s[statements],
			s[commits], s[wal], s[resident])
	}

	fmt.Fprint(&b, "\n## What the service adds to the provider's time\n\n| Workload | Rate | "+
		"Answered per second | added p50 ms | added p99 ms | Traced | Failed |\n"+
		"| --- | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.results {
		if r.traced > 0 {
			fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.2f | %.2f | %d | %.0f |\n",
				r.title, r.rate, r.subject[perSecond], r.addedP50, r.addedP99, r.traced, r.subject[failed])
		}
	}

	fmt.Fprintf(&b, "\nCold start, exec to ready: %.0f ms. Resident: %.0f MiB idle, %.0f MiB at most.\n",
		rep.readyMS, rep.idle, rep.top)

	return b.String()
}

// targets are what two cores should reach.
func (rep *report) targets(b *strings.Builder) {
	write := func(name, want, got string, met bool) {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, want, got, map[bool]string{true: "yes", false: "**no**"}[met])
	}

	var low, top *result // the lowest rate with a slow provider, and the highest that keeps the target

	for i := range rep.results {
		switch r := &rep.results[i]; {
		case r.traced > 0:
			if low == nil {
				low = r
			}

			if r.addedP99 < 25 {
				top = r
			}
		case r.aim > 0:
			floor := strings.Replace(r.floor, "none", "without tracing and metrics", 1)
			write(r.title, fmt.Sprintf("%g × %s", r.aim, floor), fmt.Sprintf("%s; CPU %.2f ×", r.ratios(), r.cpuRatio()), r.ratio >= r.aim)
		case r.count > 0: // growth
			own := func(s *sample) float64 { return s[serviceCPU] + s[postgresCPU] }
			cpu, took := own(&r.subject)/own(r.other), 1/r.ratio
			write(r.title, "1.2 × the cost with 10 thousand", fmt.Sprintf("CPU %.2f ×, time %.2f ×", cpu, took), cpu <= 1.2 && took <= 1.2)
		}
	}

	if low != nil {
		got, met := "none", false
		if top != nil {
			got = fmt.Sprintf("%.0f/s, added p99 %.1f ms; %.2f exchanges, %.2f commits",
				top.subject[perSecond], top.addedP99, top.subject[exchanges], top.subject[commits])
			met = top.rate >= 1500
		}

		write("creates, provider 120/380 ms", "1,500/s with added p99 under 25 ms; two round trips, two commits", got, met)
		write(fmt.Sprintf("added latency of a create at %.0f/s", low.rate), "p50 under 1.5 ms, p99 under 5 ms",
			fmt.Sprintf("%.2f ms, %.2f ms (the two statements alone, in pgbench at that rate: %.2f ms)",
				low.addedP50, low.addedP99, rep.statementsMS), low.addedP50 < 1.5 && low.addedP99 < 5)
	}

	write("memory", "128 MiB at the top load, 64 MiB idle", fmt.Sprintf("%.0f MiB, %.0f MiB", rep.top, rep.idle),
		rep.top < 128 && rep.idle < 64)
}

// comparison is each workload before and after.
func (rep *report) comparison() string {
	var b strings.Builder

	fmt.Fprintln(&b, "| Workload | | per second | p50 ms | p99 ms | CPU service µs | CPU PostgreSQL µs | "+
		"Allocations | Commits | WAL bytes |")
	fmt.Fprintln(&b, "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |")

	for _, r := range rep.results {
		for i, s := range []*sample{r.other, &r.subject} {
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.2f | %.2f | %.0f | %.0f | %.0f | %.2f | %.0f |\n", r.title,
				[]string{"before", "after"}[i], s[perSecond], s[p50], s[p99], s[serviceCPU], s[postgresCPU], s[allocations],
				s[commits], s[wal])
		}

		fmt.Fprintf(&b, "| | ratio | %s; CPU %.2f | | | | | | | |\n", r.ratios(), r.cpuRatio())
	}

	return b.String()
}

func (r *result) load() string {
	if r.rate > 0 {
		return fmt.Sprintf("open, %.0f/s, %d connections", r.rate, r.connections)
	}

	return fmt.Sprintf("closed, %d connections", r.connections)
}

// floors are the columns about the floor.
func (r *result) floors() string {
	if r.other == nil {
		return "– | – | –"
	}

	return fmt.Sprintf("%.0f (%s) | %s | %.2f", r.other[perSecond], r.floor, r.ratios(), r.cpuRatio())
}

func (r *result) ratios() string {
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", r.ratio, r.least, r.most)
}

// cpuRatio is the floor's CPU time for an operation to the subject's, their clients
// included: what the ratio would be if all of the machine were ours.
func (r *result) cpuRatio() float64 { return r.other.cpu() / r.subject.cpu() }
