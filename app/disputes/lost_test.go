package disputes_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/sandbox"
)

// lose makes the database lose the operations on disputes and, as it is, the dispute.
func (b *disputed) lose() {
	b.Exec("DELETE FROM operations WHERE kind IN ('submit_evidence', 'accept_dispute')")
	b.Exec("DELETE FROM disputes")
	b.Exec("UPDATE payments SET amount_disputed = 0, dispute_status = NULL, blocking_dispute = NULL")
	b.ForgetReplays()
	b.Reread(b.payment)
}

// nothingIsSent to a dispute from now on: whoever tries gets no answer.
func (b *disputed) nothingIsSent() {
	b.Fault(sandbox.Fault{Method: http.MethodPost, Path: apptest.DisputePath, Action: sandbox.DropBefore})
	b.Fault(sandbox.Fault{Method: http.MethodPost, Path: apptest.DisputePath + "/close", Action: sandbox.DropBefore})
}

// The database has lost that evidence was given. A retry of the key finds its mark at the dispute, and is
// answered with what is read: nothing is sent, though Stripe may have forgotten the key.
func TestEvidence_AfterALoss(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		complaint sandbox.Complaint
		submit    bool
		// since is what happens at Stripe before the retry.
		since  func(b *disputed)
		status string
	}{
		"Staged":    {sandbox.Complaint{}, false, func(*disputed) {}, "needs_response"},
		"Submitted": {sandbox.Complaint{}, true, func(*disputed) {}, "under_review"},
		"Won":       {sandbox.Complaint{}, true, func(b *disputed) { b.DecideDispute(b.dispute.ProviderID, dispute.Won) }, "won"},
		// It waits for evidence again: that of the chargeback, and not once more for what was said to the inquiry.
		"TheInquiryHasEscalated": {
			sandbox.Complaint{Inquiry: true},
			true,
			func(b *disputed) { b.DecideDispute(b.dispute.ProviderID, dispute.NeedsResponse) }, "needs_response",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := &disputed{World: apptest.New(t)}
			b.payment, b.dispute = b.Disputed("order_1", c.complaint)

			_, err := b.give(t, "k", c.submit, parcel)
			require.NoError(t, err)

			_, before, _ := b.at(t)

			b.Stripe.Advance(25 * time.Hour)
			c.since(b)
			b.lose()
			b.nothingIsSent()

			cmd := b.command("k")
			cmd.IfMatch = []int64{b.dispute.Version} // it was so when the client asked first
			answer, err := disputes.NewEvidence(b.DisputeChange()).Do(t.Context(), disputes.EvidenceCommand{
				Command: cmd, Evidence: parcel, Submit: c.submit,
			})
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.Response.Status)
			require.Equal(t, b.Renderer.Dispute(b.Dispute(b.dispute.ID)), answer.Response)
			require.Contains(t, string(answer.Response.Body), `"status":"`+c.status+`"`)

			_, after, evidence := b.at(t)
			require.Equal(t, before, after)
			require.Equal(t, parcel, evidence)

			again, err := b.give(t, "k", c.submit, parcel)
			require.NoError(t, err)
			require.True(t, again.Replayed)
			require.Equal(t, answer.Response, again.Response)

			_, err = b.give(t, "k", c.submit, map[string]string{"customer_name": "Jen"})
			apptest.RequireFault(t, fault.KeyReused, err)

			op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, "k")
			require.NoError(t, err)
			require.Equal(t, operation.Finished, op.State)
		})
	}
}

// The lost request had this key. Whoever comes first with another one after the loss gets nothing.
func TestEvidence_AnotherRequestAfterALoss(t *testing.T) {
	t.Parallel()

	b := setup(t)
	_, err := b.give(t, "k", false, parcel)
	require.NoError(t, err)
	b.lose()
	b.nothingIsSent()

	_, err = b.give(t, "k", false, map[string]string{"customer_name": "Jen"})
	apptest.RequireFault(t, fault.KeyReused, err)
	_, err = b.accept(t, "k")
	apptest.RequireFault(t, fault.KeyReused, err)

	answer, err := b.give(t, "k", false, parcel)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Response.Status)
}

// What was lost before it was sent is sent.
func TestEvidence_NeverSentBeforeALoss(t *testing.T) {
	t.Parallel()

	b := setup(t)
	_, err := b.give(t, "earlier", false, map[string]string{"customer_name": "Jen"})
	require.NoError(t, err)
	b.lose()

	_, err = b.give(t, "k", true, parcel)
	require.NoError(t, err)

	status, submissions, evidence := b.at(t)
	require.Equal(t, "under_review", status)
	require.Equal(t, 1, submissions)
	require.Equal(t, parcel, evidence)
}

// Accepting leaves no mark. A dispute that is lost cannot be lost again, and a retry is told how it stands.
func TestAccept_AfterALoss(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		complaint sandbox.Complaint
		status    string
	}{"AChargeback": {sandbox.Complaint{}, "lost"}, "AnInquiry": {sandbox.Complaint{Inquiry: true}, "warning_closed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := &disputed{World: apptest.New(t)}
			b.payment, b.dispute = b.Disputed("order_1", c.complaint)

			_, err := b.accept(t, "k")
			require.NoError(t, err)
			b.lose()
			b.nothingIsSent()

			_, err = b.accept(t, "k")
			apptest.RequireFault(t, fault.InvalidState, err)
			require.Contains(t, fault.From(err).Detail, "The dispute is "+c.status)
			require.Equal(t, dispute.Status(c.status), b.Dispute(b.dispute.ID).Status)

			status, _, _ := b.at(t)
			require.Equal(t, c.status, status)
		})
	}
}
