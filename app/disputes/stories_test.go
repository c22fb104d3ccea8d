package disputes_test

import (
	"context"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// sums are what a payment of 10.00 USD says, in cents.
type sums struct {
	refunded, disputed, overdrawn, refundable int64
	// status is the payment's dispute_status, and blocked says that nothing can be refunded.
	status  string
	blocked bool
}

// story is a payment and what its customer's bank does.
type story struct {
	*apptest.World

	payment payment.Payment
	id      string // Stripe's, of the first dispute
}

func (s *story) decide(t *testing.T, to dispute.Status, reinstated ...int64) {
	t.Helper()

	decision := sandbox.Decision{Status: string(to)}
	if len(reinstated) > 0 {
		decision.Reinstated = &reinstated[0]
	}

	require.NoError(t, s.Stripe.DecideDispute(s.id, decision))
}

func (s *story) open(t *testing.T, complaint sandbox.Complaint) {
	t.Helper()

	s.id = s.OpenDispute(s.payment, complaint)
}

// refundAtStripe is what somebody does in the Dashboard.
func (s *story) refundAtStripe(t *testing.T, cents int64) {
	t.Helper()

	_, err := s.Stripe.Dashboard("/v1/refunds", url.Values{
		"payment_intent": {s.payment.IntentID}, "amount": {strconv.FormatInt(cents, 10)},
	})
	require.NoError(t, err)
}

// The sums are those of the last snapshot, whatever came before; a step is what happens, and then
// what the payment says.
func TestStories(t *testing.T) {
	t.Parallel()

	type step struct {
		happens func(t *testing.T, s *story)
		then    sums
	}

	part := func(cents int64) sandbox.Complaint { return sandbox.Complaint{Amount: cents} }
	inquiry := sandbox.Complaint{Inquiry: true}
	all := sums{disputed: 1000, status: "needs_response", blocked: true}

	for name, steps := range map[string][]step{
		"an inquiry that comes to nothing": {
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, inquiry) },
				sums{status: "warning_needs_response", refundable: 1000},
			},
			{
				func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.InquiryClosed) },
				sums{status: "warning_closed", refundable: 1000},
			},
		},
		"an inquiry that escalates, and is lost": {
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, inquiry) },
				sums{status: "warning_needs_response", refundable: 1000},
			},
			{func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.NeedsResponse) }, all},
			{func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Lost) }, sums{disputed: 1000, status: "lost"}},
		},
		"a full refund ends an inquiry": {
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, inquiry) },
				sums{status: "warning_needs_response", refundable: 1000},
			},
			{
				func(t *testing.T, s *story) { t.Helper(); s.refundAtStripe(t, 1000) },
				sums{refunded: 1000, status: "warning_closed"},
			},
		},
		"won": {
			{func(t *testing.T, s *story) { t.Helper(); s.open(t, sandbox.Complaint{}) }, all},
			{func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Won) }, sums{status: "won", refundable: 1000}},
		},
		"lost, and won late": {
			{func(t *testing.T, s *story) { t.Helper(); s.open(t, sandbox.Complaint{}) }, all},
			{func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Lost) }, sums{disputed: 1000, status: "lost"}},
			{func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Won) }, sums{status: "won", refundable: 1000}},
		},
		"lost, and a part comes back": {
			{func(t *testing.T, s *story) { t.Helper(); s.open(t, sandbox.Complaint{}) }, all},
			{
				func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Lost, 400) },
				sums{disputed: 600, status: "lost", refundable: 400},
			},
		},
		"disputed in whole although a part was refunded": {
			{func(t *testing.T, s *story) { t.Helper(); s.refundAtStripe(t, 400) }, sums{refunded: 400, refundable: 600}},
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, sandbox.Complaint{}) },
				sums{refunded: 400, disputed: 1000, overdrawn: 400, status: "needs_response", blocked: true},
			},
			{
				func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Lost, 400) },
				sums{refunded: 400, disputed: 600, status: "lost"},
			},
		},
		"two disputes": {
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, part(300)) },
				sums{disputed: 300, status: "needs_response", blocked: true},
			},
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, part(500)) },
				sums{disputed: 800, status: "needs_response", blocked: true},
			},
			{
				func(t *testing.T, s *story) { t.Helper(); s.decide(t, dispute.Lost) },
				sums{disputed: 800, status: "needs_response", blocked: true},
			},
		},
		"nobody may answer": {
			{
				func(t *testing.T, s *story) { t.Helper(); s.open(t, sandbox.Complaint{Final: true}) },
				sums{disputed: 1000, status: "lost"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := &story{World: apptest.New(t)}
			s.payment = s.Paid("order_1", "pm_card_visa")

			for i, step := range steps {
				step.happens(t, s)

				before := s.Payment(s.payment.ID)
				full := s.Reread(s.payment)
				p := full.Payment
				now := sums{
					refunded: p.Refunded.Minor(), disputed: p.Disputed.Minor(), overdrawn: p.Overdrawn.Minor(),
					refundable: p.Refundable().Minor(), status: p.DisputeStatus, blocked: full.Payment.BlockedBy != [16]byte{},
				}
				require.Equal(t, step.then, now, "step %d", i)
				require.Greater(t, p.Version, before.Version)
				require.Equal(t, full, s.Reread(s.payment), "the same is read again: nothing changes")
			}
		})
	}
}

// A status that Stripe adds later is kept, and blocks refunds.
func TestUnknownStatus(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	p, d := w.Disputed("order_1", sandbox.Complaint{})
	w.Provider = renaming{w.Provider, "prevented"}

	full := w.Reread(p)
	require.Equal(t, "prevented", full.Payment.DisputeStatus)
	require.Equal(t, d.ID, full.Payment.BlockedBy)
	require.Zero(t, full.Payment.Refundable().Minor())
	require.Equal(t, dispute.Status("prevented"), full.Disputes[0].Status)
	require.Greater(t, full.Disputes[0].Version, d.Version)
	require.Equal(t, full.Disputes[0], w.Dispute(d.ID))
}

// renaming is a provider whose disputes have another status.
type renaming struct {
	ports.Provider

	status dispute.Status
}

func (r renaming) Disputes(ctx context.Context, intentID string) ([]ports.DisputeObject, error) {
	all, err := r.Provider.Disputes(ctx, intentID)
	for i := range all {
		all[i].Status = r.status
	}

	return all, err
}

// After a loss a dispute comes home with its payment, under the same id.
func TestDispute_ComesHome(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	p, d := w.Disputed("order_1", sandbox.Complaint{Amount: 300, DueInDays: 3})
	w.Exec("DELETE FROM disputes")
	w.Exec("UPDATE payments SET amount_disputed = 0, dispute_status = NULL, blocking_dispute = NULL")

	home := w.Reread(p)
	require.Len(t, home.Disputes, 1)
	require.True(t, home.Disputes[0].SameAs(d))
	require.Equal(t, d.ID, home.Disputes[0].ID)
	require.GreaterOrEqual(t, home.Disputes[0].Version, d.Version)
	require.Equal(t, int64(300), home.Payment.Disputed.Minor())
	require.WithinDuration(t, time.Now(), home.Disputes[0].CreatedAt, time.Minute)
}

// While a chargeback is open the customer would be paid twice, and so says the answer. What an
// inquiry is about may be refunded.
func TestRefund_OfADisputedPayment(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	p, d := w.Disputed("order_1", sandbox.Complaint{Amount: 300})
	refunding := payments.NewRefund(w.Change())

	_, err := refunding.Do(t.Context(), w.RefundCommand(p, "refund_1", "1.00"))
	apptest.RequireFault(t, fault.Disputed, err)
	require.Equal(t, d.ID, fault.From(err).DisputeID)
	require.Empty(t, w.RefundsAtStripe(p))

	w.DecideDispute(d.ProviderID, dispute.Lost)
	w.Reread(p)

	_, err = refunding.Do(t.Context(), w.RefundCommand(p, "refund_1", "7.01"))
	apptest.RequireFault(t, fault.AmountExceeded, err)
	require.Equal(t, "7.00", fault.From(err).Available)

	other, _ := w.Disputed("order_2", sandbox.Complaint{Inquiry: true})
	w.Refund(other, "refund_2", "10.00")
	require.Equal(t, "warning_closed", w.Reread(other).Payment.DisputeStatus)
}
