package http_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// doorkeeper knows some keys. A key in late is found only by Again.
type doorkeeper struct {
	keys, late map[string]tenant.Key
	again      atomic.Int64
}

func (d *doorkeeper) Do(_ context.Context, secret tenant.Secret) (tenant.Key, error) {
	if key, ok := d.keys[secret.Reveal()]; ok {
		return key, nil
	}

	return tenant.Key{}, fault.New(fault.InvalidAPIKey, "This API key does not work.")
}

func (d *doorkeeper) Again(ctx context.Context, secret tenant.Secret) (tenant.Key, error) {
	d.again.Add(1)

	if key, ok := d.late[secret.Reveal()]; ok {
		return key, nil
	}

	return d.Do(ctx, secret)
}

// admit makes a key with these scopes.
func (d *doorkeeper) admit(scopes ...tenant.Scope) (secret string) {
	made := tenant.NewSecret(binding.Test)
	d.keys[made.Reveal()] = tenant.Key{
		ID: uuid.New(), Tenant: 1, Name: "shop", Prefix: made.Prefix(), Mode: binding.Test, Scopes: scopes,
	}

	return made.Reveal()
}

// few allows some requests, and then none.
type few struct {
	left  atomic.Int64
	names chan string
}

func newFew(n int64) *few {
	f := &few{names: make(chan string, 1000)}
	f.left.Store(n)

	return f
}

func (f *few) Allow(_ context.Context, client string) ports.Allowance {
	f.names <- client

	return ports.Allowance{Denied: f.left.Add(-1) < 0, RetryAfter: 3 * time.Second}
}

// guarded is an edge that asks for keys.
func guarded(t *testing.T, failures *few) (*testBundle, *doorkeeper) {
	t.Helper()

	d := &doorkeeper{keys: map[string]tenant.Key{}, late: map[string]tenant.Key{}}
	b := setupGuarded(t, func(access *edge.Access) { access.Authenticate, access.Failures = d, failures })

	return b, d
}

// declaredRoute is one of the contract's, with the scope that it declares.
type declaredRoute struct {
	method, path, scope string
	declared            *openapi3.Operation
}

func declaredRoutes(t *testing.T) []declaredRoute {
	t.Helper()

	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err)

	var list []declaredRoute

	for path, item := range doc.Paths.Map() {
		for method, declared := range item.Operations() {
			scope, _ := declared.Extensions["x-required-scope"].(string)
			list = append(list, declaredRoute{method, strings.ReplaceAll(path, "{id}", anID), scope, declared})
		}
	}

	return list
}

func open(path string) bool {
	return slices.Contains([]string{"/webhooks/stripe", "/health", "/livez", "/readyz", "/metrics", "/openapi.yaml"}, path)
}

// The contract says of each operation whether it needs a key, and which scope.
func TestAuth_TheContractDeclaresEveryRoute(t *testing.T) {
	t.Parallel()

	for _, o := range declaredRoutes(t) {
		name := o.method + " " + o.path
		require.NotNil(t, o.declared.Security, "%s declares no security", name)

		if open(o.path) {
			require.Empty(t, *o.declared.Security, name)
			require.Empty(t, o.scope, name)

			continue
		}

		require.Len(t, *o.declared.Security, 2, name)
		require.True(t, tenant.AllScopes().Has(tenant.Scope(o.scope)), "%s declares no scope", name)
		require.NotNil(t, o.declared.Responses.Value("401"), name)
		require.NotNil(t, o.declared.Responses.Value("403"), name)
	}
}

// Every route × every scope: without a key 401, with any other scope 403, and only with its own
// does a request reach what is behind.
func TestAuth_EveryRouteAndScope(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))

	for _, o := range declaredRoutes(t) {
		if open(o.path) {
			continue
		}

		name := o.method + " " + o.path

		answer := b.do(o.method, o.path, "{")
		requireProblem(t, answer, http.StatusUnauthorized, "invalid-api-key")
		require.Equal(t, `Bearer realm="marketflow"`, answer.Header().Get("WWW-Authenticate"), name)

		for _, scope := range tenant.AllScopes() {
			answer := b.do(o.method, o.path, "{", "Authorization", "Bearer "+d.admit(scope))

			if string(scope) == o.scope {
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, answer.Code, name)

				continue
			}

			requireProblem(t, answer, http.StatusForbidden, "insufficient-scope")
			require.Contains(t, answer.Body.String(), `"required_scope":"`+o.scope+`"`, name)
			require.Contains(t, answer.Header().Get("WWW-Authenticate"), `error="insufficient_scope", scope="`+o.scope+`"`, name)
		}

		all := slices.DeleteFunc(tenant.AllScopes(), func(s tenant.Scope) bool { return string(s) == o.scope })
		require.Equal(t, http.StatusForbidden, b.do(o.method, o.path, "{", "Authorization", "Bearer "+d.admit(all...)).Code, name)
	}
}

func TestAuth_OpenRoutes(t *testing.T) {
	t.Parallel()

	b, _ := guarded(t, newFew(0))

	for _, path := range []string{"/livez", "/metrics", "/openapi.yaml"} {
		require.Equal(t, http.StatusOK, b.do(http.MethodGet, path, "").Code, path)
	}

	require.Equal(t, http.StatusOK, b.webhook().Code)
}

func TestAuth_HowAKeyIsSent(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))
	key := d.admit(tenant.CustomersRead)
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

	for _, header := range []string{"Bearer " + key, "bearer " + key, "BEARER   " + key + " ", basic(key + ":"), basic(key)} {
		// A wrong id, so that nothing behind is needed.
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodGet, "/customers/x", "", "Authorization", header).Code, header)
	}

	for _, header := range []string{
		"", key, "Bearer", "Bearer ", "Bearer " + key + "x", "Bearer " + key + "," + key, "Digest " + key, "Basic " + key,
		basic(key + ":password"), basic(":" + key), basic("user:" + key), "Basic " + strings.Repeat("a", 10_000),
		"Bearer " + tenant.NewSecret(binding.Test).Reveal(), "Bearer " + strings.ToUpper(key),
	} {
		answer := b.do(http.MethodGet, "/customers/x", "", "Authorization", header)
		requireProblem(t, answer, http.StatusUnauthorized, "invalid-api-key")
		require.NotContains(t, answer.Body.String(), key[17:40], header)
	}

	twice := b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+key, "Authorization", "Bearer "+key)
	requireProblem(t, twice, http.StatusUnauthorized, "invalid-api-key")
	requireProblem(t, b.do(http.MethodGet, "/customers/x?api_key="+key, ""), http.StatusUnauthorized, "invalid-api-key")

	for _, line := range b.lines.All() {
		require.NotContains(t, line.ContextMap(), key)
	}
}

// What was never read cannot be a way in, and costs nothing.
func TestAuth_ComesBeforeTheBody(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))

	for _, header := range []string{"", "Bearer " + tenant.NewSecret(binding.Test).Reveal(), "Bearer " + d.admit(tenant.AuditRead)} {
		r := httptest.NewRequest(http.MethodPost, "/payments", unreadable{t})
		r.Header.Set("Authorization", header)

		answer := httptest.NewRecorder()
		b.handler.ServeHTTP(answer, r)
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, answer.Code)
		require.Equal(t, "close", answer.Header().Get("Connection"))
	}
}

// unreadable is read at most after the answer, when it is thrown away.
type unreadable struct{ *testing.T }

func (u unreadable) Read([]byte) (int, error) { return 0, io.EOF }

// A key that was made a moment ago in another process works at once.
func TestAuth_ANewKey(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))
	made := tenant.NewSecret(binding.Test)
	d.late[made.Reveal()] = tenant.Key{ID: uuid.New(), Prefix: made.Prefix(), Scopes: tenant.AllScopes()}

	answer := b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+made.Reveal())
	require.Equal(t, http.StatusBadRequest, answer.Code)
}

// Failures count against the address, and from then on nothing is looked up for it. Keys that
// work go on working from there.
func TestAuth_FailuresAreLimited(t *testing.T) {
	t.Parallel()

	failures := newFew(3)
	b, d := guarded(t, failures)
	key := d.admit(tenant.CustomersRead)

	wrong := func() *httptest.ResponseRecorder {
		return b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+tenant.NewSecret(binding.Test).Reveal())
	}

	for range 3 {
		requireProblem(t, wrong(), http.StatusUnauthorized, "invalid-api-key")
	}

	require.EqualValues(t, 3, d.again.Load())

	answer := wrong()
	requireProblem(t, answer, http.StatusTooManyRequests, "rate-limited")
	require.Equal(t, "3", answer.Header().Get("Retry-After"))
	requireProblem(t, b.do(http.MethodGet, "/customers/x", ""), http.StatusTooManyRequests, "rate-limited")
	require.EqualValues(t, 3, d.again.Load(), "nothing is looked up any more")
	require.Equal(t, "192.0.2.1", <-failures.names)

	require.Equal(t, http.StatusBadRequest,
		b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+key).Code)
}

// A request counts against its key, not its address. A key that is not known leaves no span.
func TestAuth_LimitsAndSpansAreOfKeys(t *testing.T) {
	t.Parallel()

	b, d := guarded(t, newFew(1000))
	key := d.admit(tenant.CustomersRead)

	b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+tenant.NewSecret(binding.Test).Reveal())
	require.Empty(t, b.spans.Ended())

	b.do(http.MethodGet, "/customers/x", "", "Authorization", "Bearer "+key)
	require.Equal(t, []string{"key " + d.keys[key].ID.String()}, b.clients.names)
	require.NotEmpty(t, b.spans.Ended())
	require.Equal(t, key[:16], b.lines.All()[1].ContextMap()["api_key"])
}

// Where no keys are asked for nobody may make one for the time when they are.
func TestAuth_OffMakesNoKeys(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for _, c := range [][]string{
		{http.MethodGet, "/api_keys", ""},
		{http.MethodPost, "/api_keys", `{"name":"x","scopes":["admin"]}`},
		{http.MethodPost, "/api_keys/" + anID + "/roll", ""},
		{http.MethodDelete, "/api_keys/" + anID, ""},
	} {
		requireProblem(t, b.do(c[0], c[1], c[2]), http.StatusForbidden, "insufficient-scope")
	}
}
