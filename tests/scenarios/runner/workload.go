package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// workload is what the clients share.
type workload struct {
	w    *world
	seed uint64
	// favoured are what clients do more often: that of which the scenario spoils some.
	favoured []func(*client, context.Context)

	mu sync.Mutex
	// asks are all that were ever sent under a key.
	asks     map[string][]ask
	keys     []string
	payments []known
	// paid are those that may be refunded.
	paid []known
	// disputes are those that some client was told of.
	disputes []belonging
	persons  []person
	methods  []savedMethod
	// foreign are the intents and customers that another program made on the same account.
	foreign map[string]bool
}

// known is a payment that some client was told of.
type known struct {
	id, intent string
	payload    payload
}

// The workload's size.
const (
	clients   = 6
	keyPool   = 12
	pauseMost = 90 * time.Millisecond
)

func newWorkload(w *world, seed uint64) *workload {
	l := &workload{w: w, seed: seed, asks: map[string][]ask{}, foreign: map[string]bool{}}
	r := l.rand(0)

	for i := range keyPool {
		l.addOrder(r, fmt.Sprintf("%s-key-%d", w.name, i))
	}

	return l
}

func (l *workload) rand(client int) *rand.Rand {
	return rand.New(rand.NewPCG(l.seed, uint64(client)+1))
}

// addOrder draws what the first create under a key asks for.
func (l *workload) addOrder(r *rand.Rand, key string) ask {
	return l.addAsk(key, ask{kind: kindCreate, payload: drawPayload(r, key, firstNote)})
}

// addAsk notes what is sent under a key.
func (l *workload) addAsk(key string, a ask) ask {
	l.mu.Lock()
	defer l.mu.Unlock()

	if _, here := l.asks[key]; !here {
		l.keys = append(l.keys, key)
	}

	l.asks[key] = append(l.asks[key], a)

	return a
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
		c.n = n

		const favour = 2 // every other turn

		if some := l.favoured; len(some) > 0 && c.r.IntN(favour) == 0 {
			some[c.r.IntN(len(some))](c, ctx)
			wait(ctx, time.Duration(c.r.Int64N(int64(pauseMost))))

			continue
		}

		switch draw := c.r.IntN(100); {
		case draw < 18:
			c.reuse(ctx)
		case draw < 22:
			c.fresh(ctx)
		case draw < 28:
			c.stampede()
		case draw < 32:
			c.keyless()
		case draw < 38:
			c.read()
		case draw < 45:
			c.atStripe()
		case draw < 55:
			c.story(ctx)
		case draw < 62:
			c.change(ctx)
		case draw < 69:
			c.returning(ctx)
		case draw < 73:
			c.aPerson(ctx)
		case draw < 78:
			c.givesBack(ctx)
		case draw < 81:
			c.aRefund(ctx)
		case draw < 87:
			c.takesBack(ctx)
		case draw < 94:
			c.goesToTheBank(ctx)
		case draw < 96:
			c.aDispute(ctx)
		default:
			c.another()
		}

		wait(ctx, time.Duration(c.r.Int64N(int64(pauseMost))))
	}
}

// favour lets clients do more of what the faults spoil, so that no storm goes on only because something is
// done rarely.
func (l *workload) favour(faults []string) {
	does := map[string]func(*client, context.Context){
		kindConfirm: (*client).confirms, kindCapture: (*client).captures, kindCancel: (*client).lets, kindUpdate: (*client).corrects,
		kindRefund: (*client).givesBack, kindCancelRefund: (*client).takesBack,
		kindEvidence: (*client).goesToTheBank, kindAccept: (*client).goesToTheBank,
		kindCreatePerson: (*client).returning, kindUpdatePerson: (*client).returning, kindDeletePerson: (*client).returning,
		kindSetup: (*client).returning, kindDetach: (*client).returning,
	}

	for _, name := range faults {
		parts := strings.Split(name, ", ") // as ofKind names it
		if do := does[parts[len(parts)-1]]; do != nil {
			l.favoured = append(l.favoured, do)
		}
	}
}

// client is one of them.
type client struct {
	l      *workload
	w      *world
	number int
	r      *rand.Rand
	// n numbers what the client does; made numbers its keys.
	n, made int
}

// newKey is a key that nobody has used.
func (c *client) newKey(what string) string {
	c.made++

	return fmt.Sprintf("%s-%s-%d-%d", c.w.name, what, c.number, c.made)
}

// copied is the client once more, to send something at the same time.
func (c *client) copied() *client {
	return &client{l: c.l, w: c.w, number: c.number, r: rand.New(rand.NewPCG(c.r.Uint64(), 0))}
}

// reuse sends a key that others send too; now and then it asks for something else.
func (c *client) reuse(ctx context.Context) {
	c.l.mu.Lock()
	keys := c.l.keys

	if c.r.IntN(2) == 0 {
		keys = keys[:keyPool]
	}

	key := keys[c.r.IntN(len(keys))]
	a := c.l.asks[key][0]
	c.l.mu.Unlock()

	if c.r.IntN(10) == 0 {
		a = c.l.addAsk(key, c.somethingElse(key, a))
	}

	c.pursue(ctx, key, a)
}

// somethingElse is what a key is sent with by mistake: another payload or amount, another
// payment or another route.
func (c *client) somethingElse(key string, a ask) ask {
	p, ok := c.anyPayment()
	if ok && a.kind != kindCreate && !a.isPerson() && !a.isBelonging() && c.r.IntN(2) == 0 { // the same of another payment
		return a.of(p)
	}

	if !ok || (a.kind == kindCreate || a.isPerson()) && c.r.IntN(2) == 0 {
		return ask{kind: kindCreate, payload: drawPayload(c.r, key, fmt.Sprintf("changed %d", c.r.IntN(2)))}
	}

	return []func(known) ask{c.drawChange, c.drawConfirm, c.drawUpdate}[c.r.IntN(3)](p)
}

func (c *client) fresh(ctx context.Context) {
	key := c.newKey("fresh")
	c.pursue(ctx, key, c.l.addOrder(c.r, key))
}

// stampede sends a new key several times at once, to both processes: a button
// that was clicked twice, a proxy that retries.
func (c *client) stampede() {
	key := c.newKey("stampede")
	c.together(key, c.l.addOrder(c.r, key))
}

// together sends one request several times at once.
func (c *client) together(key string, a ask) {
	const copies = 4

	var wg sync.WaitGroup

	for range copies {
		copied := c.copied()

		wg.Go(func() { copied.send(key, a, copied.patience()) })
	}

	wg.Wait()
}

func (c *client) keyless() {
	order := c.newKey("keyless")
	c.send("", ask{kind: kindCreate, payload: drawPayload(c.r, order, "no key")}, c.patience())
}

// pursue sends a request and repeats it, as a good client does, while it is undecided.
func (c *client) pursue(ctx context.Context, key string, a ask) result {
	const tries = 3

	var answer result

	for range tries {
		answer = c.send(key, a, c.patience())
		if answer.decided() || ctx.Err() != nil {
			break
		}

		wait(ctx, time.Duration(c.r.IntN(300))*time.Millisecond)
	}

	return answer
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

// send posts what is asked for to one of the processes.
func (c *client) send(key string, a ask, patience time.Duration) result {
	target := c.r.IntN(processes)
	body, header := a.spell(c.r, key)

	answer := c.record(request{ask: a, key: key, process: target}, func() result {
		return c.call(patience, a.method(), c.w.processes[target].url()+a.path(), body, header)
	})

	c.l.mu.Lock()
	defer c.l.mu.Unlock()

	if p, ok := toldOf(a, answer); ok {
		c.l.payments = append(c.l.payments, p)
	}

	if p, ok := personOf(a, answer); ok && !slices.Contains(c.l.persons, p) {
		c.l.persons = append(c.l.persons, p)
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

// toldOf is the payment that a create's answer tells of.
func toldOf(a ask, answer result) (known, bool) {
	var created struct {
		ID     string `json:"id"`
		Intent string `json:"stripe_payment_intent_id"`
	}

	if a.kind != kindCreate || answer.status != http.StatusCreated || json.Unmarshal(answer.body, &created) != nil {
		return known{}, false
	}

	return known{created.ID, created.Intent, a.payload}, true
}

// call makes one HTTP request and reads the answer.
func (c *client) call(patience time.Duration, method, url, body string, header http.Header) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return result{err: err.Error()}
	}

	if header != nil {
		req.Header = header
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
	if p, ok := c.anyPayment(); ok {
		c.readAt(p, c.r.IntN(processes))
	}
}

func (c *client) readAt(p known, process int) result {
	return c.record(request{ask: ask{kind: kindRead}, key: p.id, process: process}, func() result {
		return c.call(answerWithin, http.MethodGet, c.w.processes[process].url()+"/payments/"+p.id, "", nil)
	})
}

// anyPayment is a payment that some client was told of, often one of the newest.
func (c *client) anyPayment() (known, bool) {
	const newest = 10

	c.l.mu.Lock()
	defer c.l.mu.Unlock()

	all := c.l.payments
	if len(all) > newest && c.r.IntN(2) == 0 {
		all = all[len(all)-newest:]
	}

	if len(all) == 0 {
		return known{}, false
	}

	return all[c.r.IntN(len(all))], true
}

// isForeign tells which intents another program made.
func (l *workload) isForeign() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	foreign := make(map[string]bool, len(l.foreign))
	for id := range l.foreign {
		foreign[id] = true
	}

	return foreign
}

// changed are the payments of which somebody has asked for more than their creation.
func (l *workload) changed() []known {
	seen := map[string]known{}

	for _, r := range l.w.history.operations() {
		if r.on.id != "" {
			seen[r.on.id] = r.on
		}
	}

	list := make([]known, 0, len(seen))
	for _, p := range seen {
		list = append(list, p)
	}

	slices.SortFunc(list, func(a, b known) int { return strings.Compare(a.id, b.id) })

	return list
}
