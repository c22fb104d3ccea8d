package telemetry_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// A payment counts when its status changes, whoever has changed it, and not for a step on
// the way.
func TestObserver_CountsStatuses(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	core, lines := observer.New(zap.InfoLevel)
	o := telemetry.NewObserver(m, zap.New(core), sdktrace.NewTracerProvider())

	pending, succeeded := paid(t, payment.Pending, "10", "USD"), paid(t, payment.Succeeded, "10", "USD")
	succeeded.Captured = amount(t, "4", "USD").Money()
	held := pending
	held.IntentStatus = payment.IntentRequiresCapture

	o.PaymentCreated(t.Context(), pending, operation.ByRequest)
	o.PaymentChanged(t.Context(), pending, held)
	o.PaymentChanged(t.Context(), held, held)

	for _, outcome := range []ports.EventOutcome{ports.EventApplied, ports.EventHint} {
		o.EventHandled(t.Context(), ports.Event{ID: "evt_1"}, ports.Applied{Outcome: outcome, Before: pending, After: held})
	}

	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_total{currency="USD",status="pending"}`:   1,
		`marketflow_payments_total{currency="USD",status="succeeded"}`: 0,
	})
	require.Equal(t, 1, lines.Len(), "the creation")

	o.PaymentChanged(t.Context(), held, succeeded)
	o.EventHandled(t.Context(), ports.Event{ID: "evt_2"}, ports.Applied{
		Outcome: ports.EventApplied, Before: held, After: succeeded,
	})

	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_total{currency="USD",status="succeeded"}`: 2,
		`marketflow_payments_amount_total{currency="USD"}`:             8,
	})
	require.Equal(t, 2, lines.FilterMessage("payment succeeded").Len())
}

// What happens to an operation is told with its kind and its payment.
func TestObserver_NamesTheOperation(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	core, lines := observer.New(zap.InfoLevel)
	o := telemetry.NewObserver(m, zap.New(core), sdktrace.NewTracerProvider())
	op := ports.Operation{ID: uuid.New(), Kind: operation.Capture, Subject: uuid.New(), Attempts: 2, Age: time.Hour}

	o.OutcomeUnknown(t.Context(), op, errors.New("the answer was lost"))
	o.NeedsAttention(t.Context(), op, ports.ErrContradiction)
	o.OperationFinished(t.Context(), op, operation.ByRequest, operation.OutcomeRejected, &ports.RejectedError{Code: "c"})
	o.OperationFinished(t.Context(), op, operation.ByRequest, operation.OutcomeDeploymentRejected, &ports.DeploymentError{Code: "d"})

	require.Equal(t, 4, lines.Len())

	for _, line := range lines.All() {
		require.Equal(t, op.Subject.String(), line.ContextMap()["payment_id"], line.Message)
		require.Equal(t, "capture", line.ContextMap()["operation_kind"], line.Message)
	}

	requireMetrics(t, m, map[string]float64{
		`marketflow_operations_finished_total{by="request",kind="capture",outcome="rejected"}`:            1,
		`marketflow_operations_finished_total{by="request",kind="capture",outcome="deployment_rejected"}`: 1,
		`marketflow_discrepancies_total{kind="contradiction",repaired="false"}`:                           1,
	})
}
