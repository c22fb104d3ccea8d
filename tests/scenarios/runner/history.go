package runner

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// The kinds of requests. Those of operations have the service's names.
const (
	kindCreate  = "create"
	kindConfirm = "confirm"
	kindUpdate  = "update"
	kindCapture = "capture"
	kindCancel  = "cancel"
	kindRefund  = "refund"
	kindRead    = "read"

	// These are about what belongs to a payment.
	kindCancelRefund = "cancel_refund"
	kindEvidence     = "submit_evidence"
	kindAccept       = "accept_dispute"

	// These are about customers whom the service keeps.
	kindCreatePerson = "create_customer"
	kindUpdatePerson = "update_customer"
	kindDeletePerson = "delete_customer"
	kindSetup        = "create_setup"
	kindDetach       = "detach_method"
	kindReadPerson   = "read customer"

	// These happen at Stripe: a customer pays, or somebody uses the Dashboard.
	kindPay             = "pay at Stripe"
	kindDecline         = "decline at Stripe"
	kindAuthenticate    = "3-D Secure at Stripe"
	kindCancelAtStripe  = "cancel at Stripe"
	kindCaptureAtStripe = "capture at Stripe"
	kindRefundAtStripe  = "refund at Stripe"
	kindUpdateAtStripe  = "update customer at Stripe"
	kindDeleteAtStripe  = "delete customer at Stripe"

	kindCancelRefundAtStripe = "cancel refund at Stripe"
	kindBankDecides          = "the bank decides"
)

// ask is what a client asks for: a create, or something about a payment that exists.
type ask struct {
	kind string
	// payload is what a create asks for.
	payload payload
	// on is the payment of a capture or a cancel.
	on known
	// minor is how much to capture, where 0 is all, or to refund. expects: a refund's is what the
	// client believes is left.
	minor   int64
	expects bool
	// reason is why to cancel; it may be empty.
	reason string
	// card is what to confirm with, or what to detach.
	card string
	// person is whom it is about; empty for a create, and for payments of nobody.
	person person
	// reference is the one that a customer shall have; it may be empty.
	reference string
	// tag is what an update sets an entry of the metadata to; empty removes it. mark: it asks
	// for a change of the service's own mark as well.
	tag  string
	mark bool
	// object is the refund that is cancelled, or the dispute that is answered. Its evidence is tag, and
	// submit: it is given to the bank.
	object string
	submit bool
}

// id tells asks apart as the service should.
func (a ask) id() string {
	switch a.kind {
	case kindCreate:
		return a.payload.id()
	case kindCapture:
		return fmt.Sprintf("capture %d of %s", a.minor, a.on.id)
	case kindRefund:
		return fmt.Sprintf("refund %d of %s %t", a.minor, a.on.id, a.expects)
	case kindCreatePerson, kindUpdatePerson, kindDeletePerson, kindSetup, kindDetach:
		return a.personID()
	case kindCancelRefund, kindEvidence, kindAccept:
		return a.belongingID()
	default:
		return fmt.Sprintf("%s %s %s %s %q %t", a.kind, a.on.id, a.reason, a.card, a.tag, a.mark)
	}
}

// isOperation: the service does it at Stripe.
func (a ask) isOperation() bool {
	switch a.kind {
	case kindCreate, kindConfirm, kindCapture, kindCancel, kindUpdate, kindRefund, kindCancelRefund, kindEvidence, kindAccept:
		return true
	default:
		return a.isPerson()
	}
}

// String is for the timeline.
func (a ask) String() string {
	switch a.kind {
	case kindCreate:
		text := fmt.Sprintf("create %s %s", a.payload.amount, a.payload.currency)
		if a.payload.manual {
			text += " manual"
		}

		if a.payload.person != (person{}) {
			text += " for customer " + a.payload.person.id + " " + a.payload.card
		}

		if a.payload.note != firstNote {
			text += " (" + a.payload.note + ")"
		}

		return text
	case kindCapture:
		if a.minor == 0 {
			return "capture all of " + a.on.id
		}

		return fmt.Sprintf("capture %s of %s", amountOf(a.minor, a.on.payload.currency), a.on.id)
	case kindRefund, kindRefundAtStripe:
		return fmt.Sprintf("%s %s of %s, expected: %t", a.kind, amountOf(a.minor, a.on.payload.currency), a.on.id, a.expects)
	case kindCancel:
		return "cancel " + a.on.id
	case kindConfirm:
		return "confirm " + a.on.id + " with " + a.card
	case kindUpdate:
		return fmt.Sprintf("update %s to %q", a.on.id, a.tag)
	case kindCreatePerson, kindUpdatePerson, kindDeletePerson, kindSetup, kindDetach:
		return a.personID()
	case kindCancelRefund, kindEvidence, kindAccept, kindBankDecides, kindCancelRefundAtStripe:
		return a.belongingID()
	default:
		return a.kind
	}
}

// request is one request of a client, and what it was told.
type request struct {
	ask

	client    int
	key       string // the idempotency key, the payment's id or the intent's
	process   int
	call, ret time.Duration
	result    result
}

// shown is a payment as the service shows it.
type shown struct {
	Status   string      `json:"status"`
	Captured json.Number `json:"amount_captured"`
	Version  int64       `json:"version"`
}

// payment reads the answer as a payment.
func (r result) payment() (p shown, err error) {
	if err := json.Unmarshal(r.body, &p); err != nil {
		return p, fmt.Errorf("reading a payment: %w", err)
	}

	return p, nil
}

// result is an answer; status 0 means that there was none.
type result struct {
	status   int
	body     []byte
	replayed bool
	err      string
}

// decided: the answer is final for this key and ask, or as long as the payment stays as it
// is. A 502 is not: no bank declines an operation here, so a 502 is about the deployment,
// which somebody repairs.
func (r result) decided() bool {
	kind, _ := r.problem()

	switch r.status {
	case http.StatusCreated, http.StatusOK, http.StatusNoContent, http.StatusUnprocessableEntity, http.StatusPaymentRequired:
		return true
	default:
		kept := r.status == http.StatusBadGateway && r.replayed // for rejectionsAreNotKept to judge

		return kept || r.status == http.StatusPreconditionFailed || kind == problemState || kind == problemDisputed ||
			kind == problemReference || kind == problemMissing
	}
}

// The problems that are told apart.
const (
	problemState      = "invalid-state"
	problemInProgress = "operation-in-progress"
	problemExceeded   = "amount-exceeded"
	problemRejected   = "rejected-by-provider"
	problemNothing    = "unavailable"
	problemReference  = "reference-taken"
	problemMissing    = "not-found"
	problemDisputed   = "disputed"
)

// problem reads the answer as an RFC 9457 document; zero where it is not one.
func (r result) problem() (kind, requestID string) {
	var document struct {
		Type      string `json:"type"`
		RequestID string `json:"request_id"`
	}

	_ = json.Unmarshal(r.body, &document)
	_, kind, _ = strings.Cut(document.Type, "#")

	return kind, document.RequestID
}

// isRejection: Stripe does not charge this amount, and the key keeps that answer for ever.
func (r result) isRejection() bool {
	kind, _ := r.problem()

	return r.status == http.StatusUnprocessableEntity && kind == problemRejected
}

// foundTooLittle: Stripe rejected a refund because less than that was left to give back, or the bank has
// taken it.
func (r result) foundTooLittle() bool {
	body := string(r.body)

	return r.isRejection() && (strings.Contains(body, "is greater than unrefunded amount on charge") ||
		strings.Contains(body, "has already been refunded") || strings.Contains(body, "has been charged back"))
}

// String is for the timeline.
func (r result) String() string {
	const most = 160

	if r.status == 0 {
		return "no answer: " + r.err
	}

	body := string(r.body)
	if len(body) > most {
		body = body[:most] + "…"
	}

	return fmt.Sprintf("%d %s", r.status, body)
}

// history is everything that clients did.
type history struct {
	mu       sync.Mutex
	requests []request
}

func (h *history) add(r request) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.requests = append(h.requests, r)
}

func (h *history) all() []request {
	h.mu.Lock()
	defer h.mu.Unlock()

	return slices.Clone(h.requests)
}

// operations are what the service was to do at Stripe.
func (h *history) operations() []request {
	return slices.DeleteFunc(h.all(), func(r request) bool { return !r.isOperation() })
}

func (h *history) keysSent() map[string]bool {
	sent := map[string]bool{}

	for _, r := range h.operations() {
		sent[r.key] = true
	}

	return sent
}

// tell writes the requests into a timeline.
func (h *history) tell(line *timeline) {
	for _, r := range h.all() {
		what := r.String() + " " + r.key
		if r.isOperation() {
			what = fmt.Sprintf("%s key=%q at process-%d", r.ask, r.key, r.process)
		}

		line.addAtf(r.call, fmt.Sprintf("client-%d", r.client), "%s", what)
		line.addAtf(r.ret, fmt.Sprintf("client-%d", r.client), "  ← %s: %s", what, r.result)
	}
}

// The model of one idempotency key. The first request under it decides what it asks
// for, for ever; later the bytes of its answer are fixed for ever. These are two moments of
// one request, so porcupine gets two steps with the request's interval: what the key asks
// for, and what it answers.
type (
	// decides: the answer proves that the key asks for this (201, any 200 but a cancel's, a
	// decline, a rejection, 409 key in use, 502).
	decides struct{ asked string }
	// mayDecide: nobody knows (503, no answer); it may happen at any later time.
	mayDecide struct{ asked string }
	// clashes: 422 key reused, so the key asks for something else.
	clashes struct{ asked string }
	// answers: a frozen answer.
	answers struct{ bytes string }
	// mayAnswer: the payment does not allow it (409, 422), or is cancelled already (200), or the
	// customer is deleted (404).
	// Either that was seen before anything was written, and the key is as free as before,
	// or it is the frozen answer of an operation that was not done.
	mayAnswer struct{ asked, bytes string }
	// unanswered: 409 key in use, 502, so nothing is frozen yet.
	unanswered struct{}
	// early: 409 key in use, by a database that has begun another life. That a key is another's
	// is said only once everything was compared with Stripe, so it may be that as well.
	early struct{ asked string }
	// waits: 409 operation in progress, so this one is not under way itself; or 409 reference
	// taken, which is said before anything is written.
	waits struct{ asked string }
)

type keyState struct {
	asked string // "" while undecided
	bytes string // "" while unanswered
}

func keyModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{keyState{}} },
		Step: func(state, input, _ any) []any {
			s, _ := state.(keyState)

			return stepKey(s, input)
		},
	}

	return model.ToModel()
}

func stepKey(s keyState, input any) []any {
	legal := func(ok bool, next keyState) []any {
		if !ok {
			return nil
		}

		return []any{next}
	}

	switch op := input.(type) {
	case decides:
		return legal(s.asked == "" || s.asked == op.asked, keyState{op.asked, s.bytes})
	case mayDecide:
		if s.asked == "" {
			return []any{s, keyState{op.asked, ""}}
		}

		return []any{s}
	case clashes:
		return legal(s.asked != "" && s.asked != op.asked, s)
	case answers:
		return legal(s.asked != "" && (s.bytes == "" || s.bytes == op.bytes), keyState{s.asked, op.bytes})
	case mayAnswer:
		if s.asked == "" {
			return []any{s, keyState(op)}
		}

		return legal(s.asked == op.asked && (s.bytes == "" || s.bytes == op.bytes), keyState(op))
	case unanswered:
		return legal(s.bytes == "", s)
	case early:
		if s.asked != "" && s.asked != op.asked {
			return []any{s}
		}

		return legal(s.bytes == "", keyState{op.asked, ""})
	case waits:
		return legal(s.bytes == "" && (s.asked == "" || s.asked == op.asked), s)
	default:
		return nil
	}
}

// steps are what an operation's answer says about its key. laterLife: the database did not
// stay in the life in which it was made.
func (r request) steps(laterLife bool) []porcupine.Operation {
	at := func(input any) porcupine.Operation {
		return porcupine.Operation{ClientId: r.client, Input: input, Call: r.call.Nanoseconds(), Return: r.ret.Nanoseconds()}
	}

	asked, bytes := r.id(), fmt.Sprintf("%d %s", r.result.status, r.result.body)
	kind, _ := r.result.problem()

	switch status := r.result.status; {
	case status == http.StatusCreated, status == http.StatusPaymentRequired, r.result.isRejection(), r.result.replayed,
		status == http.StatusNoContent, status == http.StatusOK && r.kind != kindCancel:
		return []porcupine.Operation{at(decides{asked}), at(answers{bytes})}
	case status == http.StatusOK, kind == problemState, kind == problemExceeded, kind == problemMissing,
		status == http.StatusPreconditionFailed, kind == problemDisputed:
		return []porcupine.Operation{at(mayAnswer{asked, bytes})}
	case kind == problemInProgress, kind == problemReference:
		return []porcupine.Operation{at(waits{asked})}
	case status == http.StatusConflict && laterLife:
		return []porcupine.Operation{at(early{asked})}
	case status == http.StatusConflict, status == http.StatusBadGateway:
		return []porcupine.Operation{at(decides{asked}), at(unanswered{})}
	case status == http.StatusUnprocessableEntity:
		return []porcupine.Operation{at(clashes{asked})}
	default:
		open := at(mayDecide{asked})
		open.Return = math.MaxInt64

		return []porcupine.Operation{open}
	}
}

// answersFitAnOrder holds every key's history against the model.
func answersFitAnOrder(e evidence, found *violations) {
	const patience = 20 * time.Second

	byKey := map[string][]porcupine.Operation{}

	for _, r := range e.requests {
		if r.isOperation() && r.key != "" {
			byKey[r.key] = append(byKey[r.key], r.steps(e.service.laterLife)...)
		}
	}

	model := keyModel()

	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if porcupine.CheckOperationsTimeout(model, byKey[key], patience) == porcupine.Illegal {
			found.addf("I5", key, "its answers fit no order of its requests:\n%s", tellKey(e.requests, key))
		}
	}
}

func tellKey(requests []request, key string) string {
	var text strings.Builder

	for _, r := range requests {
		if r.isOperation() && r.key == key {
			fmt.Fprintf(&text, "      %9.3fs to %9.3fs %s → %s\n", r.call.Seconds(), r.ret.Seconds(), r.ask, r.result)
		}
	}

	return text.String()
}
