package payments

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// IndexedNames are the names of metadata by which payments can be found.
type IndexedNames []string

// FilterParameter is one of the parameters that a list of payments takes.
type FilterParameter = list.Parameter[ports.PaymentFilter]

// FilterParameters is the table of what payments are filtered by. To add a parameter, add a
// line here, a field to ports.PaymentFilter and a condition to queries/payment_lists.sql. The
// parameter metadata[NAME], of which there may be several, is not in it.
func FilterParameters() []FilterParameter {
	return slices.Concat(
		[]FilterParameter{
			{Name: keyStatus, Help: "pending, succeeded, failed or cancelled", Read: readStatus},
			{Name: "intent_status", Help: "Stripe's own word, such as requires_capture", Read: readIntentStatus},
			{Name: keyCurrency, Help: "an ISO 4217 code", Read: readCurrency},
		},
		list.Times("created", "created", func(f *ports.PaymentFilter) *list.Span { return &f.Created }),
		list.Amounts(func(f *ports.PaymentFilter) (money.Currency, *list.Range) { return f.Currency, &f.Amount }),
		[]FilterParameter{
			{Name: "idempotency_key", Help: "created under this idempotency key", Read: readKey},
			{Name: "stripe_payment_intent_id", Help: "with this intent (pi_…)", Read: readIntentID},
			{Name: "customer_id", Help: "of this customer of yours", Read: readCustomerID},
			{
				Name: "refunded", Help: "true: something was given back",
				Read: func(f *ports.PaymentFilter, value string) error { return readTrue(&f.Refunded, value) },
			},
			{
				Name: "disputed", Help: "true: it was ever disputed, also by an inquiry",
				Read: func(f *ports.PaymentFilter, value string) error { return readTrue(&f.Disputed, value) },
			},
			{
				Name: "q", Help: "an exact id of any kind: the payment's, its intent's, or its idempotency key",
				Read: func(f *ports.PaymentFilter, value string) error {
					f.AnyID = value

					return nil
				},
			},
		},
	)
}

// parseFilter reads a filter out of parameters. The error of a wrong one names it and is
// fault.Invalid.
func parseFilter(
	tenant operation.Tenant, values map[string][]string, indexed IndexedNames,
) (ports.PaymentFilter, error) {
	chosen, entries := map[string][]string{}, map[string][]string{}

	for name, given := range values {
		if _, is := metadataName(name); is {
			entries[name] = given
		} else {
			chosen[name] = given
		}
	}

	f, err := list.Parse("payments", FilterParameters(), chosen, "metadata[NAME]")
	f.Tenant = tenant

	if err != nil {
		return f, err
	}

	for _, name := range slices.Sorted(maps.Keys(entries)) { // so that the same mistake gets the same answer
		value, err := list.One(name, entries[name])
		if err != nil {
			return f, err
		}

		entry, _ := metadataName(name)
		if err := readMetadata(&f, entry, value, indexed); err != nil {
			return f, list.Wrong(name, err)
		}
	}

	return f, nil
}

func metadataName(parameter string) (name string, ok bool) {
	inner, ok := strings.CutPrefix(parameter, "metadata[")
	if !ok {
		return "", false
	}

	return strings.CutSuffix(inner, "]")
}

func readMetadata(f *ports.PaymentFilter, name, value string, indexed IndexedNames) error {
	switch {
	case len(indexed) == 0:
		return fault.New(fault.Invalid, "payments are not found by metadata here; METADATA_INDEX lists no name")
	case !slices.Contains(indexed, name):
		return fault.Newf(fault.Invalid, "payments are not found by this name; the names are %s", strings.Join(indexed, ", "))
	case f.Metadata == nil:
		f.Metadata = map[string]string{}
	}

	f.Metadata[name] = value

	return nil
}

func readStatus(f *ports.PaymentFilter, value string) error {
	f.Status = payment.Status(value)
	if !f.Status.Valid() {
		return fault.New(fault.Invalid, "must be pending, succeeded, failed or cancelled")
	}

	return nil
}

func readIntentStatus(f *ports.PaymentFilter, value string) error {
	const most = 40

	if len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r != '_' && !unicode.IsLower(r) }) {
		return fault.New(fault.Invalid, "must be a word of Stripe's such as requires_capture")
	}

	f.IntentStatus = payment.IntentStatus(value)

	return nil
}

func readCurrency(f *ports.PaymentFilter, value string) (err error) {
	f.Currency, err = money.ParseCurrency(value)

	return err
}

func readKey(f *ports.PaymentFilter, value string) (err error) {
	f.Key, err = operation.ParseKey(value)

	return err
}

func readIntentID(f *ports.PaymentFilter, value string) error {
	if !strings.HasPrefix(value, "pi_") {
		return fault.New(fault.Invalid, "must be the id of a payment intent, pi_…")
	}

	f.IntentID = value

	return nil
}

func readCustomerID(f *ports.PaymentFilter, value string) (err error) {
	f.CustomerID, err = list.ID(value, "customer")

	return err
}

// readTrue reads a flag of which only true narrows the list.
func readTrue(into *bool, value string) error {
	if *into = value == "true"; !*into {
		return fault.New(fault.Invalid, "must be true, or be left out")
	}

	return nil
}
