package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// errTrigger is returned for an event that nothing can be made to cause, and for
// a sandbox that answers something else than expected.
var errTrigger = errors.New("trigger")

// Client calls a sandbox that runs, by its address and a secret key.
type Client struct {
	URL string
	Key string
}

// step is one call of the API; {name} in its path is what an earlier step left.
type step struct {
	path string
	form string
	get  bool // instead of POST
	del  bool // DELETE instead of POST
	// status is what is expected (default 200).
	status int
	// keep takes a field of the answer over, under a name for later paths.
	keep map[string]string
}

// keptIntent is what recipes call the payment.
const keptIntent = "intent"

const cardForm = "amount=2000&currency=usd&payment_method_types[]=card&description=(created by trigger)"

// paying are the steps to a payment with a card.
func paying(card, more string) []step {
	return []step{{
		path: intentsURL, form: cardForm + "&confirm=true&payment_method=" + card + more,
		keep: map[string]string{keptIntent: "id", "charge": latestCharge},
	}}
}

// then appends a step to others.
func then(steps []step, more ...step) []step { return slices.Concat(steps, more) }

// recipes are the steps to each event.
//
//nolint:gochecknoglobals // a table, never written
var recipes = recipeTable()

func recipeTable() map[string][]step {
	const card, manual = "pm_card_visa", "&capture_method=manual"

	refund := func(card string) []step {
		return then(paying(card, ""), step{
			path: "/v1/refunds", form: "payment_intent={intent}", keep: map[string]string{"refund": "id"},
		})
	}
	declined := []step{{
		path: intentsURL, form: cardForm + "&confirm=true&payment_method=pm_card_chargeDeclined",
		status: http.StatusPaymentRequired, keep: map[string]string{keptIntent: "error.payment_intent.id"},
	}}
	debit := []step{{
		path: intentsURL, form: strings.Replace(cardForm, "types[]=card", "types[]="+typeOfBank, 1) +
			"&confirm=true&payment_method=pm_usBankAccount_success", keep: map[string]string{keptIntent: "id"},
	}}
	dispute := paying("pm_card_createDispute", "")
	closing := func(evidence string) []step {
		return then(dispute, step{
			path: "/v1/disputes?charge={charge}", get: true, keep: map[string]string{"dispute": "data.0.id"},
		}, step{path: "/v1/disputes/{dispute}", form: "evidence[uncategorized_text]=" + evidence})
	}

	table := map[string][]step{
		"payment_intent.created": {{
			path: intentsURL, form: cardForm, keep: map[string]string{keptIntent: "id"},
		}},
		"payment_intent.requires_action":           paying("pm_card_authenticationRequired", ""),
		"payment_intent.succeeded":                 paying(card, ""),
		"payment_intent.payment_failed":            declined,
		"payment_intent.amount_capturable_updated": paying(card, manual),
		"payment_intent.canceled": then(paying(card, manual), step{
			path: intentsURL + "/{intent}/cancel", form: "cancellation_reason=abandoned",
		}),
		"payment_intent.processing": debit,
		"charge.pending":            debit,
		"charge.succeeded":          paying(card, ""),
		"charge.failed":             declined,
		"charge.captured":           then(paying(card, manual), step{path: intentsURL + "/{intent}/capture"}),
		"charge.expired":            then(paying(card, manual), step{path: "/_sandbox/payment_intents/{intent}/lapse"}),
		"charge.refunded":           refund(card),
		"charge.refund.updated":     then(refund(card), step{path: "/v1/refunds/{refund}", form: "metadata[triggered]=true"}),
		"charge.updated":            then(refund("pm_card_refundRequiresAction"), step{path: "/v1/refunds/{refund}/cancel"}),
		"refund.created":            refund(card),
		"refund.updated":            then(refund(card), step{path: "/v1/refunds/{refund}", form: "metadata[triggered]=true"}),
		"refund.failed":             refund("pm_card_refundFail"),

		"charge.dispute.created":          dispute,
		"charge.dispute.funds_withdrawn":  dispute,
		"charge.dispute.updated":          closing("a letter"),
		"charge.dispute.closed":           closing("losing_evidence"),
		"charge.dispute.funds_reinstated": closing("winning_evidence"),

		"radar.early_fraud_warning.created": paying("pm_card_createIssuerFraudRecord", ""),
		"radar.early_fraud_warning.updated": refund("pm_card_createIssuerFraudRecord"),
	}
	maps.Copy(table, walletRecipes())

	return table
}

// TriggerEvents are the types of events that Trigger can cause.
func TriggerEvents() []string { return slices.Sorted(maps.Keys(recipes)) }

// Trigger makes a running sandbox do what leads to an event of the given type,
// with objects of their own, and returns the id of the payment, customer or setup
// intent that it is about. The event itself may come a little later: a refund
// fails, and a dispute is decided, only after the sandbox's SettleDelay.
func (c Client) Trigger(ctx context.Context, event string) (intentID string, err error) {
	steps, known := recipes[event]
	if !known {
		return "", fmt.Errorf("%w: nothing is known to cause %q; there are %s", errTrigger, event,
			strings.Join(TriggerEvents(), ", "))
	}

	kept := map[string]string{}

	for _, s := range steps {
		if err := c.take(ctx, s, kept); err != nil {
			return "", err
		}
	}

	return kept[keptIntent], nil
}

func (c Client) take(ctx context.Context, s step, kept map[string]string) error {
	filled := func(text string) string {
		for name, value := range kept {
			text = strings.ReplaceAll(text, "{"+name+"}", value)
		}

		return text
	}

	method, want := http.MethodPost, s.status
	switch {
	case s.get:
		method = http.MethodGet
	case s.del:
		method = http.MethodDelete
	}

	if want == 0 {
		want = http.StatusOK
	}

	status, answer, err := c.Call(ctx, method, filled(s.path), filled(s.form))
	if err != nil {
		return err
	}

	if status != want {
		return fmt.Errorf("%w: %s %s answered %d: %s", errTrigger, method, filled(s.path), status, pick(answer, "error.message"))
	}

	for name, path := range s.keep {
		kept[name] = pick(answer, path)
	}

	return nil
}

// pick reads a text at a path such as data.0.id; empty where there is none.
func pick(value any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		switch at := value.(type) {
		case map[string]any:
			value = at[name]
		case []any:
			value = nil
			if len(at) > 0 {
				value = at[0]
			}
		}
	}

	text, _ := value.(string)

	return text
}

// callTimeout is how long a sandbox may take to answer a Client.
const callTimeout = 30 * time.Second

// Call sends a form to the sandbox's API and decodes the answer, whatever its
// status.
func (c Client) Call(ctx context.Context, method, path, form string) (status int, answer map[string]any, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	fields, err := url.ParseQuery(form)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the form: %w", err)
	}

	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path,
		strings.NewReader(fields.Encode()))
	if err != nil {
		return 0, nil, fmt.Errorf("making the request: %w", err)
	}

	request.Header.Set("Authorization", "Bearer "+c.Key)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("calling the sandbox: %w", err)
	}

	defer func() { _ = response.Body.Close() }() // it was only read

	if err := json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&answer); err != nil {
		return response.StatusCode, nil, fmt.Errorf("%w: %s %s answered %d and no JSON", errTrigger, method, path,
			response.StatusCode)
	}

	return response.StatusCode, answer, nil
}
