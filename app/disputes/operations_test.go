package disputes_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// disputed is a world with a dispute.
type disputed struct {
	*apptest.World

	payment payment.Payment
	dispute dispute.Dispute
}

func setup(t *testing.T) *disputed {
	t.Helper()

	b := &disputed{World: apptest.New(t)}
	b.payment, b.dispute = b.Disputed("order_1", sandbox.Complaint{})

	return b
}

func (b *disputed) command(key operation.Key) disputes.Command {
	return disputes.Command{Tenant: operation.DefaultTenant, DisputeID: b.dispute.ID, Key: key, RequestID: apptest.RequestID}
}

func (b *disputed) give(
	t *testing.T, key operation.Key, submit bool, evidence map[string]string,
) (operations.Answer, error) {
	t.Helper()

	return disputes.NewEvidence(b.DisputeChange()).Do(t.Context(), disputes.EvidenceCommand{
		Command: b.command(key), Evidence: evidence, Submit: submit,
	})
}

func (b *disputed) accept(t *testing.T, key operation.Key) (operations.Answer, error) {
	t.Helper()

	return disputes.NewAccept(b.DisputeChange()).Do(t.Context(), b.command(key))
}

// at is the dispute at Stripe, with its evidence.
func (b *disputed) at(t *testing.T) (status string, submissions int, evidence map[string]string) {
	t.Helper()

	for entry := range b.Stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDispute}}) {
		var found struct {
			Status   string             `json:"status"`
			Evidence map[string]*string `json:"evidence"`
			Details  struct {
				Submissions int `json:"submission_count"`
			} `json:"evidence_details"`
		}

		require.NoError(t, json.Unmarshal(entry.Object, &found))

		evidence = map[string]string{}

		for name, text := range found.Evidence {
			if text != nil {
				evidence[name] = *text
			}
		}

		status, submissions = found.Status, found.Details.Submissions
	}

	return status, submissions, evidence
}

var parcel = map[string]string{"shipping_tracking_number": "1Z999", "customer_name": "Jenny Rosen"}

func TestEvidence_Do(t *testing.T) {
	t.Parallel()

	t.Run("StagesAndSubmits", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		staged, err := b.give(t, "stage", false, parcel)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, staged.Response.Status, "%s", staged.Response.Body)
		require.Equal(t, b.payment.ID, staged.PaymentID)
		require.Contains(t, string(staged.Response.Body), `"evidence_submitted":false`)
		require.Contains(t, string(staged.Response.Body), `"id":"`+b.dispute.ID.String()+`"`)

		status, submissions, evidence := b.at(t)
		require.Equal(t, "needs_response", status)
		require.Zero(t, submissions)
		require.Equal(t, parcel, evidence)

		again, err := b.give(t, "stage", false, parcel)
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, staged.Response, again.Response)

		// Empty takes away; what was staged is submitted with the rest.
		submitted, err := b.give(t, "submit", true, map[string]string{"customer_name": "", "uncategorized_text": "It was signed for."})
		require.NoError(t, err)
		require.Contains(t, string(submitted.Response.Body), `"status":"under_review"`)
		require.Contains(t, string(submitted.Response.Body), `"evidence_submitted":true`)

		status, submissions, evidence = b.at(t)
		require.Equal(t, "under_review", status)
		require.Equal(t, 1, submissions)
		require.Equal(t, map[string]string{"shipping_tracking_number": "1Z999", "uncategorized_text": "It was signed for."}, evidence)

		d := b.Dispute(b.dispute.ID)
		require.Equal(t, dispute.UnderReview, d.Status)
		require.Greater(t, d.Version, b.dispute.Version)
		require.Contains(t, string(submitted.Response.Body), `"version":`+jsonNumber(t, d.Version))
		require.Equal(t, "under_review", b.Payment(b.payment.ID).DisputeStatus)

		// A bank takes evidence once.
		_, err = b.give(t, "late", true, parcel)
		apptest.RequireFault(t, fault.InvalidState, err)
		_, submissions, _ = b.at(t)
		require.Equal(t, 1, submissions)
	})

	t.Run("WhatWasStagedIsSubmittedAlone", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.give(t, "stage", false, parcel)
		require.NoError(t, err)
		_, err = b.give(t, "submit", true, nil)
		require.NoError(t, err)

		_, submissions, evidence := b.at(t)
		require.Equal(t, 1, submissions)
		require.Equal(t, parcel, evidence)
	})

	t.Run("Invalid", func(t *testing.T) {
		t.Parallel()

		b := setup(t)

		for _, evidence := range []map[string]string{
			nil, {"receipt": "file_1"}, {"customer_name": strings.Repeat("x", dispute.MaxEvidenceField+1)},
		} {
			_, err := b.give(t, "wrong", false, evidence)
			apptest.RequireFault(t, fault.Invalid, err)
		}

		_, _, evidence := b.at(t)
		require.Empty(t, evidence)
	})

	t.Run("KeyReused", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.give(t, "k", false, parcel)
		require.NoError(t, err)
		_, err = b.give(t, "k", true, parcel)
		apptest.RequireFault(t, fault.KeyReused, err)
		_, err = b.accept(t, "k")
		apptest.RequireFault(t, fault.KeyReused, err)
		_, err = b.give(t, "order_1", false, parcel)
		apptest.RequireFault(t, fault.KeyReused, err)

		status, submissions, _ := b.at(t)
		require.Equal(t, "needs_response", status)
		require.Zero(t, submissions)
	})

	t.Run("IfMatch", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		cmd := b.command("k")
		cmd.IfMatch = []int64{1}
		_, err := disputes.NewEvidence(b.DisputeChange()).Do(t.Context(), disputes.EvidenceCommand{Command: cmd, Evidence: parcel})
		apptest.RequireFault(t, fault.PreconditionFailed, err)
		require.Equal(t, b.dispute.ID, fault.From(err).DisputeID)
		require.Equal(t, b.dispute.Version, fault.From(err).Version)

		cmd.IfMatch = append(cmd.IfMatch, b.dispute.Version)
		_, err = disputes.NewEvidence(b.DisputeChange()).Do(t.Context(), disputes.EvidenceCommand{Command: cmd, Evidence: parcel})
		require.NoError(t, err)
	})

	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.dispute.ID = uuid.New()
		_, err := b.give(t, "k", false, parcel)
		apptest.RequireFault(t, fault.NotFound, err)

		b.InLife(operation.Standing{})
		_, err = b.give(t, "k", false, parcel)
		apptest.RequireFault(t, fault.Unavailable, err)
	})

	t.Run("StripeAway", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		require.NoError(t, b.Stripe.Close())
		_, err := b.give(t, "k", false, parcel)
		apptest.RequireFault(t, fault.Unavailable, err)
	})
}

func jsonNumber(t *testing.T, n int64) string {
	t.Helper()

	form, err := json.Marshal(n)
	require.NoError(t, err)

	return string(form)
}

// overdue is a provider whose disputes cannot be answered any more.
type overdue struct{ ports.Provider }

func (o overdue) Disputes(ctx context.Context, intentID string) ([]ports.DisputeObject, error) {
	all, err := o.Provider.Disputes(ctx, intentID)
	for i := range all {
		all[i].EvidenceDueBy = time.Now().Add(-time.Minute)
	}

	return all, err
}

func TestOperations_AgainstTheState(t *testing.T) {
	t.Parallel()

	for name, arrange := range map[string]func(b *disputed){
		"Lost":    func(b *disputed) { b.DecideDispute(b.dispute.ProviderID, dispute.Lost) },
		"Won":     func(b *disputed) { b.DecideDispute(b.dispute.ProviderID, dispute.Won) },
		"Overdue": func(b *disputed) { b.Provider = overdue{b.Provider} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			arrange(b)
			before, _, _ := b.at(t)

			_, err := b.give(t, "give", true, parcel)
			apptest.RequireFault(t, fault.InvalidState, err)
			require.Equal(t, b.dispute.ID, fault.From(err).DisputeID)
			require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
			require.Empty(t, fault.From(err).Allowed)

			_, err = b.accept(t, "accept")
			apptest.RequireFault(t, fault.InvalidState, err)

			after, submissions, _ := b.at(t)
			require.Equal(t, before, after)
			require.Zero(t, submissions)
		})
	}
}

func TestAccept_Do(t *testing.T) {
	t.Parallel()

	b := setup(t)
	answer, err := b.accept(t, "k")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Response.Status)
	require.Contains(t, string(answer.Response.Body), `"status":"lost"`)
	require.Contains(t, string(answer.Response.Body), `"amount_counted":10.00`)

	p := b.Payment(b.payment.ID)
	require.Equal(t, "lost", p.DisputeStatus)
	require.Equal(t, uuid.Nil, p.BlockedBy)
	require.Zero(t, p.Refundable().Minor())

	again, err := b.accept(t, "k")
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, answer.Response, again.Response)
}

// Whatever is lost on the way, evidence is given once and the client is told.
func TestOperations_Recovered(t *testing.T) {
	t.Parallel()

	const accepting = apptest.DisputePath + "/close"

	for name, c := range map[string]struct {
		action sandbox.Action
		path   string
		act    func(t *testing.T, b *disputed) (operations.Answer, error)
		status string
	}{
		"TheEvidenceIsLost": {sandbox.DropBefore, apptest.DisputePath, giveParcel, "under_review"},
		"TheAnswerIsLost":   {sandbox.DropAfter, apptest.DisputePath, giveParcel, "under_review"},
		"AcceptIsLost":      {sandbox.DropBefore, accepting, acceptIt, "lost"},
		"AcceptedAndLost":   {sandbox.DropAfter, accepting, acceptIt, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			repair := b.Fault(sandbox.Fault{Action: c.action, Path: c.path})
			_, err := c.act(t, b)
			apptest.RequireFault(t, fault.Unknown, err)
			repair()

			// Meanwhile nothing else is done to the dispute.
			_, err = b.give(t, "other", false, parcel)
			require.Contains(t, []fault.Kind{fault.InProgress, fault.InvalidState}, fault.KindOf(err))

			b.Elapse(time.Minute)

			done, err := b.Recover().Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, done.Finished)

			answer, err := c.act(t, b)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)
			require.Contains(t, string(answer.Response.Body), `"status":"`+c.status+`"`)

			status, submissions, _ := b.at(t)
			require.Equal(t, c.status, status)
			require.LessOrEqual(t, submissions, 1)
		})
	}
}

func giveParcel(t *testing.T, b *disputed) (operations.Answer, error) {
	t.Helper()

	return b.give(t, "k", true, parcel)
}

func acceptIt(t *testing.T, b *disputed) (operations.Answer, error) {
	t.Helper()

	return b.accept(t, "k")
}

// A key that Stripe may have forgotten is not sent: what became of it is read.
func TestOperations_TooOldToBeSent(t *testing.T) {
	t.Parallel()

	for name, done := range map[string]bool{"Done": true, "NotDone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			action := map[bool]sandbox.Action{true: sandbox.DropAfter, false: sandbox.DropBefore}[done]
			b.Fault(sandbox.Fault{Action: action, Path: apptest.DisputePath})
			_, err := giveParcel(t, b)
			apptest.RequireFault(t, fault.Unknown, err)

			b.Elapse(24 * time.Hour)
			b.Exec("UPDATE operations SET attempts = 2 WHERE state = 'pending'")

			recovered, err := b.Recover().Do(t.Context())
			require.NoError(t, err)

			if done {
				require.Equal(t, 1, recovered.Finished)
			} else {
				require.Equal(t, 1, recovered.GivenUp, "a person decides")
			}

			_, submissions, _ := b.at(t)
			require.Equal(t, map[bool]int{true: 1, false: 0}[done], submissions)
		})
	}
}

// Two disputes of one payment do not wait for each other.
func TestOperations_OfTwoDisputes(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	p := w.Paid("order_1", "pm_card_visa")
	w.OpenDispute(p, sandbox.Complaint{Amount: 300})
	w.OpenDispute(p, sandbox.Complaint{Amount: 500})

	full := w.Reread(p)
	require.Len(t, full.Disputes, 2)

	first := &disputed{World: w, payment: p, dispute: full.Disputes[0]}
	second := &disputed{World: w, payment: p, dispute: full.Disputes[1]}

	repair := w.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: "/v1/disputes/" + first.dispute.ProviderID})
	_, err := first.give(t, "first", true, parcel)
	apptest.RequireFault(t, fault.Unknown, err)
	repair()

	_, err = second.give(t, "second", true, parcel)
	require.NoError(t, err)
	_, err = first.accept(t, "third")
	apptest.RequireFault(t, fault.InProgress, err)
	require.Equal(t, dispute.NeedsResponse, w.Dispute(first.dispute.ID).Status)
	require.Equal(t, dispute.UnderReview, w.Dispute(second.dispute.ID).Status)
}

// What Stripe rejects because of the deployment is not refused for ever.
func TestChange_DeploymentRejected(t *testing.T) {
	t.Parallel()

	for name, path := range map[string]string{"evidence": "/v1/disputes/*", "accept": "/v1/disputes/*/close"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			incomplete := apptest.AccountIncomplete()
			incomplete.Path = path
			repair := b.Fault(incomplete)

			ask := func() (operations.Answer, error) {
				if name == "accept" {
					return b.accept(t, "k")
				}

				return b.give(t, "k", true, parcel)
			}

			_, err := ask()
			apptest.RequireFault(t, fault.Rejected, err)
			repair()

			answer, err := ask()
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)
		})
	}
}
