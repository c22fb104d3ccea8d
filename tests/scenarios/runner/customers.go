package runner

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// story is a payment from its order to its end: the customer pays in some way, or does not,
// and the shop captures or cancels.
func (c *client) story(ctx context.Context) {
	key := c.newKey("story")
	a := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
	a.payload.manual = c.r.IntN(5) > 0

	p, told := toldOf(a, c.pursue(ctx, key, c.l.addAsk(key, a)))
	if !told {
		return
	}

	if c.r.IntN(2) == 0 {
		c.updates(ctx, p)
	}

	if c.r.IntN(3) == 0 {
		c.backend(ctx, p)
	} else {
		c.customer(ctx, p)
	}

	c.shop(ctx, p)
}

// ordered is a new payment.
func (c *client) ordered(ctx context.Context, manual bool) (known, bool) {
	key := c.newKey("ordered")
	a := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
	a.payload.manual = manual

	return toldOf(a, c.pursue(ctx, key, c.l.addAsk(key, a)))
}

// confirms, captures, lets go and corrects are a short story each.
func (c *client) confirms(ctx context.Context) {
	if p, told := c.ordered(ctx, c.r.IntN(2) == 0); told {
		c.backend(ctx, p)
	}
}

func (c *client) captures(ctx context.Context) {
	if p, told := c.ordered(ctx, true); told {
		pays(c, p.intent)
		c.twice(ctx, c.newKey("captures"), c.drawCapture(p))
	}
}

func (c *client) lets(ctx context.Context) {
	if p, told := c.ordered(ctx, c.r.IntN(2) == 0); told {
		c.twice(ctx, c.newKey("lets-go"), c.drawCancel(p))
	}
}

func (c *client) corrects(ctx context.Context) {
	if p, told := c.ordered(ctx, c.r.IntN(2) == 0); told {
		c.updates(ctx, p)
	}
}

// backend tries the cards that it knows, each under a key of its own, until one is taken.
func (c *client) backend(ctx context.Context, p known) {
	const cards = 3

	for range cards {
		key := c.newKey("card")
		if c.r.IntN(4) == 0 {
			c.together(key, c.l.addAsk(key, c.drawConfirm(p)))

			continue
		}

		if c.twice(ctx, key, c.drawConfirm(p)).status == http.StatusOK {
			return
		}
	}
}

// updates changes what the shop keeps with a payment; now and then it asks for what is not the
// shop's.
func (c *client) updates(ctx context.Context, p known) {
	for range c.r.IntN(3) + 1 {
		if c.r.IntN(3) == 0 {
			c.atOnce(3, func(c *client) { c.drawn(p, c.drawUpdate(p)) })

			continue
		}

		key := c.newKey("update")
		c.twice(ctx, key, c.drawUpdate(p))
	}

	if c.r.IntN(4) == 0 {
		a := c.drawUpdate(p)
		a.mark = true
		c.send("", a, answerWithin)
	}
}

// The test cards (sandbox/card_table.go) and what a customer does with them.
const (
	paysCard     = "pm_card_visa"
	declinedCard = "pm_card_chargeDeclined"
	secureCard   = "pm_card_threeDSecure2Required"
	paysBank     = "pm_usBankAccount_success"
	failingBank  = "pm_usBankAccount_insufficientFunds"
)

// step is one thing that a customer does.
type step func(*client, string)

func pays(c *client, intent string)     { c.confirm(kindPay, intent, paysCard) }
func declined(c *client, intent string) { c.confirm(kindDecline, intent, declinedCard) }
func secure(c *client, intent string)   { c.confirm(kindPay, intent, secureCard) }
func approves(c *client, intent string) { c.authenticate(intent, true) }
func refuses(c *client, intent string)  { c.authenticate(intent, false) }

// customers are the ways to pay, and not to pay.
func customers() [][]step {
	return [][]step{
		{pays},
		{pays},
		{pays},
		{pays},
		{declined, pays},
		{declined, declined, pays},
		{secure, approves},
		{secure, refuses, pays},
		{declined, secure, approves},
		{declined, secure, refuses, secure, approves},
		{secure},           // abandoned
		{declined, secure}, // abandoned after a decline
		{declined},
		{},
	}
}

// customer pays, is declined, tries again or goes away. The events of one step are often
// still under way when the next step comes.
func (c *client) customer(ctx context.Context, p known) {
	const haste, leisure = 30 * time.Millisecond, 700 * time.Millisecond

	if !p.payload.manual && p.payload.currency == "USD" && c.r.IntN(2) == 0 {
		c.confirm(kindPay, p.intent, []string{paysBank, failingBank}[c.r.IntN(2)]) // it is processed for a while

		return
	}

	ways := customers()

	for _, does := range ways[c.r.IntN(len(ways))] {
		does(c, p.intent)

		if c.r.IntN(2) == 0 {
			c.readAt(p, c.r.IntN(processes)) // the shop's page asks how it stands
		}

		if c.r.IntN(4) == 0 {
			wait(ctx, time.Duration(c.r.Int64N(int64(leisure)))) // by then somebody may be reading the intent
		} else {
			wait(ctx, time.Duration(c.r.Int64N(int64(haste))))
		}
	}
}

// confirm is a customer's attempt to pay.
func (c *client) confirm(kind, intent, method string) {
	const patience = 2 * time.Second

	form := url.Values{"payment_method": {method}, "return_url": {"https://example.com/done"}}

	if strings.HasPrefix(method, "pm_usBankAccount") {
		form.Set("mandate_data[customer_acceptance][type]", "offline")
	}

	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

	c.record(request{ask: ask{kind: kind}, key: intent}, func() result {
		return c.call(patience, http.MethodPost, c.w.own+intentsPath+"/"+intent+"/confirm", form.Encode(), header)
	})
}

// authenticate is a customer at the bank's page.
func (c *client) authenticate(intent string, approve bool) {
	c.record(request{ask: ask{kind: kindAuthenticate}, key: intent}, func() result {
		return resultOf(nil, c.w.stripe.Authenticate(intent, approve))
	})
}

// dashboard is somebody who captures or cancels at Stripe, behind the service's back.
func (c *client) dashboard(p known) {
	a := c.drawChange(p)
	action, form := "/"+a.kind, url.Values{}

	a.kind += " at Stripe"
	if a.minor > 0 {
		form.Set("amount_to_capture", strconv.FormatInt(a.minor, 10))
	}

	c.record(request{ask: a, key: p.intent}, func() result {
		return resultOf(c.w.stripe.Dashboard(strings.TrimPrefix(intentsPath, "/")+"/"+p.intent+action, form))
	})
}

// resultOf is the answer of a call that is no HTTP request.
func resultOf(body []byte, err error) result {
	if err != nil {
		return result{status: http.StatusBadRequest, body: []byte(err.Error())}
	}

	return result{status: http.StatusOK, body: body}
}

// atStripe is a customer of any intent, also of one that the service has not heard of yet,
// or somebody at the Dashboard.
func (c *client) atStripe() {
	if p, ok := c.anyPayment(); ok && c.r.IntN(3) > 0 {
		if c.r.IntN(4) == 0 {
			c.dashboard(p)
		} else {
			c.customer(context.Background(), p)
		}

		return
	}

	if intent, ok := c.anyIntent(); ok {
		[]step{pays, declined, secure}[c.r.IntN(3)](c, intent)
	}
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

// change confirms, captures, cancels or updates any payment, whatever its state.
func (c *client) change(ctx context.Context) {
	p, ok := c.anyPayment()
	if !ok {
		return
	}

	if c.r.IntN(4) == 0 {
		c.race(p)

		return
	}

	key := c.newKey("change")
	draws := []func(known) ask{c.drawChange, c.drawChange, c.drawConfirm, c.drawUpdate}
	a := c.l.addAsk(key, draws[c.r.IntN(len(draws))](p))

	if a.kind == kindConfirm && c.r.IntN(2) == 0 {
		c.together(key, a)

		return
	}

	c.pursue(ctx, key, a)
}

// shop ends a payment.
func (c *client) shop(ctx context.Context, p known) {
	key := c.newKey("shop")

	switch draw := c.r.IntN(20); {
	case draw < 7:
		c.twice(ctx, key, c.drawCapture(p))
	case draw < 9:
		c.send("", c.drawCapture(p), c.patience())
	case draw < 11:
		c.twice(ctx, key, c.drawCancel(p))
	case draw < 12:
		c.send("", c.drawCancel(p), c.patience())
	case draw < 14:
		c.together(key, c.l.addAsk(key, c.drawChange(p)))
	case draw < 17:
		c.race(p)
	case draw < 18:
		c.dashboard(p)
	default: // the payment stays open
	}
}

// twice sends a request until it is answered, and sometimes once more.
func (c *client) twice(ctx context.Context, key string, a ask) result {
	answer := c.pursue(ctx, key, c.l.addAsk(key, a))

	if c.r.IntN(3) == 0 {
		answer = c.send(key, a, answerWithin)
	}

	return answer
}

// race sends several things at once that cannot all happen: one of them wins.
func (c *client) race(p known) {
	acts := []func(*client){
		func(c *client) { c.drawn(p, c.drawCapture(p)) },
		func(c *client) { c.drawn(p, c.drawCapture(p)) },
		func(c *client) { c.drawn(p, c.drawCancel(p)) },
		func(c *client) { c.send("", c.drawCapture(p), answerWithin) },
		func(c *client) { c.send("", c.drawCancel(p), answerWithin) },
		func(c *client) { pays(c, p.intent) },
		func(c *client) { pays(c, p.intent) },
		func(c *client) { c.drawn(p, c.drawConfirm(p)) },
		func(c *client) { c.drawn(p, c.drawConfirm(p)) },
		func(c *client) { c.dashboard(p) },
	}
	c.r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	c.atOnce(c.r.IntN(3)+2, acts...)
}

// atOnce does so many things at the same time, the last one as often as there are too few.
func (c *client) atOnce(n int, acts ...func(*client)) {
	var wg sync.WaitGroup

	for i := range n {
		act, copied := acts[min(i, len(acts)-1)], c.copied()

		c.made++
		copied.made = c.made * 1000 // keys of its own

		wg.Go(func() { act(copied) })
	}

	wg.Wait()
}

// drawn sends a confirm, a capture or a cancel under a key of its own.
func (c *client) drawn(p known, a ask) {
	key := c.newKey("race-" + p.id[len(p.id)-6:])
	c.send(key, c.l.addAsk(key, a), answerWithin)
}

// another is another program on the same account: it makes an intent, which a customer pays,
// or it captures or cancels that. Nothing of this is the service's business.
func (c *client) another() {
	if c.r.IntN(4) == 0 {
		c.anotherPerson()

		return
	}

	form := url.Values{
		"amount": {"4200"}, "currency": {"usd"}, "automatic_payment_methods[enabled]": {"true"},
		"automatic_payment_methods[allow_redirects]": {"never"},
	}

	if c.r.IntN(2) == 0 {
		form.Set("capture_method", "manual")
	}

	for name, value := range c.foreignMetadata() {
		form.Set("metadata["+name+"]", value)
	}

	made, err := c.w.stripe.Dashboard(strings.TrimPrefix(intentsPath, "/"), form)
	if err != nil {
		panic(err) // the form is wrong
	}

	var intent struct {
		ID string `json:"id"`
	}

	if err := json.Unmarshal(made, &intent); err != nil {
		panic(err)
	}

	c.l.mu.Lock()
	c.l.foreign[intent.ID] = true
	c.l.mu.Unlock()

	path := strings.TrimPrefix(intentsPath, "/") + "/" + intent.ID
	c.w.line.addf("stripe", "another program makes %s", intent.ID)

	for _, act := range [][]string{
		{}, {declinedCard}, {paysCard}, {paysCard, "capture"}, {declinedCard, paysCard, "capture"}, {paysCard, "cancel"}, {"cancel"},
	}[c.r.IntN(7)] {
		if strings.HasPrefix(act, "pm_") {
			_, _ = c.w.stripe.Dashboard(path+"/confirm", url.Values{"payment_method": {act}}) // a decline is an error
		} else {
			_, _ = c.w.stripe.Dashboard(path+"/"+act, nil) // an automatic one cannot be captured
		}
	}
}

// foreignMetadata are another program's: its own, a payment_id of its own, or the mark of
// another MarketFlow. (A payment_id that is a UUID, as ours are, is parked for a person.)
func (c *client) foreignMetadata() map[string]string {
	id := uuid.New()

	switch c.r.IntN(4) {
	case 0:
		return map[string]string{"cart": id.String()}
	case 1:
		return map[string]string{"payment_id": strconv.Itoa(c.r.IntN(100_000)), "cart": "7"}
	case 2:
		return nil
	default:
		installation, encode := uuid.New(), base64.RawURLEncoding.EncodeToString

		return map[string]string{"payment_id": id.String(), "marketflow": fmt.Sprintf("1.%s.1.create.%s.%s",
			encode(installation[:]), encode(id[:]), encode(make([]byte, 32)))}
	}
}
