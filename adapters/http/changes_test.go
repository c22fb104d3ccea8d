package http_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// changed records what the operations on a payment were asked for.
type changed struct {
	*testBundle

	answer    operations.Answer
	err       error
	captures  []payments.CaptureCommand
	cancels   []payments.CancelCommand
	confirms  []payments.ConfirmCommand
	updates   []payments.UpdateCommand
	lastAsked *payments.ChangeCommand
}

func setupChanges(t *testing.T) *changed {
	t.Helper()

	c := &changed{answer: operations.Answer{
		PaymentID: uuid.MustParse(anID), Response: ports.FrozenResponse{Status: http.StatusOK, Body: []byte(`{"a":1}`)},
	}}
	c.testBundle = serving(t, edge.NewPayments(nil, nil,
		capture(func(cmd payments.CaptureCommand) (operations.Answer, error) {
			c.captures = append(c.captures, cmd)
			c.lastAsked = &c.captures[len(c.captures)-1].ChangeCommand

			return c.answer, c.err
		}),
		cancel(func(cmd payments.CancelCommand) (operations.Answer, error) {
			c.cancels = append(c.cancels, cmd)
			c.lastAsked = &c.cancels[len(c.cancels)-1].ChangeCommand

			return c.answer, c.err
		}),
		confirm(func(cmd payments.ConfirmCommand) (operations.Answer, error) {
			c.confirms = append(c.confirms, cmd)

			return c.answer, c.err
		}),
		update(func(cmd payments.UpdateCommand) (operations.Answer, error) {
			c.updates = append(c.updates, cmd)

			return c.answer, c.err
		})))

	return c
}

func (c *changed) asked() int {
	return len(c.captures) + len(c.cancels) + len(c.confirms) + len(c.updates)
}

const (
	captureRoute = "/payments/" + anID + "/capture"
	cancelRoute  = "/payments/" + anID + "/cancel"
)

func changeRoutes() map[string]string {
	return map[string]string{"Capture": captureRoute, "Cancel": cancelRoute}
}

// onBothRoutes is a test that holds for a capture and for a cancel.
func onBothRoutes(t *testing.T, name string, test func(t *testing.T, c *changed, route string)) {
	t.Helper()

	t.Run(name, func(t *testing.T) {
		t.Parallel()

		for name, route := range changeRoutes() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, setupChanges(t), route)
			})
		}
	})
}

func TestPayments_Changes(t *testing.T) {
	t.Parallel()

	onBothRoutes(t, "WithoutABody", func(t *testing.T, c *changed, route string) {
		t.Helper()

		for _, body := range []string{"", "{}", " {} "} {
			answer := c.do(http.MethodPost, route, body, "X-Request-Id", "r1")
			require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
			require.JSONEq(t, `{"a":1}`, answer.Body.String())
			require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
			require.Empty(t, answer.Header().Get("Idempotent-Replayed"))
			require.Empty(t, answer.Header().Get("Location"))
			require.Equal(t, payments.ChangeCommand{
				Tenant: operation.DefaultTenant, PaymentID: uuid.MustParse(anID), RequestID: "r1",
			}, *c.lastAsked)
		}

		chunked := httptest.NewRequest(http.MethodPost, route, io.MultiReader()) // of no known length
		answer := httptest.NewRecorder()
		c.handler.ServeHTTP(answer, chunked)
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
		require.Equal(t, 4, c.asked())
	})

	onBothRoutes(t, "TheKey", func(t *testing.T, c *changed, route string) {
		t.Helper()

		for _, sent := range []struct{ body, header string }{
			{`{"idempotency_key":"k1"}`, ""}, {"", "k1"}, {"", `"k1"`}, {`{"idempotency_key":"k1"}`, "k1"},
		} {
			var header []string
			if sent.header != "" {
				header = []string{"Idempotency-Key", sent.header}
			}

			require.Equal(t, http.StatusOK, c.do(http.MethodPost, route, sent.body, header...).Code, sent)
			require.Equal(t, "k1", string(c.lastAsked.Key), sent)
		}

		asked := c.asked()
		requireProblem(t, c.do(http.MethodPost, route, `{"idempotency_key":"k1"}`, "Idempotency-Key", "k2"),
			http.StatusBadRequest, "invalid-request")
		requireProblem(t, c.do(http.MethodPost, route, `{"idempotency_key":""}`), http.StatusBadRequest, "invalid-request")
		requireProblem(t, c.do(http.MethodPost, route, "", "Idempotency-Key", strings.Repeat("k", 256)),
			http.StatusBadRequest, "invalid-request")
		require.Equal(t, asked, c.asked())
	})

	onBothRoutes(t, "Replayed", func(t *testing.T, c *changed, route string) {
		t.Helper()

		c.answer.Replayed = true
		answer := c.do(http.MethodPost, route, "")
		require.Equal(t, "true", answer.Header().Get("Idempotent-Replayed"))
		require.JSONEq(t, `{"a":1}`, answer.Body.String())
	})

	onBothRoutes(t, "AFrozenProblem", func(t *testing.T, c *changed, route string) {
		t.Helper()

		c.answer.Response = ports.FrozenResponse{Status: http.StatusConflict, Body: []byte(`{"b":2}`)}
		answer := c.do(http.MethodPost, route, "")
		require.Equal(t, http.StatusConflict, answer.Code)
		require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
	})

	onBothRoutes(t, "ABadBody", func(t *testing.T, c *changed, route string) {
		t.Helper()

		for name, body := range map[string]string{
			"malformed": `{"idempotency_key":`, "null": "null", "array": "[]", "text": `"x"`, "two objects": "{}{}",
			"unknown field": `{"amuont":1}`, "duplicate field": `{"idempotency_key":"a","idempotency_key":"a"}`,
			"other case": `{"Idempotency_Key":"a"}`, "key is a number": `{"idempotency_key":1}`,
		} {
			requireProblem(t, c.do(http.MethodPost, route, body), http.StatusBadRequest, "invalid-request")
			require.Zero(t, c.asked(), name)
		}
	})

	onBothRoutes(t, "NotJSON", func(t *testing.T, c *changed, route string) {
		t.Helper()

		for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "/"} {
			requireProblem(t, c.do(http.MethodPost, route, "{}", "Content-Type", contentType),
				http.StatusUnsupportedMediaType, "unsupported-media-type")
		}

		require.Zero(t, c.asked())
		require.Equal(t, http.StatusOK,
			c.do(http.MethodPost, route, "{}", "Content-Type", "application/json; charset=utf-8").Code)
	})

	onBothRoutes(t, "TooLarge", func(t *testing.T, c *changed, route string) {
		t.Helper()

		requireProblem(t, c.do(http.MethodPost, route, `{"idempotency_key":"`+strings.Repeat("k", 16<<10)+`"}`),
			http.StatusRequestEntityTooLarge, "body-too-large")
		require.Zero(t, c.asked())
	})

	// A web page of another origin must not move money, also without a body.
	onBothRoutes(t, "CrossOrigin", func(t *testing.T, c *changed, route string) {
		t.Helper()

		for _, body := range []string{"", "{}"} {
			for _, header := range [][]string{
				{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"},
			} {
				requireProblem(t, c.do(http.MethodPost, route, body, append(header, "Content-Type", "application/json")...),
					http.StatusForbidden, "cross-origin")
			}
		}

		require.Zero(t, c.asked())
		require.Equal(t, http.StatusOK, c.do(http.MethodPost, route, "", "Origin", "http://example.com").Code, "our own page")
	})

	onBothRoutes(t, "Paths", func(t *testing.T, c *changed, route string) {
		t.Helper()

		action := route[strings.LastIndex(route, "/"):]
		requireProblem(t, c.do(http.MethodPost, "/payments/1"+action, ""), http.StatusBadRequest, "invalid-request")
		requireProblem(t, c.do(http.MethodPost, "/payments/{"+anID+"}"+action, ""), http.StatusBadRequest, "invalid-request")
		requireProblem(t, c.do(http.MethodPost, route+"/", ""), http.StatusNotFound, "not-found")

		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			answer := c.do(method, route, "")
			requireProblem(t, answer, http.StatusMethodNotAllowed, "method-not-allowed")
			require.Equal(t, http.MethodPost, answer.Header().Get("Allow"))
		}

		require.Zero(t, c.asked())
	})
}

// The amount reaches the use case as it was spelled: only that knows the currency.
func TestPayments_CaptureAmount(t *testing.T) {
	t.Parallel()

	c := setupChanges(t)

	for body, amount := range map[string]string{
		`{}`: "", `{"amount":4}`: "4", `{"amount":4.00}`: "4.00", `{"amount":"4.00"}`: "4.00", `{"amount":4e0}`: "4e0",
		`{"amount":0.1}`: "0.1", `{"amount":300000.01}`: "300000.01", `{"amount":-1}`: "-1", `{"amount":"four"}`: "four",
	} {
		require.Equal(t, http.StatusOK, c.do(http.MethodPost, captureRoute, body).Code, body)
		require.Equal(t, amount, c.captures[len(c.captures)-1].Amount, body)
	}

	asked := c.asked()

	for _, body := range []string{
		`{"amount":null}`, `{"amount":true}`, `{"amount":{}}`, `{"amount":[4]}`, `{"amount":4,"amount":4}`,
	} {
		requireProblem(t, c.do(http.MethodPost, captureRoute, body), http.StatusBadRequest, "invalid-request")
	}

	requireProblem(t, c.do(http.MethodPost, captureRoute, `{"reason":"duplicate"}`), http.StatusBadRequest, "invalid-request")
	require.Equal(t, asked, c.asked())
}

func TestPayments_CancelReason(t *testing.T) {
	t.Parallel()

	c := setupChanges(t)

	for _, reason := range []string{"duplicate", "fraudulent", "requested_by_customer", "abandoned"} {
		require.Equal(t, http.StatusOK, c.do(http.MethodPost, cancelRoute, `{"reason":"`+reason+`"}`).Code)
		require.Equal(t, reason, c.cancels[len(c.cancels)-1].Reason)
	}

	require.Equal(t, http.StatusOK, c.do(http.MethodPost, cancelRoute, `{"reason":null}`).Code, "as if it were left out")
	require.Empty(t, c.cancels[len(c.cancels)-1].Reason)

	asked := c.asked()

	for _, body := range []string{
		`{"reason":""}`, `{"reason":"Duplicate"}`, `{"reason":"automatic"}`, `{"reason":1}`, `{"amount":4}`,
	} {
		requireProblem(t, c.do(http.MethodPost, cancelRoute, body), http.StatusBadRequest, "invalid-request")
	}

	require.Equal(t, asked, c.asked())
}

// What a problem is about stands in members of its own, in this order.
func TestPayments_ProblemMembers(t *testing.T) {
	t.Parallel()

	id := uuid.MustParse(anID)
	members := `,"payment_id":"` + anID + `"`

	for name, c := range map[string]struct {
		fault   *fault.Error
		status  int
		members string
		retry   string
	}{
		"invalid-state": {
			&fault.Error{Kind: fault.InvalidState, About: fault.About{
				PaymentID: id, IntentStatus: "processing", Allowed: []string{"cancel"},
			}},
			http.StatusConflict, members + `,"intent_status":"processing","allowed":["cancel"]`, "",
		},
		"invalid-state, nothing is allowed": {
			&fault.Error{Kind: fault.InvalidState, About: fault.About{PaymentID: id, IntentStatus: "canceled", Allowed: []string{}}},
			http.StatusConflict, members + `,"intent_status":"canceled","allowed":[]`, "",
		},
		"operation-in-progress": {
			&fault.Error{Kind: fault.InProgress, RetryAfter: time.Second, About: fault.About{PaymentID: id}},
			http.StatusConflict, members, "1",
		},
		"amount-exceeded": {
			&fault.Error{Kind: fault.AmountExceeded, About: fault.About{
				PaymentID: id, IntentStatus: "requires_capture", Available: "10.00",
			}},
			http.StatusUnprocessableEntity, members + `,"intent_status":"requires_capture","available":10.00`, "",
		},
		"outcome-unknown": {
			&fault.Error{Kind: fault.Unknown, RetryAfter: 1500 * time.Millisecond, About: fault.About{PaymentID: id}},
			http.StatusServiceUnavailable, members, "2",
		},
		"rejected-by-provider": {
			&fault.Error{Kind: fault.Rejected, About: fault.About{PaymentID: id}}, http.StatusBadGateway, members, "",
		},
		"idempotency-key-reused": {&fault.Error{Kind: fault.KeyReused}, http.StatusUnprocessableEntity, "", ""},
		"not-found":              {&fault.Error{Kind: fault.NotFound}, http.StatusNotFound, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			kind, _, _ := strings.Cut(name, ",")
			b := setupChanges(t)
			b.err = c.fault
			answer := b.do(http.MethodPost, captureRoute, "", "X-Request-Id", "r1")
			requireProblem(t, answer, c.status, kind)
			require.True(t, strings.HasSuffix(answer.Body.String(), `"detail":"","request_id":"r1"`+c.members+"}"), "%s", answer.Body)
			require.Equal(t, c.retry, answer.Header().Get("Retry-After"))
			require.Equal(t, answer.Body.String(), string(edge.Renderer{}.Rejected(c.fault, "r1").Body), "frozen, it is the same")
		})
	}
}

func TestPayments_GetShowsEverything(t *testing.T) {
	t.Parallel()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	amount, err := money.NewPrice(10_00, usd)
	require.NoError(t, err)

	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	held := payment.Payment{
		Tenant: operation.DefaultTenant,
		ID:     uuid.MustParse(anID), IntentID: "pi_1", Key: "order_1", Amount: amount, Metadata: payment.Metadata{"a": "b"},
		Status: payment.Pending, IntentStatus: payment.IntentRequiresCapture, CaptureMethod: payment.CaptureManual,
		Capturable: amount.Money(), Captured: money.Of(0, usd), CaptureBefore: at.AddDate(0, 0, 7), Version: 1767323045000,
		CreatedAt: at, UpdatedAt: at, CustomerID: uuid.MustParse(anID),
	}

	older := held // from before the columns were kept
	older.Key, older.Metadata, older.IntentStatus, older.CaptureBefore = "", nil, "", time.Time{}
	older.CustomerID = uuid.Nil
	older.CaptureMethod, older.Capturable, older.Captured = payment.CaptureAutomatic, money.Of(0, usd), money.Of(10_00, usd)
	older.Status, older.Version = payment.Succeeded, 1

	held.Description, held.Method = "a bicycle", payment.Method{Type: "card", Card: payment.Card{
		Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030,
	}}

	declined := older
	declined.Status, declined.Captured, declined.Method = payment.Failed, money.Of(0, usd), payment.Method{Type: "us_bank_account"}
	declined.Decline = payment.Decline{Code: "card_declined", DeclineCode: "insufficient_funds", Message: "No funds."}

	for want, p := range map[string]payment.Payment{
		`{"id":"` + anID + `","stripe_payment_intent_id":"pi_1","idempotency_key":"order_1","amount":10.00,"currency":"USD",` +
			`"status":"pending","metadata":{"a":"b"},"created_at":"2026-01-02T03:04:05.000006Z",` +
			`"updated_at":"2026-01-02T03:04:05.000006Z","description":"a bicycle","customer_id":"` + anID + `",` +
			`"capture_method":"manual",` +
			`"intent_status":"requires_capture",` +
			`"amount_capturable":10.00,"amount_captured":0.00,` +
			`"amount_refunded":0.00,"amount_refund_pending":0.00,"amount_refundable":0.00,"amount_disputed":0.00,` +
			`"capture_before":"2026-01-09T03:04:05.000006Z",` +
			`"payment_method":{"type":"card","card":{"brand":"visa","last4":"4242","exp_month":8,"exp_year":2030}},` +
			`"decline":null,"dispute_status":null,"version":1767323045000}`: held,
		`{"id":"` + anID + `","stripe_payment_intent_id":"pi_1","idempotency_key":null,"amount":10.00,"currency":"USD",` +
			`"status":"succeeded","metadata":null,"created_at":"2026-01-02T03:04:05.000006Z",` +
			`"updated_at":"2026-01-02T03:04:05.000006Z","description":null,"customer_id":null,` +
			`"capture_method":"automatic","intent_status":null,` +
			`"amount_capturable":0.00,"amount_captured":10.00,` +
			`"amount_refunded":0.00,"amount_refund_pending":0.00,"amount_refundable":10.00,"amount_disputed":0.00,` +
			`"capture_before":null,"payment_method":null,` +
			`"decline":null,"dispute_status":null,"version":1}`: older,
		`{"id":"` + anID + `","stripe_payment_intent_id":"pi_1","idempotency_key":null,"amount":10.00,"currency":"USD",` +
			`"status":"failed","metadata":null,"created_at":"2026-01-02T03:04:05.000006Z",` +
			`"updated_at":"2026-01-02T03:04:05.000006Z","description":null,"customer_id":null,` +
			`"capture_method":"automatic","intent_status":null,` +
			`"amount_capturable":0.00,"amount_captured":0.00,` +
			`"amount_refunded":0.00,"amount_refund_pending":0.00,"amount_refundable":0.00,"amount_disputed":0.00,"capture_before":null,` +
			`"payment_method":{"type":"us_bank_account","card":null},` +
			`"decline":{"code":"card_declined","decline_code":"insufficient_funds","message":"No funds.","retryable":true},` +
			`"dispute_status":null,"version":1}`: declined,
	} {
		b := setupPayments(t, nil, func(uuid.UUID) (payment.Payment, error) { return p, nil })
		answer := b.do(http.MethodGet, "/payments/"+anID, "")
		require.Equal(t, http.StatusOK, answer.Code)
		require.Equal(t, []string{`"` + strconv.FormatInt(p.Version, 10) + `"`}, answer.Header().Values("ETag"))
		require.Equal(t, want, answer.Body.String(), "the keys in this order")
		require.Equal(t, answer.Body.String(), string(edge.Renderer{}.Payment(p).Body), "as an operation on it answers")
		require.Equal(t, answer.Body.String(), string(edge.EncodePayment(p)))
		require.True(t, json.Valid(answer.Body.Bytes()))
	}
}

// A create without new fields is the same order as before.
func TestPayments_CreateCaptureMethod(t *testing.T) {
	t.Parallel()

	var asked payments.CreateCommand

	b := setupPayments(t, func(cmd payments.CreateCommand) (operations.Answer, error) {
		asked = cmd

		return operations.Answer{Response: ports.FrozenResponse{Status: http.StatusCreated}}, nil
	}, nil)

	for method, options := range map[string]map[string]string{
		``: nil, `,"capture_method":"automatic"`: nil, `,"capture_method":null`: nil,
		`,"capture_method":"manual"`: {"capture_method": "manual"},
	} {
		answer := b.do(http.MethodPost, "/payments", `{"amount":10,"currency":"USD"`+method+`}`)
		require.Equal(t, http.StatusCreated, answer.Code, method)
		require.Equal(t, options, asked.Order.Options, method)
	}

	for _, method := range []string{`"Manual"`, `""`, `"automatic_async"`, `1`, `{}`} {
		requireProblem(t, b.do(http.MethodPost, "/payments", `{"amount":10,"currency":"USD","capture_method":`+method+`}`),
			http.StatusBadRequest, "invalid-request")
	}
}
