package customers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/sandbox"
)

// disputing is a customer with a disputed payment.
type disputing struct {
	*changing

	dispute dispute.Dispute
}

func setupDisputing(t *testing.T) disputing {
	t.Helper()

	b := disputing{changing: setupChange(t)}
	order := apptest.Order(t, 10_00)
	order.Options = map[string]string{payments.OptionCustomer: b.customer.ID.String()}

	answer, err := payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer).
		Do(t.Context(), payments.CreateCommand{Tenant: operation.DefaultTenant, Key: "order_1", Order: order})
	require.NoError(t, err)

	p := b.Payment(answer.PaymentID)
	_, err = b.Apply().Do(t.Context(), b.Pay(p.IntentID))
	require.NoError(t, err)
	b.OpenDispute(p, sandbox.Complaint{})

	full := b.Reread(p)
	require.Len(t, full.Disputes, 1)
	b.dispute = full.Disputes[0]

	return b
}

func (b disputing) give(t *testing.T, key operation.Key, evidence map[string]string) (operations.Answer, error) {
	t.Helper()

	return disputes.NewEvidence(b.DisputeChange()).Do(t.Context(), disputes.EvidenceCommand{
		Command:  disputes.Command{Tenant: operation.DefaultTenant, DisputeID: b.dispute.ID, Key: key},
		Evidence: evidence,
	})
}

// What was said to a bank about a customer's payment goes with the customer's data: from the operations and from
// Stripe's events. That it was said stays, under its key.
func TestErase_Do_Evidence(t *testing.T) {
	t.Parallel()

	b := setupDisputing(t)
	evidence := map[string]string{
		"customer_name": "Rosalind & Co.", "shipping_address": "7 Rose Lane", "customer_email_address": "rosalind@example.com",
	}

	staged, err := b.give(t, "staged", evidence)
	require.NoError(t, err)

	_, err = b.Apply().Do(t.Context(), b.Event(b.Payment(b.dispute.PaymentID).IntentID, "charge.dispute.updated"))
	require.NoError(t, err)

	// Stripe takes 150,000 characters in all. Its refusal could quote them.
	full := map[string]string{}
	for _, name := range dispute.EvidenceFields()[:7] {
		full[name] = strings.Repeat("x", dispute.MaxEvidenceField)
	}

	_, err = b.give(t, "full", full)
	require.NoError(t, err)

	tooMuch := map[string]string{"uncategorized_text": strings.Repeat("Rosalind. ", dispute.MaxEvidenceField/10)}
	refused, err := b.give(t, "refused", tooMuch)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Response.Status)

	texts := []string{"osalind", "Rose Lane", "Rose+Lane", "Rose%20Lane"}
	require.NotEmpty(t, b.Search(texts...))

	erased, err := b.erase(t)
	require.NoError(t, err)
	require.Empty(t, erased.Parked)
	requireNoTrace(t, b.World, texts...)

	op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, "staged")
	require.NoError(t, err)
	require.Equal(t, operation.Order{Options: map[string]string{dispute.OptionDispute: b.dispute.ID.String()}}, op.Order)
	require.Contains(t, op.Call.Params, "submit=false")

	b.ForgetReplays()

	again, err := b.give(t, "staged", evidence)
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, staged.Response, again.Response, "it shows no text")

	gone, err := b.give(t, "refused", tooMuch)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, gone.Response.Status)
}

// What may still be sent is not emptied: nothing would be sent in its place.
func TestErase_Do_EvidenceThatMayStillBeSent(t *testing.T) {
	t.Parallel()

	b := setupDisputing(t)
	incomplete := apptest.AccountIncomplete()
	incomplete.Path, incomplete.Code = apptest.DisputePath, "parameter_unknown"
	repair := b.Fault(incomplete)
	evidence := map[string]string{"customer_name": "Rosalind"}

	_, err := b.give(t, "rejected", evidence)
	apptest.RequireFault(t, fault.Rejected, err)
	repair()

	_, err = b.erase(t)
	apptest.RequireFault(t, fault.Invalid, err)
	require.NotEmpty(t, b.Search("Rosalind"))

	b.Elapse(25 * time.Hour)

	_, err = b.erase(t)
	require.NoError(t, err)
	requireNoTrace(t, b.World, "Rosalind")
}
