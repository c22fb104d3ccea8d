package http_test

import (
	"net/http"
	"strings"
	"testing"

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

const (
	confirmRoute = "/payments/" + anID + "/confirm"
	paymentRoute = "/payments/" + anID
)

// fiveDollars is a payment that waits to be paid.
func fiveDollars(t *testing.T) payment.Payment {
	t.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	amount, err := money.NewPrice(5_00, usd)
	require.NoError(t, err)

	return payment.Payment{
		Tenant: operation.DefaultTenant, ID: uuid.MustParse(anID), IntentID: "pi_1", Amount: amount, Status: payment.Pending,
		IntentStatus: payment.IntentRequiresAction, CaptureMethod: payment.CaptureAutomatic,
		Capturable: money.Of(0, usd), Captured: money.Of(0, usd), Version: 7,
	}
}

func TestPayments_Create_Options(t *testing.T) {
	t.Parallel()

	var asked *payments.CreateCommand

	b := setupPayments(t, func(cmd payments.CreateCommand) (operations.Answer, error) {
		asked = &cmd

		return operations.Answer{Response: ports.FrozenResponse{Status: http.StatusCreated}}, nil
	}, nil)

	for fields, options := range map[string]map[string]string{
		`"confirm":false`: nil, `"off_session":false`: nil, `"description":null`: nil, `"confirm":null,"payment_method":null`: nil,
		`"payment_method":"pm_1"`:                {"payment_method": "pm_1"},
		`"payment_method":"pm_1","confirm":true`: {"payment_method": "pm_1", "confirm": "true"},
		`"payment_method":"pm_1","confirm":true,"off_session":true,"return_url":"https://shop.example/done?a=b"`: {
			"payment_method": "pm_1", "confirm": "true", "off_session": "true", "return_url": "https://shop.example/done?a=b",
		},
		`"description":"a bicycle","statement_descriptor_suffix":"BIKE 7","receipt_email":"ann@example.com"`: {
			"description": "a bicycle", "statement_descriptor_suffix": "BIKE 7", "receipt_email": "ann@example.com",
		},
	} {
		answer := b.do(http.MethodPost, "/payments", `{"amount":10,"currency":"USD",`+fields+`}`)
		require.Equal(t, http.StatusCreated, answer.Code, "%s: %s", fields, answer.Body)
		require.Equal(t, options, asked.Order.Options, fields)
	}

	asked = nil

	for _, fields := range []string{
		`"confirm":true`, `"confirm":"true"`, `"off_session":true`, `"return_url":"https://shop.example"`,
		`"payment_method":"pm_1","off_session":true`, `"payment_method":"card_1"`, `"payment_method":"pm_"`, `"payment_method":""`,
		`"payment_method":"pm_1","confirm":true,"return_url":"/done"`, `"description":""`, `"receipt_email":"Ann <ann@example.com>"`,
		`"statement_descriptor_suffix":"7"`, `"description":"` + strings.Repeat("a", 1001) + `"`,
	} {
		answer := b.do(http.MethodPost, "/payments", `{"amount":10,"currency":"USD",`+fields+`}`)
		requireProblem(t, answer, http.StatusBadRequest, "invalid-request")
		require.NotContains(t, answer.Body.String(), "ann@example.com")
		require.Nil(t, asked, fields)
	}
}

func TestPayments_Confirm(t *testing.T) {
	t.Parallel()

	c := setupChanges(t)

	for body, options := range map[string]map[string]string{
		`{"idempotency_key":"k1"}`:                         nil,
		`{"idempotency_key":"k1","off_session":false}`:     nil,
		`{"idempotency_key":"k1","payment_method":"pm_1"}`: {"payment_method": "pm_1"},
		`{"idempotency_key":"k1","payment_method":"pm_1","off_session":true,"return_url":"https://shop.example/"}`: {
			"payment_method": "pm_1", "off_session": "true", "return_url": "https://shop.example/",
		},
	} {
		answer := c.do(http.MethodPost, confirmRoute, body, "X-Request-Id", "r1")
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
		require.Equal(t, payments.ConfirmCommand{
			ChangeCommand: payments.ChangeCommand{
				Tenant: operation.DefaultTenant, PaymentID: uuid.MustParse(anID), Key: "k1", RequestID: "r1",
			}, Options: options,
		}, c.confirms[len(c.confirms)-1])
	}

	asked := c.asked()

	requireProblem(t, c.do(http.MethodPost, confirmRoute, `{"payment_method":"pm_1"}`), http.StatusBadRequest, "key-required")
	requireProblem(t, c.do(http.MethodPost, confirmRoute, ""), http.StatusBadRequest, "key-required")

	for _, body := range []string{
		`{"payment_method":"ch_1"}`, `{"payment_method":1}`, `{"off_session":"true"}`, `{"return_url":"ftp://a"}`, `{"confirm":true}`,
	} {
		requireProblem(t, c.do(http.MethodPost, confirmRoute, body, "Idempotency-Key", "k1"), http.StatusBadRequest, "invalid-request")
	}

	require.Equal(t, asked, c.asked())
}

// What was declined is a problem, kept with its status.
func TestPayments_ADecline(t *testing.T) {
	t.Parallel()

	retryable := false
	f := fault.New(fault.Declined, "The payment was declined.")
	f.PaymentID, f.IntentStatus = uuid.MustParse(anID), "requires_payment_method"
	f.DeclineCode, f.Retryable = "stolen_card", &retryable

	c := setupChanges(t)
	c.answer.Response = edge.Renderer{}.Rejected(f, "r1")

	answer := c.do(http.MethodPost, confirmRoute, "", "Idempotency-Key", "k1")
	requireProblem(t, answer, http.StatusPaymentRequired, "payment-declined")
	require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
	require.True(t, strings.HasSuffix(answer.Body.String(), `"detail":"The payment was declined.","request_id":"r1","payment_id":"`+
		anID+`","decline_code":"stolen_card","retryable":false,"intent_status":"requires_payment_method"}`), "%s", answer.Body)
}

func TestRenderer_Confirmed(t *testing.T) {
	t.Parallel()

	p := fiveDollars(t)
	intent := ports.Intent{
		ClientSecret: "pi_1_secret_2", IntentStatus: payment.IntentRequiresAction, NextAction: []byte(`{"type":"redirect_to_url"}`),
	}
	whole := strings.TrimSuffix(string(edge.EncodePayment(p)), "}")

	answer := edge.Renderer{}.Confirmed(p, intent)
	require.Equal(t, http.StatusOK, answer.Status)
	require.Equal(t, whole+`,"client_secret":"pi_1_secret_2","next_action":{"type":"redirect_to_url"}}`, string(answer.Body))

	created := edge.Renderer{}.CreatedAndConfirmed(p, intent)
	require.Equal(t, http.StatusCreated, created.Status)
	require.Equal(t, strings.TrimSuffix(string(edge.Renderer{}.Created(p, intent.ClientSecret).Body), "}")+
		`,"intent_status":"requires_action","next_action":{"type":"redirect_to_url"}}`, string(created.Body))

	intent.IntentStatus, intent.NextAction = payment.IntentSucceeded, nil
	require.Equal(t, whole+`,"client_secret":"pi_1_secret_2","next_action":null}`,
		string(edge.Renderer{}.Confirmed(p, intent).Body))
}

func TestPayments_Update(t *testing.T) {
	t.Parallel()

	c := setupChanges(t)
	text := func(s string) *string { return &s }

	for body, want := range map[string]payments.UpdateCommand{
		`{"metadata":{"a":"b","c":null,"d":""}}`:  {Metadata: payment.MetadataChange{"a": "b", "c": "", "d": ""}},
		`{"description":"two"}`:                   {Metadata: payment.MetadataChange{}, Description: text("two")},
		`{"description":null}`:                    {Metadata: payment.MetadataChange{}, Description: text("")},
		`{"description":"","metadata":{"a":"b"}}`: {Metadata: payment.MetadataChange{"a": "b"}, Description: text("")},
	} {
		answer := c.do(http.MethodPatch, paymentRoute, body, "X-Request-Id", "r1", "Idempotency-Key", "k1", "If-Match", `"7"`)
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)

		want.ChangeCommand = payments.ChangeCommand{
			Tenant: operation.DefaultTenant, PaymentID: uuid.MustParse(anID), Key: "k1", RequestID: "r1", IfMatch: []int64{7},
		}
		require.Equal(t, want, c.updates[len(c.updates)-1], body)
	}

	require.Equal(t, http.StatusOK, c.do(http.MethodPatch, paymentRoute, `{"description":"two"}`).Code, "without a key")

	asked := c.asked()

	for _, body := range []string{
		"", "null", "{}", `{"metadata":{}}`, `{"metadata":null}`, `{"metadata":{"payment_id":"x"}}`, `{"metadata":{"marketflow":null}}`,
		`{"metadata":{"marketflow_key":"x"}}`, `{"metadata":{"marketflow_other":"x"}}`, `{"metadata":{"":"x"}}`,
		`{"metadata":{"a":1}}`, `{"description":1}`, `{"amount":10}`, `{"description":"` + strings.Repeat("a", 1001) + `"}`,
	} {
		requireProblem(t, c.do(http.MethodPatch, paymentRoute, body), http.StatusBadRequest, "invalid-request")
		require.Equal(t, asked, c.asked(), body)
	}

	other := c.do(http.MethodDelete, paymentRoute, "")
	requireProblem(t, other, http.StatusMethodNotAllowed, "method-not-allowed")
	require.Equal(t, "GET, HEAD, PATCH", other.Header().Get("Allow"))
}

func TestPayments_IfMatch(t *testing.T) {
	t.Parallel()

	c := setupChanges(t)

	for header, want := range map[string][]int64{
		`*`: nil, `"7"`: {7}, `"7", "8"`: {7, 8}, `"7" ,,"8",`: {7, 8}, `W/"7"`: {}, `W/"7","8"`: {8}, `"other"`: {}, `"007"`: {},
		`""`: {}, `"99999999999999999999"`: {},
	} {
		require.Equal(t, http.StatusOK, c.do(http.MethodPost, captureRoute, "", "If-Match", header).Code, header)
		require.Equal(t, want, c.lastAsked.IfMatch, header)
	}

	require.Equal(t, http.StatusOK, c.do(http.MethodPost, captureRoute, "").Code)
	require.Nil(t, c.lastAsked.IfMatch)

	asked := c.asked()

	for _, header := range []string{``, `,`, `7`, `"7`, `"7" "8"`, `*, "7"`, `w/"7"`, `"a b"`} {
		requireProblem(t, c.do(http.MethodPost, captureRoute, "", "If-Match", header), http.StatusBadRequest, "invalid-request")
		requireProblem(t, c.do(http.MethodPatch, paymentRoute, `{"description":"x"}`, "If-Match", header),
			http.StatusBadRequest, "invalid-request")
	}

	require.Equal(t, asked, c.asked())

	failed := fault.New(fault.PreconditionFailed, "It has changed.")
	failed.Version, failed.PaymentID = 9, uuid.MustParse(anID)
	c.err = failed
	answer := c.do(http.MethodPost, captureRoute, "", "If-Match", `"7"`)
	requireProblem(t, answer, http.StatusPreconditionFailed, "precondition-failed")
	require.Contains(t, answer.Body.String(), `"version":9`)
}
