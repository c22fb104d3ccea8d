package tests

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// withKey makes the service ask for keys, and one key before it starts.
func withKey(tb testing.TB, made *tenants.Made, scopes ...string) func(*config.Config) {
	tb.Helper()

	return func(c *config.Config) {
		c.Auth = config.AuthKeys
		*made = makeKey(tb, *c, scopes...)
	}
}

// makeKey is what `marketflow keys create` does.
func makeKey(tb testing.TB, c config.Config, scopes ...string) (made tenants.Made) {
	tb.Helper()

	by := tenants.By{Tenant: operation.DefaultTenant, Actor: ports.Actor{Name: "cli:me@here"}, May: tenant.AllScopes()}

	require.NoError(tb, bootstrap.WithTools(tb.Context(), c, "test", func(ctx context.Context, tools bootstrap.Tools) (err error) {
		made, err = tools.Keys.Create(ctx, by, tenants.Order{Name: "a shop", Scopes: scopes})

		return err
	}, bootstrap.With(zap.NewNop())))

	return made
}

func (w *world) as(made tenants.Made, method, path, body string) answer {
	w.t.Helper()

	return w.do(w.request(method, path, body, "Content-Type", "application/json",
		"Authorization", "Bearer "+made.Secret.Reveal()))
}

// A marketplace's keys, from the first to the last.
func TestKeys_TheirLife(t *testing.T) {
	t.Parallel()

	var admin tenants.Made

	w := newWorld(t, withKey(t, &admin, "admin"))

	w.create(order).problem(http.StatusUnauthorized, "invalid-api-key")
	require.Equal(t, http.StatusOK, w.get("/openapi.yaml").status)
	require.Equal(t, http.StatusOK, w.get("/readyz").status)
	require.Equal(t, http.StatusOK, w.webhook(minimalEvent("succeeded", "pi_1", "succeeded")).status)

	shop := w.as(admin, http.MethodPost, "/api_keys", `{"name":"Shop","scopes":["checkout"],"expires_at":"2099-01-01T00:00:00Z"}`)
	require.Equal(t, http.StatusCreated, shop.status, "%s", shop.body)
	require.Equal(t, "2099-01-01T00:00:00Z", shop.text("expires_at"))

	secret, err := tenant.ParseKey(shop.text("secret"))
	require.NoError(t, err)

	as := tenants.Made{Secret: secret}

	created := w.as(as, http.MethodPost, "/payments", order)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	require.Equal(t, http.StatusOK, w.as(as, http.MethodGet, "/payments/"+created.text("id"), "").status)
	w.as(as, http.MethodPost, "/payments/"+created.text("id")+"/capture", "").problem(http.StatusForbidden, "insufficient-scope")
	w.as(as, http.MethodGet, "/api_keys", "").problem(http.StatusForbidden, "insufficient-scope")

	// The operation was the installation's, not the key's: after a roll it is replayed.
	rolled := w.as(admin, http.MethodPost, "/api_keys/"+shop.text("id")+"/roll", `{"overlap_seconds":0,"reason":"every quarter"}`)
	require.Equal(t, http.StatusCreated, rolled.status, "%s", rolled.body)
	require.Equal(t, "Shop", rolled.text("name"))

	secret, err = tenant.ParseKey(rolled.text("secret"))
	require.NoError(t, err)
	w.eventually(func() bool {
		return w.as(as, http.MethodGet, "/payments", "").status == http.StatusUnauthorized
	}, "the old key ends")

	as.Secret = secret
	replayed := w.as(as, http.MethodPost, "/payments", order)
	require.Equal(t, string(created.body), string(replayed.body))
	require.Equal(t, "true", replayed.header.Get("Idempotent-Replayed"))

	list := w.as(admin, http.MethodGet, "/api_keys?limit=2", "")
	require.Equal(t, http.StatusOK, list.status)
	require.Len(t, list.field("data"), 2)
	require.NotContains(t, string(list.body), "secret")
	rest := w.as(admin, http.MethodGet, "/api_keys?limit=2&cursor="+list.text("next_cursor"), "")
	require.Len(t, rest.field("data"), 1)

	// Mistakes.
	for _, body := range []string{
		``, `{}`, `{"name":"x","scopes":[]}`, `{"name":"x","scopes":["root"]}`, `{"name":"x","scopes":["admin"],"tenant":2}`,
		`{"name":"","scopes":["admin"]}`, `{"name":"x","scopes":["admin"],"expires_at":"2001-01-01T00:00:00Z"}`,
		`{"name":"x","scopes":["admin"],"expires_at":"tomorrow"}`,
	} {
		w.as(admin, http.MethodPost, "/api_keys", body).problem(http.StatusBadRequest, "invalid-request")
	}

	for _, body := range []string{
		`{"overlap_seconds":-1}`, `{"overlap_seconds":2592001}`, `{"overlap_seconds":9223372036854775807}`,
	} {
		w.as(admin, http.MethodPost, "/api_keys/"+rolled.text("id")+"/roll", body).problem(http.StatusBadRequest, "invalid-request")
	}

	w.as(admin, http.MethodDelete, "/api_keys/"+uuid.NewString(), "").problem(http.StatusNotFound, "not-found")
	w.as(admin, http.MethodDelete, "/api_keys/x", "").problem(http.StatusBadRequest, "invalid-request")

	for range 2 {
		require.Equal(t, http.StatusNoContent, w.as(admin, http.MethodDelete, "/api_keys/"+rolled.text("id"), "").status)
	}

	w.as(admin, http.MethodPost, "/api_keys/"+rolled.text("id")+"/roll", "").problem(http.StatusBadRequest, "invalid-request")
	w.eventually(func() bool {
		return w.as(as, http.MethodGet, "/payments", "").status == http.StatusUnauthorized
	}, "the revoked key ends")
}

// A revoked key stops within five seconds in every process.
func TestKeys_RevokedStopsEverywhere(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*config.Config){
		"with Redis":    func(*config.Config) {},
		"without Redis": func(c *config.Config) { c.RedisURL = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var admin, leaked tenants.Made

			w := newWorld(t, change, withKey(t, &admin, "admin"))
			processes := []*world{w, w.second()}
			leaked = makeKey(t, w.config, "read-only")

			for _, p := range processes {
				require.Equal(t, http.StatusOK, p.as(leaked, http.MethodGet, "/payments", "").status, "it works at once")
			}

			require.Equal(t, http.StatusNoContent, w.as(admin, http.MethodDelete, "/api_keys/"+leaked.ID.String(), "").status)

			revoked := time.Now()

			for _, p := range processes {
				p.eventually(func() bool {
					return p.as(leaked, http.MethodGet, "/payments", "").status == http.StatusUnauthorized
				}, "it stops")
				require.Less(t, time.Since(revoked), 5*time.Second)
				require.Equal(t, http.StatusOK, p.as(admin, http.MethodGet, "/payments", "").status)
			}
		})
	}
}

// While nobody can tell whether a key was revoked, none is believed for longer than that.
func TestKeys_DatabaseAway(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	var admin tenants.Made

	w := newWorld(t, func(c *config.Config) { c.DatabaseURL = config.Secret(server.URL()) }, withKey(t, &admin, "admin"))
	created := w.as(admin, http.MethodPost, "/payments", order)
	require.Equal(t, http.StatusCreated, created.status)

	require.NoError(t, server.Kill())

	away := time.Now()

	// Finished answers are in memory, so only the key can stop them.
	w.eventually(func() bool {
		return w.as(admin, http.MethodPost, "/payments", order).status == http.StatusServiceUnavailable
	}, "keys are not believed any more")
	require.Less(t, time.Since(away), 8*time.Second)

	refused := w.as(admin, http.MethodPost, "/payments", order)
	refused.problem(http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, refused.header.Get("Retry-After"))
}
