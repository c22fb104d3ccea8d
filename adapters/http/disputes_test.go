package http_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

type getDispute func(id uuid.UUID) (dispute.Dispute, error)

func (f getDispute) Do(_ context.Context, _ operation.Tenant, id uuid.UUID) (dispute.Dispute, error) {
	return f(id)
}

// answering notes the commands.
type answering struct {
	evidence disputes.EvidenceCommand
	accept   disputes.Command
	calls    int
}

func (a *answering) answer() operations.Answer {
	a.calls++

	return operations.Answer{Response: ports.FrozenResponse{Status: http.StatusOK, Body: []byte("{}")}}
}

type giveEvidence struct{ *answering }

func (g giveEvidence) Do(_ context.Context, cmd disputes.EvidenceCommand) (operations.Answer, error) {
	g.evidence = cmd

	return g.answer(), nil
}

type giveIn struct{ *answering }

func (g giveIn) Do(_ context.Context, cmd disputes.Command) (operations.Answer, error) {
	g.accept = cmd

	return g.answer(), nil
}

func aDispute(t *testing.T) dispute.Dispute {
	t.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	jpy, err := money.ParseCurrency("JPY")
	require.NoError(t, err)

	at := time.Date(2026, time.January, 31, 12, 0, 0, 0, time.UTC)

	return dispute.Dispute{
		ID: uuid.MustParse(anID), PaymentID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa"),
		Snapshot: dispute.Snapshot{
			ProviderID: "du_1", Amount: money.Of(10_50, usd), Status: "of_the_future", Reason: "fraudulent",
			EvidenceDueBy: at.Add(time.Hour), Submissions: 1,
			Balance:   []dispute.Balance{{Amount: money.Of(-1500, jpy), Fee: money.Of(20, jpy), At: at}},
			CreatedAt: at,
		},
		Counted: money.Of(10_50, usd), Version: 7, UpdatedAt: at,
	}
}

func setupDisputes(t *testing.T) (*testBundle, *answering) {
	t.Helper()

	seen := &answering{}

	return servingAll(t, edge.NewPayments(nil, nil, nil, nil, nil, nil), edge.NewDisputes(edge.DisputeUseCases{
		Get: getDispute(func(id uuid.UUID) (dispute.Dispute, error) {
			if id.String() != anID {
				return dispute.Dispute{}, fault.New(fault.NotFound, "There is no such dispute.")
			}

			return aDispute(t), nil
		}),
		Evidence: giveEvidence{seen}, Accept: giveIn{seen},
	}), edge.NewCustomers(edge.CustomerUseCases{})), seen
}

func TestDisputes_Get(t *testing.T) {
	t.Parallel()

	b, _ := setupDisputes(t)
	answer := b.do(http.MethodGet, "/disputes/"+anID, "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, `"7"`, answer.Header().Get("ETag"))
	require.Equal(t, //nolint:testifylint // the order of the keys is promised
		`{"id":"`+anID+`","payment_id":"0190d5a5-7c1f-7000-8000-0000000000aa","stripe_dispute_id":"du_1",`+
			`"amount":10.50,"currency":"USD","kind":"chargeback","status":"of_the_future","reason":"fraudulent",`+
			`"network_reason_code":null,"evidence_due_by":"2026-01-31T13:00:00Z","evidence_submitted":true,"amount_counted":10.50,`+
			`"balance":[{"amount":-1500,"fee":20,"currency":"JPY","at":"2026-01-31T12:00:00Z"}],`+
			`"created_at":"2026-01-31T12:00:00Z","updated_at":"2026-01-31T12:00:00Z","version":7}`,
		strings.TrimSpace(answer.Body.String()))

	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/disputes/"+uuid.NewString(), "").Code)

	for _, id := range []string{"x", strings.ToUpper(anID), "du_1"} {
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodGet, "/disputes/"+id, "").Code, id)
	}
}

func TestDisputes_Evidence(t *testing.T) {
	t.Parallel()

	b, seen := setupDisputes(t)
	path := "/disputes/" + anID + "/evidence"
	answer := b.do(http.MethodPost, path, `{"evidence":{"customer_name":"Jenny","service_date":null},"submit":true}`,
		"Idempotency-Key", "k", "If-Match", `"7"`)
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	require.Equal(t, map[string]string{"customer_name": "Jenny", "service_date": ""}, seen.evidence.Evidence)
	require.True(t, seen.evidence.Submit)
	require.Equal(t, []int64{7}, seen.evidence.IfMatch)
	require.Equal(t, "k", string(seen.evidence.Key))
	require.Equal(t, anID, seen.evidence.DisputeID.String())

	// Two megabytes are the most: as much as the limits on evidence may need.
	long := strings.Repeat("ж", dispute.MaxEvidenceField)
	answer = b.do(http.MethodPost, path, `{"evidence":{"uncategorized_text":"`+long+`"}}`)
	require.Equal(t, http.StatusOK, answer.Code)
	require.False(t, seen.evidence.Submit)
	require.Equal(t, long, seen.evidence.Evidence["uncategorized_text"])

	calls := seen.calls

	for body, status := range map[string]int{
		`{"evidence":{"customer_name":7}}`: http.StatusBadRequest,
		`{"submit":"yes"}`:                 http.StatusBadRequest,
		`{"unknown":1}`:                    http.StatusBadRequest,
		`{"evidence":{"uncategorized_text":"` + strings.Repeat("x", 3<<20) + `"}}`: http.StatusRequestEntityTooLarge,
	} {
		require.Equal(t, status, b.do(http.MethodPost, path, body).Code)
	}

	require.Equal(t, calls, seen.calls)
}

func TestDisputes_Accept(t *testing.T) {
	t.Parallel()

	b, seen := setupDisputes(t)
	path := "/disputes/" + anID + "/accept"

	for _, body := range []string{``, `{}`, `{"confirm":false}`, `{"confirm":null}`, `{"confirm":"true"}`} {
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, path, body).Code, body)
	}

	require.Zero(t, seen.calls)
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, path, `{"confirm":true,"idempotency_key":"k"}`).Code)
	require.Equal(t, "k", string(seen.accept.Key))
	require.Equal(t, 1, seen.calls)
}
