package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-mock/embedded"

	"github.com/marketflow/marketflow/sandbox"
)

// operation is one of Stripe's document, and what it says that is answered.
type operation struct {
	method, path string
	answer       *schema
}

// stripeOperations are all of Stripe's API but uploads, which have a host of their own.
func stripeOperations(t *testing.T) []operation {
	t.Helper()

	var document struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema *schema `json:"schema"`
				} `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}

	require.NoError(t, json.Unmarshal(embedded.OpenAPISpec, &document))

	var operations []operation

	for path, methods := range document.Paths {
		for method, one := range methods {
			operations = append(operations, operation{
				method: strings.ToUpper(method), path: path,
				answer: one.Responses["200"].Content["application/json"].Schema,
			})
		}
	}

	slices.SortFunc(operations, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })

	return operations
}

var pathParameter = regexp.MustCompile(`\{\w+\}`)

// TestSchema_EveryOperation calls every operation that Stripe has, with an id that
// nothing has where it wants one. The sandbox answers what the document says, or
// an error of Stripe's shape, or that it does not cover the operation, by name.
func TestSchema_EveryOperation(t *testing.T) {
	t.Parallel()

	schemas, err := stripeSchemas()
	require.NoError(t, err)

	server := sandbox.Start(t)

	for _, card := range []string{"pm_card_visa", "pm_card_createDispute"} {
		paid := callAPI(t, server.URL, "POST", "/v1/payment_intents",
			"amount=2000&currency=usd&payment_method_types[]=card&confirm=true&payment_method="+card)
		id, _ := paid["id"].(string)
		callAPI(t, server.URL, "POST", "/v1/refunds", "amount=100&payment_intent="+id)
	}

	in := newInspection(schemas)
	covered, answered := 0, 0

	for _, one := range stripeOperations(t) {
		path := pathParameter.ReplaceAllString(one.path, "none_1")
		status, body := probe(t, server.URL, one.method, path)

		failure, failed := body["error"].(map[string]any)
		message, _ := failure["message"].(string)

		switch {
		case failed && strings.Contains(message, "does not cover"):
			require.Equal(t, http.StatusNotFound, status, one)
			require.Contains(t, message, one.method+" "+path)

			continue
		case failed:
			require.GreaterOrEqual(t, status, http.StatusBadRequest, one)
			require.Less(t, status, http.StatusInternalServerError, one)
			require.NotContains(t, message, "Unrecognized request URL", one)
			in.check("error", body, schemas["error"])
		default:
			require.Equal(t, http.StatusOK, status, one)
			in.check(one.method+" "+one.path, body, one.answer)

			answered++
		}

		covered++
	}

	// The numbers only say that there was something to hold.
	require.GreaterOrEqual(t, covered, 30)
	require.GreaterOrEqual(t, answered, 9)
	require.Empty(t, in.wrong)
	require.Empty(t, in.sometimes())

	for field := range in.more {
		require.Contains(t, readmeList(t, "more"), field)
	}
}

// probe calls without parameters.
func probe(t *testing.T, base, method, path string) (int, map[string]any) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), method, base+path, http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+testKey)

	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)

	defer func() { require.NoError(t, response.Body.Close()) }()

	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()

	var body map[string]any

	require.NoError(t, decoder.Decode(&body), "%s %s: %s", method, path, text)

	return response.StatusCode, body
}

// connectedEvent is an event of a connected account as its platform receives it,
// which the Events API of neither shows.
func connectedEvent(t *testing.T) map[string]any {
	t.Helper()

	server, recorder := twoAccounts(t, ""), newRecorder(t, always(http.StatusOK))

	platform := caller{t, server.URL, testKey, ""}
	platform.call("POST", "/v1/webhook_endpoints", "connect=true&enabled_events[]=*&url="+recorder.URL)

	seller := caller{t, server.URL, testKey, "acct_1Seller"}
	seller.call("POST", "/v1/payment_intents", createForm)

	decoder := json.NewDecoder(bytes.NewReader(recorder.wait(t, 1)[0].body))
	decoder.UseNumber()

	var event map[string]any

	require.NoError(t, decoder.Decode(&event))

	return event
}
