package dispute_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

var begin = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func of(t require.TestingT, minor int64, code string) money.Money {
	currency, err := money.ParseCurrency(code)
	require.NoError(t, err)

	return money.Of(minor, currency)
}

// moved is a balance with these amounts, in USD.
func moved(t require.TestingT, amounts ...int64) []dispute.Balance {
	balance := make([]dispute.Balance, 0, len(amounts))
	for _, minor := range amounts {
		balance = append(balance, dispute.Balance{Amount: of(t, minor, "USD"), Fee: of(t, 1500, "USD"), At: begin})
	}

	return balance
}

func TestStatus(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		status                        dispute.Status
		kind                          dispute.Kind
		closed, blocks, needsAnAnswer bool
	}{
		{dispute.InquiryNeedsResponse, dispute.Inquiry, false, false, true},
		{dispute.InquiryUnderReview, dispute.Inquiry, false, false, false},
		{dispute.InquiryClosed, dispute.Inquiry, true, false, false},
		{dispute.NeedsResponse, dispute.Chargeback, false, true, true},
		{dispute.UnderReview, dispute.Chargeback, false, true, false},
		{dispute.Won, dispute.Chargeback, true, false, false},
		{dispute.Lost, dispute.Chargeback, true, false, false},
		// Words that are not known.
		{"prevented", dispute.Chargeback, false, true, false},
		{"warning_parked", dispute.Inquiry, false, false, false},
		{"", dispute.Chargeback, false, true, false},
	} {
		s := dispute.Snapshot{Status: c.status}
		require.Equal(t, c.kind, s.Kind(), c.status)
		require.Equal(t, c.closed, s.Status.Closed(), c.status)
		require.Equal(t, c.blocks, s.Blocks(), c.status)
		require.Equal(t, c.needsAnAnswer, s.Status.NeedsResponse(), c.status)
	}
}

// The status never says whether money is gone.
func TestSnapshot_CountedOf(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		amount, captured int64
		status           dispute.Status
		balance          []int64
		want             int64
	}{
		"an inquiry":                         {1000, 1000, dispute.InquiryNeedsResponse, nil, 0},
		"an inquiry never counts":            {1000, 1000, dispute.InquiryClosed, []int64{-1000}, 0},
		"a chargeback, nothing taken yet":    {1000, 1000, dispute.NeedsResponse, nil, 0},
		"a chargeback":                       {1000, 1000, dispute.NeedsResponse, []int64{-1000}, 1000},
		"under review":                       {1000, 1000, dispute.UnderReview, []int64{-1000}, 1000},
		"lost":                               {1000, 1000, dispute.Lost, []int64{-1000}, 1000},
		"lost, and nothing was ever taken":   {1000, 1000, dispute.Lost, nil, 0},
		"lost, and a part came back":         {1000, 1000, dispute.Lost, []int64{-1000, 400}, 600},
		"lost, and all came back":            {1000, 1000, dispute.Lost, []int64{-1000, 1000}, 0},
		"won":                                {1000, 1000, dispute.Won, []int64{-1000, 1000}, 0},
		"won, but not back yet":              {1000, 1000, dispute.Won, []int64{-1000}, 1000},
		"lost, and won late":                 {1000, 1000, dispute.Won, []int64{-1000, 400, 600}, 0},
		"a part is disputed":                 {300, 1000, dispute.NeedsResponse, []int64{-300}, 300},
		"more is disputed than was captured": {1000, 700, dispute.Lost, []int64{-1000}, 700},
		"… and a part of it came back":       {1000, 700, dispute.Lost, []int64{-1000, 400}, 600},
		"more came back than was taken":      {1000, 1000, dispute.Won, []int64{-990, 1000}, 0},
		"a status that is not known":         {1000, 1000, "prevented", []int64{-1000}, 1000},
		// 1/3 of 1000 is away: 333.3.
		"rounded up": {1000, 1000, dispute.Lost, []int64{-1200, 800}, 334},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := dispute.Snapshot{Amount: of(t, c.amount, "USD"), Status: c.status, Balance: moved(t, c.balance...)}
			require.Equal(t, of(t, c.want, "USD"), s.CountedOf(of(t, c.captured, "USD")))
		})
	}
}

func TestSnapshot_CountedOfOtherCurrencies(t *testing.T) {
	t.Parallel()

	captured := of(t, 1000, "EUR")
	// The balance is in dollars; the dispute is in the payment's currency.
	s := dispute.Snapshot{Amount: of(t, 800, "EUR"), Status: dispute.Lost, Balance: moved(t, -1600, 400)}
	require.Equal(t, of(t, 600, "EUR"), s.CountedOf(captured), "three quarters")

	s.Amount = of(t, 900, "USD")
	require.Equal(t, captured, s.CountedOf(captured), "nobody knows the rate")

	s.Balance = moved(t, -900, 900)
	require.Equal(t, of(t, 0, "EUR"), s.CountedOf(captured))

	// The balance's currency has changed in between.
	s.Balance = append(moved(t, -900), dispute.Balance{Amount: of(t, 700, "GBP"), At: begin})
	require.Equal(t, captured, s.CountedOf(captured))

	s.Status = dispute.Won
	require.Equal(t, of(t, 0, "EUR"), s.CountedOf(captured))
}

// Whatever moves: it is never negative, never more than was captured, and nothing once all is back.
func TestSnapshot_CountedOfIsBounded(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		const most = 1e14

		captured := of(t, rapid.Int64Range(0, most).Draw(t, "captured"), "USD")
		s := dispute.Snapshot{
			Amount:  of(t, rapid.Int64Range(0, most).Draw(t, "amount"), "USD"),
			Status:  rapid.SampledFrom([]dispute.Status{dispute.Lost, dispute.Won, dispute.NeedsResponse, "new"}).Draw(t, "status"),
			Balance: moved(t, rapid.SliceOfN(rapid.Int64Range(-most, most), 0, 4).Draw(t, "balance")...),
		}

		counted := s.CountedOf(captured)
		require.GreaterOrEqual(t, counted.Minor(), int64(0))
		require.LessOrEqual(t, counted.Minor(), captured.Minor())

		away := int64(0)
		for _, b := range s.Balance {
			away -= b.Amount.Minor()
		}

		if away <= 0 {
			require.Zero(t, counted.Minor())
		}
	})
}

func TestSnapshot_CanAnswer(t *testing.T) {
	t.Parallel()

	due := begin.Add(time.Hour)

	for name, c := range map[string]struct {
		status       dispute.Status
		due          time.Time
		can, overdue bool
	}{
		"it needs an answer":         {dispute.NeedsResponse, due, true, false},
		"the last moment":            {dispute.NeedsResponse, begin, true, false},
		"the deadline has passed":    {dispute.NeedsResponse, begin.Add(-time.Second), false, true},
		"an inquiry":                 {dispute.InquiryNeedsResponse, due, true, false},
		"nobody may answer":          {dispute.NeedsResponse, time.Time{}, false, false},
		"it was answered":            {dispute.UnderReview, due, false, false},
		"it is closed":               {dispute.Lost, due, false, false},
		"the deadline was never met": {dispute.Lost, begin.Add(-time.Second), false, false},
		"the status is not known":    {"prevented", due, false, false},
	} {
		s := dispute.Snapshot{Status: c.status, EvidenceDueBy: c.due}
		require.Equal(t, c.can, s.CanAnswer(begin), name)
		require.Equal(t, c.overdue, s.IsOverdue(begin), name)
	}
}

func TestFollowing(t *testing.T) {
	t.Parallel()

	p := payment.Payment{Tenant: 42, ID: uuid.New(), Captured: of(t, 1000, "USD")}
	id := func(providerID string) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte(providerID)) }
	first := dispute.Snapshot{
		ProviderID: "du_1", Amount: of(t, 400, "USD"), Status: dispute.NeedsResponse, Balance: moved(t, -400),
		EvidenceDueBy: begin.Add(time.Hour), CreatedAt: begin,
	}
	second := dispute.Snapshot{
		ProviderID: "du_2", Amount: of(t, 600, "USD"), Status: dispute.InquiryNeedsResponse, CreatedAt: begin.Add(-time.Hour),
	}

	made := dispute.Following(nil, []dispute.Snapshot{first, second}, p, id)
	require.Len(t, made, 2)
	require.Equal(t, dispute.Dispute{
		ID: id("du_2"), Tenant: 42, PaymentID: p.ID, Snapshot: second, Counted: of(t, 0, "USD"),
	}, made[0])
	require.Equal(t, dispute.Dispute{
		ID: id("du_1"), Tenant: 42, PaymentID: p.ID, Snapshot: first, Counted: of(t, 400, "USD"),
	}, made[1])

	made[0].Version, made[1].Version = 7, 8
	escalated := second
	escalated.Status, escalated.Balance = dispute.NeedsResponse, moved(t, -600)

	// du_1 is not read this time, and stays.
	after := dispute.Following(made, []dispute.Snapshot{escalated}, p, id)
	require.True(t, after[1].SameAs(made[1]))
	require.False(t, after[0].SameAs(made[0]))
	require.Equal(t, id("du_2"), after[0].ID)
	require.Equal(t, int64(7), after[0].Version)
	require.Equal(t, of(t, 600, "USD"), after[0].Counted)
	require.Equal(t, of(t, 0, "USD"), made[0].Counted, "what was known is left alone")

	same := dispute.Following(after, []dispute.Snapshot{first, escalated}, p, id)
	require.True(t, same[0].SameAs(after[0]) && same[1].SameAs(after[1]))
}

func TestDispute_SameAs(t *testing.T) {
	t.Parallel()

	d := dispute.Dispute{ID: uuid.New(), Snapshot: dispute.Snapshot{Balance: moved(t, -1)}}

	for name, change := range map[string]func(d *dispute.Dispute){
		"amount":      func(d *dispute.Dispute) { d.Amount = of(t, 1, "USD") },
		"status":      func(d *dispute.Dispute) { d.Status = dispute.Won },
		"reason":      func(d *dispute.Dispute) { d.Reason = "fraudulent" },
		"code":        func(d *dispute.Dispute) { d.NetworkReasonCode = "10.4" },
		"due":         func(d *dispute.Dispute) { d.EvidenceDueBy = begin },
		"submissions": func(d *dispute.Dispute) { d.Submissions = 1 },
		"counted":     func(d *dispute.Dispute) { d.Counted = of(t, 1, "USD") },
		"balance":     func(d *dispute.Dispute) { d.Balance = moved(t, -2) },
	} {
		changed := d
		change(&changed)
		require.False(t, changed.SameAs(d), name)
	}

	later := d
	later.Version, later.UpdatedAt = 9, begin
	require.True(t, later.SameAs(d))
	require.Equal(t, begin.UnixMilli(), d.NextVersion(begin))
	require.Equal(t, int64(10), later.NextVersion(time.Unix(0, 0)))
}

// What the payment's sums are made of.
func TestDispute_Counts(t *testing.T) {
	t.Parallel()

	id := uuid.New()
	d := dispute.Dispute{ID: id, Snapshot: dispute.Snapshot{Status: dispute.UnderReview}, Counted: of(t, 7, "USD")}
	require.Equal(t, payment.Dispute{ID: id, Status: "under_review", Counted: of(t, 7, "USD"), Blocks: true}, d.Counts())

	d.Status = dispute.InquiryNeedsResponse
	require.False(t, d.Counts().Blocks)
}

func TestCheckEvidence(t *testing.T) {
	t.Parallel()

	full := strings.Repeat("ж", dispute.MaxEvidenceField)
	require.NoError(t, dispute.CheckEvidence(map[string]string{"uncategorized_text": full, "customer_name": ""}))
	require.NoError(t, dispute.CheckEvidence(nil))

	most := map[string]string{}
	for _, name := range dispute.EvidenceFields()[:7] {
		most[name] = full
	}

	most["uncategorized_text"] = full[:2*10_000]
	require.NoError(t, dispute.CheckEvidence(most), "150,000 characters")

	most["uncategorized_text"] += "x"

	for name, wrong := range map[string]map[string]string{
		"too much together": most,
		"too long":          {"uncategorized_text": full + "x"},
		"a file":            {"receipt": "file_1"},
		"not known":         {"excuse": "secret"},
		"not text":          {"customer_name": "secret\xff"},
		"a zero":            {"customer_name": "secret\x00"},
	} {
		err := dispute.CheckEvidence(wrong)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.NotContains(t, err.Error(), "secret", name)
	}
}
