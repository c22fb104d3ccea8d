package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// payload is what a create asks for.
type payload struct {
	// amount is in major units; spellings are other ways to write it.
	amount    string
	spellings []string
	minor     int64
	currency  string
	// order is unique to a key or, without one, to a request. It is in the
	// metadata, so that the sandbox's records know it without the service's help.
	order string
	note  string
	// tiny: Stripe rejects the amount because it is too small.
	tiny bool
}

// id tells payloads apart as the service should.
func (p payload) id() string {
	return fmt.Sprintf("%d %s %s %s", p.minor, p.currency, p.order, p.note)
}

func drawPayload(r *rand.Rand, order, note string) payload {
	p := payload{order: order, note: note}

	switch r.IntN(5) {
	case 0:
		n := int64(r.IntN(90_000) + 100)
		p.currency, p.minor, p.amount = "JPY", n, strconv.FormatInt(n, 10)
		p.spellings = []string{fmt.Sprintf("%d.0", n), fmt.Sprintf(`"%d"`, n)}
	case 1:
		n := int64(r.IntN(9000)+100) * 10 // the third decimal is always 0
		p.currency, p.minor, p.amount = "KWD", n, fmt.Sprintf("%d.%03d", n/1000, n%1000)
		p.spellings = []string{fmt.Sprintf("%de-3", n)}
	default:
		n := int64(r.IntN(99_000) + 100)
		p.currency, p.minor, p.amount = "USD", n, fmt.Sprintf("%d.%02d", n/100, n%100)
		p.spellings = []string{fmt.Sprintf("%de-2", n), fmt.Sprintf(`"%s"`, p.amount), p.amount + "0"}
	}

	if r.IntN(40) == 0 {
		p.currency, p.minor, p.amount, p.tiny = "USD", 7, "0.07", true
		p.spellings = []string{"7e-2"}
	}

	return p
}

// body spells the payload in one of many ways that mean the same.
func (p payload) body(r *rand.Rand, key string) string {
	amount := p.amount
	if r.IntN(3) == 0 {
		amount = p.spellings[r.IntN(len(p.spellings))]
	}

	currency := p.currency
	if r.IntN(3) == 0 {
		currency = strings.ToLower(currency)
	}

	metadata := []string{fmt.Sprintf(`"order":%q`, p.order), fmt.Sprintf(`"note":%q`, p.note)}
	r.Shuffle(len(metadata), func(i, j int) { metadata[i], metadata[j] = metadata[j], metadata[i] })

	fields := []string{
		`"amount":` + amount, fmt.Sprintf(`"currency":%q`, currency), `"metadata":{` + strings.Join(metadata, ",") + `}`,
	}
	if key != "" {
		fields = append(fields, fmt.Sprintf(`"idempotency_key":%q`, key))
	}

	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })

	return "{" + strings.Join(fields, ",") + "}"
}

// workload is what the clients share.
type workload struct {
	w    *world
	seed uint64

	mu sync.Mutex
	// payloads are all that were ever sent under a key.
	payloads map[string][]payload
	keys     []string
	payments []known
}

// known is a payment that some client was told of.
type known struct{ id, intent string }

// The workload's size.
const (
	clients   = 6
	keyPool   = 12
	pauseMost = 90 * time.Millisecond
)

func newWorkload(w *world, seed uint64) *workload {
	l := &workload{w: w, seed: seed, payloads: map[string][]payload{}}
	r := l.rand(0)

	for i := range keyPool {
		l.addKey(r, fmt.Sprintf("%s-key-%d", w.name, i))
	}

	return l
}

func (l *workload) rand(client int) *rand.Rand {
	return rand.New(rand.NewPCG(l.seed, uint64(client)+1))
}

func (l *workload) addKey(r *rand.Rand, key string) payload {
	p := drawPayload(r, key, "first")

	l.mu.Lock()
	defer l.mu.Unlock()

	l.keys = append(l.keys, key)
	l.payloads[key] = append(l.payloads[key], p)

	return p
}

// run lets the clients work until ctx ends. They complete what they have begun.
func (l *workload) run(ctx context.Context) {
	var wg sync.WaitGroup

	for i := range clients {
		wg.Go(func() { l.client(ctx, i+1) })
	}

	wg.Wait()
}

func (l *workload) client(ctx context.Context, number int) {
	c := &client{l: l, w: l.w, number: number, r: l.rand(number)}

	for n := 0; ctx.Err() == nil; n++ {
		switch draw := c.r.IntN(100); {
		case draw < 40:
			c.reuse(ctx)
		case draw < 50:
			c.fresh(ctx, n)
		case draw < 60:
			c.stampede(n)
		case draw < 68:
			c.keyless(n)
		case draw < 80:
			c.read()
		default:
			c.atStripe()
		}

		wait(ctx, time.Duration(c.r.Int64N(int64(pauseMost))))
	}
}

// client is one of them.
type client struct {
	l      *workload
	w      *world
	number int
	r      *rand.Rand
}

// reuse sends a key that others send too; now and then with another payload.
func (c *client) reuse(ctx context.Context) {
	c.l.mu.Lock()
	key := c.l.keys[c.r.IntN(len(c.l.keys))]
	p := c.l.payloads[key][0]
	c.l.mu.Unlock()

	if c.r.IntN(10) == 0 {
		p = drawPayload(c.r, key, fmt.Sprintf("changed %d", c.r.IntN(2)))

		c.l.mu.Lock()
		c.l.payloads[key] = append(c.l.payloads[key], p)
		c.l.mu.Unlock()
	}

	c.create(ctx, key, p)
}

func (c *client) fresh(ctx context.Context, n int) {
	key := fmt.Sprintf("%s-fresh-%d-%d", c.w.name, c.number, n)
	c.create(ctx, key, c.l.addKey(c.r, key))
}

// stampede sends a new key several times at once, to both processes: a button
// that was clicked twice, a proxy that retries.
func (c *client) stampede(n int) {
	const copies = 4

	key := fmt.Sprintf("%s-stampede-%d-%d", c.w.name, c.number, n)
	p := c.l.addKey(c.r, key)

	var wg sync.WaitGroup

	for range copies {
		copied := &client{l: c.l, w: c.w, number: c.number, r: rand.New(rand.NewPCG(c.r.Uint64(), 0))}

		wg.Go(func() { copied.send(key, p, copied.patience()) })
	}

	wg.Wait()
}

func (c *client) keyless(n int) {
	order := fmt.Sprintf("%s-keyless-%d-%d", c.w.name, c.number, n)
	c.send("", drawPayload(c.r, order, "no key"), c.patience())
}

// create sends a request and repeats it, as a good client does, while it is undecided.
func (c *client) create(ctx context.Context, key string, p payload) {
	const tries = 3

	for range tries {
		answer := c.send(key, p, c.patience())
		if answer.decided() || ctx.Err() != nil {
			return
		}

		wait(ctx, time.Duration(c.r.IntN(300))*time.Millisecond)
	}
}

// answerWithin is how long a patient client waits for an answer.
const answerWithin = 15 * time.Second

// patience is how long the client waits; some disconnect early.
func (c *client) patience() time.Duration {
	if c.r.IntN(8) == 0 {
		c.w.count(faultClientGone, 1)

		return time.Duration(c.r.IntN(25)+1) * time.Millisecond
	}

	return answerWithin
}

// send posts a payment to one of the processes.
func (c *client) send(key string, p payload, patience time.Duration) result {
	target := c.r.IntN(processes)
	body := p.body(c.r, key)

	answer := c.record(request{kind: kindCreate, key: key, payload: p, process: target}, func() result {
		return c.call(patience, http.MethodPost, c.w.processes[target].url()+"/payments", "application/json", body)
	})

	if answer.status == http.StatusCreated {
		c.remember(answer.body)
	}

	return answer
}

// record makes a request and writes down what came of it.
func (c *client) record(r request, do func() result) result {
	r.client, r.call = c.number, c.w.line.now()
	r.result = do()
	r.ret = c.w.line.now()
	c.w.history.add(r)

	return r.result
}

func (c *client) remember(body []byte) {
	var created struct {
		ID     string `json:"id"`
		Intent string `json:"stripe_payment_intent_id"`
	}

	if json.Unmarshal(body, &created) == nil {
		c.l.mu.Lock()
		c.l.payments = append(c.l.payments, known{created.ID, created.Intent})
		c.l.mu.Unlock()
	}
}

// call makes one HTTP request and reads the answer.
func (c *client) call(patience time.Duration, method, url, contentType, body string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return result{err: err.Error()}
	}

	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}

	resp, err := c.w.client.Do(req)
	if err != nil {
		return result{err: err.Error()}
	}

	defer func() { _ = resp.Body.Close() }()

	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return result{err: err.Error()}
	}

	return result{
		status: resp.StatusCode, body: bytes.TrimSpace(answer), replayed: resp.Header.Get("Idempotent-Replayed") == "true",
	}
}

// read reads a payment that some client was told of.
func (c *client) read() {
	p, ok := c.anyPayment()
	if !ok {
		return
	}

	target := c.r.IntN(processes)

	c.record(request{kind: kindRead, key: p.id, process: target}, func() result {
		return c.call(answerWithin, http.MethodGet, c.w.processes[target].url()+"/payments/"+p.id, "", "")
	})
}

func (c *client) anyPayment() (known, bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()

	if len(c.l.payments) == 0 {
		return known{}, false
	}

	return c.l.payments[c.r.IntN(len(c.l.payments))], true
}

// atStripe is the customer: pays, is declined or cancels at Stripe; now and
// then before the service has heard that the intent exists.
func (c *client) atStripe() {
	const patience = 2 * time.Second

	p, ok := c.anyPayment()
	intent := p.intent

	if c.r.IntN(3) == 0 {
		intent, ok = c.anyIntent()
	}

	if !ok {
		return
	}

	kind, path := kindPay, "/confirm"
	form := url.Values{"payment_method": {"pm_card_visa"}, "return_url": {"https://example.com/done"}}

	switch c.r.IntN(6) {
	case 0, 1:
		kind = kindDecline

		form.Set("payment_method", "pm_card_chargeDeclined")
	case 2:
		kind, path, form = kindCancel, "/cancel", url.Values{}
	}

	c.record(request{kind: kind, key: intent}, func() result {
		return c.call(patience, http.MethodPost, c.w.own+intentsPath+"/"+intent+path,
			"application/x-www-form-urlencoded", form.Encode())
	})
}

func (c *client) anyIntent() (string, bool) {
	var all []string
	for entry := range intents(c.w.stripe) {
		all = append(all, entry.ID)
	}

	if len(all) == 0 {
		return "", false
	}

	return all[c.r.IntN(len(all))], true
}

// finish is what good clients do once the storm is over: each sends its request
// again until it is told what became of it. needsAttention are the keys that
// wait for a person; they answer 503 for now.
func (l *workload) finish(ctx context.Context, needsAttention func(key string) bool) error {
	l.mu.Lock()
	keys := slices.Clone(l.keys)
	l.mu.Unlock()

	sent := l.w.history.keysSent()
	queue := make(chan string)

	go func() {
		defer close(queue)

		for _, key := range keys {
			if sent[key] {
				queue <- key
			}
		}
	}()

	var all errgroup.Group

	for i := range clients {
		all.Go(func() (failed error) {
			c := &client{l: l, w: l.w, number: clients + 1 + i, r: l.rand(clients + 1 + i)}
			for key := range queue { // to the end, also after a failure
				failed = cmp.Or(failed, c.finish(ctx, key, needsAttention))
			}

			return failed
		})
	}

	return all.Wait()
}

// finish asks with every payload that was sent under a key, until the key has
// answered each for good.
func (c *client) finish(ctx context.Context, key string, needsAttention func(string) bool) error {
	c.l.mu.Lock()
	payloads := slices.Clone(c.l.payloads[key])
	c.l.mu.Unlock()

	for _, p := range payloads {
		for {
			answer := c.send(key, p, answerWithin)
			if answer.decided() || needsAttention(key) {
				break
			}

			if ctx.Err() != nil {
				return fmt.Errorf("key %s is never answered; last: %s", key, answer)
			}

			wait(ctx, 200*time.Millisecond)
		}
	}

	return nil
}
