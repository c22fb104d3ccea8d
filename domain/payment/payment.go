// Package payment says what a payment is: its identity, what was ordered, its status and
// how that may change.
package payment

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Payment is a snapshot of one payment. Only the store changes a payment, by the rules of
// Status.Sources.
type Payment struct {
	// ID is a UUIDv7 of ours.
	ID uuid.UUID
	// IntentID is the provider's id: "pi_…" at Stripe.
	IntentID string
	// Key is the idempotency key that created it; zero if there was none.
	Key      operation.Key
	Amount   money.Price
	Metadata Metadata
	Status   Status
	// CreatedAt and UpdatedAt are in UTC.
	CreatedAt, UpdatedAt time.Time
}

// Order is what a client asked for. Two requests with equal orders ask for the same payment.
type Order struct {
	Amount   money.Price
	Metadata Metadata
}

// Fingerprint hashes the order. Each part is preceded by its length, so that two different
// orders never have the same form. The order of JSON keys and the spelling of numbers do
// not matter.
func (o Order) Fingerprint() operation.Fingerprint {
	const estimate = 256

	form := make([]byte, 0, estimate)
	form = appendPart(form, "v1")
	form = appendPart(form, o.Amount.Currency().Code())
	form = binary.BigEndian.AppendUint64(form, uint64(o.Amount.Minor())) //nolint:gosec // an amount is positive

	for _, name := range slices.Sorted(maps.Keys(o.Metadata)) {
		form = appendPart(form, name)
		form = appendPart(form, o.Metadata[name])
	}

	return sha256.Sum256(form)
}

func appendPart(form []byte, part string) []byte {
	form = binary.BigEndian.AppendUint64(form, uint64(len(part)))

	return append(form, part...)
}
