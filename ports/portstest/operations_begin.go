package portstest

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func beginHolds(t *testing.T, b StoreBed) {
	t.Helper()

	first, second, third := b.mustHold(t, "held_1"), b.mustHold(t, "held_2"), b.mustHold(t, "held_3")

	part := newCapture(t, second, "")
	part.Order = operation.Order{Amount: amount(t, 100_00, "USD")}

	for _, c := range []ports.NewOperation{
		newOperation(t, "order_1"), newCapture(t, first, "order_2"), part, newCancel(t, third, "order_4"),
	} {
		op, err := b.Begin(t.Context(), c)
		require.NoError(t, err)
		require.True(t, op.Held())
		require.False(t, op.Finished())
		require.Equal(t, time.UTC, op.CreatedAt.Location())
		require.WithinDuration(t, time.Now(), op.CreatedAt, time.Minute)

		require.Equal(t, ports.Operation{
			ID: c.ID, Tenant: c.Tenant, Kind: c.Kind, Subject: c.Subject, Key: c.Key, Order: c.Order, Fingerprint: c.Fingerprint(),
			Call: c.Call, Origin: c.Origin, State: operation.Pending, Lease: c.Lease.Token, Attempts: 1,
			Incarnation: b.incarnation(t), Standing: operation.Standing{Reconciled: true}, Age: op.Age, CreatedAt: op.CreatedAt,
		}, op)

		op.Lease = uuid.Nil // only the holder sees it
		requireSameOperation(t, op, b.operationNow(t, c.ID))
	}
}

func beginFindsHeld(t *testing.T, b StoreBed) {
	t.Helper()

	first := newOperation(t, "order_1")
	want := b.mustBegin(t, first)
	want.Lease = uuid.Nil // only the holder sees it

	found, err := b.Twin.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	requireSameOperation(t, want, found)

	found, err = b.Find(t.Context(), operation.DefaultTenant, "order_1")
	require.NoError(t, err)
	requireSameOperation(t, want, found)

	requireSameOperation(t, want, b.operationNow(t, first.ID))
	require.Equal(t, 1, b.operationNow(t, first.ID).Attempts, "looking is no attempt")
}

func beginTakesOver(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))

	b.Elapse(t, lease)

	// It has another payment id, other parameters and another origin, as a later
	// release of the service would send them. What was written first counts, because
	// Stripe rejects a key that comes back with other parameters.
	heir := newOperation(t, "order_1")
	taken := b.mustBegin(t, heir)

	want.Lease, want.Attempts, want.CreatedAt = heir.Lease.Token, 2, taken.CreatedAt
	requireSameOperation(t, want, taken)
	require.GreaterOrEqual(t, taken.Age, lease)

	_, err := b.FindByID(t.Context(), heir.ID)
	requireNotFound(t, err)

	third, err := b.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	require.False(t, third.Held(), "the lease is the heir's now")
}

func beginWithAnotherOrder(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))

	b.Elapse(t, 2*lease)

	for _, order := range []operation.Order{
		{Amount: amount(t, 123_46, "USD"), Metadata: want.Order.Metadata},
		{Amount: amount(t, 123_45, "EUR"), Metadata: want.Order.Metadata},
		{Amount: want.Order.Amount, Metadata: map[string]string{"order": "43"}},
		{Amount: want.Order.Amount},
		{Amount: want.Order.Amount, Metadata: want.Order.Metadata, Options: map[string]string{"capture_method": "manual"}},
	} {
		other := newOperation(t, "order_1")
		other.Order = order

		found, err := b.Begin(t.Context(), other)
		require.NoError(t, err)
		require.False(t, found.Held())
		require.NotEqual(t, other.Fingerprint(), found.Fingerprint)
		require.Equal(t, want.Fingerprint, found.Fingerprint)
		require.Equal(t, want.Order, found.Order)
		require.Equal(t, 1, found.Attempts)
	}

	b.mustBegin(t, newOperation(t, "order_1")) // its own order can still take it over
}

// A caller whose answer was lost repeats the call. Its own lease must not lock it out.
func beginRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	for _, key := range []operation.Key{"order_1", ""} {
		c := newOperation(t, key)
		first := b.mustBegin(t, c)

		again := b.mustBegin(t, c)
		requireSameOperation(t, first, again)
	}

	c := newOperation(t, "order_2")
	b.mustBegin(t, c)
	b.Elapse(t, lease)
	b.mustBegin(t, newOperation(t, "order_2"))

	late, err := b.Begin(t.Context(), c)
	require.NoError(t, err)
	require.False(t, late.Held(), "somebody else has it by now")
}

func beginWithoutKey(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := newOperation(t, ""), newOperation(t, "")

	require.Equal(t, first.ID, b.mustBegin(t, first).ID)
	b.Elapse(t, 2*lease)
	require.Equal(t, second.ID, b.mustBegin(t, second).ID)

	_, err := b.Find(t.Context(), operation.DefaultTenant, "")
	requireNotFound(t, err)
}

func beginFinished(t *testing.T, b StoreBed) {
	t.Helper()

	b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "paid"))))

	_, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)

	b.Elapse(t, 365*24*time.Hour)

	for key, state := range map[operation.Key]operation.State{
		"paid": operation.Finished, "rejected order": operation.Finished,
	} {
		stands, err := b.Find(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, state, stands.State)
		require.True(t, stands.Finished())
		require.NotEmpty(t, stands.Response.Body)

		found, err := b.Begin(t.Context(), newOperation(t, key))
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameOperation(t, stands, found)
	}
}

// There was nothing to do, and the key is used.
func beginAnswered(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	lost := b.mustBegin(t, newCancel(t, p, "cancel_1")) // it is not in the way

	c := newCancel(t, p, "cancel_2")
	c.Response = &ports.FrozenResponse{Status: http.StatusOK, Body: []byte(`{"cancelled":true}`)}

	op, err := b.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, ports.Operation{
		ID: c.ID, Tenant: c.Tenant, Kind: c.Kind, Subject: c.Subject, Key: c.Key, Order: c.Order, Fingerprint: c.Fingerprint(),
		Call: c.Call, Origin: c.Origin, State: operation.Finished, Attempts: 1, Response: *c.Response,
		Incarnation: b.incarnation(t), Standing: operation.Standing{Reconciled: true}, Age: op.Age, CreatedAt: op.CreatedAt,
	}, op)
	requireSameOperation(t, op, b.operationNow(t, c.ID))

	again, err := b.Twin.Begin(t.Context(), c) // its answer was lost
	require.NoError(t, err)
	requireSameOperation(t, op, again)

	late := newCapture(t, p, "cancel_2")
	found, err := b.Twin.Begin(t.Context(), late)
	require.NoError(t, err)
	requireSameOperation(t, op, found)
	require.NotEqual(t, late.Fingerprint(), found.Fingerprint)

	b.Elapse(t, 2*lease)
	taken, err := b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, lost.ID, taken[0].ID, "nobody works on a finished one")

	late.Key, late.Response = "cancel_1", c.Response
	found, err = b.Begin(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, lost.ID, found.ID, "the key is used")
	require.False(t, found.Finished())
}

func beginGivenUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))
	b.Elapse(t, 2*lease)

	found, err := b.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	require.False(t, found.Held())
	require.False(t, found.Finished())
	require.Equal(t, operation.NeedsAttention, found.State)
}

func beginByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	// In the first round one caller writes it, in the second one takes it over.
	for attempt := range 2 {
		ops := allAtOnce(t, callers, func(i int) (ports.Operation, error) {
			return b.either(i).Begin(t.Context(), newOperation(t, "order_1"))
		})

		require.Equal(t, 1, count(ops, ports.Operation.Held), "exactly one holder")

		for _, op := range ops {
			require.Equal(t, ops[0].ID, op.ID)
			require.Equal(t, ops[0].Call, op.Call)

			if op.Held() {
				require.Equal(t, attempt+1, op.Attempts)
			}
		}

		b.Elapse(t, lease)
	}
}

func beginKeys(t *testing.T, b StoreBed) {
	t.Helper()

	keys := []operation.Key{
		"a", "A", "a ", " a", "a\u00a0", `"a"`, "'a'", `\`, `\\`, "%", "_", "*", "$1", "{}", "null", "0", "٠",
		"'; DROP TABLE payments; --", "é", "e\u0301", "\ufeffa", "\U0010ffff", "👩‍👩‍👧", "ж",
		operation.Key(strings.Repeat("k", operation.MaxKeyLength)),
		operation.Key(strings.Repeat("k", operation.MaxKeyLength-1) + "K"),
		operation.Key(strings.Repeat("👩", operation.MaxKeyLength)),
	}

	for _, key := range keys {
		_, err := operation.ParseKey(string(key))
		require.NoError(t, err)
		require.Equal(t, key, b.mustBegin(t, newOperation(t, key)).Key)
	}

	for _, key := range keys {
		found, err := b.Find(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, key, found.Key)

		p := b.mustFinish(t, completionOf(found)).Operation
		require.Equal(t, key, b.paymentNow(t, p.ID).Key)
	}
}

func beginMetadata(t *testing.T, b StoreBed) {
	t.Helper()

	for name, metadata := range map[string]map[string]string{
		"none":   nil,
		"empty":  {},
		"filled": {"order": "42", "empty": "", "№": "<a & b> \" \\ \u2028 \U0010ffff", "tab\u00a0": "line\nfeed\t"},
	} {
		c := newOperation(t, operation.Key(name))
		c.Order.Metadata = metadata

		op := b.mustBegin(t, c)
		require.Equal(t, metadata, op.Order.Metadata, name)
		require.Equal(t, metadata, b.operationNow(t, op.ID).Order.Metadata, name)

		require.Equal(t, metadata, b.mustFinish(t, completionOf(op)).Operation.Order.Metadata, name)
		require.Equal(t, payment.Metadata(metadata), b.paymentNow(t, op.ID).Metadata, name)
	}
}

func beginAmounts(t *testing.T, b StoreBed) {
	t.Helper()

	steps := map[string]int64{"USD": 1, "JPY": 1, "KWD": 10, "ISK": 100}

	rapid.Check(t, func(rt *rapid.T) {
		code := rapid.SampledFrom(slices.Sorted(maps.Keys(steps))).Draw(rt, "currency")
		whole := rapid.Int64Range(1, 99_999_999/steps[code]).Draw(rt, "steps")
		part := rapid.Int64Range(1, whole).Draw(rt, "captured")

		c := newOperation(t, "")
		c.Order.Amount = amount(rt, steps[code]*whole, code)

		op, err := b.Begin(t.Context(), c)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, op.Order.Amount)

		completion := completionOf(op)
		completion.Payment = completion.Payment.Begun(held(completion.Payment), time.Now())
		_, err = b.Finish(t.Context(), completion)
		require.NoError(rt, err)

		found, err := b.FindByID(t.Context(), c.ID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, found.Order.Amount)

		p, err := b.Payment(t.Context(), c.ID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, p.Amount)
		require.Equal(rt, c.Order.Amount.Money(), p.Capturable)

		capture := newCapture(t, p, "")
		capture.Order = operation.Order{Amount: amount(rt, steps[code]*part, code)}
		op, err = b.Begin(t.Context(), capture)
		require.NoError(rt, err)
		require.Equal(rt, capture.Order.Amount, op.Order.Amount)

		_, err = b.FinishOn(t.Context(), op.ID, "request", ports.Change{Decide: capturing(op.Order.Amount)})
		require.NoError(rt, err)

		p, err = b.Payment(t.Context(), c.ID)
		require.NoError(rt, err)
		require.Equal(rt, capture.Order.Amount.Money(), p.Captured)
	})
}

func beginAge(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.Less(t, op.Age, time.Minute)

	b.Elapse(t, 25*time.Hour)

	older := b.operationNow(t, op.ID)
	require.GreaterOrEqual(t, older.Age, 25*time.Hour)
	require.Less(t, older.Age, 25*time.Hour+time.Minute)
	require.Equal(t, op.CreatedAt.Add(-25*time.Hour), older.CreatedAt)
	require.Equal(t, time.UTC, older.CreatedAt.Location())
}

func beginOfOldIntent(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	c.CreatedAt = time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Second)

	op := b.mustBegin(t, c)
	require.True(t, op.Held())
	require.Equal(t, c.CreatedAt, op.CreatedAt)
	require.InDelta(t, 25*time.Hour, op.Age, float64(time.Minute))
}
