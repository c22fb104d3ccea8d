package dispute

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/marketflow/marketflow/domain/fault"
)

// Stripe's limits on evidence, in characters
// (https://docs.stripe.com/api/disputes/update#update_dispute-evidence).
const (
	MaxEvidenceField = 20_000
	MaxEvidence      = 150_000
)

// The options of an order about a dispute that are no evidence.
const (
	// OptionDispute is our id of the dispute.
	OptionDispute = "dispute_id"
	// OptionSubmit is "true" if the evidence is given to the bank, and not there if it is staged.
	OptionSubmit = "submit"
)

// MetadataEvidence is the metadata key under which the provider keeps the mark of the operation
// that gave or staged evidence last.
const MetadataEvidence = "marketflow_evidence"

// EvidenceFields lists the texts that may be given to a bank (same page). Those that name an
// uploaded file are not among them.
func EvidenceFields() []string {
	return []string{
		"access_activity_log", "billing_address", "cancellation_policy_disclosure", "cancellation_rebuttal",
		"customer_email_address", "customer_name", "customer_purchase_ip", "duplicate_charge_explanation",
		"duplicate_charge_id", "product_description", "refund_policy_disclosure", "refund_refusal_explanation",
		"service_date", "shipping_address", "shipping_carrier", "shipping_date", "shipping_tracking_number",
		"uncategorized_text",
	}
}

// CheckEvidence checks what a client wants to give to a bank. An empty text takes away what was
// staged. If it cannot be given, the error is fault.Invalid; it quotes no text.
func CheckEvidence(evidence map[string]string) error {
	fields, total := EvidenceFields(), 0

	for _, name := range slices.Sorted(maps.Keys(evidence)) { // so that the same mistake gets the same answer
		text := evidence[name]
		length := utf8.RuneCountInString(text)
		total += length

		switch {
		case !slices.Contains(fields, name):
			const most = 60

			return fault.Newf(fault.Invalid, "evidence has the unknown field %q; the fields are %s",
				fault.Shorten(strings.ToValidUTF8(name, "\uFFFD"), most), strings.Join(fields, ", "))
		case !utf8.ValidString(text), strings.ContainsRune(text, 0):
			return fault.Newf(fault.Invalid, "evidence.%s is not valid UTF-8 or holds U+0000", name)
		case length > MaxEvidenceField:
			return fault.Newf(fault.Invalid, "evidence.%s has %d characters; the most is %d", name, length, MaxEvidenceField)
		}
	}

	if total > MaxEvidence {
		return fault.Newf(fault.Invalid, "evidence has %d characters together; the most is %d", total, MaxEvidence)
	}

	return nil
}
