package loss

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// order is what a client wants, and what it was told.
type order struct {
	// name is the client's own. It is in the metadata, so that Stripe's records know it
	// without the service's help.
	name string
	// key is empty for an order without one.
	key      string
	manual   bool
	minor    int64
	currency string
	amount   string
	metadata map[string]string

	// captureKey is empty unless it is captured, and captureAmount for all of it.
	captureKey, captureAmount string
	captureMinor              int64

	mu sync.Mutex
	// first is the answer of 201, and captured that of its capture.
	first    *created
	captured *shown
	// paid and cancelled: what the customer, or the client, has done.
	paid, cancelled bool
	// refunds are what the client has asked to give back, and disputed: the bank has taken the money.
	refunds  []*givenBack
	disputed bool
}

// created is the answer of a create.
type created struct {
	ID        string      `json:"id"`
	Intent    string      `json:"stripe_payment_intent_id"`
	Secret    string      `json:"client_secret"`
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	Status    string      `json:"status"`
	CreatedAt string      `json:"created_at"`
}

// same tells whether two answers are about the same payment. The status may have moved.
func (c created) same(other created) bool {
	c.Status, other.Status = "", ""

	return c == other
}

// shown is a payment as GET shows it.
type shown struct {
	ID       string            `json:"id"`
	Intent   string            `json:"stripe_payment_intent_id"`
	Key      *string           `json:"idempotency_key"`
	Amount   json.Number       `json:"amount"`
	Currency string            `json:"currency"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`
	Captured json.Number       `json:"amount_captured"`
}

func drawOrder(r *rand.Rand, shop, name string) *order {
	o := &order{name: shop + "/" + name, key: name, metadata: map[string]string{"order": shop + "/" + name, "shop": shop}}

	if r.IntN(4) == 0 {
		o.currency, o.minor = "JPY", int64(r.IntN(90_000)+200)
		o.amount = strconv.FormatInt(o.minor, 10)
	} else {
		o.currency, o.minor = "USD", int64(r.IntN(99_000)+200)
		o.amount = fmt.Sprintf("%d.%02d", o.minor/100, o.minor%100)
	}

	if r.IntN(3) == 0 {
		o.metadata["note"] = strings.Repeat("ü", r.IntN(20)+1)
	}

	if r.IntN(4) == 0 {
		o.metadata["gift"] = "" // Stripe keeps no entry without a value
	}

	return o
}

// others are how many bodies ask for something else.
const others = 3

// body is the request. From 1 to others it asks for something else: another amount, one
// that Stripe does not take, or other metadata.
func (o *order) body(other int) string {
	amount, metadata := o.amount, maps.Clone(o.metadata)

	switch {
	case other == 0:
	case other == 1:
		amount = "1" + amount
	case other == 2 && o.currency == "USD":
		amount = "0.01" // Stripe takes none so small
	default:
		metadata["note"] = "something else"
	}

	body := map[string]any{"amount": json.Number(amount), "currency": o.currency, "metadata": metadata}
	if o.key != "" {
		body["idempotency_key"] = o.key
	}

	if o.manual {
		body["capture_method"] = "manual"
	}

	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // texts and numbers
	}

	return string(text)
}

func (o *order) answer() *created {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.first
}

// wants is the metadata that a read has to show.
func (o *order) wants() map[string]string { return o.metadata }
