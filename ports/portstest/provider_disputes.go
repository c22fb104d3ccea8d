package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// DisputesBed is a provider of which a test can steer what banks do.
type DisputesBed struct {
	ProviderBed

	// Dispute makes the bank dispute minor units of a paid intent, or only ask about them.
	Dispute func(tb testing.TB, intentID string, minor int64, inquiry bool) (disputeID string)
	// Decide makes the bank decide a dispute, or escalate an inquiry. Of a lost one back minor
	// units come back.
	Decide func(tb testing.TB, disputeID string, to dispute.Status, back int64)
}

// ProviderDisputes is the contract of ports.DisputeReads and ports.DisputeCalls. Each call of bed
// gives a fresh provider without any intent.
func ProviderDisputes(t *testing.T, bed func(tb testing.TB) DisputesBed) {
	t.Helper()

	for name, test := range map[string]func(t *testing.T, b DisputesBed){
		"Calls/on something that is none":                disputeCallsOnNothing,
		"Dispute/none is NotFound":                       disputeNotFound,
		"Dispute/what the balance says":                  disputeBalance,
		"Disputes/of one intent, every page, at once":    disputesOfIntent,
		"DisputesBetween/to the second":                  disputesBetween,
		"Send/stages evidence, and gives it to the bank": sendEvidence,
		"Send/evidence that is not taken":                sendWrongEvidence,
		"Send/accepts a dispute":                         sendAccepts,
		"Send/accepts an inquiry":                        sendAcceptsInquiry,
		"Send/a closed dispute rejects by its state":     sendToClosedDispute,
		"Send/a lost answer is found by the copy":        lostEvidenceIsFound,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bed(t))
		})
	}
}

// paid makes an intent that is paid with 10.00 USD.
func (b DisputesBed) paid(tb testing.TB) ports.Intent {
	tb.Helper()

	intent := b.create(tb, uuid.New(), providerOrder(tb, 1000))
	b.Pay(tb, intent.ID)

	return intent
}

func (b DisputesBed) dispute(tb testing.TB, id string) ports.DisputeObject {
	tb.Helper()

	object, err := b.Provider.Dispute(tb.Context(), id)
	require.NoError(tb, err)

	return object
}

// evidenceCall gives a text to the bank, or stages it.
func (b DisputesBed) evidenceCall(tb testing.TB, id, text string, submit bool) ports.Call {
	tb.Helper()

	order := operation.Order{Options: map[string]string{"uncategorized_text": text, dispute.OptionDispute: "ours"}}
	if submit {
		order.Options[dispute.OptionSubmit] = "true"
	}

	call, err := b.Calls.SubmitEvidence(markOf(operation.SubmitEvidence, uuid.New(), order), id, order)
	require.NoError(tb, err)

	return call
}

func (b DisputesBed) acceptCall(tb testing.TB, id string) ports.Call {
	tb.Helper()

	call, err := b.Calls.AcceptDispute(markOf(operation.AcceptDispute, uuid.New(), operation.Order{}), id, operation.Order{})
	require.NoError(tb, err)

	return call
}

func (b DisputesBed) sendDispute(tb testing.TB, call ports.Call, resend bool) ports.DisputeObject {
	tb.Helper()

	object, err := b.Provider.Send(tb.Context(), call, resend)
	require.NoError(tb, err)

	return object.Dispute
}

// rejects requires that a call is rejected.
func (b DisputesBed) rejects(tb testing.TB, call ports.Call, resend bool) *ports.RejectedError {
	tb.Helper()

	var rejected *ports.RejectedError

	_, err := b.Provider.Send(tb.Context(), call, resend)
	require.ErrorAs(tb, err, &rejected)

	return rejected
}

func disputeCallsOnNothing(t *testing.T, b DisputesBed) {
	t.Helper()

	for _, id := range []string{"", "..", "du_1/../x", "pi_1", "du_1?x=y", "cus_1"} {
		_, err := b.Calls.SubmitEvidence(markOf(operation.SubmitEvidence, uuid.New(), operation.Order{}), id, operation.Order{})
		require.Error(t, err, id)

		_, err = b.Calls.AcceptDispute(markOf(operation.AcceptDispute, uuid.New(), operation.Order{}), id, operation.Order{})
		require.Error(t, err, id)
	}
}

func disputeNotFound(t *testing.T, b DisputesBed) {
	t.Helper()

	for _, id := range []string{"du_none", "", "..", "pi_1"} {
		_, err := b.Provider.Dispute(t.Context(), id)
		requireNotFound(t, err)
	}

	_, err := b.Provider.Disputes(t.Context(), "..")
	requireNotFound(t, err)
}

// disputeBalance follows an inquiry through escalation, a loss with a part of the money, and a
// late win.
func disputeBalance(t *testing.T, b DisputesBed) {
	t.Helper()

	usd := providerOrder(t, 1000).Amount.Currency()
	intent := b.paid(t)
	id := b.Dispute(t, intent.ID, 600, true)

	asked := b.dispute(t, id)
	require.Equal(t, id, asked.ProviderID)
	require.Equal(t, intent.ID, asked.IntentID)
	require.Equal(t, amount(t, 600, "USD").Money(), asked.Amount)
	require.Equal(t, dispute.InquiryNeedsResponse, asked.Status)
	require.NotEmpty(t, asked.Reason)
	require.NotEmpty(t, asked.NetworkReasonCode)
	require.True(t, asked.EvidenceDueBy.After(asked.CreatedAt))
	require.Empty(t, asked.Balance)
	require.Zero(t, asked.Evidence)
	require.NotNil(t, asked.Live)

	b.Decide(t, id, dispute.NeedsResponse, 0)

	taken := b.dispute(t, id)
	require.Equal(t, dispute.NeedsResponse, taken.Status)
	require.Len(t, taken.Balance, 1)
	require.Equal(t, int64(-600), taken.Balance[0].Amount.Minor())
	require.Positive(t, taken.Balance[0].Fee.Minor())
	require.Equal(t, usd, taken.Balance[0].Fee.Currency())
	require.Equal(t, int64(600), taken.CountedOf(amount(t, 1000, "USD").Money()).Minor())

	b.Decide(t, id, dispute.Lost, 200)

	lost := b.dispute(t, id)
	require.Equal(t, dispute.Lost, lost.Status)
	require.Len(t, lost.Balance, 2)
	require.Equal(t, int64(400), lost.CountedOf(amount(t, 1000, "USD").Money()).Minor())

	other := b.Dispute(t, b.paid(t).ID, 1000, false)
	b.Decide(t, other, dispute.Lost, 0)
	require.Equal(t, int64(1000), b.dispute(t, other).CountedOf(amount(t, 1000, "USD").Money()).Minor())

	b.Decide(t, other, dispute.Won, 0)
	require.Equal(t, dispute.Won, b.dispute(t, other).Status)
	require.Zero(t, b.dispute(t, other).CountedOf(amount(t, 1000, "USD").Money()).Minor())
}

func disputesOfIntent(t *testing.T, b DisputesBed) {
	t.Helper()

	const n = 3

	intent, other := b.paid(t), b.paid(t)
	b.Dispute(t, other.ID, 1000, false)

	none, err := b.Provider.Disputes(t.Context(), intent.ID)
	require.NoError(t, err)
	require.Empty(t, none)

	want := make([]ports.DisputeObject, n)
	for i := range n {
		want[n-1-i] = b.dispute(t, b.Dispute(t, intent.ID, 100, i == 0))
	}

	got, err := b.Provider.Disputes(t.Context(), intent.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func disputesBetween(t *testing.T, b DisputesBed) {
	t.Helper()

	first := b.dispute(t, b.Dispute(t, b.paid(t).ID, 1000, false))
	last := b.dispute(t, b.Dispute(t, b.paid(t).ID, 1000, true))

	require.Equal(t, []ports.DisputeObject{last, first},
		collect(t, b.Provider.DisputesBetween(t.Context(), first.CreatedAt, last.CreatedAt)))
	require.Empty(t, collect(t, b.Provider.DisputesBetween(
		t.Context(), first.CreatedAt.Add(-time.Hour), first.CreatedAt.Add(-time.Second))))
}

func sendEvidence(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, false)
	stage := b.evidenceCall(t, id, "The parcel was delivered.", false)
	staged := b.sendDispute(t, stage, false)
	require.Equal(t, dispute.NeedsResponse, staged.Status)
	require.Zero(t, staged.Submissions)
	require.Equal(t, operation.SubmitEvidence, staged.Evidence.Kind)
	require.Equal(t, staged, b.dispute(t, id))

	submit := b.evidenceCall(t, id, "And signed for.", true)
	submitted := b.sendDispute(t, submit, false)
	require.Equal(t, dispute.UnderReview, submitted.Status)
	require.Equal(t, 1, submitted.Submissions)
	require.NotEqual(t, staged.Evidence, submitted.Evidence)
	require.Equal(t, submitted, b.sendDispute(t, submit, true), "once")
	require.Equal(t, submitted, b.dispute(t, id))
}

func sendWrongEvidence(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, false)
	order := operation.Order{Options: map[string]string{"receipt": "no file"}}
	call, err := b.Calls.SubmitEvidence(markOf(operation.SubmitEvidence, uuid.New(), order), id, order)
	require.NoError(t, err)
	require.True(t, b.rejects(t, call, false).Order)
	require.Zero(t, b.dispute(t, id).Evidence)
}

func sendAccepts(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, false)
	call := b.acceptCall(t, id)

	accepted := b.sendDispute(t, call, false)
	require.Equal(t, dispute.Lost, accepted.Status)
	require.Equal(t, accepted, b.sendDispute(t, call, true))
	require.Equal(t, accepted, b.dispute(t, id))
}

func sendAcceptsInquiry(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, true)
	require.True(t, b.sendDispute(t, b.acceptCall(t, id), false).Status.Closed())
}

func sendToClosedDispute(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, false)
	b.Decide(t, id, dispute.Won, 0)

	for _, call := range []ports.Call{b.acceptCall(t, id), b.evidenceCall(t, id, "x", true)} {
		require.True(t, b.rejects(t, call, false).State)
		require.True(t, b.rejects(t, call, true).State)
	}
}

func lostEvidenceIsFound(t *testing.T, b DisputesBed) {
	t.Helper()

	id := b.Dispute(t, b.paid(t).ID, 1000, false)
	call := b.evidenceCall(t, id, "x", true)

	restore := b.LoseAnswers(t)
	_, err := b.Provider.Send(t.Context(), call, false)
	requireUnknown(t, err)
	restore()

	require.Equal(t, 1, b.sendDispute(t, call, true).Submissions)
	require.Equal(t, 1, b.dispute(t, id).Submissions)
}
