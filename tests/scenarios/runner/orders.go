package runner

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// payload is what a create asks for.
type payload struct {
	// amount is in major units; spellings are other ways to write it.
	amount    string
	spellings []string
	minor     int64
	currency  string
	// manual: the money is only held until it is captured.
	manual bool
	// order is unique to a key or, without one, to a request. It is in the
	// metadata, so that the sandbox's records know it without the service's help.
	order string
	note  string
	// person is the customer who pays, or nobody, and card is what is paid with at once.
	person person
	card   string
	// tiny: Stripe rejects the amount because it is too small.
	tiny bool
}

// firstNote is the note of what a key was first made for.
const firstNote = "first"

// id tells payloads apart as the service should.
func (p payload) id() string { return p.atStripe() + " " + p.person.id + " " + p.card }

// atStripe is what an intent shows of it.
func (p payload) atStripe() string {
	return fmt.Sprintf("%d %s %t %s %s", p.minor, p.currency, p.manual, p.order, p.note)
}

func drawPayload(r *rand.Rand, order, note string) payload {
	p := payload{order: order, note: note, manual: r.IntN(2) == 0}

	switch r.IntN(5) {
	case 0:
		n := int64(r.IntN(90_000) + 100)
		p.currency, p.minor = "JPY", n
		p.spellings = []string{fmt.Sprintf("%d.0", n), fmt.Sprintf(`"%d"`, n)}
	case 1:
		n := int64(r.IntN(9000)+100) * 10 // the third decimal is always 0
		p.currency, p.minor = "KWD", n
		p.spellings = []string{fmt.Sprintf("%de-3", n)}
	default:
		n := int64(r.IntN(99_000) + 100)
		p.currency, p.minor = "USD", n
		p.spellings = []string{fmt.Sprintf("%de-2", n), fmt.Sprintf(`"%s"`, amountOf(n, "USD")), amountOf(n, "USD") + "0"}
	}

	if r.IntN(40) == 0 {
		p.currency, p.minor, p.tiny = "USD", 7, true
		p.spellings = []string{"7e-2"}
	}

	p.amount = amountOf(p.minor, p.currency)

	return p
}

// amountOf writes an amount in major units.
func amountOf(minor int64, currency string) string {
	switch currency {
	case "JPY":
		return strconv.FormatInt(minor, 10)
	case "KWD":
		return fmt.Sprintf("%d.%03d", minor/1000, minor%1000)
	default:
		return fmt.Sprintf("%d.%02d", minor/100, minor%100)
	}
}

// drawChange draws a capture or a cancel of a payment.
func (c *client) drawChange(p known) ask {
	if c.r.IntN(3) == 0 {
		return c.drawCancel(p)
	}

	return c.drawCapture(p)
}

func (c *client) drawCancel(p known) ask {
	reasons := []string{"", "duplicate", "fraudulent", "requested_by_customer", "abandoned"}

	return ask{kind: kindCancel, on: p, reason: reasons[c.r.IntN(len(reasons))]}
}

// drawCapture captures all, by name or without an amount, or a part; now and then more than
// there is.
func (c *client) drawCapture(p known) ask {
	const step = 10 // amounts of KWD end in 0

	a := ask{kind: kindCapture, on: p}

	switch draw := c.r.IntN(10); {
	case draw < 4:
	case draw < 6:
		a.minor = p.payload.minor
	case draw < 9:
		a.minor = max(step, p.payload.minor/int64(c.r.IntN(4)+2)/step*step)
	default:
		a.minor = p.payload.minor + step
	}

	return a
}

// of is the same, asked of another payment. What it asks for is an amount in that one's currency.
func (a ask) of(p known) ask {
	const step = 10 // amounts of KWD end in 0

	a.on = p

	if p.payload.currency == "KWD" {
		a.minor = (a.minor + step - 1) / step * step
	}

	return a
}

// drawConfirm draws an attempt to pay.
func (c *client) drawConfirm(p known) ask {
	cards := []string{paysCard, paysCard, declinedCard, declinedCard, secureCard}

	return ask{kind: kindConfirm, on: p, card: cards[c.r.IntN(len(cards))]}
}

// drawUpdate sets or removes an entry of the metadata.
func (c *client) drawUpdate(p known) ask {
	tags := []string{"", "red", "blue", "ж & =%"}

	return ask{kind: kindUpdate, on: p, tag: tags[c.r.IntN(len(tags))]}
}

// captures is how much a capture takes.
func (a ask) captures() int64 {
	if a.minor == 0 {
		return a.on.payload.minor
	}

	return a.minor
}

func (a ask) path() string {
	if a.isPerson() {
		return a.personPath()
	}

	if a.isBelonging() {
		return a.belongingPath()
	}

	if a.kind == kindCreate {
		return "/payments"
	}

	if a.kind == kindUpdate {
		return "/payments/" + a.on.id
	}

	if a.kind == kindRefund {
		return "/payments/" + a.on.id + "/refunds"
	}

	return "/payments/" + a.on.id + "/" + a.kind
}

func (a ask) method() string {
	switch a.kind {
	case kindUpdate, kindUpdatePerson:
		return http.MethodPatch
	case kindDeletePerson, kindDetach:
		return http.MethodDelete
	default:
		return http.MethodPost
	}
}

// patch is the metadata of an update.
func (a ask) patch() string {
	value := "null"
	if a.tag != "" {
		value = strconv.Quote(a.tag)
	}

	mark := ""
	if a.mark {
		mark = `,"payment_id":"7"`
	}

	return `"metadata":{"tag":` + value + mark + `}`
}

// spell writes the request in one of many ways that mean the same.
func (a ask) spell(r *rand.Rand, key string) (body string, header http.Header) {
	var fields []string

	header = http.Header{}

	switch a.kind {
	case kindCreate:
		fields = a.payload.fields(r)
	case kindCapture:
		if a.minor > 0 {
			amount := amountOf(a.minor, a.on.payload.currency)
			if r.IntN(3) == 0 {
				amount = `"` + amount + `"`
			}

			fields = append(fields, `"amount":`+amount)
		}
	case kindCancel:
		if a.reason != "" {
			fields = append(fields, fmt.Sprintf(`"reason":%q`, a.reason))
		}
	case kindConfirm:
		fields = append(fields, fmt.Sprintf(`"payment_method":%q`, a.card), `"return_url":"https://shop.example/"`)
	case kindUpdate:
		fields = append(fields, a.patch())
	case kindRefund:
		fields = a.refundFields(key)
	case kindEvidence, kindAccept:
		fields = a.disputeFields()
	default:
		fields = a.personFields()
	}

	if key != "" && r.IntN(3) == 0 {
		header.Set("Idempotency-Key", key)
	} else if key != "" {
		fields = append(fields, fmt.Sprintf(`"idempotency_key":%q`, key))
	}

	if len(fields) == 0 && r.IntN(2) == 0 {
		return "", header
	}

	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	header.Set("Content-Type", "application/json")

	return "{" + strings.Join(fields, ",") + "}", header
}

// fields spells a payload.
func (p payload) fields(r *rand.Rand) []string {
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

	if p.person != (person{}) {
		fields = append(fields, fmt.Sprintf(`"customer_id":%q`, p.person.id))
	}

	if p.card != "" {
		fields = append(fields, fmt.Sprintf(`"payment_method":%q`, p.card), `"confirm":true`, `"off_session":true`)
	}

	switch {
	case p.manual:
		fields = append(fields, `"capture_method":"manual"`)
	case r.IntN(3) == 0:
		fields = append(fields, `"capture_method":"automatic"`)
	}

	return fields
}
