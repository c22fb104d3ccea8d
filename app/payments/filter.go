package payments

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// IndexedNames are the names of metadata by which payments can be found.
type IndexedNames []string

// FilterParameter is one of the parameters that a list of payments takes.
type FilterParameter struct {
	// Name is the API's, such as created[gte].
	Name string
	// Help says what its value means.
	Help string

	read func(f *filterTexts, value string) error
}

// FilterParameters is the table of what payments are filtered by. To add a parameter, add a
// line here, a field to ports.PaymentFilter and a condition to queries/payment_lists.sql. The
// parameter metadata[NAME], of which there may be several, is not in it.
func FilterParameters() []FilterParameter {
	return []FilterParameter{
		{keyStatus, "pending, succeeded, failed or cancelled", (*filterTexts).status},
		{"intent_status", "Stripe's own word, such as requires_capture", (*filterTexts).intentStatus},
		{"currency", "an ISO 4217 code", (*filterTexts).currency},
		{"created[gte]", "created at this time (RFC 3339) or later", (*filterTexts).createdFrom},
		{"created[gt]", "created after this time", (*filterTexts).createdAfter},
		{"created[lte]", "created at this time or before", (*filterTexts).createdUntil},
		{"created[lt]", "created before this time", (*filterTexts).createdBefore},
		{"amount[gte]", "of this amount or more, in major units; needs a currency", bound(fromAmount, 0)},
		{"amount[gt]", "of more than this amount", bound(fromAmount, 1)},
		{"amount[lte]", "of this amount or less", bound(toAmount, 0)},
		{"amount[lt]", "of less than this amount", bound(toAmount, -1)},
		{"idempotency_key", "created under this idempotency key", (*filterTexts).key},
		{"stripe_payment_intent_id", "with this intent (pi_…)", (*filterTexts).intentID},
		{"customer_id", "of this customer of yours", (*filterTexts).customerID},
		{"q", "an exact id of any kind: the payment's, its intent's, or its idempotency key", (*filterTexts).anyID},
	}
}

// The parameters of a page.
const paramLimit, paramCursor = "limit", "cursor"

// longestValue is in characters: no value that can be found is longer.
const longestValue = 500

// filterTexts reads parameters. Amounts wait until the currency is known.
type filterTexts struct {
	filter ports.PaymentFilter
	// name is the parameter that is read now.
	name    string
	amounts []func() error
}

// parseFilter reads a filter out of parameters. The error of a wrong one names it and is
// fault.Invalid.
func parseFilter(
	tenant operation.Tenant, values map[string][]string, indexed IndexedNames,
) (ports.PaymentFilter, error) {
	f := filterTexts{filter: ports.PaymentFilter{Tenant: tenant}}

	table := FilterParameters()

	for _, name := range slices.Sorted(maps.Keys(values)) { // so that the same mistake gets the same answer
		value, err := oneValue(name, values[name])
		if err != nil {
			return f.filter, err
		}

		f.name = name
		entry, isMetadata := metadataName(name)

		switch at := slices.IndexFunc(table, func(p FilterParameter) bool { return p.Name == name }); {
		case isMetadata:
			err = f.metadata(entry, value, indexed)
		case at >= 0:
			err = table[at].read(&f, value)
		default:
			return f.filter, fault.Newf(fault.Invalid, "%s is an unknown filter; payments are filtered by %s and metadata[NAME]",
				shown(name), strings.Join(namesOf(table), ", "))
		}

		if err != nil {
			return f.filter, wrongValue(name, err)
		}
	}

	for _, read := range f.amounts {
		if err := read(); err != nil {
			return f.filter, err
		}
	}

	return f.filter, nil
}

// wrongValue names the parameter that is wrong.
func wrongValue(name string, err error) error {
	return fault.Newf(fault.Invalid, "%s: %s", shown(name), fault.From(err).Detail)
}

// shown is a name that a client made up, short enough for an answer.
func shown(name string) string {
	const most = 60

	return fault.Shorten(strings.ToValidUTF8(name, "�"), most)
}

func namesOf(table []FilterParameter) []string {
	names := make([]string, 0, len(table))
	for _, p := range table {
		names = append(names, p.Name)
	}

	return names
}

// oneValue is the parameter's only value.
func oneValue(name string, values []string) (string, error) {
	value := ""
	if len(values) > 0 {
		value = values[0]
	}

	switch {
	case len(values) > 1:
		return "", fault.Newf(fault.Invalid, "%s is given more than once", shown(name))
	case value == "":
		return "", fault.Newf(fault.Invalid, "%s has no value; give one, or leave it out", shown(name))
	case utf8.RuneCountInString(value) > longestValue:
		return "", fault.Newf(fault.Invalid, "%s is over %d characters", shown(name), longestValue)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", fault.Newf(fault.Invalid, "%s is not valid text", shown(name))
	default:
		return value, nil
	}
}

func metadataName(parameter string) (name string, ok bool) {
	inner, ok := strings.CutPrefix(parameter, "metadata[")
	if !ok {
		return "", false
	}

	return strings.CutSuffix(inner, "]")
}

func (f *filterTexts) metadata(name, value string, indexed IndexedNames) error {
	switch {
	case len(indexed) == 0:
		return fault.New(fault.Invalid, "payments are not found by metadata here; METADATA_INDEX lists no name")
	case !slices.Contains(indexed, name):
		return fault.Newf(fault.Invalid, "payments are not found by this name; the names are %s", strings.Join(indexed, ", "))
	case f.filter.Metadata == nil:
		f.filter.Metadata = map[string]string{}
	}

	f.filter.Metadata[name] = value

	return nil
}

func (f *filterTexts) status(value string) error {
	f.filter.Status = payment.Status(value)
	if !f.filter.Status.Valid() {
		return fault.New(fault.Invalid, "must be pending, succeeded, failed or cancelled")
	}

	return nil
}

func (f *filterTexts) intentStatus(value string) error {
	const most = 40

	if len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r != '_' && !unicode.IsLower(r) }) {
		return fault.New(fault.Invalid, "must be a word of Stripe's such as requires_capture")
	}

	f.filter.IntentStatus = payment.IntentStatus(value)

	return nil
}

func (f *filterTexts) currency(value string) (err error) {
	f.filter.Currency, err = money.ParseCurrency(value)

	return err
}

func (f *filterTexts) key(value string) (err error) {
	f.filter.Key, err = operation.ParseKey(value)

	return err
}

func (f *filterTexts) intentID(value string) error {
	if !strings.HasPrefix(value, "pi_") {
		return fault.New(fault.Invalid, "must be the id of a payment intent, pi_…")
	}

	f.filter.IntentID = value

	return nil
}

func (f *filterTexts) customerID(value string) error {
	id, err := uuid.Parse(value)
	if err != nil || id == uuid.Nil || id.String() != value {
		return fault.New(fault.Invalid, "must be the id of a customer, a UUID in lower case")
	}

	f.filter.CustomerID = id

	return nil
}

func (f *filterTexts) anyID(value string) error {
	f.filter.AnyID = value

	return nil
}

// Times are kept as the first microsecond that is in, and the first that is not, because
// PostgreSQL keeps microseconds.
func (f *filterTexts) createdFrom(value string) error {
	return readTime(value, func(t time.Time) { f.notBefore(ceil(t)) })
}

func (f *filterTexts) createdAfter(value string) error {
	return readTime(value, func(t time.Time) { f.notBefore(t.Truncate(time.Microsecond).Add(time.Microsecond)) })
}

func (f *filterTexts) createdUntil(value string) error {
	return readTime(value, func(t time.Time) { f.before(t.Truncate(time.Microsecond).Add(time.Microsecond)) })
}

func (f *filterTexts) createdBefore(value string) error {
	return readTime(value, func(t time.Time) { f.before(ceil(t)) })
}

func (f *filterTexts) notBefore(t time.Time) {
	if t.After(f.filter.CreatedFrom) {
		f.filter.CreatedFrom = t
	}
}

func (f *filterTexts) before(t time.Time) {
	if f.filter.CreatedBefore.IsZero() || t.Before(f.filter.CreatedBefore) {
		f.filter.CreatedBefore = t
	}
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

// bound reads an amount. A bound that is itself out is the next amount, off minor units away.
func bound(take func(f *ports.PaymentFilter, m money.Money), off int64) func(*filterTexts, string) error {
	return func(f *filterTexts, value string) error {
		name := f.name
		f.amounts = append(f.amounts, func() error {
			if f.filter.Currency.Code() == "" {
				return wrongValue(name, fault.New(fault.Invalid, "an amount needs a currency; add currency=USD, for example"))
			}

			price, err := money.ParsePrice(value, f.filter.Currency)
			if err != nil {
				return wrongValue(name, err)
			}

			take(&f.filter, money.Of(price.Minor()+off, f.filter.Currency))

			return nil
		})

		return nil
	}
}

func fromAmount(f *ports.PaymentFilter, m money.Money) {
	if f.AmountFrom.IsZero() || m.Minor() > f.AmountFrom.Minor() {
		f.AmountFrom = m
	}
}

func toAmount(f *ports.PaymentFilter, m money.Money) {
	if f.AmountTo.IsZero() || m.Minor() < f.AmountTo.Minor() {
		f.AmountTo = m
	}
}
