package payment

import (
	"maps"
	"slices"
)

// Audited is what the audit keeps of a payment: how it stands and its sums, in major units, and
// nothing that may be a person's. What is not known is left out.
func (p Payment) Audited() map[string]any {
	kept := map[string]any{
		"status": string(p.Status), "amount_capturable": p.Capturable.Decimal(), "amount_captured": p.Captured.Decimal(),
		"amount_refunded": p.Refunded.Decimal(), "amount_refund_pending": p.RefundPending.Decimal(),
		"amount_disputed": p.Disputed.Decimal(),
	}

	if p.IntentStatus != "" {
		kept["intent_status"] = string(p.IntentStatus)
	}

	if p.DisputeStatus != "" {
		kept["dispute_status"] = p.DisputeStatus
	}

	return kept
}

// ChangedDetails names, in order, what a client has changed of a payment of which the audit keeps no values:
// "description", and "metadata." with the entry's name.
func ChangedDetails(before, after Payment) []string {
	names := ChangedEntries(before.Metadata, after.Metadata)
	if before.Description != after.Description {
		names = slices.Insert(names, 0, "description")
	}

	return names
}

// ChangedEntries names, in order, the entries of metadata that differ: "metadata." and the name.
func ChangedEntries(before, after map[string]string) []string {
	var names []string

	either := maps.Clone(before)
	if either == nil {
		either = make(map[string]string, len(after))
	}

	maps.Copy(either, after)

	for _, name := range slices.Sorted(maps.Keys(either)) {
		was, had := before[name]
		if is, has := after[name]; had != has || was != is {
			names = append(names, "metadata."+name)
		}
	}

	return names
}
