// Package customer says what a customer is: the values that a client may give it, how a
// change is merged, and what follows from what the provider says.
package customer

import (
	"maps"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// The names of what a client may give a customer beside metadata, as in the API and in an
// operation's options.
const (
	Reference = "reference"
	Email     = "email"
	Name      = "name"
)

// MetadataReference is the metadata key under which the provider keeps the reference. The
// mark of the create and the client's key have the same names as with payments.
const MetadataReference = "marketflow_reference"

// The longest values, in characters. Stripe's own limits are 512 for an email
// (https://docs.stripe.com/api/customers/create) and 500 for what is kept as metadata.
const (
	MaxReferenceLength = 255
	MaxEmailLength     = 512
	MaxNameLength      = 256
)

// Customer is somebody who pays. Whoever is deleted has an id, times and a version, and no
// other values.
type Customer struct {
	// ID is the id of the operation that made it.
	ID uuid.UUID
	// Tenant owns it.
	Tenant operation.Tenant
	// ProviderID is the provider's: "cus_…" at Stripe.
	ProviderID string
	// Reference is the client's own id, unique for the tenant. It is empty if there is none,
	// and so are Email and Name.
	Reference, Email, Name string
	// Metadata are what the client wants to keep with the customer; nil if nothing.
	Metadata map[string]string
	// DeletedAt is zero unless the customer is deleted.
	DeletedAt time.Time
	// Version grows with every change.
	Version              int64
	CreatedAt, UpdatedAt time.Time
}

// Deleted tells whether the customer is deleted.
func (c Customer) Deleted() bool { return !c.DeletedAt.IsZero() }

// Changed names what differs from before, in order, and not the values, which are personal data.
func (c Customer) Changed(before Customer) []string {
	var names []string

	for _, value := range []struct {
		name   string
		differ bool
	}{
		{Reference, c.Reference != before.Reference},
		{Email, c.Email != before.Email},
		{Name, c.Name != before.Name},
		{"metadata", !maps.Equal(c.Metadata, before.Metadata)},
		{"deleted", c.Deleted() != before.Deleted()},
	} {
		if value.differ {
			names = append(names, value.name)
		}
	}

	return names
}

// CheckValue checks a client's value of the name Reference, Email or Name. If it cannot be
// one, the error is fault.Invalid. It does not quote the value, which is personal data.
func CheckValue(name, value string) error {
	most := map[string]int{Reference: MaxReferenceLength, Email: MaxEmailLength, Name: MaxNameLength}[name]

	switch {
	case value == "":
		return fault.Newf(fault.Invalid, "%s is empty; send 1 to %d characters or leave it out", name, most)
	case utf8.RuneCountInString(value) > most:
		return fault.Newf(fault.Invalid, "%s is over %d characters", name, most)
	case !utf8.ValidString(value), strings.ContainsFunc(value, unicode.IsControl):
		return fault.Newf(fault.Invalid, "%s holds a control character or is not valid UTF-8", name)
	case name == Email && !isAddress(value):
		return fault.New(fault.Invalid, "email is not an address such as name@example.com")
	default:
		return nil
	}
}

// isAddress: one address alone, without a person's name (RFC 5322 section 3.4.1).
func isAddress(text string) bool {
	parsed, err := mail.ParseAddress(text)

	return err == nil && parsed.Address == text
}

// CheckMetadata checks a client's metadata: the limits and reserved keys of payments, and
// the key of the reference.
func CheckMetadata(entries map[string]string) error {
	if _, reserved := entries[MetadataReference]; reserved {
		return fault.Newf(fault.Invalid, "metadata key %q is reserved; choose another name", MetadataReference)
	}

	_, err := payment.ParseMetadata(entries)

	return err
}

// With is c with the values, by name, and the metadata merged into it. An empty value takes
// away what is there. If there is too much metadata then, the error is fault.Invalid.
func (c Customer) With(values, metadata map[string]string) (Customer, error) {
	for name, field := range map[string]*string{Reference: &c.Reference, Email: &c.Email, Name: &c.Name} {
		if value, given := values[name]; given {
			*field = value
		}
	}

	merged := maps.Clone(c.Metadata)
	if merged == nil {
		merged = make(map[string]string, len(metadata))
	}

	maps.Copy(merged, metadata)

	c.Metadata = withoutEmpty(merged)
	if n := len(c.Metadata); n > payment.MaxMetadataEntries {
		return c, fault.Newf(fault.Invalid, "metadata would have %d entries; the most is %d", n, payment.MaxMetadataEntries)
	}

	return c, nil
}

// withoutEmpty leaves out empty values, which the provider does not keep
// (https://docs.stripe.com/metadata). It is nil if nothing is left.
func withoutEmpty(metadata map[string]string) map[string]string {
	maps.DeleteFunc(metadata, func(_, value string) bool { return value == "" })

	if len(metadata) == 0 {
		return nil
	}

	return metadata
}

// Gone is c without its personal data, as it stays once it is deleted, so that its payments
// go on pointing to it.
func (c Customer) Gone(at time.Time) Customer {
	if c.Deleted() {
		at = c.DeletedAt
	}

	return Customer{
		ID: c.ID, ProviderID: c.ProviderID, DeletedAt: at, Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

// SameAs tells whether nothing differs but the version and the time.
func (c Customer) SameAs(d Customer) bool {
	return c.ID == d.ID && c.ProviderID == d.ProviderID && c.Reference == d.Reference && c.Email == d.Email &&
		c.Name == d.Name && maps.Equal(c.Metadata, d.Metadata) && c.Deleted() == d.Deleted()
}

// NextVersion is the version of a customer that changes now. It also grows if a database has
// lost its last minutes, because then the time has gone on.
func (c Customer) NextVersion(now time.Time) int64 { return max(c.Version+1, now.UnixMilli()) }

// Snapshot is what the provider says about a customer at one moment.
type Snapshot struct {
	Email, Name string
	Metadata    map[string]string
	Deleted     bool
}

// Following is c as a snapshot says that was read after c was loaded. Whoever is deleted stays
// so. The reference is ours, and does not follow.
func (c Customer) Following(s Snapshot, now time.Time) Customer {
	if s.Deleted || c.Deleted() {
		return c.Gone(now)
	}

	c.Email, c.Name, c.Metadata = s.Email, s.Name, withoutEmpty(maps.Clone(s.Metadata))

	return c
}

// Has tells whether the provider's customer has all that a change asked for; an empty value
// asks for nothing to be there.
func (s Snapshot) Has(values, metadata map[string]string) bool {
	said := map[string]string{Email: s.Email, Name: s.Name}

	for name, value := range values {
		if name != Reference && said[name] != value {
			return false
		}
	}

	return !slices.ContainsFunc(slices.Collect(maps.Keys(metadata)), func(key string) bool {
		return s.Metadata[key] != metadata[key]
	})
}

// Verdict is what follows from one of the provider's events about a customer.
type Verdict string

// The verdicts.
const (
	// Stale: it says nothing that is not known.
	Stale Verdict = "stale"
	// Hints: the customer may have changed, or the database has lost it. Only reading it tells,
	// because events come late and in any order
	// (https://docs.stripe.com/webhooks#event-ordering).
	Hints Verdict = "hints"
	// Foreign: it is not ours.
	Foreign Verdict = "foreign"
)

// Judge says what follows from an event. known is our customer; nil if there is none. marked:
// the provider's customer carries our mark.
func Judge(s Snapshot, marked bool, known *Customer) Verdict {
	switch {
	case known == nil && !marked:
		return Foreign
	case known == nil && s.Deleted: // there is nothing left to bring home
		return Stale
	case known == nil:
		return Hints
	case known.Following(s, known.UpdatedAt).SameAs(*known):
		return Stale
	default:
		return Hints
	}
}
