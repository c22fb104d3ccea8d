package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one workload: medians of its rounds, and its floor's.
type result struct {
	Workload    string  `json:"workload"`
	Model       string  `json:"model"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate_per_second,omitempty"`
	Rounds      int     `json:"rounds"`
	Subject     sample  `json:"subject"`

	FloorName string  `json:"floor_name,omitempty"`
	Floor     *sample `json:"floor,omitempty"`
	// Ratio is the median over rounds of subject to floor; the others are its
	// least and most.
	Ratio      float64 `json:"ratio,omitempty"`
	RatioLeast float64 `json:"ratio_least,omitempty"`
	RatioMost  float64 `json:"ratio_most,omitempty"`
	// CPURatio is the floor's CPU time for an operation to the subject's, its
	// client's included: what Ratio would be if all of the machine were ours.
	CPURatio float64 `json:"cpu_ratio,omitempty"`

	// What the service adds to the provider's own time, in milliseconds, and how
	// many requests' traces told that time.
	AddedP50    float64 `json:"added_p50_ms,omitempty"`
	AddedP99    float64 `json:"added_p99_ms,omitempty"`
	AddedTraced int64   `json:"added_traced,omitempty"`
}

// target is a row of the table that the service is held to.
type target struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Met  bool   `json:"met"`
}

// report is what is written.
type report struct {
	Date     string   `json:"date"`
	Quick    bool     `json:"quick"`
	Machine  machine  `json:"machine"`
	Results  []result `json:"results"`
	Targets  []target `json:"targets"`
	IdleMiB  float64  `json:"idle_mib"`
	TopMiB   float64  `json:"top_mib"`
	ReadyMS  float64  `json:"cold_start_ms"`
	TookSecs float64  `json:"took_seconds"`
	// StatementsMS is what a create's two statements take in pgbench, on average,
	// at the lowest rate.
	StatementsMS float64 `json:"statements_ms"`
}

// machine is what the figures were taken on.
type machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Memory    string `json:"memory"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Postgres  string `json:"postgres"`
	Redis     string `json:"redis"`
	Commit    string `json:"commit"`
	Load      string `json:"load_at_start"`
}

func describeMachine(postgres, redis string) machine {
	return machine{
		Processor: afterColon("/proc/cpuinfo", "model name"),
		Cores:     runtime.NumCPU(),
		Memory:    afterColon("/proc/meminfo", "MemTotal"),
		Kernel:    firstLine("/proc/sys/kernel/osrelease"),
		Go:        runtime.Version(),
		Postgres:  postgres,
		Redis:     redis,
		Commit:    commit(),
		Load:      firstLine("/proc/loadavg"),
	}
}

func afterColon(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}

	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}

	return ""
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(text))
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}

	return strings.TrimSpace(string(out))
}

// median of one figure over samples.
func median(samples []sample, figure func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, figure(s))
	}

	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}

	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2

	if len(sorted)%2 == 1 {
		return sorted[half]
	}

	return (sorted[half-1] + sorted[half]) / 2
}

// medians is each figure's own median.
func medians(samples []sample) sample {
	of := func(figure func(sample) float64) float64 { return median(samples, figure) }

	var failed int64
	for _, s := range samples {
		failed += s.Failed
	}

	return sample{
		PerSecond:   of(func(s sample) float64 { return s.PerSecond }),
		P50:         of(func(s sample) float64 { return s.P50 }),
		P99:         of(func(s sample) float64 { return s.P99 }),
		P999:        of(func(s sample) float64 { return s.P999 }),
		ServiceCPU:  of(func(s sample) float64 { return s.ServiceCPU }),
		PostgresCPU: of(func(s sample) float64 { return s.PostgresCPU }),
		ClientCPU:   of(func(s sample) float64 { return s.ClientCPU }),
		Allocations: of(func(s sample) float64 { return s.Allocations }),
		Allocated:   of(func(s sample) float64 { return s.Allocated }),
		Exchanges:   of(func(s sample) float64 { return s.Exchanges }),
		Statements:  of(func(s sample) float64 { return s.Statements }),
		Commits:     of(func(s sample) float64 { return s.Commits }),
		WAL:         of(func(s sample) float64 { return s.WAL }),
		Resident:    of(func(s sample) float64 { return s.Resident }),
		Foreign:     of(func(s sample) float64 { return s.Foreign }),
		Failed:      failed,
	}
}

// write keeps the report as DATE.md and DATE.json in dir.
func (rep *report) write(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("making the results' directory: %w", err)
	}

	form, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the results: %w", err)
	}

	path := filepath.Join(dir, rep.Date)
	if rep.Quick {
		path += "-quick"
	}

	for name, text := range map[string]string{path + ".json": string(form) + "\n", path + ".md": rep.markdown()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing the results: %w", err)
		}
	}

	return path + ".md", nil
}

func (rep *report) markdown() string {
	var b strings.Builder

	m := rep.Machine
	kind := "make bench"

	if rep.Quick {
		kind = "make bench-quick"
	}

	fmt.Fprintf(&b, "# %s, `%s`\n\n%d × %s, %s, Linux %s; %s; %s; %s; commit %s. Load average at start: %s. It took %s.\n",
		rep.Date, kind, m.Cores, m.Processor, m.Memory, m.Kernel, m.Go, m.Postgres, m.Redis, m.Commit, m.Load,
		(time.Duration(rep.TookSecs) * time.Second))
	fmt.Fprint(&b, "\nEverything ran on this machine, telemetry on, `synchronous_commit` and `fsync` on. How to read it: "+
		"[bench/README.md](../README.md).\n\n## Targets\n\n| | Target | Here | |\n| --- | --- | --- | --- |\n")

	for _, t := range rep.Targets {
		mark := "**no**"
		if t.Met {
			mark = "yes"
		}

		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.Name, t.Want, t.Got, mark)
	}

	fmt.Fprint(&b, "\n## Workloads\n\n| Workload | Load | per second | p50 | p99 | p99.9 ms | "+
		"Floor per second | Ratio (least–most) | CPU ratio | Foreign cores |\n"+
		"| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.Results {
		s := r.Subject
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.2f | %.2f | %.2f | %s | %s | %.2f | %.2f |\n",
			r.Workload, r.load(), s.PerSecond, s.P50, s.P99, s.P999, r.floor(), r.ratio(), r.CPURatio, s.Foreign)
	}

	fmt.Fprint(&b, "\n## Cost of one operation\n\n| Workload | CPU service µs | "+
		"CPU PostgreSQL µs | client's | the floor's in all | Allocations | Bytes | Exchanges | Statements | Commits | "+
		"WAL bytes | Resident MiB |\n"+
		"| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.Results {
		s, floorCPU := r.Subject, "–"
		if r.Floor != nil {
			floorCPU = fmt.Sprintf("%.0f", r.Floor.cpu())
		}

		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %s | %.0f | %.0f | %.2f | %.2f | %.2f | %.0f | %.0f |\n",
			r.Workload, s.ServiceCPU, s.PostgresCPU, s.ClientCPU, floorCPU, s.Allocations, s.Allocated, s.Exchanges, s.Statements,
			s.Commits, s.WAL, s.Resident)
	}

	rep.added(&b)
	fmt.Fprintf(&b, "\nCold start, exec to ready: %.0f ms. Resident: %.0f MiB idle, %.0f MiB at most.\n",
		rep.ReadyMS, rep.IdleMiB, rep.TopMiB)

	return b.String()
}

// added is what the service adds to the provider's time.
func (rep *report) added(b *strings.Builder) {
	fmt.Fprint(b, "\n## What the service adds to the provider's time\n\n| Workload | Rate | "+
		"Answered per second | added p50 ms | added p99 ms | Traced | Failed |\n"+
		"| --- | --: | --: | --: | --: | --: | --: |\n")

	for _, r := range rep.Results {
		if r.AddedTraced > 0 {
			fmt.Fprintf(b, "| %s | %.0f | %.0f | %.2f | %.2f | %d | %d |\n",
				r.Workload, r.Rate, r.Subject.PerSecond, r.AddedP50, r.AddedP99, r.AddedTraced, r.Subject.Failed)
		}
	}
}

func (r *result) load() string {
	if r.Model == modelOpen {
		return fmt.Sprintf("open, %.0f/s, %d connections", r.Rate, r.Connections)
	}

	return fmt.Sprintf("closed, %d connections", r.Connections)
}

func (r *result) floor() string {
	if r.Floor == nil {
		return "–"
	}

	return fmt.Sprintf("%.0f (%s)", r.Floor.PerSecond, r.FloorName)
}

func (r *result) ratio() string {
	if r.Floor == nil {
		return "–"
	}

	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", r.Ratio, r.RatioLeast, r.RatioMost)
}
