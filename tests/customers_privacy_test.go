package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/sandbox"
)

// What is known of a person is told to its client and to Stripe, and to no log, trace or
// metric; problems do not quote it.
func TestCustomers_NobodysDataIsTold(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	core, lines := observer.New(zap.DebugLevel)
	spans := tracetest.NewSpanRecorder()
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))

	service, err := bootstrap.Start(t.Context(), w.config, "test",
		bootstrap.With(zap.New(core)), bootstrap.With[trace.TracerProvider](tracing))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

	w.url = "http://" + service.Addr()
	w.deliverWebhooks()

	const jenny = `{"reference":"ref-jenny","email":"jenny@example.com","name":"Jenny Rosen","metadata":{"nick":"jenny"}}`

	id := w.customer(jenny)
	problems := make([]answer, 0, 8)
	problems = append(problems,
		w.send(http.MethodPost, "/customers", jenny), // taken
		w.send(http.MethodPost, "/customers", `{"email":"jenny.example.com"}`),
		w.send(http.MethodPost, "/customers", `{"email":"jenny@example.com","name":"Jenny\u0000"}`),
		w.send(http.MethodPatch, "/customers/"+id, `{"email":"jenny at home"}`),
		w.get("/customers?email=jenny"))

	// Stripe does not take it, and quotes it; then its answer is lost; then it fails.
	for _, fault := range []sandbox.Fault{
		{
			Action: sandbox.Reject, Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "email_invalid",
			Message: "Invalid email address: jenny2@example.com",
		},
		{Action: sandbox.DropAfter, Count: 3},
		{
			Action: sandbox.Error, Status: http.StatusInternalServerError, Type: "api_error", Count: 3,
			Message: "We could not save jenny2@example.com",
		},
	} {
		fault.Method, fault.Path = http.MethodPost, "/v1/customers"
		added, err := w.stripe.AddFault(fault)
		require.NoError(t, err)

		problems = append(problems, w.send(http.MethodPost, "/customers", `{"email":"jenny2@example.com","name":"Jenny"}`))
		require.NoError(t, w.stripe.RemoveFault(added.ID))
	}

	for _, problem := range problems {
		require.GreaterOrEqual(t, problem.status, http.StatusBadRequest, "%s", problem.body)
		require.NotContains(t, string(problem.body), "enny")
	}

	require.Equal(t, http.StatusOK, w.get("/customers?email=jenny%40example.com&reference=ref-jenny").status)
	require.Equal(t, http.StatusOK, w.send(http.MethodPatch, "/customers/"+id, `{"name":"Jenny Miller"}`).status)

	// In the Dashboard; the event is a hint, and a job reads the customer.
	_, err = w.stripe.Dashboard("/v1/customers/"+w.get("/customers/"+id).text("stripe_customer_id"),
		url.Values{"email": {"jenny3@example.com"}})
	require.NoError(t, err)
	w.eventually(func() bool { return w.get("/customers/"+id).text("email") == "jenny3@example.com" }, "the change arrives")

	require.Equal(t, http.StatusNoContent, w.send(http.MethodDelete, "/customers/"+id, "").status)
	require.NotContains(t, string(w.get("/metrics").body), "enny")

	require.NotZero(t, lines.Len())

	for _, line := range lines.All() {
		require.NotContains(t, line.Message+fmt.Sprint(line.ContextMap()), "enny")
	}

	require.NotEmpty(t, spans.Ended())

	for _, span := range spans.Ended() {
		require.NotContains(t, fmt.Sprint(span.Name(), span.Attributes(), span.Status(), span.Events()), "enny")
	}
}
