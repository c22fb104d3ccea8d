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

// The kinds of operations.
const (
	opCreate  = "create"
	opRead    = "read"
	opPay     = "pay"
	opDecline = "decline"
	opCancel  = "cancel"
)

// operation is one thing that a client did, and what it was told.
type operation struct {
	client    int
	kind      string
	key       string // the idempotency key, the payment's id or the intent's
	payload   payload
	process   int
	call, ret time.Duration
	result    result
}

// result is an answer; status 0 means that there was none.
type result struct {
	status     int
	body       []byte
	retryAfter string
	replayed   bool
	err        string
}

// decided: the answer is final for this key and payload. A 502 is not: the bank
// declines nothing here, so that it is about the deployment, and somebody repairs it.
func (r result) decided() bool {
	return r.status == http.StatusCreated || r.status == http.StatusUnprocessableEntity
}

// problem is the answer's RFC 9457 document; zero where it is none.
func (r result) problem() (kind, requestID string) {
	var document struct {
		Type      string `json:"type"`
		RequestID string `json:"request_id"`
	}

	_ = json.Unmarshal(r.body, &document)
	_, kind, _ = strings.Cut(document.Type, "#")

	return kind, document.RequestID
}

// isRefusal: Stripe does not charge this amount, which is the key's answer for ever.
func (r result) isRejection() bool {
	kind, _ := r.problem()

	return r.status == http.StatusUnprocessableEntity && kind == "rejected-by-provider"
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
	mu  sync.Mutex
	ops []operation
}

func (h *history) add(op operation) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.ops = append(h.ops, op)
}

func (h *history) all() []operation {
	h.mu.Lock()
	defer h.mu.Unlock()

	return slices.Clone(h.ops)
}

func (h *history) keysSent() map[string]bool {
	sent := map[string]bool{}

	for _, op := range h.all() {
		if op.kind == opCreate {
			sent[op.key] = true
		}
	}

	return sent
}

// tell writes the operations into a timeline.
func (h *history) tell(line *timeline) {
	for _, op := range h.all() {
		what := op.kind + " " + op.key
		if op.kind == opCreate {
			what = fmt.Sprintf("create key=%q %s %s at process-%d", op.key, op.payload.amount, op.payload.currency, op.process)
			if op.payload.note != "first" {
				what += " (" + op.payload.note + ")"
			}
		}

		line.addAtf(op.call, fmt.Sprintf("client-%d", op.client), "%s", what)
		line.addAtf(op.ret, fmt.Sprintf("client-%d", op.client), "  ← %s: %s", what, op.result)
	}
}

// The model of one idempotency key. Its first use decides for ever; later the
// answer's bytes are fixed for ever. These are two moments of one request, so
// porcupine gets two operations with the request's interval: what the key was
// decided for, and what it answers.
type (
	// decides: the answer proves that the key belongs to this payload (409,
	// 201, 502, a refusal).
	decides struct{ payload string }
	// mayDecide: nobody knows (503, no answer); it may happen at any later time.
	mayDecide struct{ payload string }
	// clashes: another 422, so the key belongs to another payload.
	clashes struct{ payload string }
	// answers: a frozen answer (201, a refusal).
	answers struct{ bytes string }
	// unanswered: 409 or 502, so nothing is frozen yet.
	unanswered struct{}
)

type keyState struct {
	payload string // "" while undecided
	bytes   string // "" while unanswered
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
		return legal(s.payload == "" || s.payload == op.payload, keyState{op.payload, s.bytes})
	case mayDecide:
		if s.payload == "" {
			return []any{s, keyState{op.payload, ""}}
		}

		return []any{s}
	case clashes:
		return legal(s.payload != "" && s.payload != op.payload, s)
	case answers:
		return legal(s.payload != "" && (s.bytes == "" || s.bytes == op.bytes), keyState{s.payload, op.bytes})
	case unanswered:
		return legal(s.bytes == "", s)
	default:
		return nil
	}
}

// interpret turns a create into what it says about its key.
func interpret(op operation) []porcupine.Operation {
	call, ret := op.call.Nanoseconds(), op.ret.Nanoseconds()
	at := func(input any) porcupine.Operation {
		return porcupine.Operation{ClientId: op.client, Input: input, Call: call, Return: ret}
	}

	switch status := op.result.status; {
	case status == http.StatusCreated, op.result.isRejection():
		frozen := fmt.Sprintf("%d %s", op.result.status, op.result.body)

		return []porcupine.Operation{at(decides{op.payload.id()}), at(answers{frozen})}
	case status == http.StatusConflict, status == http.StatusBadGateway:
		return []porcupine.Operation{at(decides{op.payload.id()}), at(unanswered{})}
	case status == http.StatusUnprocessableEntity:
		return []porcupine.Operation{at(clashes{op.payload.id()})}
	default:
		open := at(mayDecide{op.payload.id()})
		open.Return = math.MaxInt64

		return []porcupine.Operation{open}
	}
}

// checkHistories holds every key's history against the model.
func checkHistories(ops []operation) []violation {
	const patience = 20 * time.Second

	byKey := map[string][]porcupine.Operation{}

	for _, op := range ops {
		if op.kind == opCreate && op.key != "" {
			byKey[op.key] = append(byKey[op.key], interpret(op)...)
		}
	}

	var found []violation

	model := keyModel()

	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if porcupine.CheckOperationsTimeout(model, byKey[key], patience) == porcupine.Illegal {
			found = append(found, violation{"I5", key, "its answers fit no order of its requests:\n" + tellKey(ops, key)})
		}
	}

	return found
}

func tellKey(ops []operation, key string) string {
	var text strings.Builder

	for _, op := range ops {
		if op.kind == opCreate && op.key == key {
			fmt.Fprintf(&text, "      %9.3fs to %9.3fs %s %s (%s) → %s\n", op.call.Seconds(), op.ret.Seconds(),
				op.payload.amount, op.payload.currency, op.payload.note, op.result)
		}
	}

	return text.String()
}
