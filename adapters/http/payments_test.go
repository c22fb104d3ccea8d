package http_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

type create func(payments.CreateCommand) (operations.Answer, error)

func (f create) Do(_ context.Context, cmd payments.CreateCommand) (operations.Answer, error) {
	return f(cmd)
}

type get func(uuid.UUID) (payment.Payment, error)

func (f get) Do(_ context.Context, _ operation.Tenant, id uuid.UUID) (payment.Payment, error) {
	return f(id)
}

type capture func(payments.CaptureCommand) (operations.Answer, error)

func (f capture) Do(_ context.Context, cmd payments.CaptureCommand) (operations.Answer, error) {
	return f(cmd)
}

type cancel func(payments.CancelCommand) (operations.Answer, error)

func (f cancel) Do(_ context.Context, cmd payments.CancelCommand) (operations.Answer, error) {
	return f(cmd)
}

type confirm func(payments.ConfirmCommand) (operations.Answer, error)

func (f confirm) Do(_ context.Context, cmd payments.ConfirmCommand) (operations.Answer, error) {
	return f(cmd)
}

type update func(payments.UpdateCommand) (operations.Answer, error)

func (f update) Do(_ context.Context, cmd payments.UpdateCommand) (operations.Answer, error) {
	return f(cmd)
}

func setupPayments(t *testing.T, c create, g get) *testBundle {
	t.Helper()

	return serving(t, edge.NewPayments(c, g, nil, nil, nil, nil))
}

func serving(t *testing.T, resource *edge.Payments) *testBundle {
	t.Helper()

	return servingAll(t, resource, edge.NewDisputes(edge.DisputeUseCases{}), edge.NewCustomers(edge.CustomerUseCases{}))
}

func servingAll(t *testing.T, resource *edge.Payments, disputes *edge.Disputes, customers *edge.Customers) *testBundle {
	t.Helper()

	return &testBundle{handler: edge.NewHandler(edge.Telemetry{
		Log: zap.NewNop(), Observer: telemetry.NewMetrics(), Tracing: noop.NewTracerProvider(), Propagator: propagation.TraceContext{},
	}, edge.Access{Clients: memory.AllowAll{}},
		resource, edge.NewRefunds(nil, nil, nil), edge.NewLists(edge.ListUseCases{}), disputes, customers, edge.NewAPIKeys(nil),
		edge.NewAudit(nil),
		edge.NewWebhooks(nil, nil), edge.NewHealth(nil, nil, nil, nil))}
}

func TestPayments_Create(t *testing.T) {
	t.Parallel()

	id := uuid.MustParse(anID)

	for name, c := range map[string]struct {
		answer     operations.Answer
		fault      error
		status     int
		body       string
		wantHeader http.Header
	}{
		"created": {
			answer: operations.Answer{PaymentID: id, Response: ports.FrozenResponse{Status: 201, Body: []byte(`{"a":1}`)}},
			status: 201, body: `{"a":1}`,
			wantHeader: http.Header{"Content-Type": {"application/json"}, "Location": {"/payments/" + anID}},
		},
		"replayed": {
			answer: operations.Answer{
				PaymentID: id, Replayed: true, Response: ports.FrozenResponse{Status: 201, Body: []byte(`{"a":1}`)},
			},
			status: 201, body: `{"a":1}`,
			wantHeader: http.Header{"Idempotent-Replayed": {"true"}, "Location": {"/payments/" + anID}},
		},
		"rejected": {
			answer: operations.Answer{PaymentID: id, Response: ports.FrozenResponse{Status: 422, Body: []byte(`{"b":2}`)}},
			status: 422, body: `{"b":2}`,
			wantHeader: http.Header{"Content-Type": {"application/problem+json"}, "Location": nil},
		},
		"a fault": {
			fault: fault.New(fault.KeyReused, "Used."), status: 422, body: `"detail":"Used."`,
			wantHeader: http.Header{"Content-Type": {"application/problem+json"}, "Location": nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var asked payments.CreateCommand

			b := setupPayments(t, func(cmd payments.CreateCommand) (operations.Answer, error) {
				asked = cmd

				return c.answer, c.fault
			}, nil)
			answer := b.do(http.MethodPost, "/payments", `{"amount":"10.5e0","currency":"USD","metadata":{"a":"b"}}`,
				"Idempotency-Key", `"k\"1"`, "X-Request-Id", "r1")

			require.Equal(t, c.status, answer.Code)
			require.Contains(t, answer.Body.String(), c.body)

			for name, values := range c.wantHeader {
				require.Equal(t, values, answer.Header()[name], name)
			}

			require.Equal(t, `k"1`, string(asked.Key))
			require.Equal(t, "r1", asked.RequestID)
			require.Equal(t, "10.50", asked.Order.Amount.Decimal())
			require.Equal(t, "b", asked.Order.Metadata["a"])
		})
	}
}

func TestPayments_Get(t *testing.T) {
	t.Parallel()

	b := setupPayments(t, nil, func(id uuid.UUID) (payment.Payment, error) {
		require.Equal(t, anID, id.String())

		return payment.Payment{}, fault.New(fault.NotFound, "No such payment.")
	})

	requireProblem(t, b.do(http.MethodGet, "/payments/"+anID, ""), http.StatusNotFound, "not-found")
	requireProblem(t, b.do(http.MethodGet, "/payments/"+strings.ToUpper(anID)+"0", ""), http.StatusBadRequest, "invalid-request")
}

// A panic in a use case is a 500, and the process goes on.
func TestPayments_PanicIsAnswered(t *testing.T) {
	t.Parallel()

	b := setupPayments(t, nil, func(uuid.UUID) (payment.Payment, error) { panic("secret") })

	var answer *httptest.ResponseRecorder

	require.NotPanics(t, func() { answer = b.do(http.MethodGet, "/payments/"+anID, "") })
	requireProblem(t, answer, http.StatusInternalServerError, "internal-error")
	require.NotContains(t, answer.Body.String(), "secret")
}
