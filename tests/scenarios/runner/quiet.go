package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// quietWithin bounds the wait for quiet by default. What is not quiet by then is
// for the invariants to judge.
const quietWithin = 40 * time.Second

// quiet waits until nothing moves any more: every event is accepted or lost for
// good, no operation is pending, no event is parked. It returns how long that took.
func (w *world) quiet(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()

	begun := w.line.now()
	loud := ""

	if err := until(ctx, "quiet", func() bool {
		loud = w.loud(ctx)

		return loud == ""
	}); err != nil {
		w.line.addf("runner", "not quiet after %s: %s", w.patience, loud)
	}

	took := w.line.now() - begun
	w.line.addf("runner", "quiet after %.1f s", took.Seconds())

	return took
}

// loud says what still moves.
func (w *world) loud(ctx context.Context) string {
	for d := range deliveries(w.stripe) {
		if !d.Delivered && !d.Lost {
			return fmt.Sprintf("event %s (%s) is not accepted: %d attempts, last %d %s",
				d.Event, d.Type, d.Attempts, d.LastStatus, d.LastError)
		}
	}

	records, err := readService(ctx, w.db)
	if err != nil {
		return err.Error()
	}

	for _, op := range records.operations {
		if op.unfinished() {
			return fmt.Sprintf("operation %s (key %s) is pending: %s", op.PaymentID, op.Key, op.LastError)
		}
	}

	for _, event := range records.events {
		if event.Outcome == "parked" {
			return fmt.Sprintf("event %s is parked: %s", event.ID, event.Reason)
		}
	}

	return ""
}

// unknownKeys tells of the keys that nobody can answer: they wait for a person, or
// Stripe's rejection cannot be proven.
func (w *world) unknownKeys(ctx context.Context) func(key string) bool {
	return func(key string) bool {
		records, err := readService(ctx, w.db)
		if err != nil {
			return false
		}

		return slices.ContainsFunc(records.operations, func(op operationRow) bool {
			return op.Key == key &&
				(op.State == "needs_attention" || op.State == "pending" && op.Attempts > 1 && op.unprovable())
		})
	}
}

// lost tells whether there are events that were never delivered.
func (w *world) lost() bool {
	for d := range deliveries(w.stripe) {
		if d.Lost && !d.Delivered {
			return true
		}
	}

	return false
}

// reconcile finds them.
func (w *world) reconcile(ctx context.Context, found *violations) {
	const patience = 60 * time.Second

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	p := w.processes[0]
	cmd := exec.CommandContext(ctx, p.binary, "reconcile", "--since", "26h", "-o", "json")
	cmd.Env = p.env
	out, err := cmd.Output()

	w.line.addf("runner", "marketflow reconcile: %s", strings.TrimSpace(string(out)))

	// The exit code is 2 where an operation waits for a person. That is for the
	// verdict to judge.
	var report struct {
		Left *int `json:"left"`
	}

	waits := cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 2
	if err != nil && !waits || json.Unmarshal(out, &report) != nil || report.Left == nil || *report.Left > 0 {
		found.addf("I8", "marketflow reconcile", "%v: %s", err, out)
	}
}

// alerted tells whether the metrics say that an operation needs a person.
func (w *world) alerted(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.processes[0].url()+"/metrics", nil)
	if err != nil {
		return false
	}

	resp, err := w.client.Do(req)
	if err != nil {
		return false
	}

	defer func() { _ = resp.Body.Close() }()

	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		value, found := strings.CutPrefix(lines.Text(), `marketflow_operations{state="needs_attention"} `)
		if found && value != "0" {
			return true
		}
	}

	return false
}
