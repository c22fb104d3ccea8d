package portstest

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// doubtful is a write whose answer may be lost.
type doubtful struct {
	do func(s Store) error
	// done tells whether it was written.
	done func() bool
}

// writesInDoubt are those that a client is told about, each prepared anew.
func (b StoreBed) writesInDoubt(t *testing.T) map[string]func() doubtful {
	t.Helper()

	stateIs := func(c ports.NewClaim, state ports.ClaimState) func() bool {
		return func() bool {
			found, err := b.ClaimByPayment(t.Context(), c.PaymentID)
			if fault.KindOf(err) == fault.NotFound {
				return false
			}

			require.NoError(t, err)

			return found.State == state
		}
	}
	claim := func(key payment.Key) func() doubtful {
		return func() doubtful {
			c := newClaim(t, key)
			if key != "" {
				c.Key = payment.Key(c.PaymentID.String())
			}

			return doubtful{
				do:   func(s Store) error { _, err := s.Claim(t.Context(), c); return err },
				done: stateIs(c, ports.ClaimPending),
			}
		}
	}
	of := func(
		do func(s Store, claim ports.Claim) error, state ports.ClaimState, before ...func(ports.Claim),
	) func() doubtful {
		return func() doubtful {
			c := newClaim(t, "")
			held := b.mustClaim(t, c)

			for _, prepare := range before {
				prepare(held)
			}

			return doubtful{do: func(s Store) error { return do(s, held) }, done: stateIs(c, state)}
		}
	}

	return map[string]func() doubtful{
		"Claim":             claim("a key"),
		"Claim without key": claim(""),
		"Complete": of(func(s Store, claim ports.Claim) error {
			_, err := s.Complete(t.Context(), completionOf(claim))

			return err
		}, ports.ClaimCompleted),
		"Refuse": of(func(s Store, claim ports.Claim) error {
			_, err := s.Refuse(t.Context(), claim.PaymentID, refused())

			return err
		}, ports.ClaimRefused),
		"Reject": of(func(s Store, claim ports.Claim) error {
			_, err := s.Reject(t.Context(), claim, errRepairable)

			return err
		}, ports.ClaimRejected),
		"Reopen": of(func(s Store, claim ports.Claim) error {
			_, err := s.Reopen(t.Context(), claim.PaymentID, newLease())

			return err
		}, ports.ClaimPending, func(claim ports.Claim) {
			_, err := b.Reject(t.Context(), claim, errRepairable)
			require.NoError(t, err)
		}),
		"CompleteAndApply": of(func(s Store, claim ports.Claim) error {
			completion := completionOf(claim)
			_, _, err := s.CompleteAndApply(t.Context(), completion, eventOf(t, completion.Payment, payment.Succeeded))

			return err
		}, ports.ClaimCompleted),
	}
}

// Whichever answer is lost, and with it the way to the database: unavailable is said
// only where surely nothing was written.
func writesTellTheTruth(t *testing.T, b StoreBed) {
	t.Helper()

	const most = 20 // messages of a write

	for name, prepare := range b.writesInDoubt(t) {
		writtenInDoubt := false

		for answers := 0; ; answers++ {
			require.Less(t, answers, most, name)

			write := prepare()
			mend := b.Sever(t, answers)
			err := write.do(b.Severed)

			mend()

			done := write.done()

			if err == nil {
				require.True(t, done, name)

				break
			}

			switch kind := fault.KindOf(err); {
			case answers == 0:
				require.Equal(t, fault.Unavailable, kind, "%s: nothing got through: %v", name, err)
				require.False(t, done, name)
			case kind == fault.Unknown:
				writtenInDoubt = writtenInDoubt || done
			default:
				require.Equal(t, fault.Unavailable, kind, "%s, answer %d: %v", name, answers, err)
				require.False(t, done, "%s, answer %d: it was written all the same", name, answers)
			}

			require.Positive(t, fault.From(err).RetryAfter)
		}

		require.True(t, writtenInDoubt, "%s: the last answer is that of the commit", name)
	}
}

// Those who share a commit share its doubt, and those who only waited for it do not
// lie about theirs.
func groupsTellTheTruth(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 100

	doubts := 0

	for answers := 1; answers <= 3; answers++ {
		claims := make([]ports.NewClaim, callers)
		for i := range claims {
			claims[i] = newClaim(t, "")
			if i%3 != 0 {
				claims[i].Key = payment.Key(claims[i].PaymentID.String())
			}
		}

		mend := b.Sever(t, answers)

		var (
			all  sync.WaitGroup
			errs [callers]error
		)

		for i, c := range claims {
			all.Go(func() { _, errs[i] = b.Severed.Claim(t.Context(), c) })
		}

		all.Wait()
		mend()

		for i, err := range errs {
			_, missing := b.ClaimByPayment(t.Context(), claims[i].PaymentID)

			switch kind := fault.KindOf(err); {
			case err == nil:
				require.NoError(t, missing)
			case kind == fault.Unknown:
				doubts++
			default:
				require.Equal(t, fault.Unavailable, kind, "%v", err)
				requireNotFound(t, missing)
			}
		}
	}

	require.Positive(t, doubts)
}

// A caller whose claim is in doubt and who asks again once more with the same lease
// goes on with it.
func claimInDoubtIsHeld(t *testing.T, b StoreBed) {
	t.Helper()

	c := newClaim(t, "order_1")
	mend := b.Sever(t, 1)
	_, err := b.Severed.Claim(t.Context(), c)
	require.Equal(t, fault.Unknown, fault.KindOf(err), "%v", err)
	mend()

	claim := b.mustClaim(t, c)
	require.Equal(t, c.PaymentID, claim.PaymentID)
	require.Equal(t, 1, claim.Attempts)
}

var errRepairable = errors.New("the account may not charge yet")
