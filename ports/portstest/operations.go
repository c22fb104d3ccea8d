package portstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
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

// Operations is the contract of ports.Operations. Each call of newBed gives an empty
// store.
func Operations(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Operation/a first one is held":                  operationIsHeld,
		"Operation/found while somebody holds it":        operationFoundWhileHeld,
		"Operation/taken over as it was after the lease": operationTakenOver,
		"Operation/another order never takes over":       operationOfAnotherOrder,
		"Operation/one lease token is one call":          operationRepeated,
		"Operation/without keys they never meet":         operationWithoutKey,
		"Operation/finished is found for ever":           operationFinished,
		"Operation/a person's is not taken over":         operationGivenUp,
		"Operation/one holder of 64 callers":             operationByMany,
		"Operation/keys differ by every character":       operationKeys,
		"Operation/metadata as sent":                     operationMetadata,
		"Operation/every amount is exact":                operationAmounts,
		"Operation/its age is the store's":               operationAge,
		"Operation/its age is its intent's":              operationOfOldIntent,
		"Find/none is NotFound":                          findOperationNotFound,
		"Take/what nobody works on":                      takeUnfinished,
		"Take/the longest waiting first":                 takeLongestWaiting,
		"Take/many callers, disjoint":                    takeByMany,
		"Extend/by the holder":                           extendByHolder,
		"Extend/by nobody else":                          extendByOthers,
		"Reject/opened again by the same order":          rejectAndReopen,
		"Reject/recovery leaves it alone":                rejectedIsNotTaken,
		"Reject/by nobody else":                          rejectByOthers,
		"Reject/what stands is returned":                 rejectFinished,
		"Reject/an existing payment contradicts":         rejectAfterPayment,
		"Reject/an intent after it contradicts":          finishAfterReject,
		"Reject/repeated":                                rejectRepeated,
		"Reject/no operation is NotFound":                rejectWithoutOperation,
		"Reopen/one holder of 64 callers":                reopenByMany,
		"Reopen/one lease token is one call":             reopenRepeated,
		"Reopen/only what is rejected":                   reopenOthers,
		"Reopen/no operation is NotFound":                reopenWithoutOperation,
		"In doubt/unavailable is surely not written":     writesTellTheTruth,
		"In doubt/who shares a commit shares its doubt":  groupsTellTheTruth,
		"In doubt/an operation goes on under its lease":  operationInDoubtIsHeld,
		"Release/tried again when due":                   releaseByHolder,
		"Release/by nobody else":                         releaseByOthers,
		"Release/what was not sent does not count":       releaseUnsent,
		"Release/whatever the cause says":                releaseAnyCause,
		"GiveUp/hands it to a person":                    giveUp,
		"GiveUp/a finished one is left alone":            giveUpFinished,
		"Finish/payment, history and response":           finishWritesAll,
		"Finish/the first response stands":               finishTwice,
		"Finish/many at once, one payment":               finishByMany,
		"Finish/the response's very bytes":               finishKeepsBytes,
		"Finish/without a response it stays open":        finishWithoutResponse,
		"Finish/after a person got it":                   finishAfterGiveUp,
		"Finish/another intent contradicts":              finishWithAnotherIntent,
		"Finish/another intent contradicts an open one":  finishOpenWithAnotherIntent,
		"Finish/many intents at once, one wins":          finishWithManyIntents,
		"Finish/another payment's intent contradicts":    finishWithTakenIntent,
		"Finish/one intent, two payments at once":        finishTwoWithOneIntent,
		"Finish/no operation is NotFound":                finishWithoutOperation,
		"FinishRejected/freezes":                         finishRejectedFreezes,
		"FinishRejected/what stands is returned":         finishRejectedAfterFinish,
		"FinishRejected/after a person got it":           finishRejectedAfterGiveUp,
		"FinishRejected/an intent after it contradicts":  finishAfterFinishRejected,
		"FinishRejected/an existing payment contradicts": finishRejectedAfterPayment,
		"FinishRejected/against Finish, one wins":        finishRejectedAgainstFinish,
		"FinishRejected/no operation is NotFound":        finishRejectedWithoutOperation,
	})
}

func operationIsHeld(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")

	op, err := b.Begin(t.Context(), c)
	require.NoError(t, err)
	require.True(t, op.Held())
	require.False(t, op.Finished())
	require.Equal(t, time.UTC, op.CreatedAt.Location())
	require.WithinDuration(t, time.Now(), op.CreatedAt, time.Minute)

	require.Equal(t, ports.Operation{
		PaymentID: c.PaymentID, Key: c.Key, Order: c.Order, Fingerprint: c.Order.Fingerprint(),
		Request: c.Request, Origin: c.Origin, State: operation.Pending, Lease: c.Lease.Token, Attempts: 1,
		Age: op.Age, CreatedAt: op.CreatedAt,
	}, op)
}

func operationFoundWhileHeld(t *testing.T, b StoreBed) {
	t.Helper()

	first := newOperation(t, "order_1")
	want := b.mustBegin(t, first)
	want.Lease = uuid.Nil // the holder's affair

	found, err := b.Twin.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	requireSameOperation(t, want, found)

	found, err = b.Find(t.Context(), "order_1")
	require.NoError(t, err)
	requireSameOperation(t, want, found)

	requireSameOperation(t, want, b.operationNow(t, first.PaymentID))
	require.Equal(t, 1, b.operationNow(t, first.PaymentID).Attempts, "looking is no attempt")
}

func operationTakenOver(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))

	b.Elapse(t, lease)

	// It has another payment id, other parameters and another origin, as a later
	// release of the service would send them. What was written first counts:
	// Stripe refuses a key that comes back with other parameters.
	heir := newOperation(t, "order_1")
	taken := b.mustBegin(t, heir)

	want.Lease, want.Attempts, want.CreatedAt = heir.Lease.Token, 2, taken.CreatedAt
	requireSameOperation(t, want, taken)
	require.GreaterOrEqual(t, taken.Age, lease)

	_, err := b.FindByPayment(t.Context(), heir.PaymentID)
	requireNotFound(t, err)

	third, err := b.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	require.False(t, third.Held(), "the lease is the heir's now")
}

func operationOfAnotherOrder(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))

	b.Elapse(t, 2*lease)

	for _, order := range []payment.Order{
		{Amount: amount(t, 123_46, "USD"), Metadata: want.Order.Metadata},
		{Amount: amount(t, 123_45, "EUR"), Metadata: want.Order.Metadata},
		{Amount: want.Order.Amount, Metadata: payment.Metadata{"order": "43"}},
		{Amount: want.Order.Amount},
	} {
		other := newOperation(t, "order_1")
		other.Order = order

		found, err := b.Begin(t.Context(), other)
		require.NoError(t, err)
		require.False(t, found.Held())
		require.NotEqual(t, order.Fingerprint(), found.Fingerprint)
		require.Equal(t, want.Fingerprint, found.Fingerprint)
		require.Equal(t, want.Order, found.Order)
		require.Equal(t, 1, found.Attempts)
	}

	b.mustBegin(t, newOperation(t, "order_1")) // still to be had by its own order
}

// A caller whose answer was lost repeats the call and must not be locked out by
// its own lease.
func operationRepeated(t *testing.T, b StoreBed) {
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

func operationWithoutKey(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := newOperation(t, ""), newOperation(t, "")

	require.Equal(t, first.PaymentID, b.mustBegin(t, first).PaymentID)
	b.Elapse(t, 2*lease)
	require.Equal(t, second.PaymentID, b.mustBegin(t, second).PaymentID)

	_, err := b.Find(t.Context(), "")
	requireNotFound(t, err)
}

func operationFinished(t *testing.T, b StoreBed) {
	t.Helper()

	b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "paid"))))

	_, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")).PaymentID, rejection())
	require.NoError(t, err)

	b.Elapse(t, 365*24*time.Hour)

	for key, state := range map[operation.Key]operation.State{
		"paid": operation.Finished, "rejected order": operation.Finished,
	} {
		stands, err := b.Find(t.Context(), key)
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

func operationGivenUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("lost")))
	b.Elapse(t, 2*lease)

	found, err := b.Begin(t.Context(), newOperation(t, "order_1"))
	require.NoError(t, err)
	require.False(t, found.Held())
	require.False(t, found.Finished())
	require.Equal(t, operation.NeedsAttention, found.State)
}

func operationByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	// First who writes it, then who takes it over.
	for attempt := range 2 {
		ops := allAtOnce(t, callers, func(i int) (ports.Operation, error) {
			return b.either(i).Begin(t.Context(), newOperation(t, "order_1"))
		})

		require.Equal(t, 1, count(ops, ports.Operation.Held), "exactly one holder")

		for _, op := range ops {
			require.Equal(t, ops[0].PaymentID, op.PaymentID)
			require.Equal(t, ops[0].Request, op.Request)

			if op.Held() {
				require.Equal(t, attempt+1, op.Attempts)
			}
		}

		b.Elapse(t, lease)
	}
}

func operationKeys(t *testing.T, b StoreBed) {
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
		found, err := b.Find(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, key, found.Key)

		p := b.mustFinish(t, completionOf(found)).Operation
		require.Equal(t, key, b.paymentNow(t, p.PaymentID).Key)
	}
}

func operationMetadata(t *testing.T, b StoreBed) {
	t.Helper()

	for name, metadata := range map[string]payment.Metadata{
		"none":   nil,
		"empty":  {},
		"filled": {"order": "42", "empty": "", "№": "<a & b> \" \\ \u2028 \U0010ffff", "tab\u00a0": "line\nfeed\t"},
	} {
		c := newOperation(t, operation.Key(name))
		c.Order.Metadata = metadata

		op := b.mustBegin(t, c)
		require.Equal(t, metadata, op.Order.Metadata, name)
		require.Equal(t, metadata, b.operationNow(t, op.PaymentID).Order.Metadata, name)

		require.Equal(t, metadata, b.mustFinish(t, completionOf(op)).Operation.Order.Metadata, name)
		require.Equal(t, metadata, b.paymentNow(t, op.PaymentID).Metadata, name)
	}
}

func operationAmounts(t *testing.T, b StoreBed) {
	t.Helper()

	steps := map[string]int64{"USD": 1, "JPY": 1, "KWD": 10, "ISK": 100}

	rapid.Check(t, func(rt *rapid.T) {
		code := rapid.SampledFrom(slices.Sorted(maps.Keys(steps))).Draw(rt, "currency")
		minor := steps[code] * rapid.Int64Range(1, 99_999_999/steps[code]).Draw(rt, "steps")

		c := newOperation(t, "")
		c.Order.Amount = amount(rt, minor, code)

		op, err := b.Begin(t.Context(), c)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, op.Order.Amount)

		_, err = b.Finish(t.Context(), completionOf(op))
		require.NoError(rt, err)

		found, err := b.FindByPayment(t.Context(), c.PaymentID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, found.Order.Amount)

		p, err := b.Payment(t.Context(), c.PaymentID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, p.Amount)
	})
}

func operationAge(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.Less(t, op.Age, time.Minute)

	b.Elapse(t, 25*time.Hour)

	older := b.operationNow(t, op.PaymentID)
	require.GreaterOrEqual(t, older.Age, 25*time.Hour)
	require.Less(t, older.Age, 25*time.Hour+time.Minute)
	require.Equal(t, op.CreatedAt.Add(-25*time.Hour), older.CreatedAt)
	require.Equal(t, time.UTC, older.CreatedAt.Location())
}

func operationOfOldIntent(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	c.CreatedAt = time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Second)

	op := b.mustBegin(t, c)
	require.True(t, op.Held())
	require.Equal(t, c.CreatedAt, op.CreatedAt)
	require.InDelta(t, 25*time.Hour, op.Age, float64(time.Minute))
}

func findOperationNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Find(t.Context(), "order_1")
	requireNotFound(t, err)

	_, err = b.FindByPayment(t.Context(), uuid.New())
	requireNotFound(t, err)
}

func takeUnfinished(t *testing.T, b StoreBed) {
	t.Helper()

	taken, err := b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished"))))
	_, err = b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")).PaymentID, rejection())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), b.mustBegin(t, newOperation(t, "given up")).PaymentID, errors.New("lost")))

	want := b.mustBegin(t, newOperation(t, "pending"))

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "somebody works on it")

	b.Elapse(t, lease)

	heir := newLease()
	taken, err = b.Take(t.Context(), 10, heir)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.True(t, taken[0].Held())
	require.GreaterOrEqual(t, taken[0].Age, lease)

	want.Lease, want.Attempts, want.CreatedAt = heir.Token, 2, taken[0].CreatedAt
	requireSameOperation(t, want, taken[0])

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "the heir works on it")

	found, err := b.Begin(t.Context(), newOperation(t, "pending"))
	require.NoError(t, err)
	require.False(t, found.Held(), "the heir works on it")
}

func takeLongestWaiting(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, batch = 40, 15

	want := make([]uuid.UUID, ops)

	// Written in another order than they fall due.
	for i := range ops {
		place := i * 7 % ops
		op := b.mustBegin(t, newOperation(t, ""))
		want[place] = op.PaymentID

		due := time.Duration(place) * time.Minute
		require.NoError(t, b.Release(t.Context(), op, due, errors.New("no answer")))
	}

	b.Elapse(t, (ops-2)*time.Minute+time.Second) // all but the last are due

	for _, size := range []int{batch, batch, ops - 1 - 2*batch, 0} {
		taken, err := b.Take(t.Context(), batch, newLease())
		require.NoError(t, err)
		require.Equal(t, want[:size], paymentIDs(taken))

		want = want[size:]
	}

	b.Elapse(t, time.Minute)

	taken, err := b.Take(t.Context(), batch, newLease())
	require.NoError(t, err)
	require.Equal(t, want, paymentIDs(taken))
}

func takeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers, batch = 60, 16, 5

	want, got := make([]uuid.UUID, 0, ops), make([]uuid.UUID, 0, ops)

	for range ops {
		want = append(want, b.mustBegin(t, newOperation(t, "")).PaymentID)
	}

	b.Elapse(t, lease)

	for _, taken := range allAtOnce(t, callers, func(i int) ([]ports.Operation, error) {
		return b.either(i).Take(t.Context(), batch, newLease())
	}) {
		require.LessOrEqual(t, len(taken), batch)

		got = append(got, paymentIDs(taken)...)
	}

	// Callers skip what others are just taking, so something may be left.
	rest, err := b.Take(t.Context(), ops, newLease())
	require.NoError(t, err)
	require.ElementsMatch(t, want, append(got, paymentIDs(rest)...), "each once")
}

func extendByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	c.Lease.For = time.Minute
	op := b.mustBegin(t, c)

	require.NoError(t, b.Extend(t.Context(), op, lease))
	b.Elapse(t, lease-time.Minute)
	b.requireHeldByOther(t)

	b.Elapse(t, time.Minute)
	// Nobody has noticed that it ran out.
	require.NoError(t, b.Extend(t.Context(), op, lease))
	b.requireHeldByOther(t)

	b.Elapse(t, lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts)
}

func extendByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)

	holder := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Extend(t.Context(), former, 24*lease))
	require.NoError(t, b.Extend(t.Context(), b.operationNow(t, holder.PaymentID), 24*lease))
	b.Elapse(t, lease)
	b.mustBegin(t, newOperation(t, "order_1"))

	done := b.mustFinish(t, completionOf(holder)).Operation
	require.NoError(t, b.Extend(t.Context(), holder, lease))
	requireSameOperation(t, done, b.operationNow(t, holder.PaymentID))
}

func releaseByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), op, time.Minute, errors.New("no answer")))
	require.False(t, b.operationNow(t, op.PaymentID).Held())

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "not due yet")

	// The client need not wait for recovery.
	again := b.mustBegin(t, newOperation(t, "order_1"))
	require.Equal(t, 2, again.Attempts)

	require.NoError(t, b.Release(t.Context(), again, time.Minute, errors.New("no answer")))
	b.Elapse(t, time.Minute)

	taken, err = b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 3, taken[0].Attempts)
}

// A call that was shed has sent nothing: the next one is the first send, whose
// refusal is believed.
func releaseUnsent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), op, 0, fmt.Errorf("shed: %w", ports.ErrUnavailable)))

	again := b.mustBegin(t, newOperation(t, "order_1"))
	require.Equal(t, 1, again.Attempts)
	require.NoError(t, b.Release(t.Context(), again, 0, errors.New("no answer")))
	require.Equal(t, 2, b.mustBegin(t, newOperation(t, "order_1")).Attempts)
}

func releaseByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)

	holder := newOperation(t, "order_1")
	b.mustBegin(t, holder)
	require.NoError(t, b.Release(t.Context(), former, 0, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), b.operationNow(t, former.PaymentID), 0, errors.New("nobody")))
	b.requireHeldByOther(t)
	require.True(t, b.mustBegin(t, holder).Held())

	op := b.operationNow(t, former.PaymentID)
	done := b.mustFinish(t, completionOf(op)).Operation
	op.Lease = holder.Lease.Token
	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	requireSameOperation(t, done, b.operationNow(t, former.PaymentID))
}

// A cause may quote what a broken proxy has sent. It must not keep the operation
// from being released or given up.
func releaseAnyCause(t *testing.T, b StoreBed) {
	t.Helper()

	for _, text := range []string{
		"", "\x00", "\xff\xfe", "502 \xe2\x82", strings.Repeat("ж", 10_000), strings.Repeat("\x00", 501),
	} {
		op := b.mustBegin(t, newOperation(t, ""))
		require.NoError(t, b.Release(t.Context(), op, 0, errors.New(text)), "%q", text)
		require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New(text)), "%q", text)
		require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.PaymentID).State)
	}
}

func giveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))

	for range 2 {
		require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("lost")))

		given := b.operationNow(t, op.PaymentID)
		require.Equal(t, operation.NeedsAttention, given.State)
		require.False(t, given.Finished())
		require.Zero(t, given.Response)
	}

	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	require.NoError(t, b.Extend(t.Context(), op, lease))
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.PaymentID).State)
}

func giveUpFinished(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished")))).Operation
	require.NoError(t, b.GiveUp(t.Context(), done.PaymentID, errors.New("late")))
	requireSameOperation(t, done, b.operationNow(t, done.PaymentID))

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")).PaymentID, rejection())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), no.PaymentID, errors.New("late")))
	requireSameOperation(t, no, b.operationNow(t, no.PaymentID))
}

func finishWritesAll(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)

	done, err := b.Finish(t.Context(), completion)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.False(t, done.Parked)
	require.True(t, done.Operation.Finished())

	want := op
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, *completion.Response
	requireSameOperation(t, want, done.Operation)
	requireSameOperation(t, want, b.operationNow(t, op.PaymentID))

	p := b.paymentNow(t, op.PaymentID)
	require.False(t, p.UpdatedAt.Before(p.CreatedAt))

	completion.Payment.UpdatedAt = p.UpdatedAt
	require.Equal(t, completion.Payment, p)

	history := b.history(t, op.PaymentID)
	require.Len(t, history, 1)
	require.Equal(t, ports.Transition{To: payment.Pending, Cause: "request", At: history[0].At}, history[0])
}

func finishTwice(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	first := b.mustFinish(t, completionOf(op))
	p, history := b.paymentNow(t, op.PaymentID), b.history(t, op.PaymentID)

	second := completionOf(op)
	second.Response, second.Cause, second.Payment.Status = created("another"), "recovery", payment.Succeeded

	done := b.mustFinish(t, second)
	require.False(t, done.Created)
	requireSameOperation(t, first.Operation, done.Operation)

	require.Equal(t, p, b.paymentNow(t, op.PaymentID))
	require.Equal(t, history, b.history(t, op.PaymentID))
}

// The request, recovery and the webhook may all have found the intent.
func finishByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers = 40, 8

	for range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
			c := completionOf(op)
			c.Response = created(strconv.Itoa(i))

			return b.either(i).Finish(t.Context(), c)
		})

		require.Equal(t, 1, count(done, func(d ports.Finished) bool { return d.Created }))
		require.Len(t, b.history(t, op.PaymentID), 1)

		stands := b.operationNow(t, op.PaymentID)
		for _, d := range done {
			requireSameOperation(t, stands, d.Operation)
		}
	}
}

func finishKeepsBytes(t *testing.T, b StoreBed) {
	t.Helper()

	for name, body := range map[string][]byte{
		"none":   nil,
		"empty":  {},
		"spaced": []byte("{ \"b\":1.00,\t\"a\" : 1e2,\r\n\"b\":\"\\u00e9é\" }\n\n"),
		"binary": {0, 0xff, 0xfe, '\\', 'x', '0', '0'},
		"long":   bytes.Repeat([]byte("0123456789abcdef"), 10_000),
	} {
		completion := completionOf(b.mustBegin(t, newOperation(t, operation.Key("finished "+name))))
		completion.Response = &ports.FrozenResponse{Status: http.StatusCreated, Body: body}
		b.mustFinish(t, completion)
		requireResponse(t, *completion.Response, b.operationNow(t, completion.Payment.ID).Response)

		no := ports.FrozenResponse{Status: http.StatusBadGateway, Body: body}
		op, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, operation.Key("rejected "+name))).PaymentID, no)
		require.NoError(t, err)
		requireResponse(t, no, op.Response)
	}
}

func finishWithoutResponse(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	op := b.mustBegin(t, c)
	whole := completionOf(op)
	open := whole
	open.Response, open.Cause = nil, "webhook"

	done := b.mustFinish(t, open)
	require.True(t, done.Created)
	require.False(t, done.Operation.Finished())
	require.Equal(t, operation.Pending, done.Operation.State)
	require.Zero(t, done.Operation.Response)
	require.Equal(t, payment.Pending, b.paymentNow(t, op.PaymentID).Status)

	requireSameOperation(t, op, b.mustBegin(t, c)) // whoever holds it goes on

	again := b.mustFinish(t, open)
	require.False(t, again.Created)
	require.False(t, again.Operation.Finished())

	b.Elapse(t, lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{op.PaymentID}, paymentIDs(taken))

	finished := b.mustFinish(t, whole)
	require.False(t, finished.Created, "its payment was there")
	require.Equal(t, operation.Finished, finished.Operation.State)
	require.Equal(t, *whole.Response, finished.Operation.Response)
	require.Len(t, b.history(t, op.PaymentID), 1)
}

func finishAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("lost")))

	completion := completionOf(op)
	open := completion
	open.Response = nil
	require.Equal(t, operation.NeedsAttention, b.mustFinish(t, open).Operation.State)

	done := b.mustFinish(t, completion)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, *completion.Response, done.Operation.Response)
}

func finishWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	first := b.mustFinish(t, completionWith(op, "pi_first"))
	p, history := b.paymentNow(t, op.PaymentID), b.history(t, op.PaymentID)

	_, err := b.Finish(t.Context(), completionWith(op, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)

	requireSameOperation(t, first.Operation, b.operationNow(t, op.PaymentID))
	require.Equal(t, p, b.paymentNow(t, op.PaymentID))
	require.Equal(t, history, b.history(t, op.PaymentID))
}

func finishOpenWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionWith(op, "pi_first")
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.Finish(t.Context(), completionWith(op, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.Pending, b.operationNow(t, op.PaymentID).State)
	require.Equal(t, "pi_first", b.paymentNow(t, op.PaymentID).IntentID)
}

// Whichever intent comes first: the payment, its history and the frozen
// response are of that one, and every other caller hears of the contradiction.
func finishWithManyIntents(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers = 10, 8

	for n := range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		_, errs := atOnce(callers, func(i int) (ports.Finished, error) {
			c := completionWith(op, intentOf(uuid.New()))
			if n%2 == 0 && i%2 == 0 {
				c.Response = nil
			}

			return b.either(i).Finish(t.Context(), c)
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ports.ErrContradiction)
			}
		}

		require.Len(t, b.history(t, op.PaymentID), 1)

		if now := b.operationNow(t, op.PaymentID); now.Finished() {
			require.Equal(t, *created(b.paymentNow(t, op.PaymentID).IntentID), now.Response)
		}
	}
}

func finishWithTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	other := b.mustBegin(t, newOperation(t, "order_2"))

	_, err := b.Finish(t.Context(), completionWith(other, p.IntentID))
	require.ErrorIs(t, err, ports.ErrContradiction)

	b.requireNoPayment(t, other.PaymentID)
	require.Equal(t, operation.Pending, b.operationNow(t, other.PaymentID).State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
}

func finishTwoWithOneIntent(t *testing.T, b StoreBed) {
	t.Helper()

	const rounds, callers = 10, 4

	for range rounds {
		var ops [callers]ports.Operation
		for i := range ops {
			ops[i] = b.mustBegin(t, newOperation(t, ""))
		}

		intent := intentOf(uuid.New())
		_, errs := atOnce(callers, func(i int) (ports.Finished, error) {
			return b.either(i).Finish(t.Context(), completionWith(ops[i], intent))
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for i, err := range errs {
			if err == nil {
				require.Equal(t, intent, b.paymentNow(t, ops[i].PaymentID).IntentID)

				continue
			}

			require.ErrorIs(t, err, ports.ErrContradiction)
			b.requireNoPayment(t, ops[i].PaymentID)
			require.Equal(t, operation.Pending, b.operationNow(t, ops[i].PaymentID).State)
		}
	}
}

func finishWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")

	_, err := b.Finish(t.Context(), completionOf(ports.Operation{
		PaymentID: c.PaymentID, Key: c.Key, Order: c.Order, CreatedAt: time.Now(),
	}))
	requireNotFound(t, err)
	b.requireNoPayment(t, c.PaymentID)
}

func finishRejectedFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, rejection()

	op, err := b.FinishRejected(t.Context(), want.PaymentID, rejection())
	require.NoError(t, err)
	requireSameOperation(t, want, op)

	again, err := b.FinishRejected(t.Context(), want.PaymentID, *created("something else"))
	require.NoError(t, err)
	requireSameOperation(t, want, again)
	b.requireNoPayment(t, want.PaymentID)

	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)
}

func finishRejectedAfterFinish(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "order_1"))))

	stands, err := b.FinishRejected(t.Context(), done.Operation.PaymentID, rejection())
	require.NoError(t, err)
	requireSameOperation(t, done.Operation, stands)
}

func finishRejectedAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("lost")))

	no, err := b.FinishRejected(t.Context(), op.PaymentID, rejection())
	require.NoError(t, err)
	require.Equal(t, operation.Finished, no.State)
	require.Equal(t, rejection(), no.Response)
}

func finishAfterFinishRejected(t *testing.T, b StoreBed) {
	t.Helper()

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "order_1")).PaymentID, rejection())
	require.NoError(t, err)

	_, err = b.Finish(t.Context(), completionOf(no))
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireSameOperation(t, no, b.operationNow(t, no.PaymentID))
	b.requireNoPayment(t, no.PaymentID)
}

// The webhook has told of an intent that the API's answer denies.
func finishRejectedAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	open := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.FinishRejected(t.Context(), open.Payment.ID, rejection())
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.Pending, b.operationNow(t, open.Payment.ID).State)
}

func finishRejectedAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	const ops = 20

	for n := range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		completion := completionOf(op)

		if n%2 == 0 {
			completion.Response = nil
		}

		_, errs := atOnce(2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.FinishRejected(t.Context(), op.PaymentID, rejection())

				return struct{}{}, err
			}

			_, err := b.Twin.Finish(t.Context(), completion)

			return struct{}{}, err
		})

		if b.operationNow(t, op.PaymentID).Response.Status == rejection().Status {
			require.NoError(t, errs[0])
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			b.requireNoPayment(t, op.PaymentID)

			continue
		}

		require.NoError(t, errs[1])
		require.Equal(t, payment.Pending, b.paymentNow(t, op.PaymentID).Status)

		if completion.Response == nil {
			require.ErrorIs(t, errs[0], ports.ErrContradiction)
		} else {
			require.NoError(t, errs[0], "what stands is returned")
		}
	}
}

func finishRejectedWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.FinishRejected(t.Context(), uuid.New(), rejection())
	requireNotFound(t, err)
}

// mustReject makes an operation and gives it back as rejected.
func (b StoreBed) mustReject(tb testing.TB, c ports.NewOperation) ports.Operation {
	tb.Helper()

	op, err := b.Reject(tb.Context(), b.mustBegin(tb, c), errRepairable)
	require.NoError(tb, err)
	require.Equal(tb, operation.Rejected, op.State)

	return op
}

// The provider did not take the request, so that the next send is the first one, and
// goes out as it was written down.
func rejectAndReopen(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	for range 3 {
		rejected, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.False(t, rejected.Held())
		require.False(t, rejected.Finished())
		require.Zero(t, rejected.Response)

		want := held
		want.State, want.Lease, want.Attempts = operation.Rejected, uuid.Nil, 0
		requireSameOperation(t, want, rejected)
		requireSameOperation(t, want, b.operationNow(t, held.PaymentID))

		found, err := b.Begin(t.Context(), newOperation(t, "order_1"))
		require.NoError(t, err)
		requireSameOperation(t, want, found)

		lease := newLease()
		reopened, err := b.Reopen(t.Context(), held.PaymentID, lease)
		require.NoError(t, err)
		require.True(t, reopened.Held())

		want.State, want.Lease, want.Attempts = operation.Pending, lease.Token, 1
		requireSameOperation(t, want, reopened)
		b.requireHeldByOther(t)

		held = reopened
	}

	done := b.mustFinish(t, completionOf(held))
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
}

func rejectedIsNotTaken(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))
	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	requireStateOf(t, b, op, operation.Rejected)

	// Once it is open again, a crash of whoever opened it is recovered.
	_, err = b.Reopen(t.Context(), op.PaymentID, newLease())
	require.NoError(t, err)
	b.Elapse(t, lease)

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts, "it may have been sent")
}

// Somebody else may have sent it meanwhile, with a better configuration.
func rejectByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)
	holder := b.mustBegin(t, newOperation(t, "order_1"))

	for _, c := range []ports.Operation{former, b.operationNow(t, former.PaymentID)} {
		stands, err := b.Reject(t.Context(), c, errRepairable)
		require.NoError(t, err)
		require.Equal(t, operation.Pending, stands.State)
		require.False(t, stands.Held())
	}

	b.requireHeldByOther(t)
	require.True(t, b.mustFinish(t, completionOf(holder)).Created)
}

func rejectFinished(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))
	done := b.mustFinish(t, completionOf(held)).Operation

	stands, err := b.Reject(t.Context(), held, errRepairable)
	require.NoError(t, err)
	requireSameOperation(t, done, stands)
}

func rejectAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionOf(held)
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.Reject(t.Context(), held, errRepairable)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireStateOf(t, b, held, operation.Pending)
}

func finishAfterReject(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))

	for _, response := range []*ports.FrozenResponse{nil, created("pi_1")} {
		completion := completionOf(op)
		completion.Response = response

		_, err := b.Finish(t.Context(), completion)
		require.ErrorIs(t, err, ports.ErrContradiction)
	}

	requireSameOperation(t, op, b.operationNow(t, op.PaymentID))
	b.requireNoPayment(t, op.PaymentID)
}

func rejectRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	for range 2 {
		op, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.Equal(t, operation.Rejected, op.State)
	}
}

func rejectWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reject(t.Context(), ports.Operation{PaymentID: uuid.New(), Lease: uuid.New()}, errRepairable)
	requireNotFound(t, err)
}

func reopenByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	op := b.mustReject(t, newOperation(t, "order_1"))
	ops := allAtOnce(t, callers, func(i int) (ports.Operation, error) {
		return b.either(i).Reopen(t.Context(), op.PaymentID, newLease())
	})

	require.Equal(t, 1, count(ops, ports.Operation.Held), "exactly one holder")

	for _, found := range ops {
		require.Equal(t, op.PaymentID, found.PaymentID)
		require.Equal(t, op.Request, found.Request)
	}

	require.Equal(t, 1, b.operationNow(t, op.PaymentID).Attempts)
}

func reopenRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))
	token := newLease()

	for range 2 {
		reopened, err := b.Reopen(t.Context(), op.PaymentID, token)
		require.NoError(t, err)
		require.True(t, reopened.Held())
		require.Equal(t, 1, reopened.Attempts)
	}
}

func reopenOthers(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "pending"))
	b.Elapse(t, 2*lease)

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished")))).Operation

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")).PaymentID, rejection())
	require.NoError(t, err)

	given := b.mustBegin(t, newOperation(t, "given up"))
	require.NoError(t, b.GiveUp(t.Context(), given.PaymentID, errors.New("lost")))

	for _, id := range []uuid.UUID{pending.PaymentID, done.PaymentID, no.PaymentID, given.PaymentID} {
		before := b.operationNow(t, id)

		found, err := b.Reopen(t.Context(), id, newLease())
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameOperation(t, before, found)
		requireSameOperation(t, before, b.operationNow(t, id))
	}
}

func reopenWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reopen(t.Context(), uuid.New(), newLease())
	requireNotFound(t, err)
}

func requireStateOf(tb testing.TB, b StoreBed, c ports.Operation, state operation.State) {
	tb.Helper()
	require.Equal(tb, state, b.operationNow(tb, c.PaymentID).State)
}

// requireHeldByOther: a newcomer does not get the operation of order_1.
func (b StoreBed) requireHeldByOther(tb testing.TB) {
	tb.Helper()

	found, err := b.Begin(tb.Context(), newOperation(tb, "order_1"))
	require.NoError(tb, err)
	require.False(tb, found.Held())
	require.Equal(tb, operation.Pending, found.State)

	taken, err := b.Take(tb.Context(), 1, newLease())
	require.NoError(tb, err)
	require.Empty(tb, taken)
}

// requireSameOperation compares all but the age, which is a moment's.
func requireSameOperation(tb testing.TB, want, got ports.Operation) {
	tb.Helper()
	requireResponse(tb, want.Response, got.Response)

	want.Age, want.Response.Body = 0, nil
	got.Age, got.Response.Body = 0, nil
	require.Equal(tb, want, got)
}

// requireResponse takes an empty body and none for the same bytes.
func requireResponse(tb testing.TB, want, got ports.FrozenResponse) {
	tb.Helper()
	require.Equal(tb, want.Status, got.Status)
	require.Equal(tb, string(want.Body), string(got.Body))
}

func paymentIDs(ops []ports.Operation) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(ops))
	for _, op := range ops {
		ids = append(ids, op.PaymentID)
	}

	return ids
}

// OperationsBenchmarks measures the walk of a payment from its operation to its frozen
// response: one caller, and as many as there are processors.
func OperationsBenchmarks(b *testing.B, newBed func(tb testing.TB) StoreBed) {
	b.Helper()

	b.Run("Operation", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString())))
		}
	})
	b.Run("FindFinished", func(b *testing.B) {
		bed := newBed(b)
		bed.mustPay(b, "order_1")
		b.ReportAllocs()

		for b.Loop() {
			_, err := bed.Begin(b.Context(), newOperation(b, "order_1"))
			require.NoError(b, err)
		}
	})
	b.Run("Finish", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			op := bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString())))

			b.StartTimer()
			bed.mustFinish(b, completionOf(op))
		}
	})
	b.Run("BeginAndFinish/parallel", func(b *testing.B) {
		bed := newBed(b)
		parallel(b, func(ctx context.Context) {
			op, err := bed.Begin(ctx, newOperation(b, operation.Key(uuid.NewString())))
			if err == nil {
				_, err = bed.Finish(ctx, completionOf(op))
			}

			if err != nil {
				b.Error(err)
			}
		})
	})
}
