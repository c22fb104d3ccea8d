package observability

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	createTree = `POST /payments
  evalsha
  app.CreatePayment
    BeginOperations
    stripe.create_intent
      POST
    FinishOperations
  http.render
`
	getTree = `GET /payments/{id}
  app.GetPayment
    GetPayments
  http.render
`
	webhookTree = `POST /webhooks/stripe
  app.HandleEvent
    ApplyEvents
  http.render
`
	minute = 60
)

func TestTraces_CreatePayment(t *testing.T) {
	t.Parallel()

	w := newWorld(t, "RATE_LIMIT", "1000")
	made, root := w.createdInTrace()

	require.Equal(t, otlp.Span_SPAN_KIND_SERVER, root.GetKind())
	require.Empty(t, root.GetTraceState())
	requireAttributes(t, root, map[string]string{
		"http.request.method": "POST", "http.route": "/payments", "http.response.status_code": "201",
		"url.path": "/payments", "url.scheme": "http", "server.address": "127.0.0.1",
		"marketflow.request.id": made.header.Get("X-Request-Id"),
	})

	paymentID := made.text(t, "id")
	requireAttributes(t, root.child(t, "app.CreatePayment"), map[string]string{
		"marketflow.payment.id": paymentID, "marketflow.idempotent_replayed": "false",
	})
	requireStatement(t, root.child(t, "BeginOperations"))
	requireStatement(t, root.child(t, "FinishOperations"))

	call := root.child(t, "stripe.create_intent")
	requireAttributes(t, call, map[string]string{
		"marketflow.payment.id": paymentID, "stripe.attempt": "1", "stripe.outcome": "done",
	})
	require.Regexp(t, `^req_\w+$`, call.attributes()["stripe.request_id"])

	sent := root.child(t, "POST")
	require.Equal(t, otlp.Span_SPAN_KIND_CLIENT, sent.GetKind())
	requireAttributes(t, sent, map[string]string{
		"http.request.method": "POST", "http.response.status_code": "200", "url.full": w.stripe.URL + "/v1/payment_intents",
	})

	requireAttributes(t, root.child(t, "evalsha"), map[string]string{
		"db.system.name": "redis", "db.operation.name": "evalsha",
	})

	requireNoErrors(t, root)
}

func TestTraces_ReplayOutOfMemory(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	body := `{"amount":10,"currency":"USD","idempotency_key":"a key"}`
	w.created(body)

	root := received.tree(t, w.created(body).parent)
	require.Equal(t, "POST /payments\n  app.CreatePayment\n  http.render\n", root.shape())
	requireAttributes(t, root.child(t, "app.CreatePayment"), map[string]string{"marketflow.idempotent_replayed": "true"})
}

func TestTraces_GetPayment(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	made := w.created(`{"amount":10,"currency":"USD"}`)

	root := received.tree(t, w.do(http.MethodGet, "/payments/"+made.text(t, "id"), "").parent)
	require.Equal(t, getTree, root.shape())
	requireAttributes(t, root, map[string]string{
		"http.request.method": "GET", "http.route": "/payments/{id}", "http.response.status_code": "200",
	})
	requireStatement(t, root.child(t, "GetPayments"))
	requireNoErrors(t, root)

	// A client's mistake is no error of the service's.
	root = received.tree(t, w.do(http.MethodGet, "/payments/"+uuid.NewString(), "").parent)
	requireAttributes(t, root, map[string]string{"http.response.status_code": "404"})
	requireNoErrors(t, root)
}

func TestTraces_Webhook(t *testing.T) {
	t.Parallel()

	w := newWorld(t, "RATE_LIMIT", "1000")
	made, create := w.createdInTrace()

	event := w.webhook(succeeded(made.text(t, "stripe_payment_intent_id")), webhookSecret)
	root := received.tree(t, received.rootOf(t, event))
	require.Equal(t, webhookTree, root.shape())
	require.NotEqual(t, event.parent.trace, hex.EncodeToString(root.GetTraceId()), "the sender has no say in it")
	requireAttributes(t, root, map[string]string{
		"http.request.method": "POST", "http.route": "/webhooks/stripe", "http.response.status_code": "200",
	})
	requireStatement(t, root.child(t, "ApplyEvents"))
	requireNoErrors(t, root)

	handled := root.child(t, "app.HandleEvent")
	requireAttributes(t, handled, map[string]string{
		"marketflow.event.type": "payment_intent.succeeded", "marketflow.event.outcome": "applied",
		"marketflow.payment.id": made.text(t, "id"),
	})
	requireLink(t, handled.Span, create)
}

// Stripe's event may be here before Stripe's answer.
func TestTraces_WebhookThatOvertakesTheAnswer(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.stripe.AddWebhook(w.url+"/webhooks/stripe", webhookSecret)
	fault, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.Hold, Path: "/v1/payment_intents"})
	require.NoError(t, err)

	answers := make(chan answer, 1)
	go func() { answers <- w.create(`{"amount":10,"currency":"USD"}`) }()

	var events []*otlp.Span

	w.eventually(func() bool {
		events = received.find(func(s *otlp.Span) bool {
			return s.GetName() == "app.HandleEvent" && len(s.GetLinks()) > 0 && w.owns(s)
		})

		return len(events) > 0
	}, "no event that points to the create")
	require.NoError(t, w.stripe.ReleaseFault(fault.ID))

	requireLink(t, events[0], received.tree(t, (<-answers).parent))
}

func TestTraces_RecoveryPointsToTheRequest(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.fault(sandbox.Fault{Action: sandbox.DropBefore, Path: "/v1/payment_intents", Count: 3})

	unknown := w.create(`{"amount":10,"currency":"USD"}`)
	require.Equal(t, http.StatusServiceUnavailable, unknown.status, "%s", unknown.body)

	root := received.tree(t, unknown.parent)
	requireOneErrorEach(t, root, "POST /payments", "app.CreatePayment", "stripe.create_intent", "POST")

	paymentID := root.child(t, "stripe.create_intent").attributes()["marketflow.payment.id"]

	var jobs []*otlp.Span

	w.eventually(func() bool {
		jobs = received.find(func(s *otlp.Span) bool {
			return s.GetName() == "app.RecoverOperation" && (&node{Span: s}).attributes()["marketflow.payment.id"] == paymentID
		})

		return len(jobs) > 0
	}, "the operation is not recovered")

	job := &node{Span: jobs[len(jobs)-1]}
	require.Equal(t, otlp.Span_SPAN_KIND_CONSUMER, job.GetKind())
	require.Empty(t, job.GetParentSpanId(), "a trace of its own")
	requireAttributes(t, job, map[string]string{
		"messaging.system": "river", "messaging.operation.type": "process", "messaging.operation.name": "recover",
		"messaging.destination.name": "default",
	})
	require.NotEmpty(t, job.attributes()["messaging.message.id"])
	requireLink(t, job.Span, root)

	// Probes and looks that find nothing leave no traces.
	for _, span := range received.find(func(s *otlp.Span) bool { return len(s.GetParentSpanId()) == 0 }) {
		require.Contains(t, []string{
			"stripe.get_account", // at start
			"POST /webhooks/stripe", "app.RecoverOperation", "app.ApplyParkedEvent", "app.ReadHint", "app.Reconcile",
		}, span.GetName())
	}
}

// What reconciliation finishes points to the request, too.
func TestTraces_ReconciliationPointsToTheRequest(t *testing.T) {
	t.Parallel()

	w := newWorld(t, "RECOVERY_INTERVAL", "1h", "RECONCILE_INTERVAL", "1s")
	w.stripe.Advance(-30 * time.Minute) // what is younger than a minute is left alone
	w.fault(sandbox.Fault{Action: sandbox.DropAfter, Path: "/v1/payment_intents", Count: 3})

	unknown := w.create(`{"amount":10,"currency":"USD"}`)
	require.Equal(t, http.StatusServiceUnavailable, unknown.status, "%s", unknown.body)

	create := received.tree(t, unknown.parent)
	origin := create.child(t, "app.CreatePayment")

	w.eventually(func() bool {
		return len(received.find(func(s *otlp.Span) bool {
			return s.GetName() == "app.Reconcile" && slices.ContainsFunc(s.GetLinks(), func(link *otlp.Span_Link) bool {
				return bytes.Equal(link.GetSpanId(), origin.GetSpanId())
			})
		})) > 0
	}, "no reconciliation that points to the create")
}

// A statement that fails says in what way, and is the only one that has failed.
func TestTraces_StatementThatFails(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	made := w.created(`{"amount":10,"currency":"USD"}`)

	_, err := w.db.Pool().Exec(t.Context(), `ALTER TABLE payments RENAME TO elsewhere`)
	require.NoError(t, err)

	failed := w.do(http.MethodGet, "/payments/"+made.text(t, "id"), "")
	require.Equal(t, http.StatusInternalServerError, failed.status, "%s", failed.body)

	root := received.tree(t, failed.parent)
	requireOneErrorEach(t, root, "GET /payments/{id}", "app.GetPayment", "GetPayments")
	requireAttributes(t, root.child(t, "GetPayments"), map[string]string{
		"error.type": "42P01", "db.response.status_code": "42P01", // undefined_table
	})
}

// W3C Trace Context goes on to Stripe.
func TestTraces_StripeIsToldTheTrace(t *testing.T) {
	t.Parallel()

	told := make(chan string, 1)
	stripe := newStandIn(t, func(r *http.Request) { told <- r.Header.Get("Traceparent") })
	w := newWorld(t, "STRIPE_API_BASE", stripe)

	root := received.tree(t, w.create(`{"amount":10,"currency":"USD"}`).parent)
	sent := root.child(t, "POST")
	require.Equal(t, fmt.Sprintf("00-%x-%x-01", sent.GetTraceId(), sent.GetSpanId()), <-told)
}

// createdInTrace creates payments until Redis has been fast enough to take part:
// it is asked for a few milliseconds only.
func (w *world) createdInTrace() (answer, *node) {
	w.t.Helper()

	var (
		made answer
		root *node
	)

	for i := range minute {
		made = w.created(fmt.Sprintf(`{"amount":10,"currency":"USD","idempotency_key":"key %d","metadata":{"a":"b"}}`, i))
		if root = received.tree(w.t, made.parent); root.shape() == createTree {
			break
		}
	}

	require.Equal(w.t, createTree, root.shape())

	return made, root
}

// owns tells whether a span is about a payment of this world.
func (w *world) owns(s *otlp.Span) bool {
	for entry := range w.stripe.Books(sandbox.BooksFilter{}) {
		if entry.ID == (&node{Span: s}).attributes()["marketflow.event.id"] {
			return true
		}
	}

	return strings.Contains(w.lines.String(), hex.EncodeToString(s.GetTraceId()))
}

func succeeded(intentID string) string {
	return fmt.Sprintf(`{"type":"payment_intent.succeeded","data":{"object":{"id":%q,"status":"succeeded"}}}`, intentID)
}

func requireAttributes(t *testing.T, n *node, want map[string]string) {
	t.Helper()

	got := n.attributes()
	for name, value := range want {
		require.Equal(t, value, got[name], "%s of %s", name, n.GetName())
	}
}

// requireStatement: OpenTelemetry's database conventions
// (https://opentelemetry.io/docs/specs/semconv/database/postgresql/).
func requireStatement(t *testing.T, n *node) {
	t.Helper()

	require.Equal(t, otlp.Span_SPAN_KIND_CLIENT, n.GetKind())
	requireAttributes(t, n, map[string]string{
		"db.system.name": "postgresql", "db.operation.name": n.GetName(), "db.query.summary": n.GetName(),
	})
	require.NotContains(t, n.attributes(), "db.query.text", "it would be most of the trace")
	require.NotEmpty(t, n.attributes()["db.namespace"])
}

func requireNoErrors(t *testing.T, root *node) {
	t.Helper()

	root.each(func(n *node) {
		require.Equal(t, otlp.Status_STATUS_CODE_UNSET, n.GetStatus().GetCode(), n.GetName())
	})
}

// requireOneErrorEach: those spans and no others have failed, and each tells why
// once at most.
func requireOneErrorEach(t *testing.T, root *node, names ...string) {
	t.Helper()

	root.each(func(n *node) {
		want := otlp.Status_STATUS_CODE_UNSET
		if slices.Contains(names, n.GetName()) {
			want = otlp.Status_STATUS_CODE_ERROR
		}

		require.Equal(t, want, n.GetStatus().GetCode(), n.GetName())
		require.LessOrEqual(t, len(n.GetEvents()), 1, "%s: %v", n.GetName(), n.GetEvents())
	})
}

// requireLink: the span points into the trace of a create.
func requireLink(t *testing.T, from *otlp.Span, create *node) {
	t.Helper()

	origin := create.child(t, "app.CreatePayment")
	require.True(t, slices.ContainsFunc(from.GetLinks(), func(link *otlp.Span_Link) bool {
		return bytes.Equal(link.GetTraceId(), origin.GetTraceId()) && bytes.Equal(link.GetSpanId(), origin.GetSpanId())
	}), "%s: %v", from.GetName(), from.GetLinks())
}
