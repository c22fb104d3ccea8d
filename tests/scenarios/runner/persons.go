package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// person is a customer of whom some client was told: one that the service keeps.
type person struct{ id, stripe string }

// savedMethod is a payment method that was saved for a person.
type savedMethod struct {
	id    string
	owner person
}

// references are fewer than the persons who want one.
const references = 8

func (c *client) drawReference() string {
	if c.r.IntN(2) == 0 {
		return ""
	}

	return fmt.Sprintf("%s-reference-%d", c.w.name, c.r.IntN(references))
}

// drawPerson draws a customer; order is unique to a key, as with payments.
func (c *client) drawPerson(order string) ask {
	return ask{kind: kindCreatePerson, payload: payload{order: order, note: firstNote}, reference: c.drawReference()}
}

// drawPersonUpdate sets an entry of the metadata, or removes it, and now and then the reference.
func (c *client) drawPersonUpdate(p person) ask {
	tags := []string{"", "red", "blue", "ж & =%"}
	a := ask{kind: kindUpdatePerson, person: p, tag: tags[c.r.IntN(len(tags))]}

	if c.r.IntN(3) == 0 {
		a.reference = c.drawReference()
	}

	return a
}

// returning is a customer whom the service keeps: enrolled, changed, with cards that are saved,
// used and taken away, and sometimes deleted.
func (c *client) returning(ctx context.Context) {
	p, told := c.enrol(ctx)
	if !told {
		return
	}

	if c.r.IntN(2) == 0 {
		c.changePerson(ctx, p)
	}

	card, saved := c.saves(ctx, p)

	for range c.r.IntN(2) + 1 {
		c.buys(ctx, p, card, saved)
	}

	if other, ok := c.anyMethod(); ok && c.r.IntN(4) == 0 {
		c.buys(ctx, p, other.id, true)
	}

	if saved && c.r.IntN(4) > 0 {
		key := c.newKey("detach")
		c.twice(ctx, key, ask{kind: kindDetach, person: p, card: card})

		if c.r.IntN(3) == 0 {
			c.buys(ctx, p, card, true)
		}
	}

	if c.r.IntN(2) == 0 {
		c.leaves(ctx, p)
	}
}

// enrol makes a customer, sometimes by a stampede.
func (c *client) enrol(ctx context.Context) (person, bool) {
	key := c.newKey("person")
	a := c.l.addAsk(key, c.drawPerson(key))

	if c.r.IntN(4) == 0 {
		c.together(key, a)
	}

	return personOf(a, c.pursue(ctx, key, a))
}

// personOf is the customer that an answer tells of.
func personOf(a ask, answer result) (person, bool) {
	var made struct {
		ID     string `json:"id"`
		Stripe string `json:"stripe_customer_id"`
	}

	if a.kind != kindCreatePerson || answer.status != http.StatusCreated || json.Unmarshal(answer.body, &made) != nil {
		return person{}, false
	}

	return person{made.ID, made.Stripe}, true
}

func (c *client) changePerson(ctx context.Context, p person) {
	if c.r.IntN(3) == 0 {
		c.atOnce(3, func(c *client) { c.drawnOf(c.drawPersonUpdate(p)) })

		return
	}

	key := c.newKey("person-update")
	c.twice(ctx, key, c.drawPersonUpdate(p))
}

// drawnOf sends something about a person under a key of its own.
func (c *client) drawnOf(a ask) {
	key := c.newKey("race-" + a.person.id[len(a.person.id)-6:])
	c.send(key, c.l.addAsk(key, a), answerWithin)
}

// saves begins a setup session and completes it, as the customer's browser does.
func (c *client) saves(ctx context.Context, p person) (card string, saved bool) {
	var session struct {
		Setup string `json:"stripe_setup_intent_id"`
	}

	key := c.newKey("setup")
	answer := c.twice(ctx, key, ask{kind: kindSetup, person: p})

	if answer.status != http.StatusCreated || json.Unmarshal(answer.body, &session) != nil {
		return "", false
	}

	var setup struct {
		Method string `json:"payment_method"`
		Status string `json:"status"`
	}

	form := url.Values{"payment_method": {paysCard}, "return_url": {"https://shop.example/"}}
	done := c.atStripeItself("/v1/setup_intents/"+session.Setup+"/confirm", form)

	if json.Unmarshal(done.body, &setup) != nil || setup.Status != "succeeded" {
		return "", false
	}

	c.l.mu.Lock()
	c.l.methods = append(c.l.methods, savedMethod{setup.Method, p})
	c.l.mu.Unlock()

	return setup.Method, true
}

// atStripeItself posts a form to Stripe, past the service.
func (c *client) atStripeItself(path string, form url.Values) result {
	return c.call(answerWithin, http.MethodPost, c.w.own+path, form.Encode(),
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

// buys orders something for a person: paid at once with a card, or by a confirm, or by the
// customer at the shop's page.
func (c *client) buys(ctx context.Context, p person, card string, saved bool) {
	key := c.newKey("buys")
	a := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
	a.payload.person = p

	if saved && c.r.IntN(2) == 0 {
		a.payload.card = card
	}

	made, told := toldOf(a, c.pursue(ctx, key, c.l.addAsk(key, a)))
	if !told {
		return
	}

	if saved && a.payload.card == "" {
		key := c.newKey("saved-card")
		c.twice(ctx, key, ask{kind: kindConfirm, on: made, card: card, person: p})
	} else if a.payload.card == "" {
		c.customer(ctx, made)
	}

	c.shop(ctx, made)
}

// leaves deletes a person, now and then while something else is asked of it.
func (c *client) leaves(ctx context.Context, p person) {
	key := c.newKey("delete")
	a := c.l.addAsk(key, ask{kind: kindDeletePerson, person: p})

	switch c.r.IntN(4) {
	case 0:
		c.together(key, a)
	case 1:
		acts := []func(*client){
			func(c *client) { c.send(key, a, answerWithin) },
			func(c *client) { c.drawnOf(c.drawPersonUpdate(p)) },
			func(c *client) { c.drawnOf(ask{kind: kindSetup, person: p}) },
			func(c *client) { c.drawnOf(ask{kind: kindDeletePerson, person: p}) },
			func(c *client) { c.readPerson(p, c.r.IntN(processes)) },
		}
		c.r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
		c.atOnce(3, acts...)
	default:
		c.pursue(ctx, key, a)
	}

	c.readPerson(p, c.r.IntN(processes))
}

// readPerson reads a customer.
func (c *client) readPerson(p person, process int) {
	c.record(request{ask: ask{kind: kindReadPerson, person: p}, key: p.id, process: process}, func() result {
		return c.call(answerWithin, http.MethodGet, c.w.processes[process].url()+"/customers/"+p.id, "", nil)
	})
}

// aPerson does something with any customer, whatever has become of it.
func (c *client) aPerson(ctx context.Context) {
	p, ok := c.anyPerson()
	if !ok {
		return
	}

	switch c.r.IntN(6) {
	case 0, 1:
		c.readPerson(p, c.r.IntN(processes))

		return
	case 2:
		c.personAtStripe(p)

		return
	}

	a := c.drawPersonUpdate(p)

	switch c.r.IntN(8) {
	case 0:
		a = ask{kind: kindDeletePerson, person: p}
	case 1:
		a = ask{kind: kindSetup, person: p}
	case 2:
		if m, ok := c.anyMethod(); ok {
			a = ask{kind: kindDetach, person: m.owner, card: m.id}
		}
	}

	key := c.newKey("a-person")
	c.pursue(ctx, key, c.l.addAsk(key, a))
}

// personAtStripe is somebody at the Dashboard who changes a customer, or deletes it.
func (c *client) personAtStripe(p person) {
	path := strings.TrimPrefix(personsPath, "/") + "/" + p.stripe
	a := c.drawPersonUpdate(p)
	a.reference = ""

	if c.r.IntN(6) == 0 {
		a.kind = kindDeleteAtStripe

		c.record(request{ask: a, key: p.id}, func() result {
			return c.call(answerWithin, http.MethodDelete, c.w.own+"/"+path, "", nil)
		})

		return
	}

	a.kind = kindUpdateAtStripe

	c.record(request{ask: a, key: p.id}, func() result {
		return resultOf(c.w.stripe.Dashboard(path, url.Values{"metadata[tag]": {a.tag}, "name": {"At Stripe " + a.tag}}))
	})
}

// anyPerson is a customer of whom some client was told, mostly one of the newest.
func (c *client) anyPerson() (person, bool) {
	const newest = 6

	c.l.mu.Lock()
	defer c.l.mu.Unlock()

	all := c.l.persons
	if len(all) > newest {
		all = all[len(all)-newest:]
	}

	if len(all) == 0 {
		return person{}, false
	}

	return all[c.r.IntN(len(all))], true
}

func (c *client) anyMethod() (savedMethod, bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()

	if len(c.l.methods) == 0 {
		return savedMethod{}, false
	}

	return c.l.methods[c.r.IntN(len(c.l.methods))], true
}

// allMethods are the saved payment methods, by their ids.
func (l *workload) allMethods() map[string]savedMethod {
	l.mu.Lock()
	defer l.mu.Unlock()

	return by(slices.Clone(l.methods), func(m savedMethod) string { return m.id })
}

// anotherPerson is another program's customer on the same account.
func (c *client) anotherPerson() {
	form := url.Values{"name": {"Somebody"}}

	for name, value := range c.foreignMetadata() {
		form.Set("metadata["+name+"]", value)
	}

	made, err := c.w.stripe.Dashboard(strings.TrimPrefix(personsPath, "/"), form)
	if err != nil {
		panic(err) // the form is wrong
	}

	var customer struct {
		ID string `json:"id"`
	}

	if err := json.Unmarshal(made, &customer); err != nil {
		panic(err)
	}

	c.l.mu.Lock()
	c.l.foreign[customer.ID] = true
	c.l.mu.Unlock()

	c.w.line.addf("stripe", "another program makes %s", customer.ID)

	if c.r.IntN(2) == 0 {
		_, _ = c.w.stripe.Dashboard(strings.TrimPrefix(personsPath, "/")+"/"+customer.ID, url.Values{"name": {"Somebody else"}})
	}
}

// isPerson: the ask is about customers.
func (a ask) isPerson() bool {
	switch a.kind {
	case kindCreatePerson, kindUpdatePerson, kindDeletePerson, kindSetup, kindDetach:
		return true
	default:
		return false
	}
}

// personPath is where an ask about customers goes.
func (a ask) personPath() string {
	switch a.kind {
	case kindCreatePerson:
		return "/customers"
	case kindSetup:
		return "/customers/" + a.person.id + "/setup_sessions"
	case kindDetach:
		return "/payment_methods/" + a.card
	default:
		return "/customers/" + a.person.id
	}
}

// personFields spells an ask about customers.
func (a ask) personFields() (fields []string) {
	switch a.kind {
	case kindCreatePerson:
		fields = []string{
			fmt.Sprintf(`"name":%q`, "Person "+a.payload.order),
			fmt.Sprintf(`"metadata":{"order":%q,"note":%q}`, a.payload.order, a.payload.note),
		}
	case kindUpdatePerson:
		fields = []string{a.patch()}
	}

	if a.reference != "" {
		fields = append(fields, fmt.Sprintf(`"reference":%q`, a.reference))
	}

	return fields
}

// personID tells asks about customers apart as the service should.
func (a ask) personID() string {
	return strings.Join([]string{
		a.kind, a.payload.order, a.payload.note, a.reference, a.person.id, a.card, fmt.Sprintf("%q", a.tag),
	}, " ")
}
