package portstest

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Audit is the contract of ports.Audit.
func Audit(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"AuditOf/every field, oldest first":                auditFields,
		"AuditOf/of the objects that are asked for":        auditOfSome,
		"ListAudit/decisions and operations, newest first": auditListed,
		"ListAudit/filters":                                auditFiltered,
		"ListAudit/what an operation has changed":          auditChanges,
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

// auditTrail writes what clients asked for and what a person decided, in turns.
func (b StoreBed) auditTrail(tb testing.TB) (ops []ports.Operation, entries []ports.AuditEntry) {
	tb.Helper()

	for i := range 3 {
		c := newOperation(tb, operation.Key("order_"+strconv.Itoa(i)))
		c.Origin = ports.Origin{RequestID: "req_1", Actor: ports.Actor{Name: "key:mf_test_" + strconv.Itoa(i), OnBehalfOf: "jenny"}}

		op, err := b.Begin(tb.Context(), c)
		require.NoError(tb, err)
		require.Equal(tb, c.Origin, op.Origin)

		ops = append(ops, op)

		e := b.mustPark(tb, payment.Payment{IntentID: "pi_" + strconv.Itoa(i)})
		entry := entryFor(tb, ports.AuditEventDismissed, e.ID)
		require.NoError(tb, b.Dismiss(tb.Context(), e.ID, entry))

		entries = append(entries, entry)
	}

	return ops, entries
}

func auditListed(t *testing.T, b StoreBed) {
	t.Helper()

	ops, entries := b.auditTrail(t)

	var (
		listed []ports.AuditEntry
		before ports.AuditPosition
	)

	for len(listed) < 6 { // in pages of two
		page, err := b.Twin.ListAudit(t.Context(), operation.DefaultTenant, ports.AuditFilter{}, before, 2)
		require.NoError(t, err)
		require.Len(t, page, 2)

		listed = append(listed, page...)
		before = ports.AuditPosition{At: page[1].At, ID: page[1].ID}
	}

	rest, err := b.ListAudit(t.Context(), operation.DefaultTenant, ports.AuditFilter{}, before, 2)
	require.NoError(t, err)
	require.Empty(t, rest)

	for i := range 3 {
		decided, asked := listed[4-2*i], listed[5-2*i]
		require.Equal(t, entries[i].ID, decided.ID)
		require.Equal(t, ops[i].ID, asked.ID)
		require.Equal(t, ports.AuditAction("payment.create"), asked.Action)
		require.Equal(t, ops[i].Origin.Actor.Name, asked.Actor)
		require.Equal(t, ops[i].Origin.Actor.OnBehalfOf, asked.OnBehalfOf)
		require.Equal(t, "payment", asked.ObjectType)
		require.Equal(t, ops[i].ID.String(), asked.ObjectID)
		require.Equal(t, "req_1", asked.RequestID)
		require.Equal(t, "pending", asked.After["state"])
		require.NotContains(t, asked.After, "metadata")
	}

	// Another tenant sees only what is its own, and a person at a command everything.
	key, made := aKey(t, 7)
	made.Tenant = 7
	_, err = b.CreateAPIKey(t.Context(), key, made)
	require.NoError(t, err)

	for owner, want := range map[operation.Tenant]int{7: 1, operation.DefaultTenant: 6, 0: 7} {
		found, err := b.ListAudit(t.Context(), owner, ports.AuditFilter{}, ports.AuditPosition{}, 10)
		require.NoError(t, err)
		require.Len(t, found, want, owner)
	}
}

func auditFiltered(t *testing.T, b StoreBed) {
	t.Helper()

	ops, entries := b.auditTrail(t)

	for name, c := range map[string]struct {
		filter ports.AuditFilter
		want   []uuid.UUID
	}{
		"an actor":  {ports.AuditFilter{Actor: "key:mf_test_1"}, []uuid.UUID{ops[1].ID}},
		"a person":  {ports.AuditFilter{Actor: "cli:me@here"}, []uuid.UUID{entries[2].ID, entries[1].ID, entries[0].ID}},
		"an action": {ports.AuditFilter{Action: "payment.create"}, []uuid.UUID{ops[2].ID, ops[1].ID, ops[0].ID}},
		"a decision": {
			ports.AuditFilter{Action: ports.AuditEventDismissed, ObjectID: entries[1].ObjectID}, []uuid.UUID{entries[1].ID},
		},
		"a payment":          {ports.AuditFilter{ObjectID: ops[0].ID.String()}, []uuid.UUID{ops[0].ID}},
		"an event":           {ports.AuditFilter{ObjectID: entries[0].ObjectID}, []uuid.UUID{entries[0].ID}},
		"nothing":            {ports.AuditFilter{Action: "payment.nothing"}, []uuid.UUID{}},
		"from the last on":   {ports.AuditFilter{From: ops[2].CreatedAt}, []uuid.UUID{entries[2].ID, ops[2].ID}},
		"an actor's payment": {ports.AuditFilter{Actor: "key:mf_test_1", ObjectID: ops[0].ID.String()}, []uuid.UUID{}},
	} {
		found, err := b.ListAudit(t.Context(), operation.DefaultTenant, c.filter, ports.AuditPosition{}, 10)
		require.NoError(t, err, name)

		ids := make([]uuid.UUID, 0, len(found))
		for _, one := range found {
			ids = append(ids, one.ID)
		}

		require.Equal(t, c.want, ids, name)
	}
}

// Before an operation is done its entry has the payment as it stood, then what it has changed, and
// nothing if it was not done.
func auditChanges(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	entry := func(op ports.Operation) (before, after map[string]any) {
		t.Helper()

		found, err := b.Twin.ListAudit(t.Context(), operation.DefaultTenant,
			ports.AuditFilter{ObjectID: p.ID.String(), Action: ports.AuditAction(op.Kind.Action())}, ports.AuditPosition{}, 10)
		require.NoError(t, err)
		require.NotEmpty(t, found)

		return found[0].Before, found[0].After
	}
	begin := func(c ports.NewOperation) ports.Operation {
		t.Helper()

		c.Was = p

		return b.mustBegin(t, c)
	}

	cancel := begin(newCancel(t, p, "cancel_1"))
	before, after := entry(cancel)
	require.Equal(t, p.Audited(), before)
	require.NotContains(t, after, "status")

	_, err := b.FinishRejected(t.Context(), cancel, rejection())
	require.NoError(t, err)

	before, after = entry(cancel)
	require.Empty(t, before, "it was not done")
	require.NotContains(t, after, "status")

	capture := begin(newCapture(t, p, "capture_1"))
	b.mustFinishOn(t, capture, capturing(p.Amount))

	before, after = entry(capture)
	require.Equal(t, string(payment.Pending), before["status"])
	require.Equal(t, string(payment.Succeeded), after["status"])
	require.Equal(t, p.Amount.Decimal(), after["amount_captured"])
	require.NotContains(t, before, "amount_refunded", "it has not changed")
	require.NotContains(t, after, "amount_refunded")

	before, _ = entry(ports.Operation{Kind: operation.Create})
	require.Nil(t, before, "there was nothing")
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
