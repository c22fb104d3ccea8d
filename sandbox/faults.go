package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Action is what a fault does.
type Action string

// Faults of API requests. "Before" and "after" are before and after the
// request has executed and its effect and idempotency record are in the books.
const (
	// Latency waits before the request executes, its key claimed: log-normal
	// through P50 and P99. The other faults may come on top.
	Latency Action = "latency"
	// LatencyAfter waits between execution and answer.
	LatencyAfter Action = "latency_after"
	// DropBefore closes the connection; nothing was executed.
	DropBefore Action = "drop_before"
	// DropAfter closes the connection instead of answering.
	DropAfter Action = "drop_after"
	// HangRequest accepts the request, executes nothing and never answers.
	HangRequest Action = "hang"
	// HoldBefore keeps a request whose key is claimed from executing until it
	// is released. It then executes even if the client is gone, as Stripe would.
	HoldBefore Action = "hold_before"
	// Hold keeps the answer of an executed request until it is released.
	Hold Action = "hold"
	// ResetBody sends the answer's first half and resets the connection.
	ResetBody Action = "reset_body"
	// Truncate answers 200 with the first half of the JSON as if it were all.
	Truncate Action = "truncate"
	// EmptyObject answers 200 {}.
	EmptyObject Action = "empty_object"
	// HTML answers a proxy's page (Status, default 502); the request executed.
	HTML Action = "html"
	// HTMLBefore answers the same, and nothing was executed.
	HTMLBefore Action = "html_before"
	// Saved500 executes, and answers and saves a 500 under the key. What is refused has no effect that it
	// could hide, and is answered as ever.
	Saved500 Action = "saved_500"
	// RollForward answers and saves a 500 under the key, and executes only after
	// Delay of the sandbox's clock: "we may roll the work forward later".
	RollForward Action = "roll_forward"
	// Reject answers like Error, executes nothing, and keeps the answer under
	// the key: a rejection that is repeated until the key is pruned.
	Reject Action = "reject"
	// Error refuses before execution with Status (409, 424, 429, 401, 500, …)
	// and, where set, Type, Code and Message. Nothing is saved.
	Error Action = "error"
)

// Faults of webhooks.
const (
	// WebhookDelay sends the event after Delay of the sandbox's clock.
	WebhookDelay Action = "webhook_delay"
	// WebhookDuplicate sends it Copies more times (default 1), each Delay
	// after the one before it.
	WebhookDuplicate Action = "webhook_duplicate"
	// WebhookReorder keeps events until Window of them (default 2) have come,
	// or Delay has passed (default 2 s), and sends the last first.
	WebhookReorder Action = "webhook_reorder"
	// WebhookLose never sends it. It stays in the Events API, undelivered.
	WebhookLose Action = "webhook_lose"
	// WebhookTwin makes a second event, with an id of its own, of one change.
	WebhookTwin Action = "webhook_twin"
	// WebhookSignature spoils single attempts as Variant says.
	WebhookSignature Action = "webhook_signature"
)

// Variants of WebhookSignature.
const (
	SignatureMissing     = "missing"      // no header at all
	SignatureTampered    = "tampered"     // one byte of the body changed after signing
	SignatureWrongSecret = "wrong_secret" // signed with another secret
	SignatureOld         = "old"          // ten minutes ago
	SignatureFuture      = "future"       // in ten minutes
	SignatureTwoV1       = "two_v1"       // another secret's first, then the right one
	SignatureWrongScheme = "wrong_scheme" // v0 only
	SignatureThin        = "thin"         // rightly signed, but an event without data
	SignatureAPIVersion  = "api_version"  // rightly signed, of another API version
)

// Fault is a rule: which calls it meets and what becomes of them. Empty match
// fields match everything.
type Fault struct {
	Action Action

	// Method and Path match the request; in Path, * stands for one segment:
	// /v1/payment_intents/*/confirm.
	Method string
	Path   string
	// Key is the exact Idempotency-Key.
	Key string
	// Metadata must all be in the request's metadata, or in that of the
	// payment that its path names; for webhooks, in the payment's.
	Metadata map[string]string
	// Event matches the type of a webhook's event; * stands for anything
	// without a dot: payment_intent.*.
	Event string

	// Nth is the first matching call that the rule fires on (default 1) and
	// Count how many from there on (default 1; -1: all).
	Nth   int
	Count int

	P50, P99    time.Duration // of Latency and LatencyAfter; P99 defaults to P50
	Delay       time.Duration // of webhook faults and RollForward
	Copies      int           // of WebhookDuplicate
	Window      int           // of WebhookReorder
	Variant     string        // of WebhookSignature
	Status      int           // of Error, Reject and HTML
	Type        string        // of Error and Reject
	Code        string        // of Error and Reject
	Message     string        // of Error and Reject
	ShouldRetry string        // of Error and Reject: the Stripe-Should-Retry header
}

// FaultStatus is a rule and what has become of it.
type FaultStatus struct {
	Fault

	// ID names the rule to Fault, WaitFault, ReleaseFault and RemoveFault.
	ID string
	// Matched counts the calls that the rule applies to, Fired those that it
	// acted on, Held those that it holds now.
	Matched int
	Fired   int
	Held    int
}

// ErrNoFault is returned for the id of a rule that does not exist.
var ErrNoFault = errors.New("no such fault")

// webhookActions and requestActions are the actions by what they meet.
//
//nolint:gochecknoglobals // tables, never written
var (
	webhookActions = []Action{
		WebhookDelay, WebhookDuplicate, WebhookReorder, WebhookLose, WebhookTwin, WebhookSignature,
	}
	requestActions = []Action{
		Latency, LatencyAfter, DropBefore, DropAfter, HangRequest, HoldBefore, Hold, ResetBody, Truncate, EmptyObject,
		HTML, HTMLBefore, Saved500, RollForward, Reject, Error,
	}
	signatureVariants = []string{
		SignatureMissing, SignatureTampered, SignatureWrongSecret, SignatureOld, SignatureFuture, SignatureTwoV1,
		SignatureWrongScheme, SignatureThin, SignatureAPIVersion,
	}
)

// check refuses a rule that could never do what it says.
func (f *Fault) check() error {
	if _, err := path.Match(f.Path, ""); err != nil {
		return fmt.Errorf("path pattern %q: %w", f.Path, err)
	}

	if _, err := path.Match(f.Event, ""); err != nil {
		return fmt.Errorf("event pattern %q: %w", f.Event, err)
	}

	if err := f.checkLimits(); err != nil {
		return err
	}

	onWebhook, onRequest := slices.Contains(webhookActions, f.Action), slices.Contains(requestActions, f.Action)

	switch {
	case !onWebhook && !onRequest:
		return fmt.Errorf("%w: unknown action %q", errFault, f.Action)
	case onRequest && f.Event != "":
		return fmt.Errorf("%w: %s meets requests, not events", errFault, f.Action)
	case onWebhook && (f.Method != "" || f.Path != "" || f.Key != ""):
		return fmt.Errorf("%w: %s meets events, not requests", errFault, f.Action)
	case (f.Action == Error || f.Action == Reject) && (f.Status < http.StatusBadRequest || f.Status > maxStatus):
		return fmt.Errorf("%w: %s needs a status from 400 to 599", errFault, f.Action)
	case f.Status != 0 && (f.Status < http.StatusOK || f.Status > maxStatus):
		return fmt.Errorf("%w: the status must be from 200 to 599", errFault)
	case f.Action == WebhookSignature && !slices.Contains(signatureVariants, f.Variant):
		return fmt.Errorf("%w: unknown variant %q; known are %v", errFault, f.Variant, signatureVariants)
	case (f.Action == Latency || f.Action == LatencyAfter) && f.P50 <= 0:
		return fmt.Errorf("%w: latency needs p50", errFault)
	default:
		return nil
	}
}

// Limits of what a rule may ask for: beyond them sums of durations overflow, or
// the sandbox is busy with one event for ever.
const (
	maxLatency = time.Hour
	maxDelay   = 366 * 24 * time.Hour
	maxCopies  = 1000
	maxCalls   = 1_000_000_000
)

func (f *Fault) checkLimits() error {
	between := func(name string, value, least, most time.Duration) error {
		if value < least || value > most {
			return fmt.Errorf("%w: %s must be from %s to %s", errFault, name, least, most)
		}

		return nil
	}

	counted := func(name string, value, least, most int) error {
		if value < least || value > most {
			return fmt.Errorf("%w: %s must be from %d to %d", errFault, name, least, most)
		}

		return nil
	}

	return errors.Join(
		between("p50", f.P50, 0, maxLatency), between("p99", f.P99, 0, maxLatency), between("delay", f.Delay, 0, maxDelay),
		counted("copies", f.Copies, 0, maxCopies), counted("window", f.Window, 0, maxCopies),
		counted("nth", f.Nth, 0, maxCalls), counted("count", f.Count, -1, maxCalls),
	)
}

var errFault = errors.New("fault rule")

// maxStatus is the last status that HTTP has a class for.
const maxStatus = 599

func (f *Fault) setDefaults() {
	f.Nth = max(f.Nth, 1)
	f.Copies = max(f.Copies, 1)
	f.Window = max(f.Window, 2) //nolint:mnd // two is the fewest that can change places

	if f.Count == 0 {
		f.Count = 1
	}

	if f.P99 < f.P50 {
		f.P99 = f.P50
	}
}

// faults are the rules in force.
type faults struct {
	mu      sync.Mutex
	rules   []*rule
	lastID  int
	hang    chan struct{} // closed when the API stops hanging; nil while it does not
	caught  int           // requests that a hang has met
	changed chan struct{} // closed and replaced whenever a counter moves
}

// rule is a fault in force. Its counters are guarded by faults.mu.
type rule struct {
	Fault

	id                   string
	matched, fired, held int
	release              chan struct{}
	gathered             []*event // of WebhookReorder
}

func newFaults() *faults {
	return &faults{changed: make(chan struct{})}
}

// AddFault puts a rule in force.
func (s *Sandbox) AddFault(f Fault) (FaultStatus, error) {
	if err := f.check(); err != nil {
		return FaultStatus{}, err
	}

	f.setDefaults()

	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	s.faults.lastID++
	added := &rule{Fault: f, id: "fault_" + strconv.Itoa(s.faults.lastID), release: make(chan struct{})}
	s.faults.rules = append(s.faults.rules, added)

	return added.status(), nil
}

// Faults returns all rules with their counters.
func (s *Sandbox) Faults() []FaultStatus {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	all := make([]FaultStatus, 0, len(s.faults.rules))
	for _, r := range s.faults.rules {
		all = append(all, r.status())
	}

	return all
}

// Fault returns one rule with its counters, or ErrNoFault.
func (s *Sandbox) Fault(id string) (FaultStatus, error) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	r, err := s.faults.find(id)
	if err != nil {
		return FaultStatus{}, err
	}

	return r.status(), nil
}

// RemoveFault takes a rule out of force and releases what it holds, or returns
// ErrNoFault.
func (s *Sandbox) RemoveFault(id string) error {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	r, err := s.faults.find(id)
	if err != nil {
		return err
	}

	s.faults.rules = slices.DeleteFunc(s.faults.rules, func(each *rule) bool { return each == r })
	s.dissolve(r)

	return nil
}

// ClearFaults takes all rules out of force, releases what they hold and ends a
// hang.
func (s *Sandbox) ClearFaults() {
	s.Hang(false)

	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	for _, r := range s.faults.rules {
		s.dissolve(r)
	}

	s.faults.rules = nil
}

// dissolve lets go of what a rule keeps. The caller holds the lock.
func (s *Sandbox) dissolve(r *rule) {
	close(r.release)
	r.release = make(chan struct{})

	for _, e := range r.gathered {
		e.account.webhooks.sendNow(e)
	}

	r.gathered = nil

	s.faults.announce()
}

// ReleaseFault lets go of all requests that a Hold or HoldBefore rule holds
// now, or returns ErrNoFault.
func (s *Sandbox) ReleaseFault(id string) error {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	r, err := s.faults.find(id)
	if err != nil {
		return err
	}

	close(r.release)
	r.release = make(chan struct{})

	return nil
}

// WaitFault returns once a rule has fired n times: for Hold, once n requests
// have executed whose answers are being or were held. It returns ErrNoFault or
// the context's error otherwise.
func (s *Sandbox) WaitFault(ctx context.Context, id string, n int) error {
	for {
		s.faults.mu.Lock()
		r, err := s.faults.find(id)
		reached, changed := err == nil && r.fired >= n, s.faults.changed
		s.faults.mu.Unlock()

		if err != nil || reached {
			return err
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for fault %s: %w", id, ctx.Err())
		}
	}
}

// Hang makes the sandbox accept every API request and answer none, or ends
// that: requests that were caught are then cut off without having executed.
// Hung tells how many were caught.
func (s *Sandbox) Hang(on bool) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	switch {
	case on && s.faults.hang == nil:
		s.faults.hang = make(chan struct{})
	case !on && s.faults.hang != nil:
		close(s.faults.hang)
		s.faults.hang = nil
	}
}

// Hung tells whether the API hangs, and how many requests hanging has caught
// since the sandbox began.
func (s *Sandbox) Hung() (on bool, caught int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	return s.faults.hang != nil, s.faults.caught
}

func (r *rule) status() FaultStatus {
	return FaultStatus{ID: r.id, Fault: r.Fault, Matched: r.matched, Fired: r.fired, Held: r.held}
}

func (f *faults) find(id string) (*rule, error) {
	for _, r := range f.rules {
		if r.id == id {
			return r, nil
		}
	}

	return nil, fmt.Errorf("%w: %s", ErrNoFault, id)
}

// announce wakes who waits for a counter. The caller holds the lock.
func (f *faults) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// fire counts that a rule has acted.
func (f *faults) fire(r *rule) {
	f.mu.Lock()
	defer f.mu.Unlock()

	r.fired++

	f.announce()
}

// due counts a call that a rule applies to and tells whether it is one that the
// rule acts on. The caller holds the lock.
func (r *rule) due() bool {
	r.matched++

	return r.matched >= r.Nth && (r.Count < 0 || r.matched < r.Nth+r.Count)
}

// catch counts a call that is held and returns what to wait for.
func (f *faults) catch(r *rule) (released <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()

	r.held++
	r.fired++

	f.announce()

	return r.release
}

func (f *faults) letGo(r *rule) {
	f.mu.Lock()
	defer f.mu.Unlock()

	r.held--

	f.announce()
}

// matches tells whether a pattern in path.Match's form, or none, fits.
func matches(pattern, text string) bool {
	if pattern == "" {
		return true
	}

	fits, err := path.Match(pattern, text)

	return err == nil && fits
}
