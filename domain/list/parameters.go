// Package list holds what all lists have in common: how their parameters are read, and the
// cursors by which they go on.
package list

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
)

// The parameters of a page.
const (
	ParamLimit  = "limit"
	ParamCursor = "cursor"
)

const (
	defaultPage, maxPage = 20, 100
	// longestValue is in characters: no value that can be found is longer.
	longestValue = 500
)

// Parameter is one of the parameters that a list takes. F is what they are read into.
type Parameter[F any] struct {
	// Name is the API's, such as created[gte].
	Name string
	// Help says what its value means.
	Help string

	Read func(f *F, value string) error
}

// Parse reads a filter. The parameters are read in the order of the table, so that one may rest
// on another. what names what is listed, and others the parameters that are read elsewhere. The
// error of a wrong one names it and is fault.Invalid.
func Parse[F any](what string, table []Parameter[F], values map[string][]string, others ...string) (f F, err error) {
	names := make([]string, 0, len(table)+len(others))
	for _, p := range table {
		names = append(names, p.Name)
	}

	names = append(names, others...)

	for _, name := range slices.Sorted(maps.Keys(values)) { // so that the same mistake gets the same answer
		if !slices.Contains(names, name) {
			return f, fault.Newf(fault.Invalid, "%s is an unknown filter; %s are filtered by %s",
				Shown(name), what, strings.Join(names, ", "))
		}
	}

	for _, p := range table {
		given, ok := values[p.Name]
		if !ok {
			continue
		}

		value, err := One(p.Name, given)
		if err != nil {
			return f, err
		}

		if err := p.Read(&f, value); err != nil {
			return f, Wrong(p.Name, err)
		}
	}

	return f, nil
}

// Wrong names the parameter that is wrong.
func Wrong(name string, err error) error {
	return fault.Newf(fault.Invalid, "%s: %s", Shown(name), fault.From(err).Detail)
}

// Shown is a name that a client made up, short enough for an answer.
func Shown(name string) string {
	const most = 60

	return fault.Shorten(strings.ToValidUTF8(name, "�"), most)
}

// One is the parameter's only value. The error is fault.Invalid.
func One(name string, values []string) (string, error) {
	value := ""
	if len(values) > 0 {
		value = values[0]
	}

	switch {
	case len(values) > 1:
		return "", fault.Newf(fault.Invalid, "%s is given more than once", Shown(name))
	case value == "":
		return "", fault.Newf(fault.Invalid, "%s has no value; give one, or leave it out", Shown(name))
	case utf8.RuneCountInString(value) > longestValue:
		return "", fault.Newf(fault.Invalid, "%s is over %d characters", Shown(name), longestValue)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", fault.Newf(fault.Invalid, "%s is not valid text", Shown(name))
	default:
		return value, nil
	}
}

// Limit is how many entries a page has. The error is fault.Invalid.
func Limit(values map[string][]string) (int, error) {
	if _, given := values[ParamLimit]; !given {
		return defaultPage, nil
	}

	text, err := One(ParamLimit, values[ParamLimit])
	if err != nil {
		return 0, err
	}

	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxPage || strconv.Itoa(limit) != text {
		return 0, fault.Newf(fault.Invalid, "limit must be a whole number from 1 to %d", maxPage)
	}

	return limit, nil
}

// Filters are the parameters that choose what is listed: all but those of a page.
func Filters(values map[string][]string) map[string][]string {
	rest := maps.Clone(values)
	delete(rest, ParamLimit)
	delete(rest, ParamCursor)

	return rest
}

// NoPage refuses the parameters of a page to an export, which has all that fits.
func NoPage(what string, values map[string][]string) error {
	for _, name := range []string{ParamLimit, ParamCursor} {
		if _, given := values[name]; given {
			return fault.Newf(fault.Invalid, "%s is for pages; an export has all %s that fit", name, what)
		}
	}

	return nil
}

// Span is a part of time: from From, and before Before. A bound that is zero is none.
// PostgreSQL keeps microseconds, so these are whole ones.
type Span struct{ From, Before time.Time }

// Times are the four parameters of a span, such as created[gte]. of is where a filter keeps it.
func Times[F any](name, verb string, of func(f *F) *Span) []Parameter[F] {
	bound := func(take func(s *Span, t time.Time)) func(f *F, value string) error {
		return func(f *F, value string) error {
			return readTime(value, func(t time.Time) { take(of(f), t) })
		}
	}
	after := func(t time.Time) time.Time { return t.Truncate(time.Microsecond).Add(time.Microsecond) }

	return []Parameter[F]{
		{name + "[gte]", verb + " at this time (RFC 3339) or later", bound(func(s *Span, t time.Time) { s.notBefore(ceil(t)) })},
		{name + "[gt]", verb + " after this time", bound(func(s *Span, t time.Time) { s.notBefore(after(t)) })},
		{name + "[lte]", verb + " at this time or before", bound(func(s *Span, t time.Time) { s.before(after(t)) })},
		{name + "[lt]", verb + " before this time", bound(func(s *Span, t time.Time) { s.before(ceil(t)) })},
	}
}

func (s *Span) notBefore(t time.Time) {
	if t.After(s.From) {
		s.From = t
	}
}

func (s *Span) before(t time.Time) {
	if s.Before.IsZero() || t.Before(s.Before) {
		s.Before = t
	}
}

// Has tells whether a time is in the span.
func (s *Span) Has(t time.Time) bool {
	return !t.Before(s.From) && (s.Before.IsZero() || t.Before(s.Before))
}

// ceil is the first whole microsecond that is not before t.
func ceil(t time.Time) time.Time {
	return t.Add(time.Microsecond - 1).Truncate(time.Microsecond)
}

func readTime(value string, take func(time.Time)) error {
	t, err := time.Parse(time.RFC3339, value)

	switch {
	case err == nil && t.Year() > 0:
		take(t.UTC())

		return nil
	case strings.Contains(value, " "):
		return fault.New(fault.Invalid, "must be a time such as 2026-01-31T00:00:00Z; in an address write + as %2B")
	default:
		return fault.New(fault.Invalid, "must be a time such as 2026-01-31T00:00:00Z (RFC 3339)")
	}
}

// Range is a part of the amounts of one currency, both bounds included. One that is zero is none.
type Range struct{ From, To money.Money }

// Amounts are the four parameters of a range. of is where a filter keeps its currency and its
// range. They stand after the currency in a table.
func Amounts[F any](of func(f *F) (money.Currency, *Range)) []Parameter[F] {
	// A bound that is itself out is the next amount, off minor units away.
	bound := func(take func(r *Range, m money.Money), off int64) func(f *F, value string) error {
		return func(f *F, value string) error {
			currency, amounts := of(f)
			if currency.Code() == "" {
				return fault.New(fault.Invalid, "an amount needs a currency; add currency=USD, for example")
			}

			price, err := money.ParsePrice(value, currency)
			if err != nil {
				return err
			}

			take(amounts, money.Of(price.Minor()+off, currency))

			return nil
		}
	}

	return []Parameter[F]{
		{"amount[gte]", "of this amount or more, in major units; needs a currency", bound((*Range).atLeast, 0)},
		{"amount[gt]", "of more than this amount", bound((*Range).atLeast, 1)},
		{"amount[lte]", "of this amount or less", bound((*Range).atMost, 0)},
		{"amount[lt]", "of less than this amount", bound((*Range).atMost, -1)},
	}
}

func (r *Range) atLeast(m money.Money) {
	if r.From.IsZero() || m.Minor() > r.From.Minor() {
		r.From = m
	}
}

func (r *Range) atMost(m money.Money) {
	if r.To.IsZero() || m.Minor() < r.To.Minor() {
		r.To = m
	}
}

// ID reads the id of something of ours. The error is fault.Invalid.
func ID(value, what string) (uuid.UUID, error) {
	id, err := uuid.Parse(value)
	if err != nil || id == uuid.Nil || id.String() != value {
		return uuid.Nil, fault.Newf(fault.Invalid, "must be the id of a %s, a UUID in lower case", what)
	}

	return id, nil
}
