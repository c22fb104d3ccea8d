package sandbox

import (
	"crypto/sha256"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits on what a request may carry, so that no body costs more than it is
// worth: Stripe's own largest requests stay far below them.
const (
	maxFormFields = 2000
	maxFormDepth  = 8
)

// form is a decoded application/x-www-form-urlencoded body with the nesting
// that Stripe gives it: metadata[order_id]=7, expand[]=latest_charge,
// expand[0]=latest_charge. Order is kept; an array is a form whose names are
// its indexes.
type form struct {
	fields []*field
}

type field struct {
	name  string
	value string
	// nested is set instead of value when the name was followed by brackets.
	nested *form
	// read is true once a handler asked for the field. What nobody read is an
	// unknown parameter, and Stripe refuses those.
	read bool
}

// parseForm decodes a query string or body.
func parseForm(text string) (*form, *refusal) {
	root := &form{}

	for count := 0; text != ""; count++ {
		if count == maxFormFields {
			return nil, invalid("Invalid request: too many parameters.", "", "")
		}

		var pair string

		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}

		if r := root.add(pair); r != nil {
			return nil, r
		}
	}

	return root, nil
}

func (f *form) add(pair string) *refusal {
	rawKey, rawValue, _ := strings.Cut(pair, "=")

	key, err := url.QueryUnescape(rawKey)
	if err != nil {
		return invalid("Invalid request: the parameter name "+strconv.Quote(rawKey)+" is not URL-encoded.", "", "")
	}

	value, err := url.QueryUnescape(rawValue)
	if err != nil {
		return invalid("Invalid request: the value of "+key+" is not URL-encoded.", key, "")
	}

	path, ok := splitKey(key)
	if !ok {
		return invalid("Invalid request: the parameter name "+strconv.Quote(key)+" is malformed.", key, "")
	}

	return f.put(path, key, value)
}

// splitKey turns a[b][c] into a, b, c.
func splitKey(key string) ([]string, bool) {
	name, rest, nested := strings.Cut(key, "[")
	if name == "" {
		return nil, false
	}

	path := []string{name}

	for nested {
		var (
			part   string
			closed bool
		)

		part, rest, closed = strings.Cut(rest, "]")
		if !closed || len(path) == maxFormDepth {
			return nil, false
		}

		path = append(path, part)

		if rest == "" {
			break
		}

		if rest[0] != '[' {
			return nil, false
		}

		rest = rest[1:]
	}

	return path, true
}

func (f *form) put(path []string, key, value string) *refusal {
	at := f

	for i, name := range path {
		last := i == len(path)-1

		if name == "" { // a[]: the next element
			name = strconv.Itoa(len(at.fields))
		}

		member := at.find(name)
		if member == nil {
			member = &field{name: name}
			at.fields = append(at.fields, member)

			if !last {
				member.nested = &form{}
			}
		}

		if last != (member.nested == nil) {
			return invalid("Invalid request: "+key+" is both a value and a hash.", key, "")
		}

		if last {
			member.value = value
		}

		at = member.nested
	}

	return nil
}

func (f *form) find(name string) *field {
	for _, member := range f.fields {
		if member.name == name {
			return member
		}
	}

	return nil
}

// fingerprint identifies the parsed parameters whatever their order and
// spelling on the wire: what Stripe's idempotency layer compares.
type fingerprint [sha256.Size]byte

func (f *form) fingerprint() fingerprint {
	digest := sha256.New()
	f.hash(digest)

	var sum fingerprint

	digest.Sum(sum[:0])

	return sum
}

func (f *form) hash(digest hash.Hash) {
	sorted := slices.Clone(f.fields)
	slices.SortFunc(sorted, func(a, b *field) int { return strings.Compare(a.name, b.name) })

	var line []byte

	for _, member := range sorted {
		line = strconv.AppendQuote(line[:0], member.name)

		if member.nested == nil {
			line = append(line, '=')
			line = strconv.AppendQuote(line, member.value)
			digest.Write(line)

			continue
		}

		digest.Write(append(line, '{'))
		member.nested.hash(digest)
		digest.Write([]byte{'}'})
	}
}

// params reads a form with Stripe's rules and collects the first thing wrong
// with it, so that a handler reads everything first and checks once.
type params struct {
	form   *form
	prefix string
	state  *paramState
}

// paramState is shared by a request's params and their children.
type paramState struct {
	refusal *refusal
	// pageYear is the year of the sandbox's clock for a customer's page, which may
	// send the numbers of test cards, and 0 for everyone else.
	pageYear int64
}

func newParams(f *form) *params {
	return &params{form: f, state: &paramState{}}
}

// path is the parameter's full name, as error messages give it.
func (p *params) path(name string) string {
	if p.prefix == "" {
		return name
	}

	return p.prefix + "[" + name + "]"
}

// refuse keeps the first refusal.
func (p *params) refuse(r *refusal) {
	if p.state.refusal == nil {
		p.state.refusal = r
	}
}

// take finds a field and marks it as read.
func (p *params) take(name string) *field {
	if p == nil || p.form == nil {
		return nil
	}

	member := p.form.find(name)
	if member != nil {
		member.read = true
	}

	return member
}

// has tells whether a parameter was sent, without reading it.
func (p *params) has(name string) bool {
	return p != nil && p.form != nil && p.form.find(name) != nil
}

// text reads a string. Where an empty value would unset the field, ask unset
// first: Stripe refuses empty strings elsewhere.
func (p *params) text(name string) string {
	value, _ := p.scalar(name)
	if value == "" && p.has(name) && p.state.refusal == nil {
		p.refuse(emptyParam(p.path(name)))
	}

	return value
}

// textOrEmpty reads a string that may be unset by sending it empty.
func (p *params) textOrEmpty(name string) (value string, sent bool) {
	return p.scalar(name)
}

func (p *params) scalar(name string) (string, bool) {
	member := p.take(name)
	if member == nil {
		return "", false
	}

	if member.nested != nil {
		p.refuse(invalid("Invalid string: "+p.path(name)+" was sent as a hash or an array.", p.path(name), ""))
		markRead(member.nested)

		return "", false
	}

	return member.value, true
}

func emptyParam(path string) *refusal {
	return invalid("You passed an empty string for '"+path+"'. We assume empty values are an attempt to unset a field; "+
		"however '"+path+"' cannot be unset. You should remove '"+path+"' from your request or supply a non-empty value.",
		path, codeParameterInvalidEmpty)
}

// required reads a string that must be there.
func (p *params) required(name string) string {
	if !p.has(name) {
		p.refuse(invalid("Missing required param: "+p.path(name)+".", p.path(name), codeParameterMissing))

		return ""
	}

	return p.text(name)
}

// integer reads a whole number; sent tells whether there was one.
func (p *params) integer(name string) (value int64, sent bool) {
	text := p.text(name)
	if text == "" {
		return 0, false
	}

	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.refuse(invalid("Invalid integer: "+text, p.path(name), codeParameterInvalidInteger))

		return 0, false
	}

	return value, true
}

// How forms and headers spell booleans.
const (
	textTrue  = "true"
	textFalse = "false"
)

// boolean reads true or false; sent tells whether there was one.
func (p *params) boolean(name string) (value, sent bool) {
	switch text := p.text(name); text {
	case "":
		return false, false
	case textTrue:
		return true, true
	case textFalse:
		return false, true
	default:
		p.refuse(invalid("Invalid boolean: "+text, p.path(name), ""))

		return false, false
	}
}

// oneOf reads a string of a closed set.
func (p *params) oneOf(name string, allowed ...string) string {
	text := p.text(name)
	if text == "" || slices.Contains(allowed, text) {
		return text
	}

	last := len(allowed) - 1
	choices := allowed[last]

	if last > 0 {
		choices = strings.Join(allowed[:last], ", ") + ", or " + choices
	}

	p.refuse(invalid("Invalid "+p.path(name)+": must be one of "+choices, p.path(name), ""))

	return ""
}

// child reads a nested hash; nil when it was not sent.
func (p *params) child(name string) *params {
	member := p.take(name)
	if member == nil {
		return nil
	}

	if member.nested == nil {
		if member.value != "" {
			p.refuse(invalid("Invalid object", p.path(name), ""))
		}

		return nil
	}

	return &params{form: member.nested, prefix: p.path(name), state: p.state}
}

// list reads an array of strings.
func (p *params) list(name string) []string {
	member := p.take(name)
	if member == nil {
		return nil
	}

	if member.nested == nil {
		if member.value != "" {
			p.refuse(invalid("Invalid array", p.path(name), ""))
		}

		return nil
	}

	values := make([]string, 0, len(member.nested.fields))

	for _, element := range member.nested.fields {
		element.read = true

		if element.nested != nil {
			p.refuse(invalid("Invalid string", p.path(name)+"["+element.name+"]", ""))
			markRead(element.nested)

			continue
		}

		values = append(values, element.value)
	}

	return values
}

func markRead(f *form) {
	for _, member := range f.fields {
		member.read = true

		if member.nested != nil {
			markRead(member.nested)
		}
	}
}

// finish returns what is wrong with the parameters, unknown ones first.
func (p *params) finish() *refusal {
	var unknown []string

	p.form.unread("", &unknown)

	if len(unknown) == 0 {
		return p.state.refusal
	}

	for _, name := range unknown {
		if root, _, _ := strings.Cut(name, "["); slices.Contains(leftOut, root) {
			return notSupported(name)
		}
	}

	noun := "parameter"
	if len(unknown) > 1 {
		noun = "parameters"
	}

	return invalid("Received unknown "+noun+": "+strings.Join(unknown, ", "), unknown[0], codeParameterUnknown)
}

func notSupported(name string) *refusal {
	return invalid("The sandbox does not support the parameter "+name+" yet: see what its README leaves out.", name, "")
}

// leftOut are parameters that Stripe knows and the sandbox does not: refusing
// them in Stripe's words for unknown ones would be a lie.
//
//nolint:gochecknoglobals,goconst // a table, never written
var leftOut = []string{
	objectAccount, "allow_redisplay", "application_fee_amount", "cash_balance", "confirmation_token", "coupon",
	"currency_options", "default_source", "excluded_payment_method_types", "flow_directions", "instructions_email",
	"mandate", "mandate_data", onBehalfOf, "origin", "payment_method_configuration", "payment_method_data",
	"payment_method_options", "payout", "promotion_code", "radar_options", "refund_application_fee", "reverse_transfer",
	"single_use", "source", "tax", "tax_id_data", "test_clock", "transfer_data",
}

func (f *form) unread(prefix string, into *[]string) {
	for _, member := range f.fields {
		name := member.name
		if prefix != "" {
			name = prefix + "[" + name + "]"
		}

		switch {
		case !member.read:
			*into = append(*into, name)
		case member.nested != nil:
			member.nested.unread(name, into)
		}
	}
}
