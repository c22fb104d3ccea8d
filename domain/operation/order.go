package operation

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
)

// Kind is what an operation does at the provider.
type Kind string

// The kinds.
const (
	// Create makes a payment's intent.
	Create Kind = "create"
	// Confirm makes an attempt to pay.
	Confirm Kind = "confirm"
	// Capture takes money that is held.
	Capture Kind = "capture"
	// Cancel ends a payment that is not paid, and lets go what is held.
	Cancel Kind = "cancel"
	// Update changes what a client keeps with a payment. It moves no money.
	Update Kind = "update"
	// Refund gives money of a payment back, and CancelRefund ends a refund that waits for the
	// customer.
	Refund       Kind = "refund"
	CancelRefund Kind = "cancel_refund"

	// SubmitEvidence gives evidence in a dispute to the bank, or stages it.
	SubmitEvidence Kind = "submit_evidence"
	// AcceptDispute gives in, for good.
	AcceptDispute Kind = "accept_dispute"

	// CreateCustomer makes a customer, UpdateCustomer changes and DeleteCustomer deletes it.
	CreateCustomer Kind = "create_customer"
	UpdateCustomer Kind = "update_customer"
	DeleteCustomer Kind = "delete_customer"
	// CreateSetup begins a session in which a customer saves a payment method.
	CreateSetup Kind = "create_setup"
	// DetachMethod takes a saved payment method from its customer, for good.
	DetachMethod Kind = "detach_method"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		Create, Confirm, Capture, Cancel, Update, Refund, CancelRefund, SubmitEvidence, AcceptDispute, CreateCustomer,
		UpdateCustomer, DeleteCustomer, CreateSetup, DetachMethod,
	}
}

// OnCustomer tells whether operations of this kind make a customer or are about one. The
// others are about a payment.
func (k Kind) OnCustomer() bool {
	return k == CreateCustomer || k == UpdateCustomer || k == DeleteCustomer || k == CreateSetup || k == DetachMethod
}

// Makes tells whether operations of this kind make the thing that they are about, which gets
// their id. The others have a subject.
func (k Kind) Makes() bool { return k == Create || k == CreateCustomer }

// Order is what a client asked for. Two requests of one kind about one subject, with equal
// orders, ask for the same.
type Order struct {
	// Amount is zero if none was given.
	Amount money.Price
	// Metadata is nil if none was given.
	Metadata map[string]string
	// Options are what else was given, by the names of the API; nil if nothing.
	Options map[string]string
	// Customer is the provider's id of the customer that Options name. It is neither in the
	// fingerprint nor kept: the call has it.
	Customer string
}

// Fingerprint is a hash of what was asked for. Two requests under one key are the
// same request only if their fingerprints are equal.
type Fingerprint [sha256.Size]byte

// Fingerprint hashes what is asked for: the kind, the subject (uuid.Nil for a create) and
// the order. Each part is preceded by its length, so that two different requests never
// have the same form. The order of JSON keys and the spelling of numbers do not matter.
func (o Order) Fingerprint(kind Kind, subject uuid.UUID) Fingerprint {
	const estimate = 256

	form := make([]byte, 0, estimate)

	// The form of the first release, which knew only such orders.
	if plain := kind == Create && len(o.Options) == 0; plain {
		form = appendPart(form, "v1")
	} else {
		form = appendPart(form, "v2")
		form = appendPart(form, string(kind))
		form = append(form, subject[:]...)
		form = appendMap(form, o.Options)
	}

	form = appendPart(form, o.Amount.Currency().Code())
	form = binary.BigEndian.AppendUint64(form, uint64(o.Amount.Minor())) //nolint:gosec // a price is positive
	form = appendEntries(form, o.Metadata)

	return sha256.Sum256(form)
}

// appendMap precedes the entries by their number, because more follows.
func appendMap(form []byte, entries map[string]string) []byte {
	form = binary.BigEndian.AppendUint64(form, uint64(len(entries)))

	return appendEntries(form, entries)
}

func appendEntries(form []byte, entries map[string]string) []byte {
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		form = appendPart(form, name)
		form = appendPart(form, entries[name])
	}

	return form
}

func appendPart(form []byte, part string) []byte {
	form = binary.BigEndian.AppendUint64(form, uint64(len(part)))

	return append(form, part...)
}
