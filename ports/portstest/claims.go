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

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Claims is the contract of ports.Claims. Each call of newBed gives an empty
// store.
func Claims(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Claim/a first one is held":                       claimIsHeld,
		"Claim/found while somebody holds it":             claimFoundWhileHeld,
		"Claim/taken over as it was after the lease":      claimTakenOver,
		"Claim/another order never takes over":            claimOfAnotherOrder,
		"Claim/one lease token is one call":               claimRepeated,
		"Claim/without keys they never meet":              claimWithoutKey,
		"Claim/finished is found for ever":                claimFinished,
		"Claim/a person's is not taken over":              claimGivenUp,
		"Claim/one holder of 64 callers":                  claimByMany,
		"Claim/keys differ by every character":            claimKeys,
		"Claim/metadata as sent":                          claimMetadata,
		"Claim/every amount is exact":                     claimAmounts,
		"Claim/its age is the store's":                    claimAge,
		"Claim/its age is its intent's":                   claimOfOldIntent,
		"FindClaim/none is NotFound":                      findClaimNotFound,
		"TakeUnfinished/what nobody works on":             takeUnfinished,
		"TakeUnfinished/the longest waiting first":        takeLongestWaiting,
		"TakeUnfinished/many callers, disjoint":           takeByMany,
		"Extend/by the holder":                            extendByHolder,
		"Extend/by nobody else":                           extendByOthers,
		"Reject/opened again by the same order":           rejectAndReopen,
		"Reject/recovery leaves it alone":                 rejectedIsNotTaken,
		"Reject/by nobody else":                           rejectByOthers,
		"Reject/what stands is returned":                  rejectFinished,
		"Reject/an existing payment contradicts":          rejectAfterPayment,
		"Reject/an intent after it contradicts":           completeAfterReject,
		"Reject/repeated":                                 rejectRepeated,
		"Reject/no claim is NotFound":                     rejectWithoutClaim,
		"Reopen/one holder of 64 callers":                 reopenByMany,
		"Reopen/one lease token is one call":              reopenRepeated,
		"Reopen/only what is rejected":                    reopenOthers,
		"Reopen/no claim is NotFound":                     reopenWithoutClaim,
		"In doubt/unavailable is surely not written":      writesTellTheTruth,
		"In doubt/who shares a commit shares its doubt":   groupsTellTheTruth,
		"In doubt/a claim goes on under its lease":        claimInDoubtIsHeld,
		"Release/tried again when due":                    releaseByHolder,
		"Release/by nobody else":                          releaseByOthers,
		"Release/what was not sent does not count":        releaseUnsent,
		"Release/whatever the cause says":                 releaseAnyCause,
		"GiveUp/hands it to a person":                     giveUp,
		"GiveUp/a finished one is left alone":             giveUpFinished,
		"Complete/payment, history and response":          completeWritesAll,
		"Complete/the first response stands":              completeTwice,
		"Complete/many at once, one payment":              completeByMany,
		"Complete/the response's very bytes":              completeKeepsBytes,
		"Complete/without a response it stays open":       completeWithoutResponse,
		"Complete/after a person got it":                  completeAfterGiveUp,
		"Complete/another intent contradicts":             completeWithAnotherIntent,
		"Complete/another intent contradicts an open one": completeOpenWithAnotherIntent,
		"Complete/many intents at once, one wins":         completeWithManyIntents,
		"Complete/another payment's intent contradicts":   completeWithTakenIntent,
		"Complete/one intent, two payments at once":       completeTwoWithOneIntent,
		"Complete/no claim is NotFound":                   completeWithoutClaim,
		"Refuse/freezes":                                  refuseFreezes,
		"Refuse/what stands is returned":                  refuseAfterComplete,
		"Refuse/after a person got it":                    refuseAfterGiveUp,
		"Refuse/an intent after it contradicts":           completeAfterRefuse,
		"Refuse/an existing payment contradicts":          refuseAfterPayment,
		"Refuse/against Complete, one wins":               refuseAgainstComplete,
		"Refuse/no claim is NotFound":                     refuseWithoutClaim,
	})
}

func claimIsHeld(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")

	claim, err := b.Claim(t.Context(), c)
	require.NoError(t, err)
	require.True(t, claim.Held())
	require.False(t, claim.Finished())
	require.Equal(t, time.UTC, claim.CreatedAt.Location())
	require.WithinDuration(t, time.Now(), claim.CreatedAt, time.Minute)

	require.Equal(t, ports.Claim{
		PaymentID: c.PaymentID, Key: c.Key, Order: c.Order, Fingerprint: c.Order.Fingerprint(),
		Request: c.Request, Origin: c.Origin, State: ports.ClaimPending, Lease: c.Lease.Token, Attempts: 1,
		Age: claim.Age, CreatedAt: claim.CreatedAt,
	}, claim)
}

func claimFoundWhileHeld(t *testing.T, b StoreBed) {
	t.Helper()

	first := newClaim(t, "order_1")
	want := b.mustClaim(t, first)
	want.Lease = uuid.Nil // the holder's affair

	found, err := b.Twin.Claim(t.Context(), newClaim(t, "order_1"))
	require.NoError(t, err)
	requireSameClaim(t, want, found)

	found, err = b.FindClaim(t.Context(), "order_1")
	require.NoError(t, err)
	requireSameClaim(t, want, found)

	requireSameClaim(t, want, b.claimNow(t, first.PaymentID))
	require.Equal(t, 1, b.claimNow(t, first.PaymentID).Attempts, "looking is no attempt")
}

func claimTakenOver(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustClaim(t, newClaim(t, "order_1"))

	b.Elapse(t, lease)

	// It has another payment id, other parameters and another origin, as a later
	// release of the service would send them. What was written first counts:
	// Stripe refuses a key that comes back with other parameters.
	heir := newClaim(t, "order_1")
	taken := b.mustClaim(t, heir)

	want.Lease, want.Attempts, want.CreatedAt = heir.Lease.Token, 2, taken.CreatedAt
	requireSameClaim(t, want, taken)
	require.GreaterOrEqual(t, taken.Age, lease)

	_, err := b.ClaimByPayment(t.Context(), heir.PaymentID)
	requireNotFound(t, err)

	third, err := b.Claim(t.Context(), newClaim(t, "order_1"))
	require.NoError(t, err)
	require.False(t, third.Held(), "the lease is the heir's now")
}

func claimOfAnotherOrder(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustClaim(t, newClaim(t, "order_1"))

	b.Elapse(t, 2*lease)

	for _, order := range []payment.Order{
		{Amount: amount(t, 123_46, "USD"), Metadata: want.Order.Metadata},
		{Amount: amount(t, 123_45, "EUR"), Metadata: want.Order.Metadata},
		{Amount: want.Order.Amount, Metadata: payment.Metadata{"order": "43"}},
		{Amount: want.Order.Amount},
	} {
		other := newClaim(t, "order_1")
		other.Order = order

		found, err := b.Claim(t.Context(), other)
		require.NoError(t, err)
		require.False(t, found.Held())
		require.NotEqual(t, order.Fingerprint(), found.Fingerprint)
		require.Equal(t, want.Fingerprint, found.Fingerprint)
		require.Equal(t, want.Order, found.Order)
		require.Equal(t, 1, found.Attempts)
	}

	b.mustClaim(t, newClaim(t, "order_1")) // still to be had by its own order
}

// A caller whose answer was lost repeats the call and must not be locked out by
// its own lease.
func claimRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	for _, key := range []payment.Key{"order_1", ""} {
		c := newClaim(t, key)
		first := b.mustClaim(t, c)

		again := b.mustClaim(t, c)
		requireSameClaim(t, first, again)
	}

	c := newClaim(t, "order_2")
	b.mustClaim(t, c)
	b.Elapse(t, lease)
	b.mustClaim(t, newClaim(t, "order_2"))

	late, err := b.Claim(t.Context(), c)
	require.NoError(t, err)
	require.False(t, late.Held(), "somebody else has it by now")
}

func claimWithoutKey(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := newClaim(t, ""), newClaim(t, "")

	require.Equal(t, first.PaymentID, b.mustClaim(t, first).PaymentID)
	b.Elapse(t, 2*lease)
	require.Equal(t, second.PaymentID, b.mustClaim(t, second).PaymentID)

	_, err := b.FindClaim(t.Context(), "")
	requireNotFound(t, err)
}

func claimFinished(t *testing.T, b StoreBed) {
	t.Helper()

	b.mustComplete(t, completionOf(b.mustClaim(t, newClaim(t, "paid"))))

	_, err := b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, "refused")).PaymentID, refused())
	require.NoError(t, err)

	b.Elapse(t, 365*24*time.Hour)

	for key, state := range map[payment.Key]ports.ClaimState{
		"paid": ports.ClaimCompleted, "refused": ports.ClaimRefused,
	} {
		stands, err := b.FindClaim(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, state, stands.State)
		require.True(t, stands.Finished())
		require.NotEmpty(t, stands.Response.Body)

		found, err := b.Claim(t.Context(), newClaim(t, key))
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameClaim(t, stands, found)
	}
}

func claimGivenUp(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("lost")))
	b.Elapse(t, 2*lease)

	found, err := b.Claim(t.Context(), newClaim(t, "order_1"))
	require.NoError(t, err)
	require.False(t, found.Held())
	require.False(t, found.Finished())
	require.Equal(t, ports.ClaimNeedsAttention, found.State)
}

func claimByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	// First who writes it, then who takes it over.
	for attempt := range 2 {
		claims := allAtOnce(t, callers, func(i int) (ports.Claim, error) {
			return b.either(i).Claim(t.Context(), newClaim(t, "order_1"))
		})

		require.Equal(t, 1, count(claims, ports.Claim.Held), "exactly one holder")

		for _, claim := range claims {
			require.Equal(t, claims[0].PaymentID, claim.PaymentID)
			require.Equal(t, claims[0].Request, claim.Request)

			if claim.Held() {
				require.Equal(t, attempt+1, claim.Attempts)
			}
		}

		b.Elapse(t, lease)
	}
}

func claimKeys(t *testing.T, b StoreBed) {
	t.Helper()

	keys := []payment.Key{
		"a", "A", "a ", " a", "a\u00a0", `"a"`, "'a'", `\`, `\\`, "%", "_", "*", "$1", "{}", "null", "0", "٠",
		"'; DROP TABLE payments; --", "é", "e\u0301", "\ufeffa", "\U0010ffff", "👩‍👩‍👧", "ж",
		payment.Key(strings.Repeat("k", payment.MaxKeyLength)),
		payment.Key(strings.Repeat("k", payment.MaxKeyLength-1) + "K"),
		payment.Key(strings.Repeat("👩", payment.MaxKeyLength)),
	}

	for _, key := range keys {
		_, err := payment.ParseKey(string(key))
		require.NoError(t, err)
		require.Equal(t, key, b.mustClaim(t, newClaim(t, key)).Key)
	}

	for _, key := range keys {
		found, err := b.FindClaim(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, key, found.Key)

		p := b.mustComplete(t, completionOf(found)).Claim
		require.Equal(t, key, b.paymentNow(t, p.PaymentID).Key)
	}
}

func claimMetadata(t *testing.T, b StoreBed) {
	t.Helper()

	for name, metadata := range map[string]payment.Metadata{
		"none":   nil,
		"empty":  {},
		"filled": {"order": "42", "empty": "", "№": "<a & b> \" \\ \u2028 \U0010ffff", "tab\u00a0": "line\nfeed\t"},
	} {
		c := newClaim(t, payment.Key(name))
		c.Order.Metadata = metadata

		claim := b.mustClaim(t, c)
		require.Equal(t, metadata, claim.Order.Metadata, name)
		require.Equal(t, metadata, b.claimNow(t, claim.PaymentID).Order.Metadata, name)

		require.Equal(t, metadata, b.mustComplete(t, completionOf(claim)).Claim.Order.Metadata, name)
		require.Equal(t, metadata, b.paymentNow(t, claim.PaymentID).Metadata, name)
	}
}

func claimAmounts(t *testing.T, b StoreBed) {
	t.Helper()

	steps := map[string]int64{"USD": 1, "JPY": 1, "KWD": 10, "ISK": 100}

	rapid.Check(t, func(rt *rapid.T) {
		code := rapid.SampledFrom(slices.Sorted(maps.Keys(steps))).Draw(rt, "currency")
		minor := steps[code] * rapid.Int64Range(1, 99_999_999/steps[code]).Draw(rt, "steps")

		c := newClaim(t, "")
		c.Order.Amount = amount(rt, minor, code)

		claim, err := b.Claim(t.Context(), c)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, claim.Order.Amount)

		_, err = b.Complete(t.Context(), completionOf(claim))
		require.NoError(rt, err)

		found, err := b.ClaimByPayment(t.Context(), c.PaymentID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, found.Order.Amount)

		p, err := b.Payment(t.Context(), c.PaymentID)
		require.NoError(rt, err)
		require.Equal(rt, c.Order.Amount, p.Amount)
	})
}

func claimAge(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.Less(t, claim.Age, time.Minute)

	b.Elapse(t, 25*time.Hour)

	older := b.claimNow(t, claim.PaymentID)
	require.GreaterOrEqual(t, older.Age, 25*time.Hour)
	require.Less(t, older.Age, 25*time.Hour+time.Minute)
	require.Equal(t, claim.CreatedAt.Add(-25*time.Hour), older.CreatedAt)
	require.Equal(t, time.UTC, older.CreatedAt.Location())
}

func claimOfOldIntent(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")
	c.CreatedAt = time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Second)

	claim := b.mustClaim(t, c)
	require.True(t, claim.Held())
	require.Equal(t, c.CreatedAt, claim.CreatedAt)
	require.InDelta(t, 25*time.Hour, claim.Age, float64(time.Minute))
}

func findClaimNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.FindClaim(t.Context(), "order_1")
	requireNotFound(t, err)

	_, err = b.ClaimByPayment(t.Context(), uuid.New())
	requireNotFound(t, err)
}

func takeUnfinished(t *testing.T, b StoreBed) {
	t.Helper()

	taken, err := b.TakeUnfinished(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	b.mustComplete(t, completionOf(b.mustClaim(t, newClaim(t, "completed"))))
	_, err = b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, "refused")).PaymentID, refused())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), b.mustClaim(t, newClaim(t, "given up")).PaymentID, errors.New("lost")))

	want := b.mustClaim(t, newClaim(t, "pending"))

	taken, err = b.TakeUnfinished(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "somebody works on it")

	b.Elapse(t, lease)

	heir := newLease()
	taken, err = b.TakeUnfinished(t.Context(), 10, heir)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.True(t, taken[0].Held())
	require.GreaterOrEqual(t, taken[0].Age, lease)

	want.Lease, want.Attempts, want.CreatedAt = heir.Token, 2, taken[0].CreatedAt
	requireSameClaim(t, want, taken[0])

	taken, err = b.TakeUnfinished(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "the heir works on it")

	found, err := b.Claim(t.Context(), newClaim(t, "pending"))
	require.NoError(t, err)
	require.False(t, found.Held(), "the heir works on it")
}

func takeLongestWaiting(t *testing.T, b StoreBed) {
	t.Helper()

	const claims, batch = 40, 15

	want := make([]uuid.UUID, claims)

	// Written in another order than they fall due.
	for i := range claims {
		place := i * 7 % claims
		claim := b.mustClaim(t, newClaim(t, ""))
		want[place] = claim.PaymentID

		due := time.Duration(place) * time.Minute
		require.NoError(t, b.Release(t.Context(), claim, due, errors.New("no answer")))
	}

	b.Elapse(t, (claims-2)*time.Minute+time.Second) // all but the last are due

	for _, size := range []int{batch, batch, claims - 1 - 2*batch, 0} {
		taken, err := b.TakeUnfinished(t.Context(), batch, newLease())
		require.NoError(t, err)
		require.Equal(t, want[:size], paymentIDs(taken))

		want = want[size:]
	}

	b.Elapse(t, time.Minute)

	taken, err := b.TakeUnfinished(t.Context(), batch, newLease())
	require.NoError(t, err)
	require.Equal(t, want, paymentIDs(taken))
}

func takeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const claims, callers, batch = 60, 16, 5

	want, got := make([]uuid.UUID, 0, claims), make([]uuid.UUID, 0, claims)

	for range claims {
		want = append(want, b.mustClaim(t, newClaim(t, "")).PaymentID)
	}

	b.Elapse(t, lease)

	for _, taken := range allAtOnce(t, callers, func(i int) ([]ports.Claim, error) {
		return b.either(i).TakeUnfinished(t.Context(), batch, newLease())
	}) {
		require.LessOrEqual(t, len(taken), batch)

		got = append(got, paymentIDs(taken)...)
	}

	// Callers skip what others are just taking, so something may be left.
	rest, err := b.TakeUnfinished(t.Context(), claims, newLease())
	require.NoError(t, err)
	require.ElementsMatch(t, want, append(got, paymentIDs(rest)...), "each once")
}

func extendByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")
	c.Lease.For = time.Minute
	claim := b.mustClaim(t, c)

	require.NoError(t, b.Extend(t.Context(), claim, lease))
	b.Elapse(t, lease-time.Minute)
	b.requireHeldByOther(t)

	b.Elapse(t, time.Minute)
	// Nobody has noticed that it ran out.
	require.NoError(t, b.Extend(t.Context(), claim, lease))
	b.requireHeldByOther(t)

	b.Elapse(t, lease)

	taken, err := b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts)
}

func extendByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustClaim(t, newClaim(t, "order_1"))
	b.Elapse(t, lease)

	holder := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.Extend(t.Context(), former, 24*lease))
	require.NoError(t, b.Extend(t.Context(), b.claimNow(t, holder.PaymentID), 24*lease))
	b.Elapse(t, lease)
	b.mustClaim(t, newClaim(t, "order_1"))

	done := b.mustComplete(t, completionOf(holder)).Claim
	require.NoError(t, b.Extend(t.Context(), holder, lease))
	requireSameClaim(t, done, b.claimNow(t, holder.PaymentID))
}

func releaseByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), claim, time.Minute, errors.New("no answer")))
	require.False(t, b.claimNow(t, claim.PaymentID).Held())

	taken, err := b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "not due yet")

	// The client need not wait for recovery.
	again := b.mustClaim(t, newClaim(t, "order_1"))
	require.Equal(t, 2, again.Attempts)

	require.NoError(t, b.Release(t.Context(), again, time.Minute, errors.New("no answer")))
	b.Elapse(t, time.Minute)

	taken, err = b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 3, taken[0].Attempts)
}

// A call that was shed has sent nothing: the next one is the first send, whose
// refusal is believed.
func releaseUnsent(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), claim, 0, fmt.Errorf("shed: %w", ports.ErrUnavailable)))

	again := b.mustClaim(t, newClaim(t, "order_1"))
	require.Equal(t, 1, again.Attempts)
	require.NoError(t, b.Release(t.Context(), again, 0, errors.New("no answer")))
	require.Equal(t, 2, b.mustClaim(t, newClaim(t, "order_1")).Attempts)
}

func releaseByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustClaim(t, newClaim(t, "order_1"))
	b.Elapse(t, lease)

	holder := newClaim(t, "order_1")
	b.mustClaim(t, holder)
	require.NoError(t, b.Release(t.Context(), former, 0, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), b.claimNow(t, former.PaymentID), 0, errors.New("nobody")))
	b.requireHeldByOther(t)
	require.True(t, b.mustClaim(t, holder).Held())

	claim := b.claimNow(t, former.PaymentID)
	done := b.mustComplete(t, completionOf(claim)).Claim
	claim.Lease = holder.Lease.Token
	require.NoError(t, b.Release(t.Context(), claim, 0, errors.New("late")))
	requireSameClaim(t, done, b.claimNow(t, former.PaymentID))
}

// A cause may quote what a broken proxy has sent. It must not keep the claim
// from being released or given up.
func releaseAnyCause(t *testing.T, b StoreBed) {
	t.Helper()

	for _, text := range []string{
		"", "\x00", "\xff\xfe", "502 \xe2\x82", strings.Repeat("ж", 10_000), strings.Repeat("\x00", 501),
	} {
		claim := b.mustClaim(t, newClaim(t, ""))
		require.NoError(t, b.Release(t.Context(), claim, 0, errors.New(text)), "%q", text)
		require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New(text)), "%q", text)
		require.Equal(t, ports.ClaimNeedsAttention, b.claimNow(t, claim.PaymentID).State)
	}
}

func giveUp(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))

	for range 2 {
		require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("lost")))

		given := b.claimNow(t, claim.PaymentID)
		require.Equal(t, ports.ClaimNeedsAttention, given.State)
		require.False(t, given.Finished())
		require.Zero(t, given.Response)
	}

	b.Elapse(t, 2*lease)

	taken, err := b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.Release(t.Context(), claim, 0, errors.New("late")))
	require.NoError(t, b.Extend(t.Context(), claim, lease))
	require.Equal(t, ports.ClaimNeedsAttention, b.claimNow(t, claim.PaymentID).State)
}

func giveUpFinished(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustComplete(t, completionOf(b.mustClaim(t, newClaim(t, "completed")))).Claim
	require.NoError(t, b.GiveUp(t.Context(), done.PaymentID, errors.New("late")))
	requireSameClaim(t, done, b.claimNow(t, done.PaymentID))

	no, err := b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, "refused")).PaymentID, refused())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), no.PaymentID, errors.New("late")))
	requireSameClaim(t, no, b.claimNow(t, no.PaymentID))
}

func completeWritesAll(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	completion := completionOf(claim)

	done, err := b.Complete(t.Context(), completion)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.False(t, done.Parked)
	require.True(t, done.Claim.Finished())

	want := claim
	want.State, want.Lease, want.Response = ports.ClaimCompleted, uuid.Nil, *completion.Response
	requireSameClaim(t, want, done.Claim)
	requireSameClaim(t, want, b.claimNow(t, claim.PaymentID))

	p := b.paymentNow(t, claim.PaymentID)
	require.False(t, p.UpdatedAt.Before(p.CreatedAt))

	completion.Payment.UpdatedAt = p.UpdatedAt
	require.Equal(t, completion.Payment, p)

	history := b.history(t, claim.PaymentID)
	require.Len(t, history, 1)
	require.Equal(t, ports.Transition{To: payment.Pending, Cause: "request", At: history[0].At}, history[0])
}

func completeTwice(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	first := b.mustComplete(t, completionOf(claim))
	p, history := b.paymentNow(t, claim.PaymentID), b.history(t, claim.PaymentID)

	second := completionOf(claim)
	second.Response, second.Cause, second.Payment.Status = created("another"), "recovery", payment.Succeeded

	done := b.mustComplete(t, second)
	require.False(t, done.Created)
	requireSameClaim(t, first.Claim, done.Claim)

	require.Equal(t, p, b.paymentNow(t, claim.PaymentID))
	require.Equal(t, history, b.history(t, claim.PaymentID))
}

// The request, recovery and the webhook may all have found the intent.
func completeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const claims, callers = 40, 8

	for range claims {
		claim := b.mustClaim(t, newClaim(t, ""))
		done := allAtOnce(t, callers, func(i int) (ports.Completed, error) {
			c := completionOf(claim)
			c.Response = created(strconv.Itoa(i))

			return b.either(i).Complete(t.Context(), c)
		})

		require.Equal(t, 1, count(done, func(d ports.Completed) bool { return d.Created }))
		require.Len(t, b.history(t, claim.PaymentID), 1)

		stands := b.claimNow(t, claim.PaymentID)
		for _, d := range done {
			requireSameClaim(t, stands, d.Claim)
		}
	}
}

func completeKeepsBytes(t *testing.T, b StoreBed) {
	t.Helper()

	for name, body := range map[string][]byte{
		"none":   nil,
		"empty":  {},
		"spaced": []byte("{ \"b\":1.00,\t\"a\" : 1e2,\r\n\"b\":\"\\u00e9é\" }\n\n"),
		"binary": {0, 0xff, 0xfe, '\\', 'x', '0', '0'},
		"long":   bytes.Repeat([]byte("0123456789abcdef"), 10_000),
	} {
		completion := completionOf(b.mustClaim(t, newClaim(t, payment.Key("completed "+name))))
		completion.Response = &ports.FrozenResponse{Status: http.StatusCreated, Body: body}
		b.mustComplete(t, completion)
		requireResponse(t, *completion.Response, b.claimNow(t, completion.Payment.ID).Response)

		no := ports.FrozenResponse{Status: http.StatusBadGateway, Body: body}
		claim, err := b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, payment.Key("refused "+name))).PaymentID, no)
		require.NoError(t, err)
		requireResponse(t, no, claim.Response)
	}
}

func completeWithoutResponse(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")
	claim := b.mustClaim(t, c)
	whole := completionOf(claim)
	open := whole
	open.Response, open.Cause = nil, "webhook"

	done := b.mustComplete(t, open)
	require.True(t, done.Created)
	require.False(t, done.Claim.Finished())
	require.Equal(t, ports.ClaimPending, done.Claim.State)
	require.Zero(t, done.Claim.Response)
	require.Equal(t, payment.Pending, b.paymentNow(t, claim.PaymentID).Status)

	requireSameClaim(t, claim, b.mustClaim(t, c)) // whoever holds it goes on

	again := b.mustComplete(t, open)
	require.False(t, again.Created)
	require.False(t, again.Claim.Finished())

	b.Elapse(t, lease)

	taken, err := b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{claim.PaymentID}, paymentIDs(taken))

	finished := b.mustComplete(t, whole)
	require.False(t, finished.Created, "its payment was there")
	require.Equal(t, ports.ClaimCompleted, finished.Claim.State)
	require.Equal(t, *whole.Response, finished.Claim.Response)
	require.Len(t, b.history(t, claim.PaymentID), 1)
}

func completeAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("lost")))

	completion := completionOf(claim)
	open := completion
	open.Response = nil
	require.Equal(t, ports.ClaimNeedsAttention, b.mustComplete(t, open).Claim.State)

	done := b.mustComplete(t, completion)
	require.Equal(t, ports.ClaimCompleted, done.Claim.State)
	require.Equal(t, *completion.Response, done.Claim.Response)
}

func completeWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	first := b.mustComplete(t, completionWith(claim, "pi_first"))
	p, history := b.paymentNow(t, claim.PaymentID), b.history(t, claim.PaymentID)

	_, err := b.Complete(t.Context(), completionWith(claim, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)

	requireSameClaim(t, first.Claim, b.claimNow(t, claim.PaymentID))
	require.Equal(t, p, b.paymentNow(t, claim.PaymentID))
	require.Equal(t, history, b.history(t, claim.PaymentID))
}

func completeOpenWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	open := completionWith(claim, "pi_first")
	open.Response = nil
	b.mustComplete(t, open)

	_, err := b.Complete(t.Context(), completionWith(claim, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, ports.ClaimPending, b.claimNow(t, claim.PaymentID).State)
	require.Equal(t, "pi_first", b.paymentNow(t, claim.PaymentID).IntentID)
}

// Whichever intent comes first: the payment, its history and the frozen
// response are of that one, and every other caller hears of the contradiction.
func completeWithManyIntents(t *testing.T, b StoreBed) {
	t.Helper()

	const claims, callers = 10, 8

	for n := range claims {
		claim := b.mustClaim(t, newClaim(t, ""))
		_, errs := atOnce(callers, func(i int) (ports.Completed, error) {
			c := completionWith(claim, intentOf(uuid.New()))
			if n%2 == 0 && i%2 == 0 {
				c.Response = nil
			}

			return b.either(i).Complete(t.Context(), c)
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ports.ErrContradiction)
			}
		}

		require.Len(t, b.history(t, claim.PaymentID), 1)

		if now := b.claimNow(t, claim.PaymentID); now.Finished() {
			require.Equal(t, *created(b.paymentNow(t, claim.PaymentID).IntentID), now.Response)
		}
	}
}

func completeWithTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	other := b.mustClaim(t, newClaim(t, "order_2"))

	_, err := b.Complete(t.Context(), completionWith(other, p.IntentID))
	require.ErrorIs(t, err, ports.ErrContradiction)

	b.requireNoPayment(t, other.PaymentID)
	require.Equal(t, ports.ClaimPending, b.claimNow(t, other.PaymentID).State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
}

func completeTwoWithOneIntent(t *testing.T, b StoreBed) {
	t.Helper()

	const rounds, callers = 10, 4

	for range rounds {
		var claims [callers]ports.Claim
		for i := range claims {
			claims[i] = b.mustClaim(t, newClaim(t, ""))
		}

		intent := intentOf(uuid.New())
		_, errs := atOnce(callers, func(i int) (ports.Completed, error) {
			return b.either(i).Complete(t.Context(), completionWith(claims[i], intent))
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for i, err := range errs {
			if err == nil {
				require.Equal(t, intent, b.paymentNow(t, claims[i].PaymentID).IntentID)

				continue
			}

			require.ErrorIs(t, err, ports.ErrContradiction)
			b.requireNoPayment(t, claims[i].PaymentID)
			require.Equal(t, ports.ClaimPending, b.claimNow(t, claims[i].PaymentID).State)
		}
	}
}

func completeWithoutClaim(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")

	_, err := b.Complete(t.Context(), completionOf(ports.Claim{
		PaymentID: c.PaymentID, Key: c.Key, Order: c.Order, CreatedAt: time.Now(),
	}))
	requireNotFound(t, err)
	b.requireNoPayment(t, c.PaymentID)
}

func refuseFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustClaim(t, newClaim(t, "order_1"))
	want.State, want.Lease, want.Response = ports.ClaimRefused, uuid.Nil, refused()

	claim, err := b.Refuse(t.Context(), want.PaymentID, refused())
	require.NoError(t, err)
	requireSameClaim(t, want, claim)

	again, err := b.Refuse(t.Context(), want.PaymentID, *created("something else"))
	require.NoError(t, err)
	requireSameClaim(t, want, again)
	b.requireNoPayment(t, want.PaymentID)

	b.Elapse(t, 2*lease)

	taken, err := b.TakeUnfinished(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)
}

func refuseAfterComplete(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustComplete(t, completionOf(b.mustClaim(t, newClaim(t, "order_1"))))

	stands, err := b.Refuse(t.Context(), done.Claim.PaymentID, refused())
	require.NoError(t, err)
	requireSameClaim(t, done.Claim, stands)
}

func refuseAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("lost")))

	no, err := b.Refuse(t.Context(), claim.PaymentID, refused())
	require.NoError(t, err)
	require.Equal(t, ports.ClaimRefused, no.State)
	require.Equal(t, refused(), no.Response)
}

func completeAfterRefuse(t *testing.T, b StoreBed) {
	t.Helper()

	no, err := b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, "order_1")).PaymentID, refused())
	require.NoError(t, err)

	_, err = b.Complete(t.Context(), completionOf(no))
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireSameClaim(t, no, b.claimNow(t, no.PaymentID))
	b.requireNoPayment(t, no.PaymentID)
}

// The webhook has told of an intent that the API's answer denies.
func refuseAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	open := completionOf(b.mustClaim(t, newClaim(t, "order_1")))
	open.Response = nil
	b.mustComplete(t, open)

	_, err := b.Refuse(t.Context(), open.Payment.ID, refused())
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, ports.ClaimPending, b.claimNow(t, open.Payment.ID).State)
}

func refuseAgainstComplete(t *testing.T, b StoreBed) {
	t.Helper()

	const claims = 20

	for n := range claims {
		claim := b.mustClaim(t, newClaim(t, ""))
		completion := completionOf(claim)

		if n%2 == 0 {
			completion.Response = nil
		}

		_, errs := atOnce(2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.Refuse(t.Context(), claim.PaymentID, refused())

				return struct{}{}, err
			}

			_, err := b.Twin.Complete(t.Context(), completion)

			return struct{}{}, err
		})

		if b.claimNow(t, claim.PaymentID).State == ports.ClaimRefused {
			require.NoError(t, errs[0])
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			b.requireNoPayment(t, claim.PaymentID)

			continue
		}

		require.NoError(t, errs[1])
		require.Equal(t, payment.Pending, b.paymentNow(t, claim.PaymentID).Status)

		if completion.Response == nil {
			require.ErrorIs(t, errs[0], ports.ErrContradiction)
		} else {
			require.NoError(t, errs[0], "what stands is returned")
		}
	}
}

func refuseWithoutClaim(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Refuse(t.Context(), uuid.New(), refused())
	requireNotFound(t, err)
}

// mustReject makes a claim and gives it back as rejected.
func (b StoreBed) mustReject(tb testing.TB, c ports.NewClaim) ports.Claim {
	tb.Helper()

	claim, err := b.Reject(tb.Context(), b.mustClaim(tb, c), errRepairable)
	require.NoError(tb, err)
	require.Equal(tb, ports.ClaimRejected, claim.State)

	return claim
}

// The provider did not take the request, so that the next send is the first one, and
// goes out as it was written down.
func rejectAndReopen(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustClaim(t, newClaim(t, "order_1"))

	for range 3 {
		rejected, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.False(t, rejected.Held())
		require.False(t, rejected.Finished())
		require.Zero(t, rejected.Response)

		want := held
		want.State, want.Lease, want.Attempts = ports.ClaimRejected, uuid.Nil, 0
		requireSameClaim(t, want, rejected)
		requireSameClaim(t, want, b.claimNow(t, held.PaymentID))

		found, err := b.Claim(t.Context(), newClaim(t, "order_1"))
		require.NoError(t, err)
		requireSameClaim(t, want, found)

		lease := newLease()
		reopened, err := b.Reopen(t.Context(), held.PaymentID, lease)
		require.NoError(t, err)
		require.True(t, reopened.Held())

		want.State, want.Lease, want.Attempts = ports.ClaimPending, lease.Token, 1
		requireSameClaim(t, want, reopened)
		b.requireHeldByOther(t)

		held = reopened
	}

	done := b.mustComplete(t, completionOf(held))
	require.True(t, done.Created)
	require.Equal(t, ports.ClaimCompleted, done.Claim.State)
}

func rejectedIsNotTaken(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustReject(t, newClaim(t, "order_1"))
	b.Elapse(t, 2*lease)

	taken, err := b.TakeUnfinished(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), claim, 0, errors.New("late")))
	requireStateOf(t, b, claim, ports.ClaimRejected)

	// Once it is open again, a crash of whoever opened it is recovered.
	_, err = b.Reopen(t.Context(), claim.PaymentID, newLease())
	require.NoError(t, err)
	b.Elapse(t, lease)

	taken, err = b.TakeUnfinished(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts, "it may have been sent")
}

// Somebody else may have sent it meanwhile, with a better configuration.
func rejectByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustClaim(t, newClaim(t, "order_1"))
	b.Elapse(t, lease)
	holder := b.mustClaim(t, newClaim(t, "order_1"))

	for _, c := range []ports.Claim{former, b.claimNow(t, former.PaymentID)} {
		stands, err := b.Reject(t.Context(), c, errRepairable)
		require.NoError(t, err)
		require.Equal(t, ports.ClaimPending, stands.State)
		require.False(t, stands.Held())
	}

	b.requireHeldByOther(t)
	require.True(t, b.mustComplete(t, completionOf(holder)).Created)
}

func rejectFinished(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustClaim(t, newClaim(t, "order_1"))
	done := b.mustComplete(t, completionOf(held)).Claim

	stands, err := b.Reject(t.Context(), held, errRepairable)
	require.NoError(t, err)
	requireSameClaim(t, done, stands)
}

func rejectAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustClaim(t, newClaim(t, "order_1"))
	open := completionOf(held)
	open.Response = nil
	b.mustComplete(t, open)

	_, err := b.Reject(t.Context(), held, errRepairable)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireStateOf(t, b, held, ports.ClaimPending)
}

func completeAfterReject(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustReject(t, newClaim(t, "order_1"))

	for _, response := range []*ports.FrozenResponse{nil, created("pi_1")} {
		completion := completionOf(claim)
		completion.Response = response

		_, err := b.Complete(t.Context(), completion)
		require.ErrorIs(t, err, ports.ErrContradiction)
	}

	requireSameClaim(t, claim, b.claimNow(t, claim.PaymentID))
	b.requireNoPayment(t, claim.PaymentID)
}

func rejectRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustClaim(t, newClaim(t, "order_1"))

	for range 2 {
		claim, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.Equal(t, ports.ClaimRejected, claim.State)
	}
}

func rejectWithoutClaim(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reject(t.Context(), ports.Claim{PaymentID: uuid.New(), Lease: uuid.New()}, errRepairable)
	requireNotFound(t, err)
}

func reopenByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	claim := b.mustReject(t, newClaim(t, "order_1"))
	claims := allAtOnce(t, callers, func(i int) (ports.Claim, error) {
		return b.either(i).Reopen(t.Context(), claim.PaymentID, newLease())
	})

	require.Equal(t, 1, count(claims, ports.Claim.Held), "exactly one holder")

	for _, found := range claims {
		require.Equal(t, claim.PaymentID, found.PaymentID)
		require.Equal(t, claim.Request, found.Request)
	}

	require.Equal(t, 1, b.claimNow(t, claim.PaymentID).Attempts)
}

func reopenRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustReject(t, newClaim(t, "order_1"))
	token := newLease()

	for range 2 {
		reopened, err := b.Reopen(t.Context(), claim.PaymentID, token)
		require.NoError(t, err)
		require.True(t, reopened.Held())
		require.Equal(t, 1, reopened.Attempts)
	}
}

func reopenOthers(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustClaim(t, newClaim(t, "pending"))
	b.Elapse(t, 2*lease)

	done := b.mustComplete(t, completionOf(b.mustClaim(t, newClaim(t, "completed")))).Claim

	no, err := b.Refuse(t.Context(), b.mustClaim(t, newClaim(t, "refused")).PaymentID, refused())
	require.NoError(t, err)

	given := b.mustClaim(t, newClaim(t, "given up"))
	require.NoError(t, b.GiveUp(t.Context(), given.PaymentID, errors.New("lost")))

	for _, id := range []uuid.UUID{pending.PaymentID, done.PaymentID, no.PaymentID, given.PaymentID} {
		before := b.claimNow(t, id)

		found, err := b.Reopen(t.Context(), id, newLease())
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameClaim(t, before, found)
		requireSameClaim(t, before, b.claimNow(t, id))
	}
}

func reopenWithoutClaim(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reopen(t.Context(), uuid.New(), newLease())
	requireNotFound(t, err)
}

func requireStateOf(tb testing.TB, b StoreBed, c ports.Claim, state ports.ClaimState) {
	tb.Helper()
	require.Equal(tb, state, b.claimNow(tb, c.PaymentID).State)
}

// requireHeldByOther: a newcomer does not get the claim of order_1.
func (b StoreBed) requireHeldByOther(tb testing.TB) {
	tb.Helper()

	found, err := b.Claim(tb.Context(), newClaim(tb, "order_1"))
	require.NoError(tb, err)
	require.False(tb, found.Held())
	require.Equal(tb, ports.ClaimPending, found.State)

	taken, err := b.TakeUnfinished(tb.Context(), 1, newLease())
	require.NoError(tb, err)
	require.Empty(tb, taken)
}

// requireSameClaim compares all but the age, which is a moment's.
func requireSameClaim(tb testing.TB, want, got ports.Claim) {
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

func paymentIDs(claims []ports.Claim) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(claims))
	for _, claim := range claims {
		ids = append(ids, claim.PaymentID)
	}

	return ids
}

// ClaimsBenchmarks measures the walk of a payment from its claim to its frozen
// response: one caller, and as many as there are processors.
func ClaimsBenchmarks(b *testing.B, newBed func(tb testing.TB) StoreBed) {
	b.Helper()

	b.Run("Claim", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			bed.mustClaim(b, newClaim(b, payment.Key(uuid.NewString())))
		}
	})
	b.Run("FindFinished", func(b *testing.B) {
		bed := newBed(b)
		bed.mustPay(b, "order_1")
		b.ReportAllocs()

		for b.Loop() {
			_, err := bed.Claim(b.Context(), newClaim(b, "order_1"))
			require.NoError(b, err)
		}
	})
	b.Run("Complete", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			claim := bed.mustClaim(b, newClaim(b, payment.Key(uuid.NewString())))

			b.StartTimer()
			bed.mustComplete(b, completionOf(claim))
		}
	})
	b.Run("ClaimAndComplete/parallel", func(b *testing.B) {
		bed := newBed(b)
		parallel(b, func(ctx context.Context) {
			claim, err := bed.Claim(ctx, newClaim(b, payment.Key(uuid.NewString())))
			if err == nil {
				_, err = bed.Complete(ctx, completionOf(claim))
			}

			if err != nil {
				b.Error(err)
			}
		})
	})
}
