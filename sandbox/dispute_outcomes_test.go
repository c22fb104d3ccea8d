package sandbox_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// disputeOf is the only dispute of an intent.
func disputeOf(t *testing.T, api *client.API, intent string) *stripe.Dispute {
	t.Helper()

	list := api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: new(intent)})
	require.True(t, list.Next())

	return list.Dispute()
}

func getDispute(t *testing.T, api *client.API, id string) *stripe.Dispute {
	t.Helper()

	dispute, err := api.Disputes.Get(id, nil)
	require.NoError(t, err)

	return dispute
}

func turns(t *testing.T, api *client.API, id string, status stripe.DisputeStatus) *stripe.Dispute {
	t.Helper()
	require.Eventually(t, func() bool { return getDispute(t, api, id).Status == status }, patience, glance)

	return getDispute(t, api, id)
}

// evidence sends one text of evidence.
func evidence(t *testing.T, api *client.API, id, text string) *stripe.Dispute {
	t.Helper()

	dispute, err := api.Disputes.Update(id, &stripe.DisputeParams{
		Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: new(text)},
	})
	require.NoError(t, err)

	return dispute
}

// moved are the amounts of a dispute's balance transactions.
func moved(dispute *stripe.Dispute) []int64 {
	amounts := make([]int64, 0, len(dispute.BalanceTransactions))
	for _, row := range dispute.BalanceTransactions {
		amounts = append(amounts, row.Amount)
	}

	return amounts
}

// quietBox is a sandbox whose own delays are an hour of its clock.
func quietBox(t *testing.T) (*sandbox.Server, *client.API) {
	t.Helper()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{SettleDelay: time.Hour}))

	return server, newClient(server.URL)
}

func TestInquiry_EndsByItself(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	silent := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDisputeInquiry").ID)
	answered := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDisputeInquiry").ID)
	require.Equal(t, stripe.DisputeStatusWarningUnderReview, evidence(t, api, answered.ID, "a letter").Status)

	server.Advance(119 * day)
	require.Equal(t, stripe.DisputeStatusWarningNeedsResponse, getDispute(t, api, silent.ID).Status)

	server.Advance(2 * day)

	for _, id := range []string{silent.ID, answered.ID} {
		closed := turns(t, api, id, stripe.DisputeStatusWarningClosed)
		require.Empty(t, closed.BalanceTransactions)
		require.True(t, closed.IsChargeRefundable)
	}
}

func TestInquiry_FullRefundCloses(t *testing.T) {
	t.Parallel()

	_, api := quietBox(t)
	intent := paid(t, api, 2000, "pm_card_createDisputeInquiry")
	inquiry := disputeOf(t, api, intent.ID)

	charge, err := api.Charges.Get(inquiry.Charge.ID, nil)
	require.NoError(t, err)
	require.True(t, charge.Disputed)

	refunded(t, api, intent.ID, 500)
	require.Equal(t, stripe.DisputeStatusWarningNeedsResponse, getDispute(t, api, inquiry.ID).Status)

	refunded(t, api, intent.ID, 0)
	require.Equal(t, stripe.DisputeStatusWarningClosed, getDispute(t, api, inquiry.ID).Status)
	require.Equal(t, []string{
		"charge.dispute.created", "charge.refunded", "charge.refunded", "charge.dispute.closed",
	}, history(t, api))
}

// An inquiry that escalates is the same object, and takes the whole amount although
// a part has been refunded.
func TestInquiry_Escalates(t *testing.T) {
	t.Parallel()

	for name, escalate := range map[string]func(*sandbox.Server, *client.API, string){
		"by evidence": func(server *sandbox.Server, api *client.API, id string) {
			require.Equal(t, stripe.DisputeStatusWarningUnderReview, evidence(t, api, id, "escalate_inquiry_evidence").Status)
			server.Advance(2 * time.Hour)
		},
		"by the bank": func(server *sandbox.Server, _ *client.API, id string) {
			require.NoError(t, server.DecideDispute(id, sandbox.Decision{Status: "needs_response"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server, api := quietBox(t)
			intent := paid(t, api, 2000, "pm_card_createDisputeInquiry")
			refunded(t, api, intent.ID, 500)
			inquiry := disputeOf(t, api, intent.ID)

			escalate(server, api, inquiry.ID)

			chargeback := turns(t, api, inquiry.ID, stripe.DisputeStatusNeedsResponse)
			require.Equal(t, []int64{-2000}, moved(chargeback))
			require.False(t, chargeback.IsChargeRefundable)

			_, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
			requireCode(t, err, stripe.ErrorCodeChargeDisputed)

			kinds := history(t, api)
			require.Equal(t, []string{"charge.dispute.updated", "charge.dispute.funds_withdrawn"}, kinds[len(kinds)-2:])

			// A chargeback does not lapse as an inquiry does, but is lost unanswered.
			server.Advance(121 * day)
			require.Equal(t, []int64{-2000}, moved(turns(t, api, inquiry.ID, stripe.DisputeStatusLost)))
		})
	}
}

// A chargeback overtakes refunds that are not there yet.
func TestDispute_FailsPendingRefunds(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)

	for card, escalates := range map[string]bool{"pm_card_pendingRefund": true, "pm_card_refundRequiresAction": false} {
		intent := paid(t, api, 2000, card)
		refund := refunded(t, api, intent.ID, 800)

		inquiry, err := server.OpenDispute(intent.ID, sandbox.Complaint{Inquiry: true, Amount: 100})
		require.NoError(t, err)
		require.Equal(t, refund.Status, getRefund(t, api, refund.ID).Status, "an inquiry changes nothing")

		if escalates {
			require.NoError(t, server.DecideDispute(inquiry, sandbox.Decision{Status: "needs_response"}))
		} else {
			status, answer := control(t, server, "POST", "/payments/"+refund.Charge.ID+"/dispute", "")
			require.Equal(t, http.StatusOK, status, answer)
		}

		failed := getRefund(t, api, refund.ID)
		require.Equal(t, stripe.RefundStatusFailed, failed.Status)
		require.EqualValues(t, "charge_for_pending_refund_disputed", failed.FailureReason)
		require.EqualValues(t, 800, failed.FailureBalanceTransaction.Amount)

		server.Advance(2 * time.Hour) // when it would have succeeded
	}

	done := paid(t, api, 2000, "pm_card_visa")
	refund := refunded(t, api, done.ID, 800)

	id, err := server.OpenDispute(done.ID, sandbox.Complaint{Reason: "credit_not_processed"})
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusSucceeded, getRefund(t, api, refund.ID).Status)

	dispute := getDispute(t, api, id)
	require.Equal(t, []int64{-2000}, moved(dispute), "the double loss")
	require.Equal(t, "13.6", dispute.PaymentMethodDetails.Card.NetworkReasonCode)
}

// Who loses gets back at least what they had refunded; who wins, everything.
func TestDispute_PartlyRefunded(t *testing.T) {
	t.Parallel()

	nothing := int64(0)

	for name, test := range map[string]struct {
		evidence string
		decision sandbox.Decision
		want     []int64
		status   stripe.DisputeStatus
	}{
		"losing evidence":       {evidence: "losing_evidence", want: []int64{-2000, 800}, status: stripe.DisputeStatusLost},
		"winning evidence":      {evidence: "winning_evidence", want: []int64{-2000, 2000}, status: stripe.DisputeStatusWon},
		"the bank, answered":    {evidence: "a letter", decision: lost(nil), want: []int64{-2000, 800}, status: "lost"},
		"the bank, unanswered":  {decision: lost(nil), want: []int64{-2000}, status: stripe.DisputeStatusLost},
		"the bank, in figures":  {decision: lost(new(int64(300))), want: []int64{-2000, 300}, status: "lost"},
		"the bank, for nothing": {evidence: "a letter", decision: lost(&nothing), want: []int64{-2000}, status: "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server, api := quietBox(t)
			intent := paid(t, api, 2000, "pm_card_visa")
			refunded(t, api, intent.ID, 800)

			id, err := server.OpenDispute(intent.ID, sandbox.Complaint{})
			require.NoError(t, err)

			if test.evidence != "" {
				evidence(t, api, id, test.evidence)
				server.Advance(2 * time.Hour)
			}

			if test.decision.Status != "" {
				require.NoError(t, server.DecideDispute(id, test.decision))
			}

			require.Equal(t, test.want, moved(turns(t, api, id, test.status)))

			kinds := history(t, api)
			require.Equal(t, "charge.dispute.closed", kinds[len(kinds)-1])
			require.Equal(t, len(test.want) == 2, kinds[len(kinds)-2] == "charge.dispute.funds_reinstated")
		})
	}
}

func lost(reinstated *int64) sandbox.Decision {
	return sandbox.Decision{Status: "lost", Reinstated: reinstated}
}

// A dispute that was lost may be won after all.
func TestDispute_LateWin(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	intent := paid(t, api, 2000, "pm_card_createDispute")
	dispute := disputeOf(t, api, intent.ID)

	_, err := api.Disputes.Close(dispute.ID, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed",
	}, history(t, api))

	status, answer := control(t, server, "POST", "/disputes/"+dispute.ID, `{"status":"won"}`)
	require.Equal(t, http.StatusOK, status, answer)

	won := getDispute(t, api, dispute.ID)
	require.Equal(t, stripe.DisputeStatusWon, won.Status)
	require.Equal(t, []int64{-2000, 2000}, moved(won))
	require.Zero(t, won.BalanceTransactions[0].Net+won.BalanceTransactions[1].Net, "with the fee")
	require.Equal(t, []string{"charge.dispute.funds_reinstated", "charge.dispute.closed"}, history(t, api)[3:])

	require.EqualValues(t, 2000, refunded(t, api, intent.ID, 0).Amount)
	require.ErrorContains(t, server.DecideDispute(dispute.ID, lost(nil)), "won")
	require.ErrorContains(t, server.DecideDispute(dispute.ID, sandbox.Decision{Status: "won"}), "won")
}

// Several complaints about one payment are one dispute each, and never of more than
// was captured.
func TestDispute_SeveralOfOnePayment(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	intent := paid(t, api, 2000, "pm_card_visa")

	first, err := server.OpenDispute(intent.ID, sandbox.Complaint{Amount: 500})
	require.NoError(t, err)

	second, err := server.OpenDispute(intent.ID, sandbox.Complaint{Reason: "duplicate"})
	require.NoError(t, err)
	require.EqualValues(t, 1500, getDispute(t, api, second).Amount)

	_, err = server.OpenDispute(intent.ID, sandbox.Complaint{})
	require.ErrorContains(t, err, "disputed already")

	require.NoError(t, server.DecideDispute(first, sandbox.Decision{Status: "won"}))

	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	requireCode(t, err, stripe.ErrorCodeChargeDisputed) // the other one is open

	_, err = server.OpenDispute(intent.ID, sandbox.Complaint{Amount: 501})
	require.Error(t, err)

	_, err = server.OpenDispute(intent.ID, sandbox.Complaint{Amount: 500}) // a second time of what was won
	require.NoError(t, err)
}

// Evidence is staged until it is submitted, and then all of it.
func TestEvidence_StagedAndSubmitted(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	dispute := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDispute").ID)
	due := time.Unix(dispute.EvidenceDetails.DueBy, 0).UTC()
	require.Equal(t, "23:59:59", due.Format(time.TimeOnly))
	require.WithinDuration(t, server.Now().Add(8*day), due, day)

	staged, err := api.Disputes.Update(dispute.ID, &stripe.DisputeParams{Submit: new(false), Evidence: &stripe.
		DisputeEvidenceParams{CustomerName: new("Jenny"), UncategorizedText: new("winning_evidence"), Receipt: new("file_1")}})
	require.NoError(t, err)
	require.Equal(t, stripe.DisputeStatusNeedsResponse, staged.Status)
	require.True(t, staged.EvidenceDetails.HasEvidence)
	require.Zero(t, staged.EvidenceDetails.SubmissionCount)

	staged, err = api.Disputes.Update(dispute.ID, &stripe.DisputeParams{Submit: new(false), Evidence: &stripe.
		DisputeEvidenceParams{CustomerName: new("")}})
	require.NoError(t, err)
	require.Empty(t, staged.Evidence.CustomerName)

	noted := &stripe.DisputeParams{}
	noted.AddMetadata("case", "7")

	changed, err := api.Disputes.Update(dispute.ID, noted)
	require.NoError(t, err)
	require.Zero(t, changed.EvidenceDetails.SubmissionCount, "metadata alone submits nothing")

	server.Advance(due.Sub(server.Now()) + time.Minute)

	late, err := api.Disputes.Update(dispute.ID, &stripe.DisputeParams{Submit: new(true)})
	require.NoError(t, err)
	require.Equal(t, stripe.DisputeStatusUnderReview, late.Status)
	require.EqualValues(t, 1, late.EvidenceDetails.SubmissionCount)
	require.True(t, late.EvidenceDetails.PastDue)
	require.Equal(t, "7", late.Metadata["case"])

	server.Advance(2 * time.Hour)
	turns(t, api, dispute.ID, stripe.DisputeStatusWon)

	_, err = api.Disputes.Update(dispute.ID, &stripe.DisputeParams{Submit: new(true)})
	require.ErrorContains(t, err, "already closed")
}

func TestEvidence_Limits(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}
	api := newClient(c.url)
	path := "/v1/disputes/" + disputeOf(t, api, paid(t, api, 2000, "pm_card_createDispute").ID).ID
	texts := []string{
		"access_activity_log", "cancellation_policy_disclosure", "cancellation_rebuttal", "duplicate_charge_explanation",
		"product_description", "refund_policy_disclosure", "refund_refusal_explanation", "uncategorized_text",
	}

	send := func(form url.Values) answered { return c.call("POST", path, form.Encode()) }

	tooLong := send(url.Values{"evidence[uncategorized_text]": {strings.Repeat("é", 20_001)}})
	require.Equal(t, http.StatusBadRequest, tooLong.status)
	require.Equal(t, "evidence[uncategorized_text]", tooLong.text("param"))

	form := url.Values{"submit": {"false"}}
	for _, name := range texts[:7] {
		form.Set("evidence["+name+"]", strings.Repeat("é", 20_000))
	}

	require.Equal(t, http.StatusOK, send(form).status)
	require.Equal(t, http.StatusOK, send(url.Values{"evidence[uncategorized_text]": {strings.Repeat("x", 10_000)}}).status)

	tooMuch := send(url.Values{"evidence[uncategorized_text]": {strings.Repeat("x", 10_001)}})
	require.Equal(t, http.StatusBadRequest, tooMuch.status)
	require.Contains(t, tooMuch.text("message"), "150,000")

	noFile := send(url.Values{"evidence[receipt]": {"a text"}})
	require.Equal(t, http.StatusBadRequest, noFile.status)
	require.Contains(t, noFile.text("message"), "No such file upload")
}

// Some banks let nobody answer.
func TestDispute_FinalIsLostAtOnce(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)

	id, err := server.OpenDispute(paid(t, api, 2000, "pm_card_visa").ID, sandbox.Complaint{Final: true})
	require.NoError(t, err)

	dispute := getDispute(t, api, id)
	require.Equal(t, stripe.DisputeStatusLost, dispute.Status)
	require.Zero(t, dispute.EvidenceDetails.DueBy)
	require.Equal(t, []string{
		"charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed",
	}, history(t, api))

	_, err = api.Disputes.Update(id, &stripe.DisputeParams{Evidence: &stripe.DisputeEvidenceParams{CustomerName: new("J")}})
	require.ErrorContains(t, err, "already closed")
}

func TestDispute_TheBankCannotDoEverything(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	unpaid, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	held, pay := authorized(t, api, 2000), paid(t, api, 2000, "pm_card_visa")
	inquiry := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDisputeInquiry").ID).ID
	dispute := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDispute").ID).ID

	for _, wrong := range []struct {
		path, body string
		status     int
	}{
		{"/payments/" + unpaid.ID + "/dispute", `{}`, http.StatusNotFound},
		{"/payments/pi_none/dispute", `{}`, http.StatusNotFound},
		{"/payments/" + held.ID + "/dispute", `{}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"amount":2001}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"amount":-1}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"reason":"bored"}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"inquiry":true,"final":true}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"due_in_days":366}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/dispute", `{"color":"red"}`, http.StatusBadRequest},
		{"/payments/" + pay.ID + "/early_fraud_warning", `{"fraud_type":"x"}`, http.StatusBadRequest},
		{"/payments/pi_none/early_fraud_warning", ``, http.StatusNotFound},
		{"/disputes/du_none", `{"status":"won"}`, http.StatusNotFound},
		{"/disputes/" + dispute, `{"status":"needs_response"}`, http.StatusBadRequest},
		{"/disputes/" + dispute, `{"status":"warning_closed"}`, http.StatusBadRequest},
		{"/disputes/" + dispute, `{"status":"won","reinstated":5}`, http.StatusBadRequest},
		{"/disputes/" + dispute, `{"status":"lost","reinstated":2001}`, http.StatusBadRequest},
		{"/disputes/" + inquiry, `{"status":"won"}`, http.StatusBadRequest},
		{"/disputes/" + inquiry, `{"status":"lost"}`, http.StatusBadRequest},
	} {
		status, answer := control(t, server, "POST", wrong.path, wrong.body)
		require.Equal(t, wrong.status, status, "%s %s: %v", wrong.path, wrong.body, answer)
	}

	available, _ := money(t, api)
	require.EqualValues(t, -2000-1500, available, "nothing has happened but the one dispute")
}

// What had been planned for disputes goes on after a restart.
func TestDispute_SurvivesARestart(t *testing.T) {
	t.Parallel()

	options := sandbox.Options{StateFile: filepath.Join(t.TempDir(), "state"), SettleDelay: time.Hour}
	server := reopen(t, options)
	api := newClient(server.URL)
	inquiry := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDisputeInquiry").ID).ID
	answered := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDispute").ID).ID
	unanswered := disputeOf(t, api, paid(t, api, 2000, "pm_card_createDispute").ID).ID
	warned := paid(t, api, 2000, "pm_card_createIssuerFraudRecord")
	evidence(t, api, answered, "winning_evidence")
	require.NoError(t, server.Close())

	server = reopen(t, options)
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	api = newClient(server.URL)

	server.Advance(2 * time.Hour)
	turns(t, api, answered, stripe.DisputeStatusWon)
	server.Advance(40 * day)
	turns(t, api, unanswered, stripe.DisputeStatusLost)
	server.Advance(80 * day)
	turns(t, api, inquiry, stripe.DisputeStatusWarningClosed)

	warnings := api.RadarEarlyFraudWarnings.List(&stripe.RadarEarlyFraudWarningListParams{PaymentIntent: new(warned.ID)})
	require.True(t, warnings.Next())
	require.True(t, warnings.RadarEarlyFraudWarning().Actionable)
}

func TestFraudWarning_IsActionableUntilRefundedOrDisputed(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)

	for n, end := range []func(intent string){
		func(intent string) { refunded(t, api, intent, 0) },
		func(intent string) {
			_, err := server.OpenDispute(intent, sandbox.Complaint{})
			require.NoError(t, err)
		},
	} {
		intent := paid(t, api, 2000+int64(n), "pm_card_visa")

		id, err := server.WarnOfFraud(intent.ID, "made_with_stolen_card")
		require.NoError(t, err)

		params := &stripe.RadarEarlyFraudWarningParams{}
		params.AddExpand("charge")

		warning, err := api.RadarEarlyFraudWarnings.Get(id, params)
		require.NoError(t, err)
		require.True(t, warning.Actionable)
		require.EqualValues(t, "made_with_stolen_card", warning.FraudType)
		require.Equal(t, 2000+int64(n), warning.Charge.Amount)

		end(intent.ID)

		warning, err = api.RadarEarlyFraudWarnings.Get(id, nil)
		require.NoError(t, err)
		require.False(t, warning.Actionable)

		kinds := history(t, api)
		require.Equal(t, "radar.early_fraud_warning.updated", kinds[len(kinds)-1])
	}

	// A refund in part leaves it be; one that fails makes it actionable again.
	intent := paid(t, api, 2000, "pm_card_createIssuerFraudRecord")
	actionable := func() bool {
		list := api.RadarEarlyFraudWarnings.List(&stripe.RadarEarlyFraudWarningListParams{Charge: new(intent.LatestCharge.ID)})
		require.True(t, list.Next())

		return list.RadarEarlyFraudWarning().Actionable
	}

	refunded(t, api, intent.ID, 500)
	require.True(t, actionable())

	rest := refunded(t, api, intent.ID, 0)
	require.False(t, actionable())
	require.NoError(t, server.MoveRefund(rest.ID, sandbox.RefundMove{Status: "failed"}))
	require.True(t, actionable())

	_, err := api.RadarEarlyFraudWarnings.Get("issfr_none", nil)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)
}

// Rows have Stripe's types, fees and texts, and the filters find them as Stripe's do.
func TestBalanceTransactions_OfEverything(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	params := cardIntent(2000)
	params.Confirm, params.PaymentMethod, params.Description = new(true), new("pm_card_visa"), new("a shirt")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	refund := refunded(t, api, intent.ID, 500)
	require.NoError(t, server.MoveRefund(refund.ID, sandbox.RefundMove{Status: "failed"}))

	dispute, err := server.OpenDispute(intent.ID, sandbox.Complaint{})
	require.NoError(t, err)
	require.NoError(t, server.DecideDispute(dispute, sandbox.Decision{Status: "won"}))

	list := func(params *stripe.BalanceTransactionListParams) (rows []string) {
		found := api.BalanceTransactions.List(params)
		for found.Next() {
			row := found.BalanceTransaction()
			rows = append(rows, strings.Join([]string{
				string(row.Type), string(row.ReportingCategory), strconv.FormatInt(row.Amount, 10),
				strconv.FormatInt(row.Fee, 10), strconv.FormatInt(row.Net, 10), row.Description, string(row.Status),
			}, "|"))
		}

		require.NoError(t, found.Err())

		return rows
	}
	charge := intent.LatestCharge.ID

	require.Equal(t, []string{
		"adjustment|dispute_reversal|2000|-1500|3500|Chargeback reversal for " + charge + "|available",
		"adjustment|dispute|-2000|1500|-3500|Chargeback withdrawal for " + charge + "|available",
		"refund_failure|refund_failure|500|0|500|REFUND FAILURE (a shirt)|available",
		"refund|refund|-500|0|-500|REFUND FOR CHARGE (a shirt)|available",
		"charge|charge|2000|88|1912|a shirt|pending",
	}, list(nil))

	available, pending := money(t, api)
	require.Zero(t, available)
	require.EqualValues(t, 1912, pending)

	server.Advance(2 * day)

	available, pending = money(t, api)
	require.EqualValues(t, 1912, available)
	require.Zero(t, pending)

	require.Len(t, list(&stripe.BalanceTransactionListParams{Type: new("adjustment")}), 2)
	require.Len(t, list(&stripe.BalanceTransactionListParams{Source: new(refund.ID)}), 1, "the original one alone")
	require.Len(t, list(&stripe.BalanceTransactionListParams{Source: new(charge)}), 1)
	require.Empty(t, list(&stripe.BalanceTransactionListParams{Source: new(dispute)}))
	require.Empty(t, list(&stripe.BalanceTransactionListParams{Currency: new("eur")}))
	require.Empty(t, list(&stripe.BalanceTransactionListParams{CreatedRange: &stripe.RangeQueryParams{
		GreaterThanOrEqual: server.Now().Add(-day).Unix(),
	}}))

	none := api.BalanceTransactions.List(&stripe.BalanceTransactionListParams{Payout: new("po_1")})
	require.False(t, none.Next())
	requireCode(t, none.Err(), stripe.ErrorCodeResourceMissing)
}

// What a bank account pays is a payment and no charge, and kept apart in the balance.
func TestBalanceTransactions_OfBankDebits(t *testing.T) {
	t.Parallel()

	server, api := quietBox(t)
	intent := debited(t, api, "dispute")

	server.Advance(5 * day)
	require.Eventually(t, func() bool {
		list := api.Disputes.List(nil)

		return list.Next() && list.Dispute().Status == stripe.DisputeStatusLost
	}, patience, glance)

	dispute := disputeOf(t, api, intent.ID)
	require.Nil(t, dispute.PaymentMethodDetails)
	require.EqualValues(t, "debit_not_authorized", dispute.Reason)

	row, err := api.BalanceTransactions.Get(charged(t, api, intent).BalanceTransaction.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, "payment", row.Type)
	require.EqualValues(t, "charge", row.ReportingCategory)

	balance, err := api.Balance.Get(nil)
	require.NoError(t, err)
	require.Equal(t, row.Net, balance.Pending[0].SourceTypes["bank_account"])
	require.EqualValues(t, -2000-1500, balance.Available[0].SourceTypes["bank_account"])
}

func charged(t *testing.T, api *client.API, intent *stripe.PaymentIntent) *stripe.Charge {
	t.Helper()

	charge, err := api.Charges.Get(intent.LatestCharge.ID, nil)
	require.NoError(t, err)

	return charge
}

// A permission for Radar opens what there is of it.
func TestFraudWarning_RestrictedKey(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		Restricted: map[string][]string{"rk_test_radar": {"radar:read"}, "rk_test_charges": {"charges:write"}},
	}))
	path := "/v1/radar/early_fraud_warnings"

	require.Equal(t, http.StatusOK, caller{t, server.URL, "rk_test_radar", ""}.call("GET", path, "").status)
	require.Equal(t, http.StatusForbidden, caller{t, server.URL, "rk_test_charges", ""}.call("GET", path, "").status)

	other := caller{t, server.URL, "rk_test_radar", ""}.call("GET", "/v1/radar/value_lists", "")
	require.Equal(t, http.StatusNotFound, other.status)
	require.Contains(t, other.text("message"), "does not cover GET /v1/radar/value_lists")
}
