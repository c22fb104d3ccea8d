package loss

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	// callWithin is how long a client waits for an answer, and answeredWithin how long it
	// repeats a request.
	callWithin, answeredWithin = 12 * time.Second, time.Minute
	// atOnce is how many clients there are at most.
	atOnce = 150
)

// load is a deployment's clients.
type load struct {
	d        *deployment
	client   *http.Client
	customer sandbox.Client

	// badGateway: a 502 is right at the moment.
	badGateway atomic.Bool
	// numbers counts the clients.
	numbers atomic.Uint64
	// onlyCreates: the release knows nothing else.
	onlyCreates bool

	mu       sync.Mutex
	orders   []*order
	statuses map[string]int
}

func newLoad(d *deployment) *load {
	return &load{
		d: d, statuses: map[string]int{},
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: callWithin},
		customer: sandbox.Client{URL: d.w.stripe.URL, Key: secretKey},
	}
}

// open lets the clients begin. The returned function ends it, and returns when each has
// got its answers.
func (l *load) open(ctx context.Context) (end func()) {
	beginning, stop := context.WithCancel(ctx)

	var all sync.WaitGroup

	all.Go(func() {
		clients := make(chan struct{}, atOnce)

		ticker := time.NewTicker(time.Second / time.Duration(l.d.w.options.RPS))
		defer ticker.Stop()

		for {
			select {
			case <-beginning.Done():
				return
			case <-ticker.C:
			}

			select {
			case clients <- struct{}{}:
			default: // all of them wait
				continue
			}

			number := l.numbers.Add(1)

			all.Go(func() {
				defer func() { <-clients }()

				ctx, cancel := context.WithTimeout(ctx, answeredWithin)
				defer cancel()

				l.story(ctx, rand.New(rand.NewPCG(l.d.w.options.Seed, number)), number)
			})
		}
	})

	return func() { stop(); all.Wait() }
}

// goesOn lets the clients order for a time, and on a slow machine until some more of them
// were answered: without them there is nothing to lose.
func (l *load) goesOn(ctx context.Context, d time.Duration) {
	const more, limit = 10, 30 * time.Second

	before := len(l.answered())

	wait(ctx, d)

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	_ = until(ctx, "more payments", func() bool { return len(l.answered()) >= before+more })
}

// story is what one client does.
func (l *load) story(ctx context.Context, r *rand.Rand, n uint64) {
	switch draw := r.IntN(100); {
	case draw < 30, draw < 58 && l.onlyCreates:
		l.automatic(ctx, r, n)
	case draw < 50:
		l.manual(ctx, r, n)
	case draw < 58:
		l.cancelled(ctx, r, n)
	case draw < 62:
		l.keyless(ctx, r, n)
	case draw < 74:
		l.retry(ctx, r)
	case draw < 84:
		l.retryOther(ctx, r)
	case draw < 92 && !l.onlyCreates:
		l.givesBackOld(ctx, r)
	default:
		l.read(ctx, r)
	}
}

func (l *load) order(r *rand.Rand, n uint64) *order {
	o := drawOrder(r, l.d.name, fmt.Sprintf("order-%d", n))

	return o
}

// add makes an order known to the other clients.
func (l *load) add(o *order) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.orders = append(l.orders, o)
}

func (l *load) all() []*order {
	l.mu.Lock()
	defer l.mu.Unlock()

	return slices.Clone(l.orders)
}

// answered are the orders that were answered 201.
func (l *load) answered() []*order {
	return slices.DeleteFunc(l.all(), func(o *order) bool { return o.answer() == nil })
}

func (l *load) automatic(ctx context.Context, r *rand.Rand, n uint64) {
	o := l.order(r, n)
	l.add(o)

	if !l.create(ctx, r, o) || r.IntN(2) != 0 || !l.pay(ctx, o) || l.onlyCreates {
		return
	}

	switch r.IntN(4) {
	case 0:
		l.givesBack(ctx, r, o)
	case 1:
		l.complains(o)
	}
}

func (l *load) manual(ctx context.Context, r *rand.Rand, n uint64) {
	o := l.order(r, n)
	o.manual, o.captureKey, o.captureMinor = true, "capture-"+o.key, o.minor

	if r.IntN(2) == 0 {
		o.captureMinor = o.minor / 2

		if o.captureAmount = strconv.FormatInt(o.captureMinor, 10); o.currency == "USD" {
			o.captureAmount = fmt.Sprintf("%d.%02d", o.captureMinor/100, o.captureMinor%100)
		}
	}

	l.add(o)

	if !l.create(ctx, r, o) || !l.pay(ctx, o) || !l.capture(ctx, r, o) {
		return
	}

	if r.IntN(3) == 0 {
		l.capture(ctx, r, o)
	}

	if r.IntN(3) == 0 {
		l.givesBack(ctx, r, o)
	}
}

func (l *load) cancelled(ctx context.Context, r *rand.Rand, n uint64) {
	o := l.order(r, n)
	l.add(o)

	if !l.create(ctx, r, o) {
		return
	}

	for ctx.Err() == nil {
		answer := l.call(ctx, r, http.MethodPost, "/payments/"+o.answer().ID+"/cancel", "cancel-"+o.key, `{"reason":"abandoned"}`)
		if answer.status == http.StatusOK {
			o.mu.Lock()
			o.cancelled = true
			o.mu.Unlock()

			return
		}

		if answer.decided() {
			l.d.w.brokenf(goodAnswers, "cancelling %s: %s", o.name, answer)

			return
		}

		pause(ctx, r)
	}
}

// keyless orders without a key, and never repeats it.
func (l *load) keyless(ctx context.Context, r *rand.Rand, n uint64) {
	o := l.order(r, n)
	o.key = ""
	l.add(o)

	if answer := l.call(ctx, r, http.MethodPost, "/payments", "", o.body(0)); answer.status == http.StatusCreated {
		l.remember(o, answer)
	}
}

// retry repeats an old order, as a client does that has forgotten the answer.
func (l *load) retry(ctx context.Context, r *rand.Rand) {
	if o, ok := l.any(r); ok {
		l.create(ctx, r, o)
	}
}

// retryOther asks for something else under an old key. It must never be done.
func (l *load) retryOther(ctx context.Context, r *rand.Rand) {
	o, ok := l.any(r)
	if !ok {
		return
	}

	l.tryOther(ctx, r, o)
}

func (l *load) tryOther(ctx context.Context, r *rand.Rand, o *order) (decided bool) {
	answer := l.call(ctx, r, http.MethodPost, "/payments", "", o.body(r.IntN(others)+1))
	if !answer.decided() {
		return false
	}

	l.d.w.holdsf(otherBody, answer.reused(), "%s: %s", o.name, answer)

	return true
}

// read reads what was answered, and what nobody knows.
func (l *load) read(ctx context.Context, r *rand.Rand) {
	if o, ok := l.any(r); ok {
		answer := l.call(ctx, r, http.MethodGet, "/payments/"+o.answer().ID, "", "")
		l.d.w.holdsf(neverGone, answer.status != http.StatusNotFound, "%s (%s): %s", o.answer().ID, o.name, answer)
	}

	answer := l.call(ctx, r, http.MethodGet, "/payments/"+uuid.NewString(), "", "")
	l.d.w.holdsf(unknownIDs, answer.status == http.StatusNotFound || !answer.decided(), "%s", answer)
}

// any is one of the orders with a key that were answered, the newest more often.
func (l *load) any(r *rand.Rand) (*order, bool) {
	const recent = 60

	all := slices.DeleteFunc(l.answered(), func(o *order) bool { return o.key == "" })

	switch n := len(all); {
	case n == 0:
		return nil, false
	case n > recent && r.IntN(2) == 0:
		return all[n-1-r.IntN(recent)], true
	default:
		return all[r.IntN(n)], true
	}
}

// create asks for an order until it is answered, as a good client does.
func (l *load) create(ctx context.Context, r *rand.Rand, o *order) bool {
	for ctx.Err() == nil {
		answer := l.call(ctx, r, http.MethodPost, "/payments", "", o.body(0))

		switch {
		case answer.status == http.StatusCreated:
			return l.remember(o, answer)
		case answer.decided():
			l.d.w.holdsf(sameAnswer, false, "%s (answered before: %t): %s", o.name, o.answer() != nil, answer)

			return false
		}

		pause(ctx, r)
	}

	l.d.w.brokenf(goodAnswers, "%s got no answer within %s", o.name, answeredWithin)

	return false
}

// remember keeps an answer of 201, or compares it with the one before.
func (l *load) remember(o *order, answer answer) bool {
	var got created
	if err := json.Unmarshal(answer.body, &got); err != nil || got.ID == "" || got.Intent == "" || got.Secret == "" {
		l.d.w.brokenf(goodAnswers, "%s: a 201 that is no payment: %s", o.name, answer)

		return false
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	if o.first == nil {
		o.first = &got

		return true
	}

	l.d.w.holdsf(sameAnswer, o.first.same(got), "%s: was %+v, is %+v", o.name, *o.first, got)

	return true
}

// pay is the customer, at Stripe.
func (l *load) pay(ctx context.Context, o *order) bool {
	status, answer, err := l.customer.Call(ctx, http.MethodPost, "/v1/payment_intents/"+o.answer().Intent+"/confirm",
		"payment_method=pm_card_visa&return_url=https://example.com/done")
	if err != nil || status != http.StatusOK {
		if ctx.Err() == nil {
			l.d.w.brokenf(goodAnswers, "paying %s at Stripe: %d %v %v", o.name, status, answer["error"], err)
		}

		return false
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	o.paid = true

	return true
}

// capture captures until it is answered, or compares the answer with the one before.
func (l *load) capture(ctx context.Context, r *rand.Rand, o *order) bool {
	body := "{}"
	if o.captureAmount != "" {
		body = `{"amount":` + o.captureAmount + `}`
	}

	for ctx.Err() == nil {
		answer := l.call(ctx, r, http.MethodPost, "/payments/"+o.answer().ID+"/capture", o.captureKey, body)

		switch {
		case answer.status == http.StatusOK:
			return l.rememberCapture(o, answer)
		case answer.decided():
			l.d.w.holdsf(captureKeys, false, "%s: %s", o.name, answer)

			return false
		}

		pause(ctx, r)
	}

	l.d.w.brokenf(goodAnswers, "the capture of %s got no answer within %s", o.name, answeredWithin)

	return false
}

func (l *load) rememberCapture(o *order, answer answer) bool {
	var got shown
	if err := json.Unmarshal(answer.body, &got); err != nil {
		l.d.w.brokenf(goodAnswers, "capturing %s: %s", o.name, answer)

		return false
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	if o.captured == nil {
		o.captured = &got
	}

	l.d.w.holdsf(captureKeys, got.ID == o.first.ID && got.Status == "succeeded" && got.Captured == o.captured.Captured,
		"%s: was %s of %s captured, is %s of %s, %s", o.name, o.captured.Captured, o.first.ID, got.Captured, got.ID, got.Status)

	return true
}

// answer is what came back; status is 0 if nothing did.
type answer struct {
	status int
	body   []byte
	err    error
}

// String is for people.
func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}

	return fmt.Sprintf("%d %s", a.status, a.body)
}

// problem is the last part of a problem's type.
func (a answer) problem() string {
	var p struct {
		Type string `json:"type"`
	}

	if json.Unmarshal(a.body, &p) != nil {
		return ""
	}

	return p.Type[strings.LastIndexAny(p.Type, "/#:")+1:]
}

// decided tells whether repeating the request is of no use.
func (a answer) decided() bool {
	switch {
	case a.err != nil || a.status == http.StatusServiceUnavailable:
		return false
	case a.status == http.StatusConflict:
		return a.problem() == "invalid-state"
	default:
		return true
	}
}

// reused tells whether the key belongs to another request.
func (a answer) reused() bool {
	return a.status == http.StatusUnprocessableEntity && a.problem() == "idempotency-key-reused"
}

// call makes one request to one of the processes.
func (l *load) call(ctx context.Context, r *rand.Rand, method, path, key, body string) answer {
	target := l.d.services[r.IntN(len(l.d.services))]

	req, err := http.NewRequestWithContext(ctx, method, target.url()+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}

	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}

	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}

	resp, err := l.client.Do(req)
	if err != nil {
		l.count("no answer")

		return answer{err: err}
	}

	defer func() { _ = resp.Body.Close() }()

	text, err := io.ReadAll(resp.Body)
	got := answer{status: resp.StatusCode, body: text, err: err}

	word := strconv.Itoa(resp.StatusCode)
	if p := got.problem(); p != "" {
		word += " " + p
	}

	l.count(word)

	switch resp.StatusCode {
	case http.StatusInternalServerError, http.StatusBadRequest:
		l.d.w.brokenf(goodAnswers, "%s %s: %s", method, path, got)
	case http.StatusBadGateway:
		if !l.badGateway.Load() {
			l.d.w.brokenf(goodAnswers, "%s %s: %s", method, path, got)
		}
	}

	return got
}

func (l *load) expectBadGateway(right bool) { l.badGateway.Store(right) }

func (l *load) count(word string) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.statuses[word]++
}

func pause(ctx context.Context, r *rand.Rand) {
	wait(ctx, 50*time.Millisecond+time.Duration(r.IntN(250))*time.Millisecond)
}
