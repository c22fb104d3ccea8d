package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Audit is the contract of ports.Audit.
func Audit(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"AuditOf/every field, oldest first":         auditFields,
		"AuditOf/of the objects that are asked for": auditOfSome,
	})
}

func auditFields(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.AuditOf(t.Context(), "evt_none")
	require.NoError(t, err)
	require.Empty(t, none)

	e := b.mustPark(t, payment.Payment{IntentID: "pi_unknown"})

	full := entryFor(t, ports.AuditEventDismissed, e.ID)
	full.OnBehalfOf, full.RequestID, full.Reason = "support@example.com", "req_1", `quotes " ' and Ω`
	full.Before = map[string]any{"outcome": "parked", "parked_reason": nil, "count": 2.0}
	require.NoError(t, b.Dismiss(t.Context(), e.ID, full))

	bare := entryFor(t, ports.AuditEventReopened, e.ID)
	bare.Before, bare.After = nil, nil
	require.NoError(t, b.Undismiss(t.Context(), e.ID, bare))

	b.requireAudit(t, e.ID, full, bare)
}

func auditOfSome(t *testing.T, b StoreBed) {
	t.Helper()

	entries := make([]ports.AuditEntry, 0, 3)

	for _, intent := range []string{"pi_1", "pi_2", "pi_3"} {
		e := b.mustPark(t, payment.Payment{IntentID: intent})
		entry := entryFor(t, ports.AuditEventDismissed, e.ID)
		require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))

		entries = append(entries, entry)
	}

	some, err := b.AuditOf(t.Context(), entries[2].ObjectID, entries[0].ObjectID)
	require.NoError(t, err)
	require.Len(t, some, 2)
	require.Equal(t, entries[0].ID, some[0].ID)
	require.Equal(t, entries[2].ID, some[1].ID)
}

func entryFor(tb testing.TB, action ports.AuditAction, objectID string) ports.AuditEntry {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return ports.AuditEntry{
		ID: id, Actor: "cli:me@here", Action: action, ObjectType: "operation", ObjectID: objectID, Reason: "judged",
		Before: map[string]any{"state": "before"}, After: map[string]any{"state": "after"},
	}
}

// requireAudit requires that the audit has exactly these entries about the object.
func (b StoreBed) requireAudit(tb testing.TB, objectID string, want ...ports.AuditEntry) {
	tb.Helper()

	entries, err := b.Twin.AuditOf(tb.Context(), objectID)
	require.NoError(tb, err)
	require.Len(tb, entries, len(want))

	for i, entry := range entries {
		require.WithinDuration(tb, time.Now(), entry.At, time.Minute)
		require.Equal(tb, time.UTC, entry.At.Location())

		want[i].At = entry.At
		require.Equal(tb, want[i], entry)
	}
}
