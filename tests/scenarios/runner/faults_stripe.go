package runner

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// Where objects are created.
const (
	intentsPath = "/v1/payment_intents"
	personsPath = "/v1/customers"
	refundsPath = "/v1/refunds"
)

// operationKind is a kind of operation, and where Stripe is asked to do it.
type operationKind struct{ name, method, path string }

func operationKinds() []operationKind {
	return []operationKind{
		{kindCreate, http.MethodPost, intentsPath},
		{kindConfirm, http.MethodPost, intentsPath + "/*/confirm"},
		{kindCapture, http.MethodPost, intentsPath + "/*/capture"},
		{kindCancel, http.MethodPost, intentsPath + "/*/cancel"},
		{kindUpdate, http.MethodPost, intentsPath + "/*"},
		{kindRefund, http.MethodPost, refundsPath},
		{kindCancelRefund, http.MethodPost, refundsPath + "/*/cancel"},
		{kindEvidence, http.MethodPost, disputesPath + "/*"},
		{kindAccept, http.MethodPost, disputesPath + "/*/close"},
		{kindCreatePerson, http.MethodPost, personsPath},
		{kindUpdatePerson, http.MethodPost, personsPath + "/*"},
		{kindDeletePerson, http.MethodDelete, personsPath + "/*"},
		{kindSetup, http.MethodPost, "/v1/setup_intents"},
		{kindDetach, http.MethodPost, "/v1/payment_methods/*/detach"},
	}
}

// ofKind is the name of a fault that meets one kind.
func ofKind(name string, kind operationKind) string { return name + ", " + kind.name }

// stripeFaults: the API answers late, wrongly or not at all.
func stripeFaults() []fault {
	const invalidRequest = "invalid_request_error"

	rules := map[string]sandbox.Fault{
		"stripe: slow before execution":    {Action: sandbox.Latency, P50: 150 * time.Millisecond, P99: time.Second, Count: 10},
		"stripe: slow after execution":     {Action: sandbox.LatencyAfter, P50: 150 * time.Millisecond, P99: time.Second, Count: 10},
		"stripe: reset before execution":   {Action: sandbox.DropBefore},
		"stripe: reset after execution":    {Action: sandbox.DropAfter},
		"stripe: hangs one call":           {Action: sandbox.HangRequest},
		"stripe: holds before execution":   {Action: sandbox.HoldBefore},
		"stripe: holds after execution":    {Action: sandbox.Hold},
		"stripe: reset in mid-body":        {Action: sandbox.ResetBody},
		"stripe: truncated 200":            {Action: sandbox.Truncate},
		"stripe: 200 {}":                   {Action: sandbox.EmptyObject},
		"stripe: proxy's 502, executed":    {Action: sandbox.HTML},
		"stripe: proxy's 502, not reached": {Action: sandbox.HTMLBefore},
		"stripe: stored 500 that worked":   {Action: sandbox.Saved500},
		"stripe: 500 that did nothing":     {Action: sandbox.Error, Status: 500, Type: "api_error"},
		"stripe: 409":                      {Action: sandbox.Error, Status: 409, Code: "idempotency_key_in_use"},
		"stripe: 424":                      {Action: sandbox.Error, Status: 424, Type: "api_error"},
		"stripe: 429":                      {Action: sandbox.Error, Status: 429, Type: invalidRequest, Code: "rate_limit"},
		"stripe: account not activated":    {Action: sandbox.Error, Status: 400, Type: invalidRequest, Code: "testmode_charges_only"},
		"stripe: no such URL":              {Action: sandbox.Error, Status: 404, Type: invalidRequest},
		"stripe: 401":                      {Action: sandbox.Error, Status: 401, Type: invalidRequest},
	}

	var faults []fault

	for name, rule := range rules {
		for _, kind := range operationKinds() {
			rule.Method, rule.Path = kind.method, kind.path
			faults = append(faults, fault{name: ofKind(name, kind), play: playRule(ofKind(name, kind), rule)})
		}
	}

	for name, rule := range map[string]sandbox.Fault{
		"stripe: read slowly":         {Action: sandbox.LatencyAfter, P50: 150 * time.Millisecond, P99: time.Second, Count: 30},
		"stripe: read and held":       {Action: sandbox.Hold},
		"stripe: reset while read":    {Action: sandbox.DropAfter},
		"stripe: reading hangs":       {Action: sandbox.HangRequest},
		"stripe: reads truncated":     {Action: sandbox.Truncate},
		"stripe: reads of 200 {}":     {Action: sandbox.EmptyObject},
		"stripe: reads answered 500":  {Action: sandbox.Error, Status: 500, Type: "api_error"},
		"stripe: reads answered 429":  {Action: sandbox.Error, Status: 429, Type: invalidRequest, Code: "rate_limit"},
		"stripe: reads without a URL": {Action: sandbox.Error, Status: 404, Type: invalidRequest},
	} {
		for path, of := range map[string]string{
			intentsPath + "/*": "a payment", personsPath + "/*": "a customer", disputesPath: "a payment's disputes",
		} {
			rule.Method, rule.Path = http.MethodGet, path
			faults = append(faults, fault{name: name + ", " + of, play: playRule(name+", "+of, rule)})
		}
	}

	return append(faults, again("stripe: answers nobody", playOutage))
}

// playRule puts a rule in force for some calls of a kind. Where it counts several, it also
// meets the attempts that follow the first.
func playRule(name string, rule sandbox.Fault) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		rule := rule

		rule.Nth = r.IntN(4) + 1

		if rule.Count == 0 {
			rule.Count = r.IntN(5) + 1
		}

		soon(ctx, r)
		w.line.addf("stripe", "%s: %d from the %d. on", name, rule.Count, rule.Nth)

		id, fired := w.inForce(ctx, rule)
		if fired {
			w.count(name, 1)
		}

		if rule.Action == sandbox.Hold || rule.Action == sandbox.HoldBefore {
			wait(ctx, between(r, 50*time.Millisecond, 2500*time.Millisecond))

			_ = w.stripe.ReleaseFault(id)
		}

		w.countRule(ctx, name, id)
	}
}

// inForce puts a rule in force and returns once it has fired or ctx ends. Of the
// rules that match a call only the oldest acts, but all of them count the call. A
// rule that has counted its last call without acting is put in force again.
func (w *world) inForce(ctx context.Context, rule sandbox.Fault) (id string, fired bool) {
	for {
		status, err := w.stripe.AddFault(rule)
		if err != nil {
			panic(err) // the table is wrong
		}

		if w.fires(ctx, status.ID) || ctx.Err() != nil {
			return status.ID, ctx.Err() == nil
		}

		_ = w.stripe.RemoveFault(status.ID)
	}
}

// fires waits until a rule has counted its last call and tells whether it has acted.
func (w *world) fires(ctx context.Context, id string) bool {
	const counted = time.Second // a call that was counted may have to wait before the rule acts

	if until(ctx, "rule", func() bool {
		now, err := w.stripe.Fault(id)

		return err != nil || now.Fired > 0 || now.Matched >= now.Nth+now.Count-1
	}) != nil {
		return false
	}

	ctx, cancel := context.WithTimeout(ctx, counted)
	defer cancel()

	return w.stripe.WaitFault(ctx, id, 1) == nil
}

// countRule waits for ctx's end, counts how often a rule has fired by then beyond
// the first time, and removes it.
func (w *world) countRule(ctx context.Context, name, id string) {
	<-ctx.Done()

	if now, err := w.stripe.Fault(id); err == nil && now.Fired > 0 {
		w.count(name, now.Fired-w.times(name))
		w.line.addf("stripe", "%s: fired %d times", name, now.Fired)
	}

	_ = w.stripe.RemoveFault(id)
}

// playOutage lets Stripe accept every call and answer none for a while.
func playOutage(ctx context.Context, w *world, r *rand.Rand) {
	soon(ctx, r)

	_, already := w.stripe.Hung()

	w.line.addf("stripe", "answers nobody")
	w.stripe.Hang(true)
	wait(ctx, between(r, 300*time.Millisecond, 1200*time.Millisecond))
	w.stripe.Hang(false)

	_, caught := w.stripe.Hung()
	w.count("stripe: answers nobody", caught-already)
	w.line.addf("stripe", "answers again; %d calls were caught", caught-already)
}
