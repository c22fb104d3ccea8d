package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// quietWithin bounds the wait for quiet by default. What is not quiet by then is
// for the invariants to judge.
const quietWithin = 40 * time.Second

// quiet waits until nothing moves any more: every event is accepted or lost for good, no
// bank is at work, no operation is pending, no event is parked and no hint waits. It returns
// how long that took.
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
	for entry := range intents(w.stripe) {
		if bytes.Contains(entry.Object, []byte(`"status":"processing"`)) {
			return "the bank still processes " + entry.ID
		}
	}

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		if bytes.Contains(entry.Object, []byte(`"status":"pending"`)) {
			return "the bank still works on " + entry.ID
		}
	}

	for d := range deliveries(w.stripe) {
		if !d.Delivered && !d.Lost {
			return fmt.Sprintf("event %s (%s) is not accepted: %d attempts, last %d %s",
				d.Event, d.Type, d.Attempts, d.LastStatus, d.LastError)
		}
	}

	operations, events, err := readWaiting(ctx, w.db)
	if err != nil {
		return err.Error()
	}

	for _, op := range operations {
		if op.unfinished() {
			return fmt.Sprintf("%s %s (key %s) is pending: %s", op.Kind, op.ID, op.Key, op.LastError)
		}
	}

	for _, event := range events {
		if !w.isDrawn(event.ID) {
			return fmt.Sprintf("event %s of %s is %s %s", event.ID, event.Object, event.Outcome, event.Reason)
		}
	}

	return ""
}

// hopeless tells of the requests that nobody can answer: their operation waits for a
// person, or another one of the payment does, or Stripe's rejection cannot be proven.
func (w *world) hopeless(ctx context.Context) func(key string, a ask) bool {
	return func(key string, a ask) bool {
		operations, _, err := readWaiting(ctx, w.db)
		if err != nil {
			return false
		}

		return slices.ContainsFunc(operations, func(op operationRow) bool {
			switch {
			case op.Key == key && key != "":
				return op.State == "needs_attention" || op.Attempts > 1 && op.unprovable()
			default:
				return op.State == "needs_attention" && op.Kind != kindCreate && op.Payment == a.on.id
			}
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

// reconcile finds them. If there are none it must find nothing.
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
		Left        *int           `json:"left"`
		Differences map[string]any `json:"differences"`
	}

	waits := cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 2

	switch {
	case err != nil && !waits || json.Unmarshal(out, &report) != nil || report.Left == nil || *report.Left > 0:
		found.addf("I8", "marketflow reconcile", "%v: %s", err, out)
	case len(report.Differences) > 0 && !w.lost():
		found.addf("I4", "marketflow reconcile", "finds discrepancies although no event was lost: %s", out)
	}
}

// alerts are what the metrics say that waits for a person.
type alerts struct {
	// operations need attention; events are parked.
	operations, events bool
}

func (w *world) alerts(ctx context.Context) (a alerts) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.processes[0].url()+"/metrics", nil)
	if err != nil {
		return a
	}

	resp, err := w.client.Do(req)
	if err != nil {
		return a
	}

	defer func() { _ = resp.Body.Close() }()

	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), `marketflow_operations{state="needs_attention"} `); found {
			a.operations = value != "0"
		}

		if value, found := strings.CutPrefix(lines.Text(), `marketflow_parked_events `); found {
			a.events = value != "0"
		}
	}

	return a
}

// show reads, once all is quiet, each payment that somebody has asked to capture or to
// cancel.
func (w *world) show() map[string]result {
	c := &client{l: w.work, w: w, r: w.work.rand(0)}
	answers := map[string]result{}

	for _, p := range w.work.changed() {
		answers[p.id] = c.readAt(p, 0)
	}

	return answers
}
