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

// The kinds of requests. The last three go to Stripe.
const (
	kindCreate  = "create"
	kindRead    = "read"
	kindPay     = "pay"
	kindDecline = "decline"
	kindCancel  = "cancel"
)

// request is one request of a client, and what it was told.
type request struct {
	client    int
	kind      string
	key       string // the idempotency key, the payment's id or the intent's
	payload   payload
	process   int
	call, ret time.Duration
	result    result
}

// paymentStatus is what a read was told.
func (r request) paymentStatus() string {
	var body struct {
		Status string `json:"status"`
	}

	if err := json.Unmarshal(r.result.body, &body); err != nil {
		return err.Error()
	}

	return body.Status
}

// result is an answer; status 0 means that there was none.
type result struct {
	status   int
	body     []byte
	replayed bool
	err      string
}

// decided: the answer is final for this key and payload. A 502 is not: no bank
// declines a create here, so a 502 is about the deployment, which somebody repairs.
func (r result) decided() bool {
	return r.status == http.StatusCreated || r.status == http.StatusUnprocessableEntity
}

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

// creates are the creates among them.
func (h *history) creates() []request {
	return slices.DeleteFunc(h.all(), func(r request) bool { return r.kind != kindCreate })
}

func (h *history) keysSent() map[string]bool {
	sent := map[string]bool{}

	for _, r := range h.creates() {
		sent[r.key] = true
	}

	return sent
}

// tell writes the requests into a timeline.
func (h *history) tell(line *timeline) {
	for _, r := range h.all() {
		what := r.kind + " " + r.key
		if r.kind == kindCreate {
			what = fmt.Sprintf("create key=%q %s %s at process-%d", r.key, r.payload.amount, r.payload.currency, r.process)
			if r.payload.note != "first" {
				what += " (" + r.payload.note + ")"
			}
		}

		line.addAtf(r.call, fmt.Sprintf("client-%d", r.client), "%s", what)
		line.addAtf(r.ret, fmt.Sprintf("client-%d", r.client), "  ← %s: %s", what, r.result)
	}
}

// The model of one idempotency key. The first request under it decides which
// payload it belongs to, for ever; later the bytes of its answer are fixed for ever.
// These are two moments of one request, so porcupine gets two steps with the
// request's interval: which payload the key belongs to, and what it answers.
type (
	// decides: the answer proves that the key belongs to this payload (409,
	// 201, 502, a rejection).
	decides struct{ payload string }
	// mayDecide: nobody knows (503, no answer); it may happen at any later time.
	mayDecide struct{ payload string }
	// clashes: the other 422, so the key belongs to another payload.
	clashes struct{ payload string }
	// answers: a frozen answer (201, a rejection).
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

// steps are what a create says about its key.
func (r request) steps() []porcupine.Operation {
	at := func(input any) porcupine.Operation {
		return porcupine.Operation{ClientId: r.client, Input: input, Call: r.call.Nanoseconds(), Return: r.ret.Nanoseconds()}
	}

	switch status := r.result.status; {
	case status == http.StatusCreated, r.result.isRejection():
		frozen := fmt.Sprintf("%d %s", status, r.result.body)

		return []porcupine.Operation{at(decides{r.payload.id()}), at(answers{frozen})}
	case status == http.StatusConflict, status == http.StatusBadGateway:
		return []porcupine.Operation{at(decides{r.payload.id()}), at(unanswered{})}
	case status == http.StatusUnprocessableEntity:
		return []porcupine.Operation{at(clashes{r.payload.id()})}
	default:
		open := at(mayDecide{r.payload.id()})
		open.Return = math.MaxInt64

		return []porcupine.Operation{open}
	}
}

// answersFitAnOrder holds every key's history against the model.
func answersFitAnOrder(e evidence, found *violations) {
	const patience = 20 * time.Second

	byKey := map[string][]porcupine.Operation{}

	for _, r := range e.requests {
		if r.kind == kindCreate && r.key != "" {
			byKey[r.key] = append(byKey[r.key], r.steps()...)
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
		if r.kind == kindCreate && r.key == key {
			fmt.Fprintf(&text, "      %9.3fs to %9.3fs %s %s (%s) → %s\n", r.call.Seconds(), r.ret.Seconds(),
				r.payload.amount, r.payload.currency, r.payload.note, r.result)
		}
	}

	return text.String()
}
