package stripe_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/sandbox"
)

const secretKey = "sk_test_contract"

func TestGateway_Contract(t *testing.T) {
	t.Parallel()
	portstest.Provider(t, providerBed)
}

func TestGateway_ContractOfCustomers(t *testing.T) {
	t.Parallel()
	portstest.ProviderCustomers(t, func(tb testing.TB) portstest.CustomersBed {
		tb.Helper()

		bed, server := steered(tb)

		return portstest.CustomersBed{ProviderBed: bed, SaveMethod: func(tb testing.TB, customerID string) string {
			tb.Helper()

			status, answer, err := (&sandbox.Client{URL: server.URL, Key: secretKey}).Call(tb.Context(), http.MethodPost,
				"/v1/payment_methods/pm_card_visa/attach", url.Values{"customer": {customerID}}.Encode())
			require.NoError(tb, err)
			require.Equal(tb, http.StatusOK, status, "%v", answer)

			id, ok := answer["id"].(string)
			require.True(tb, ok)

			return id
		}}
	})
}

func TestGateway_ContractOfDisputes(t *testing.T) {
	t.Parallel()
	portstest.ProviderDisputes(t, func(tb testing.TB) portstest.DisputesBed {
		tb.Helper()

		bed, server := steered(tb)

		return portstest.DisputesBed{
			ProviderBed: bed,
			Dispute: func(tb testing.TB, intentID string, minor int64, inquiry bool) string {
				tb.Helper()

				id, err := server.OpenDispute(intentID, sandbox.Complaint{Amount: minor, Inquiry: inquiry})
				require.NoError(tb, err)

				return id
			},
			Decide: func(tb testing.TB, disputeID string, to dispute.Status, back int64) {
				tb.Helper()

				decision := sandbox.Decision{Status: string(to)}
				if back > 0 {
					decision.Reinstated = &back
				}

				require.NoError(tb, server.DecideDispute(disputeID, decision))
			},
		}
	})
}

func TestWebhooks_Contract(t *testing.T) {
	t.Parallel()
	portstest.Webhooks(t, webhooksBed)
	portstest.Webhooks(t, storedWebhooksBed)
}

func BenchmarkGateway(b *testing.B)  { portstest.BenchmarkProvider(b, providerBed) }
func BenchmarkWebhooks(b *testing.B) { portstest.BenchmarkWebhooks(b, webhooksBed) }

func providerBed(tb testing.TB) portstest.ProviderBed {
	tb.Helper()

	bed, _ := steered(tb)

	return bed
}

// steered is a bed, and the sandbox that it steers.
func steered(tb testing.TB) (portstest.ProviderBed, *sandbox.Server) {
	tb.Helper()

	server := sandbox.Start(tb)
	network := &cuttable{}
	network.transport = &http.Transport{DialContext: network.dial}
	tb.Cleanup(network.transport.CloseIdleConnections)

	faulty := func(fault sandbox.Fault) func(tb testing.TB) func() {
		return func(tb testing.TB) func() {
			tb.Helper()

			restores := make([]func(), 0, 4)

			for _, path := range []string{"/v1/payment_intents", "/v1/payment_intents/*/*", "/v1/customers", "/v1/disputes/*"} {
				fault.Method, fault.Path, fault.Count = http.MethodPost, path, -1
				added, err := server.AddFault(fault)
				require.NoError(tb, err)

				restores = append(restores, func() { require.NoError(tb, server.RemoveFault(added.ID)) })
			}

			return func() {
				for _, restore := range restores {
					restore()
				}
			}
		}
	}
	confirmWith := func(method string) func(tb testing.TB, intentID string) {
		return func(tb testing.TB, intentID string) {
			tb.Helper()
			post(tb, server.URL+"/v1/payment_intents/"+intentID+"/confirm", url.Values{
				"payment_method": {method}, "return_url": {"https://example.com/back"},
			})
		}
	}

	return portstest.ProviderBed{
		Provider: stripe.NewGateway(
			stripe.Config{SecretKey: secretKey, APIBase: server.URL},
			stripe.WithSleep(noSleep), stripe.WithTransport(network.transport),
		),
		Calls:      stripe.Calls{},
		Rejectable: order(tb, 1, nil),
		Pay:        confirmWith("pm_card_visa"),
		Decline:    confirmWith("pm_card_chargeDeclined"),
		Cancel: func(tb testing.TB, intentID string) {
			tb.Helper()
			post(tb, server.URL+"/v1/payment_intents/"+intentID+"/cancel", nil)
		},
		LoseAnswers: faulty(sandbox.Fault{Action: sandbox.DropAfter}),
		Misconfigure: faulty(sandbox.Fault{
			Action: sandbox.Error, Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "testmode_charges_only",
			Message: "Your account cannot currently make live charges.",
		}),
		Cut: network.cut,
	}, server
}

// cuttable is a network that can be cut.
type cuttable struct {
	transport *http.Transport
	broken    atomic.Bool
}

func (c *cuttable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.broken.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errCut}
	}

	return new(net.Dialer).DialContext(ctx, network, address)
}

func (c *cuttable) cut(testing.TB) func() {
	c.broken.Store(true)
	c.transport.CloseIdleConnections()

	return func() { c.broken.Store(false) }
}

func webhooksBed(tb testing.TB) portstest.WebhooksBed {
	tb.Helper()

	return newWebhooksBed(tb, []string{"whsec_old", "whsec_new"}, nil)
}

// storedWebhooksBed has one secret in the environment and one in the database.
func storedWebhooksBed(tb testing.TB) portstest.WebhooksBed {
	tb.Helper()

	bed := newWebhooksBed(tb, []string{"whsec_old"}, storedSecrets{"whsec_new"})
	bed.Secrets = append(bed.Secrets, "whsec_new")

	return bed
}

type storedSecrets []string

func (s storedSecrets) Try(signed func(secret []byte) bool) (bool, error) {
	return slices.ContainsFunc(s, func(one string) bool { return signed([]byte(one)) }), nil
}

func newWebhooksBed(tb testing.TB, secrets []string, stored stripe.StoredSecrets) portstest.WebhooksBed {
	tb.Helper()

	now := time.Date(2024, 1, 15, 10, 30, 5, 0, time.UTC)
	webhooks, err := stripe.NewWebhooks(secrets, stored, func() time.Time { return now })
	require.NoError(tb, err)

	return portstest.WebhooksBed{
		Webhooks:  webhooks,
		Now:       now,
		Tolerance: 5 * time.Minute,
		Secrets:   secrets,
		Sign: func(payload []byte, at time.Time, secrets ...string) string {
			return sandbox.Sign(payload, secrets[0], at, secrets[1:]...)
		},
		Payload: func(event portstest.EventSpec) []byte { return payload(tb, event) },
	}
}

// payload writes an event as Stripe does, with the fields that we read.
func payload(tb testing.TB, spec portstest.EventSpec) []byte {
	tb.Helper()

	object, metadata := map[string]any{"id": spec.IntentID, "object": "payment_intent"}, map[string]string{}
	event := map[string]any{"object": "event", "data": map[string]any{"object": object}}

	switch spec.Change {
	case payment.Succeeded:
		event["type"], object["status"] = "payment_intent.succeeded", "succeeded"
	case payment.Failed:
		event["type"], object["status"] = "payment_intent.payment_failed", "requires_payment_method"
		object["last_payment_error"] = map[string]any{"code": "card_declined"}
	case payment.Cancelled:
		event["type"], object["status"] = "payment_intent.canceled", "canceled"
	case payment.Pending:
		event["type"], object["status"] = "payment_intent.created", "requires_payment_method"
		object["last_payment_error"] = nil
	}

	steps := map[payment.IntentStatus]string{
		payment.IntentRequiresAction: "requires_action", payment.IntentProcessing: "processing",
		payment.IntentRequiresCapture: "amount_capturable_updated",
	}
	if step, ok := steps[spec.Step]; ok {
		event["type"], object["status"] = "payment_intent."+step, string(spec.Step)
	}

	if spec.Unhandled {
		event["type"] = "payment_intent.partially_funded"
	}

	if spec.ID != "" {
		event["id"] = spec.ID
	}

	if !spec.CreatedAt.IsZero() {
		event["created"], object["created"] = spec.CreatedAt.Unix(), spec.CreatedAt.Unix()
	}

	if spec.Currency != "" {
		object["amount"], object["currency"] = spec.Minor, strings.ToLower(spec.Currency)
	}

	if spec.PaymentID != uuid.Nil {
		metadata["payment_id"] = spec.PaymentID.String()
	}

	for name, mark := range map[string]operation.Mark{"marketflow": spec.Mark, "marketflow_capture": spec.Capture} {
		if mark != (operation.Mark{}) {
			metadata[name] = mark.String()
		}
	}

	if spec.Unmarked {
		metadata["cart"] = "another program's"
	}

	if len(metadata) > 0 {
		object["metadata"] = metadata
	}

	text, err := json.MarshalIndent(event, "", "  ")
	require.NoError(tb, err)

	return text
}

// post calls the sandbox as the customer's browser or another program would. A
// declined card is answered 402, which is no error here.
func post(tb testing.TB, address string, form url.Values) {
	tb.Helper()

	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(tb, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(secretKey, "")

	answer, err := http.DefaultClient.Do(request)
	require.NoError(tb, err)

	body, err := io.ReadAll(answer.Body)
	require.NoError(tb, err)
	require.NoError(tb, answer.Body.Close())
	require.Contains(tb, []int{http.StatusOK, http.StatusPaymentRequired}, answer.StatusCode, "%s", body)
}
