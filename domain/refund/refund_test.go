package refund_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
)

var (
	ours      = operation.Installation{ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa")}
	theirs    = operation.Installation{ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000bb")}
	paymentID = uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	refundID  = uuid.MustParse("018f0000-0000-7000-8000-000000000002")
	noon      = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
)

func dollars(n int64) money.Price {
	usd, err := money.ParseCurrency("USD")
	if err != nil {
		panic(err)
	}

	price, err := money.NewPrice(n*100, usd)
	if err != nil {
		panic(err)
	}

	return price
}

func listed(id string, n int64, edits ...func(*refund.Snapshot)) refund.Snapshot {
	s := refund.Snapshot{ID: id, Amount: dollars(n), Status: refund.Succeeded, MovedMoney: true, CreatedAt: noon}
	for _, edit := range edits {
		edit(&s)
	}

	return s
}

func marked(by operation.Installation) func(*refund.Snapshot) {
	return func(s *refund.Snapshot) {
		s.Mark = by.Mark(operation.DefaultTenant, operation.Refund, refundID, operation.Fingerprint{1})
		s.Marked, s.Key = true, "refund_1"
	}
}

func unmoved(s *refund.Snapshot) { s.MovedMoney = false }

func pending(s *refund.Snapshot) { s.Status = refund.Pending }

func TestStatus(t *testing.T) {
	t.Parallel()

	for status, want := range map[refund.Status]struct{ final, counts, underWay bool }{
		refund.Pending:        {false, true, true},
		refund.RequiresAction: {false, true, true},
		refund.Succeeded:      {false, true, false},
		refund.Failed:         {true, false, false},
		refund.Cancelled:      {true, false, false},
	} {
		require.True(t, status.Valid())
		require.Equal(t, want.final, status.Final(), status)
		require.Equal(t, want.counts, status.Counts(), status)
		require.Equal(t, want.underWay, status.UnderWay(), status)
	}

	require.False(t, refund.Status("refunded").Valid())
}

func TestSumsOf(t *testing.T) {
	t.Parallel()

	all := make([]refund.Refund, 0, len(refund.Statuses()))
	for i, status := range refund.Statuses() {
		all = append(all, refund.Refund{Status: status, Amount: dollars(int64(i + 1))})
	}

	require.Equal(t, refund.Sums{Pending: 3_00, Refunded: 3_00}, refund.SumsOf(all))
	require.Zero(t, refund.SumsOf(nil))
}

// What a partial capture lets go is listed as a refund, and gives nothing back.
func TestOfMoney(t *testing.T) {
	t.Parallel()

	expired := func(s *refund.Snapshot) { s.Reason = "expired_uncaptured_charge" }
	letGo, moved := listed("re_0", 4, unmoved), listed("re_0", 4)

	for name, c := range map[string]struct {
		listed     []refund.Snapshot
		uncaptured int64
		want       []string
	}{
		"captured in whole":           {[]refund.Snapshot{listed("re_1", 4)}, 0, []string{"re_1"}},
		"it moves no money":           {[]refund.Snapshot{letGo, listed("re_1", 4)}, 4_00, []string{"re_1"}},
		"it has a row in the balance": {[]refund.Snapshot{moved, listed("re_1", 4)}, 4_00, []string{"re_1"}},
		"it is not listed": {
			[]refund.Snapshot{listed("re_1", 3), listed("re_2", 4)}, 4_00, []string{"re_1", "re_2"},
		},
		"of all that says no row, nothing was let go": {[]refund.Snapshot{listed("re_1", 4, unmoved)}, 0, []string{"re_1"}},
		"the first one is ours":                       {[]refund.Snapshot{listed("re_1", 4, marked(ours))}, 4_00, []string{"re_1"}},
		"the first one is on its way":                 {[]refund.Snapshot{listed("re_1", 4, pending)}, 4_00, []string{"re_1"}},
		"one that waits for the balance counts":       {[]refund.Snapshot{listed("re_1", 4, pending, unmoved)}, 0, []string{"re_1"}},
		"ours counts": {
			[]refund.Snapshot{listed("re_1", 4, marked(ours), unmoved)}, 0, []string{"re_1"},
		},
		"the hold has lapsed": {[]refund.Snapshot{listed("re_1", 9, expired)}, 0, []string{}},
	} {
		got := make([]string, 0, len(c.listed))
		for _, s := range refund.OfMoney(c.listed, c.uncaptured) {
			got = append(got, s.ID)
		}

		require.Equal(t, c.want, got, name)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()

	read := func(known []refund.Refund, s ...refund.Snapshot) []refund.Refund {
		return refund.Read(known, s, paymentID, ours)
	}
	reserved := refund.Refund{
		ID: refundID, PaymentID: paymentID, Key: "refund_1", Amount: dollars(4), Status: refund.Pending, Origin: refund.FromAPI,
		Version: 7,
	}
	made := reserved
	made.ProviderID, made.Status = "re_1", refund.Succeeded

	strange := refund.Refund{
		ID: ours.ObjectID("re_2"), PaymentID: paymentID, ProviderID: "re_2", Amount: dollars(4), Status: refund.Succeeded,
		Origin: refund.FromStripe, CreatedAt: noon,
	}

	t.Run("OneOfOurs", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []refund.Refund{made}, read([]refund.Refund{reserved}, listed("re_1", 4, marked(ours))))
		require.Equal(t, []refund.Refund{made}, read([]refund.Refund{made}, listed("re_1", 4, marked(ours))))
	})

	// An equal amount says nothing.
	t.Run("AnotherOfTheSameAmount", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []refund.Refund{reserved, strange}, read([]refund.Refund{reserved}, listed("re_2", 4)))
		require.Equal(t, []refund.Refund{reserved, strange}, read([]refund.Refund{reserved}, listed("re_2", 4, marked(theirs))),
			"the mark is another installation's")
	})

	// What the provider does not list may still come.
	t.Run("NotListed", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []refund.Refund{reserved, strange}, read([]refund.Refund{reserved, strange}))
	})

	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		back := made
		back.Version, back.CreatedAt = 0, noon
		require.Equal(t, []refund.Refund{back}, read(nil, listed("re_1", 4, marked(ours))))
	})

	t.Run("FailedSince", func(t *testing.T) {
		t.Parallel()

		failed := read([]refund.Refund{made}, listed("re_1", 4, func(s *refund.Snapshot) {
			s.Status, s.FailureReason = refund.Failed, "unknown"
		}))
		require.Equal(t, refund.Failed, failed[0].Status, "it is known by its id, although the mark is gone")
		require.Equal(t, refundID, failed[0].ID)
	})

	// Somebody copies our metadata to a refund of their own.
	t.Run("TwoWithOneMark", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []refund.Refund{made, strange}, read([]refund.Refund{made},
			listed("re_1", 4, marked(ours)), listed("re_2", 4, marked(ours))))
	})
}

func TestRefund_NextVersion(t *testing.T) {
	t.Parallel()

	r := refund.Refund{Version: 5}.Changed(noon)
	require.Equal(t, noon.UnixMilli(), r.Version)
	require.Equal(t, noon, r.UpdatedAt)
	require.Equal(t, r.Version+1, r.NextVersion(noon.Add(-time.Hour)), "also if the clock goes back")
}
