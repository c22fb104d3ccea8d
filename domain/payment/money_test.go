package payment_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

func refunds(status refund.Status, amounts ...int64) (all []refund.Refund) {
	for _, n := range amounts {
		all = append(all, refund.Refund{ID: uuid.New(), ProviderID: "re_1", Amount: charge(n), Status: status})
	}

	return all
}

func TestPayment_Counting(t *testing.T) {
	t.Parallel()

	open := payment.Dispute{ID: uuid.New(), Status: "needs_response", Counted: dollars(10), Blocks: true}
	inquiry := payment.Dispute{ID: uuid.New(), Status: "warning_needs_response"}
	lost := payment.Dispute{ID: uuid.New(), Status: "lost", Counted: dollars(3)}

	for name, c := range map[string]struct {
		refunds                               []refund.Refund
		disputes                              []payment.Dispute
		pending, refunded, disputed, over, ok int64
		status                                string
		blocked                               uuid.UUID
	}{
		"nothing":      {ok: 10},
		"refunded":     {refunds: refunds(refund.Succeeded, 1, 3), refunded: 4, ok: 6},
		"on its way":   {refunds: refunds(refund.RequiresAction, 4), pending: 4, ok: 6},
		"failed":       {refunds: refunds(refund.Failed, 4), ok: 10},
		"cancelled":    {refunds: refunds(refund.Cancelled, 4), ok: 10},
		"an inquiry":   {disputes: []payment.Dispute{inquiry}, ok: 10, status: "warning_needs_response"},
		"lost in part": {disputes: []payment.Dispute{lost}, disputed: 3, ok: 7, status: "lost"},
		"charged back": {disputes: []payment.Dispute{open}, disputed: 10, status: "needs_response", blocked: open.ID},
		"the open one tells": {
			disputes: []payment.Dispute{open, lost}, disputed: 13, over: 3, status: "needs_response", blocked: open.ID,
		},
		"disputed and refunded": {
			refunds: refunds(refund.Succeeded, 4), disputes: []payment.Dispute{open}, refunded: 4, disputed: 10, over: 4,
			status: "needs_response", blocked: open.ID,
		},
		"refunded too much": {refunds: refunds(refund.Succeeded, 10, 5), refunded: 15, over: 5},
	} {
		p := succeeded().Counting(c.refunds, c.disputes)
		require.Equal(t, []money.Money{dollars(c.pending), dollars(c.refunded), dollars(c.disputed), dollars(c.over), dollars(c.ok)},
			[]money.Money{p.RefundPending, p.Refunded, p.Disputed, p.Overdrawn, p.Refundable()}, name)
		require.Equal(t, c.status, p.DisputeStatus, name)
		require.Equal(t, c.blocked, p.BlockedBy, name)

		// Sums are made anew: whatever was there does not stay.
		require.True(t, p.Counting(nil, nil).SameMoney(succeeded()), name)
	}
}

func TestPayment_Reserve(t *testing.T) {
	t.Parallel()

	one := refund.Refund{ID: uuid.New(), Amount: charge(4), Status: refund.Pending}
	ask := payment.RefundAsk{Amount: charge(4)}

	p, err := succeeded().Reserve(nil, one, ask)
	require.NoError(t, err)
	require.Equal(t, dollars(4), p.RefundPending)
	require.Equal(t, dollars(6), p.Refundable())

	// By all refunds, and not by the sums that were there.
	_, err = succeeded().Reserve(refunds(refund.Succeeded, 7), one, ask)
	require.Equal(t, fault.AmountExceeded, fault.KindOf(err))
	require.Equal(t, "3.00", fault.From(err).Available)

	// What is overdrawn allows nothing.
	over := succeeded().Counting(refunds(refund.Succeeded, 12), nil)
	_, err = over.Reserve(refunds(refund.Succeeded, 12), one, ask)
	require.Equal(t, fault.AmountExceeded, fault.KindOf(err))

	many := make([]refund.Refund, payment.MaxRefunds)
	for i := range many {
		many[i] = refund.Refund{Amount: charge(1), Status: refund.Failed}
	}

	_, err = succeeded().Reserve(many, one, ask)
	require.Equal(t, fault.InvalidState, fault.KindOf(err))
}

func TestDecideMoney(t *testing.T) {
	t.Parallel()

	known := refund.Refund{ID: uuid.New(), ProviderID: "re_1", Amount: charge(4), Status: refund.Succeeded}
	p := succeeded(captured(6)).Counting([]refund.Refund{known}, nil)
	said := func(status refund.Status) *refund.Snapshot {
		return &refund.Snapshot{ID: "re_1", Amount: charge(4), Status: status}
	}
	here := payment.Known{Payment: &p}
	gone, letGo, asked := known, p, p
	gone.Status, letGo.Status = refund.Failed, payment.Cancelled
	asked.Refunded, asked.RefundPending = dollars(0), dollars(4)

	for name, c := range map[string]struct {
		told  payment.MoneyTold
		known payment.Known
		want  payment.Verdict
	}{
		"as much was given back as we know": {payment.MoneyTold{GivenBack: dollars(4)}, here, payment.Stale},
		"less was given back at that time":  {payment.MoneyTold{GivenBack: dollars(3)}, here, payment.Stale},
		"more was given back":               {payment.MoneyTold{GivenBack: dollars(5)}, here, payment.Hints},
		"with what was not captured":        {payment.MoneyTold{GivenBack: dollars(8)}, here, payment.Hints},
		"what was asked for may be another's": {
			payment.MoneyTold{GivenBack: dollars(4)}, payment.Known{Payment: &asked}, payment.Hints,
		},
		"in another currency": {
			payment.MoneyTold{GivenBack: money.Of(4_00, money.Currency{})}, here, payment.Hints,
		},
		"it does not say how much":          {payment.MoneyTold{}, here, payment.Hints},
		"the refund is as we have it":       {payment.MoneyTold{Refund: said(refund.Succeeded), Known: &known}, here, payment.Stale},
		"the refund has failed, as we know": {payment.MoneyTold{Refund: said(refund.Failed), Known: &gone}, here, payment.Stale},
		"the hold was let go": {
			payment.MoneyTold{GivenBack: dollars(10)}, payment.Known{Payment: &letGo}, payment.Stale,
		},
		"the refund has failed": {payment.MoneyTold{Refund: said(refund.Failed), Known: &known}, here, payment.Hints},
		"the refund is new":     {payment.MoneyTold{Refund: said(refund.Succeeded)}, here, payment.Hints},
		"its create is open": {
			payment.MoneyTold{Marked: true}, payment.Known{Operation: new(payment.KnownOperation)}, payment.Early,
		},
		"the database has lost it": {payment.MoneyTold{Marked: true}, payment.Known{}, payment.Lost},
		"another program's":        {payment.MoneyTold{}, payment.Known{}, payment.Foreign},
	} {
		verdict, after := payment.DecideMoney(c.told, c.known)
		require.Equal(t, c.want, verdict, name)

		if c.known.Payment != nil {
			require.Equal(t, *c.known.Payment, after, "%s: no event changes a sum", name)
		}
	}
}
