package http_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry"
)

// lists stands for the use cases.
type lists struct {
	asked    map[string][]string
	page     payments.ListPage
	fault    error
	export   func(each func([]payment.Payment) error) error
	timeline func(id uuid.UUID) ([]payments.TimelineEntry, bool, error)
}

func (l *lists) Do(_ context.Context, _ operation.Tenant, values map[string][]string) (payments.ListPage, error) {
	l.asked = values

	return l.page, l.fault
}

func (l *lists) Export(_ context.Context, _ operation.Tenant, _ map[string][]string, each func([]payment.Payment) error) error {
	return l.export(each)
}

type timelines func(id uuid.UUID) ([]payments.TimelineEntry, bool, error)

func (f timelines) Do(_ context.Context, _ operation.Tenant, id uuid.UUID) ([]payments.TimelineEntry, bool, error) {
	return f(id)
}

// serveLists serves on a real listener, because how an answer ends is part of it.
func serveLists(t *testing.T, l *lists) (*testBundle, *httptest.Server) {
	t.Helper()

	b := &testBundle{}

	var core zapcore.Core

	core, b.lines = observer.New(zap.InfoLevel)
	b.handler = edge.NewHandler(edge.Telemetry{
		Log: zap.New(core), Observer: telemetry.NewMetrics(), Tracing: noop.NewTracerProvider(),
		Propagator: propagation.TraceContext{},
	}, edge.Access{Clients: memory.AllowAll{}},
		edge.NewPayments(nil, nil, nil, nil, nil, nil), edge.NewRefunds(nil, nil, nil),
		edge.NewLists(edge.ListUseCases{Payments: l, Timeline: timelines(l.timeline)}), edge.NewDisputes(edge.DisputeUseCases{}),
		edge.NewCustomers(edge.CustomerUseCases{}), edge.NewAPIKeys(nil), edge.NewAudit(nil),
		edge.NewWebhooks(nil, nil), edge.NewHealth(nil, nil, nil, nil))

	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)

	return b, server
}

func aPayment(t *testing.T, key operation.Key) payment.Payment {
	t.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	price, err := money.NewPrice(10_50, currency)
	require.NoError(t, err)

	at := time.Date(2026, time.January, 31, 12, 0, 0, 0, time.UTC)

	return payment.Payment{
		Tenant: operation.DefaultTenant, ID: uuid.MustParse(anID), IntentID: "pi_1", Key: key, Amount: price, Status: payment.Pending,
		CaptureMethod: payment.CaptureManual, Capturable: money.Of(0, currency), Captured: money.Of(0, currency),
		Metadata: map[string]string{"a": `1,"2"`}, Version: 7, CreatedAt: at, UpdatedAt: at,
	}
}

func TestLists_Payments(t *testing.T) {
	t.Parallel()

	l := &lists{page: payments.ListPage{Payments: []payment.Payment{aPayment(t, "k")}, Next: "more"}}
	b, _ := serveLists(t, l)

	answer := b.do(http.MethodGet,
		"/payments?status=pending&created%5Bgte%5D=2026-01-01T00:00:00%2B01:00&metadata[a]=b%26c&limit=1", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	require.Equal(t, "Accept", answer.Header().Get("Vary"))
	require.Equal(t, map[string][]string{
		"status": {"pending"}, "created[gte]": {"2026-01-01T00:00:00+01:00"}, "metadata[a]": {"b&c"}, "limit": {"1"},
	}, l.asked)
	require.Equal(t, `{"data":[`+string(edge.EncodePayment(l.page.Payments[0]))+`],"has_more":true,"next_cursor":"more"}`,
		answer.Body.String(), "each as GET of one")

	l.page = payments.ListPage{}
	answer = b.do(http.MethodGet, "/payments", "")
	require.Contains(t, answer.Body.String(), `{"data":[],"has_more":false,"next_cursor":null}`)

	l.fault = fault.New(fault.Invalid, "status is given more than once")

	requireProblem(t, b.do(http.MethodGet, "/payments?status=a&status=b", ""), http.StatusBadRequest, "invalid-request")
	require.Equal(t, []string{"a", "b"}, l.asked["status"])

	l.fault = fault.New(fault.Unavailable, "Away.").After(time.Second)

	requireProblem(t, b.do(http.MethodGet, "/payments", ""), http.StatusServiceUnavailable, "unavailable")

	for _, query := range []string{"status=%zz", "a;b"} {
		l.asked = nil

		requireProblem(t, b.do(http.MethodGet, "/payments?"+query, ""), http.StatusBadRequest, "invalid-request")
		require.Nil(t, l.asked)
	}

	answer = b.do(http.MethodDelete, "/payments", "")
	requireProblem(t, answer, http.StatusMethodNotAllowed, "method-not-allowed")
	require.Equal(t, "GET, HEAD, POST", answer.Header().Get("Allow"))
}

func TestLists_WhoGetsCSV(t *testing.T) {
	t.Parallel()

	l := &lists{export: func(each func([]payment.Payment) error) error { return each(nil) }}
	_, server := serveLists(t, l)

	for accept, want := range map[string]string{
		"":                                  "application/json",
		"*/*":                               "application/json",
		"text/html, */*":                    "application/json",
		"application/json, text/csv":        "application/json",
		"text/csv;q=0.5, application/json":  "application/json",
		"text/csv;q=0":                      "application/json",
		"text/csv":                          "text/csv; charset=utf-8; header=present",
		"Text/CSV; charset=utf-8":           "text/csv; charset=utf-8; header=present",
		"text/csv, */*;q=0.1":               "text/csv; charset=utf-8; header=present",
		"application/json;q=0.2,  text/csv": "text/csv; charset=utf-8; header=present",
	} {
		answer := fetch(t, server, http.MethodGet, accept)
		require.Equal(t, want, answer.Header.Get("Content-Type"), "%q", accept)
		require.Equal(t, "Accept", answer.Header.Get("Vary"))
	}
}

// fetched is an answer that was read to its end.
type fetched struct {
	*http.Response

	body string
	err  error
}

func fetch(t *testing.T, server *httptest.Server, method, accept string) fetched {
	t.Helper()

	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/payments", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", accept)

	answer, err := server.Client().Do(r)
	require.NoError(t, err)

	defer func() { _ = answer.Body.Close() }()

	body, err := io.ReadAll(answer.Body)

	return fetched{answer, string(body), err}
}

func TestLists_CSV(t *testing.T) {
	t.Parallel()

	pages := [][]payment.Payment{
		nil,
		{aPayment(t, "plain"), aPayment(t, "a \"quote\", a comma")},
		{
			aPayment(t, "=1+1"), aPayment(t, "+1"), aPayment(t, "-1"), aPayment(t, "@x"), aPayment(t, "a=b"), aPayment(t, "'x"),
			aPayment(t, " spaced "),
		},
	}
	l := &lists{export: func(each func([]payment.Payment) error) error {
		for _, page := range pages {
			if err := each(page); err != nil {
				return err
			}
		}

		return nil
	}}
	_, server := serveLists(t, l)

	answer := fetch(t, server, http.MethodGet, "text/csv")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, `attachment; filename="payments.csv"`, answer.Header.Get("Content-Disposition"))
	require.Equal(t, int64(-1), answer.ContentLength)

	require.NoError(t, answer.err)
	require.Equal(t, "9", answer.Trailer.Get("X-Rows"))
	require.Equal(t, strings.Count(answer.body, "\n"), strings.Count(answer.body, "\r\n"), "RFC 4180 section 2.1")

	rows, err := csv.NewReader(strings.NewReader(answer.body)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+9)

	var object map[string]any

	require.NoError(t, json.Unmarshal(edge.EncodePayment(aPayment(t, "k")), &object))
	require.Len(t, rows[0], len(object))
	require.Equal(t, []string{
		"id", "stripe_payment_intent_id", "idempotency_key", "amount", "currency", "status", "metadata", "created_at", "updated_at",
	}, rows[0][:9])

	for _, name := range rows[0] {
		require.Contains(t, object, name)
	}

	require.Equal(t, []string{
		anID, "pi_1", "plain", "10.50", "USD", "pending", `{"a":"1,\"2\""}`, "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z",
	}, rows[1][:9])

	for i, key := range []string{"plain", "a \"quote\", a comma", "'=1+1", "'+1", "'-1", "'@x", "a=b", "'x", " spaced "} {
		require.Equal(t, key, rows[1+i][2])
	}

	head := fetch(t, server, http.MethodHead, "text/csv")
	require.Equal(t, http.StatusOK, head.StatusCode)
	require.Equal(t, "text/csv; charset=utf-8; header=present", head.Header.Get("Content-Type"))
}

// An export that fails on the way breaks the transfer, and the line about it says so.
func TestLists_CSVThatIsCutOff(t *testing.T) {
	t.Parallel()

	l := &lists{export: func(each func([]payment.Payment) error) error {
		if err := each([]payment.Payment{aPayment(t, "first")}); err != nil {
			return err
		}

		return errors.New("the database went away")
	}}
	b, server := serveLists(t, l)

	answer := fetch(t, server, http.MethodGet, "text/csv")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.ErrorIs(t, answer.err, io.ErrUnexpectedEOF, "%s", answer.body)
	require.Contains(t, answer.body, "first")
	require.Empty(t, answer.Trailer.Get("X-Rows"))
	require.Eventually(t, func() bool { return b.lines.FilterMessage("request").Len() == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, "the database went away", b.lines.All()[0].ContextMap()["error"])
}

func TestLists_CSVThatDoesNotBegin(t *testing.T) {
	t.Parallel()

	begun, end := make(chan struct{}, 2), make(chan struct{})
	l := &lists{export: func(each func([]payment.Payment) error) error {
		begun <- struct{}{}

		<-end

		return each(nil)
	}}
	b, server := serveLists(t, l)

	// As many as there may be.
	for range cap(begun) {
		go func() {
			r, _ := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, server.URL+"/payments", nil)
			r.Header.Set("Accept", "text/csv")

			if answer, err := server.Client().Do(r); err == nil {
				_ = answer.Body.Close()
			}
		}()
	}

	for range cap(begun) {
		<-begun
	}

	answer := b.do(http.MethodGet, "/payments", "", "Accept", "text/csv")
	requireProblem(t, answer, http.StatusServiceUnavailable, "unavailable")
	require.Equal(t, "10", answer.Header().Get("Retry-After"))
	close(end)

	wrong := &lists{export: func(func([]payment.Payment) error) error {
		return fault.New(fault.Invalid, "limit is for pages")
	}}
	b, server = serveLists(t, wrong)
	requireProblem(t, b.do(http.MethodGet, "/payments?limit=3", "", "Accept", "text/csv"), http.StatusBadRequest, "invalid-request")

	// Before HTTP/1.1 an answer ends with its connection.
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })

	_, err = io.WriteString(conn, "GET /payments HTTP/1.0\r\nAccept: text/csv\r\n\r\n")
	require.NoError(t, err)

	old, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, old.Body.Close())
	require.Equal(t, http.StatusBadRequest, old.StatusCode)
}

func TestLists_Timeline(t *testing.T) {
	t.Parallel()

	noon := time.Date(2026, time.January, 31, 12, 0, 0, 0, time.UTC)
	l := &lists{timeline: func(id uuid.UUID) ([]payments.TimelineEntry, bool, error) {
		if id.String() != anID {
			return nil, false, fault.New(fault.NotFound, "There is no such payment.")
		}

		return []payments.TimelineEntry{
			{
				At: noon, Kind: payments.TimelineOperation, Title: "create asked for", Actor: "request", RequestID: "r1", TraceID: "t1",
				Data: map[string]any{"kind": "create"},
			},
			{At: noon.Add(time.Microsecond), Kind: payments.TimelineAudit, Title: "x", Data: map[string]any{}},
		}, true, nil
	}}
	b, _ := serveLists(t, l)

	answer := b.do(http.MethodGet, "/payments/"+anID+"/timeline", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, strings.Join([]string{
		`{"data":[{"at":"2026-01-31T12:00:00Z","kind":"operation","title":"create asked for","actor":"request",`,
		`"request_id":"r1","trace_id":"t1","data":{"kind":"create"}},`,
		`{"at":"2026-01-31T12:00:00.000001Z","kind":"audit","title":"x","actor":null,"request_id":null,"trace_id":null,"data":{}}`,
		`],"truncated":true}`,
	}, ""), answer.Body.String())

	requireProblem(t, b.do(http.MethodGet, "/payments/"+uuid.NewString()+"/timeline", ""), http.StatusNotFound, "not-found")
	requireProblem(t, b.do(http.MethodGet, "/payments/x/timeline", ""), http.StatusBadRequest, "invalid-request")
}
