package tests

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

const (
	storedSecret = "whsec_StoredStoredStoredStoredStoredStored"
	rolledSecret = "whsec_RolledRolledRolledRolledRolledRolled"
	// unknownEvent changes nothing; only its signature matters.
	unknownEvent = `{"id":"evt_1","type":"invoice.created","data":{"object":{"id":"in_1"}}}`
)

// withSecretsKey sets SECRETS_KEY.
func withSecretsKey(texts ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.SecretsKey = nil
		for _, text := range texts {
			c.SecretsKey = append(c.SecretsKey, config.Secret(text))
		}
	}
}

func operator() tenants.By {
	return tenants.By{Actor: ports.Actor{Name: "cli:me@here"}, Reason: "a test"}
}

// addSecret is what `marketflow webhook-secrets add` does.
func (w *world) addSecret(text string) (added secret.Webhook) {
	w.t.Helper()
	require.NoError(w.t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) (err error) {
		added, err = tools.WebhookSecrets.Add(ctx, operator(), text, time.Time{})

		return err
	}))

	return added
}

// signed is how an event that is signed with a secret is answered.
func (w *world) signed(secret string) int {
	w.t.Helper()

	return w.webhookSigned(unknownEvent, sandbox.Sign([]byte(unknownEvent), secret, time.Now())).status
}

// within five seconds every process answers so.
func within(t *testing.T, processes []*world, secret string, status int) {
	t.Helper()

	began := time.Now()

	for _, p := range processes {
		p.eventually(func() bool { return p.signed(secret) == status }, "the change arrives")
	}

	require.Less(t, time.Since(began), 5*time.Second)
}

// A stored secret works in every process without a restart, until it is rolled and removed.
func TestWebhookSecrets_TheirLife(t *testing.T) {
	t.Parallel()

	_, key := secret.NewKey()
	w := newWorld(t, withSecretsKey(key))
	processes := []*world{w, w.second()}

	for _, p := range processes {
		require.Equal(t, http.StatusUnauthorized, p.signed(storedSecret))
		require.Equal(t, http.StatusOK, p.signed(webhookSecret))
	}

	added := w.addSecret(storedSecret)
	within(t, processes, storedSecret, http.StatusOK)

	require.NoError(t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.WebhookSecrets.Roll(ctx, operator(), added.ID, 2*time.Second, rolledSecret)

		return err
	}))
	within(t, processes, rolledSecret, http.StatusOK)

	rolled := w.secretsNow()
	require.Len(t, rolled, 2)
	w.eventually(func() bool { return w.signed(storedSecret) == http.StatusUnauthorized }, "the old one ends by itself")

	require.NoError(t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.WebhookSecrets.Remove(ctx, operator(), rolled[0].ID)

		return err
	}))
	within(t, processes, rolledSecret, http.StatusUnauthorized)

	for _, p := range processes {
		require.Equal(t, http.StatusOK, p.signed(webhookSecret), "the environment's own goes on")
	}

	require.Equal(t, 3, w.count("SELECT count(*) FROM audit WHERE action LIKE 'webhook_secret.%' AND actor = 'cli:me@here'"))
	require.Zero(t, w.count("SELECT count(*) FROM audit WHERE audit::text LIKE '%Stored%' OR audit::text LIKE '%Rolled%'"))
}

func (w *world) secretsNow() (list []tenants.ListedSecret) {
	w.t.Helper()
	require.NoError(w.t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) (err error) {
		list, err = tools.WebhookSecrets.List(ctx)

		return err
	}))

	return list
}

// The key that seals is replaced while two processes run, and the old one is dropped.
func TestWebhookSecrets_TheKeyIsRotated(t *testing.T) {
	t.Parallel()

	_, first := secret.NewKey()
	second, secondText := secret.NewKey()

	// There is no secret in the environment at all.
	w := newWorld(t, withSecretsKey(first), func(c *config.Config) { c.StripeWebhookSecrets = nil }, withStored(t, storedSecret))
	processes := []*world{w, w.second()}
	within(t, processes, storedSecret, http.StatusOK)

	rotate := func(c *config.Config) (rotated tenants.Rotated, err error) {
		err = bootstrap.WithTools(t.Context(), *c, "test", func(ctx context.Context, tools bootstrap.Tools) (err error) {
			rotated, err = tools.WebhookSecrets.Rotate(ctx, operator())

			return err
		}, bootstrap.With(zap.NewNop()))

		return rotated, err
	}

	both := w.config
	withSecretsKey(secondText, first)(&both)

	rotated, err := rotate(&both)
	require.NoError(t, err)
	require.Equal(t, tenants.Rotated{Key: second.ID(), Resealed: 1}, rotated)

	// Both processes still have the old key alone, and go on all the same. They say that a
	// restart with it would not do.
	for _, p := range processes {
		p.eventually(func() bool { return strings.Contains(string(p.get("/health").body), `"secrets":"unreadable"`) }, "it is told")
		require.Equal(t, http.StatusOK, p.signed(storedSecret))
		require.Equal(t, http.StatusOK, p.get("/readyz").status)
	}

	require.ErrorContains(t, w.tryStart(w.config), "none of the 1 webhook secrets in the database can be opened")

	rotated, err = rotate(&both)
	require.NoError(t, err)
	require.Equal(t, tenants.Rotated{Key: second.ID(), Already: 1}, rotated, "once more does nothing")

	dropped := w.config
	withSecretsKey(secondText)(&dropped)

	for _, p := range processes {
		require.NoError(t, p.service.Stop(context.Background()))

		restarted := *p
		restarted.start(dropped)
		require.Equal(t, http.StatusOK, restarted.signed(storedSecret))
		require.JSONEq(t, `{"status":"healthy","database":"connected","redis":"connected"}`, string(restarted.get("/health").body))
	}

	require.Equal(t, 1, w.count("SELECT count(*) FROM audit WHERE action = 'secrets.rotate' AND object_id = $1",
		second.ID().String()))
}

// withStored adds a secret before the service starts.
func withStored(tb testing.TB, text string) func(*config.Config) {
	tb.Helper()

	return func(c *config.Config) {
		require.NoError(tb, bootstrap.WithTools(tb.Context(), *c, "test", func(ctx context.Context, tools bootstrap.Tools) error {
			_, err := tools.WebhookSecrets.Add(ctx, operator(), text, time.Time{})

			return err
		}, bootstrap.With(zap.NewNop())))
	}
}

// Without the key that sealed them stored secrets do not count. That is told loudly, and stops
// nothing else.
func TestWebhookSecrets_TheKeyIsLost(t *testing.T) {
	t.Parallel()

	_, first := secret.NewKey()
	_, second := secret.NewKey()

	for name, key := range map[string]func(*config.Config){
		"another one": withSecretsKey(second),
		"none":        withSecretsKey(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, withSecretsKey(first))
			w.addSecret(storedSecret)

			lost := *w
			key(&lost.config)

			core, logged := observer.New(zapcore.ErrorLevel)
			service, err := bootstrap.Start(t.Context(), lost.config, "test", bootstrap.With(zap.New(core)))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

			lost.url = "http://" + service.Addr()

			require.Equal(t, http.StatusOK, lost.signed(webhookSecret))
			require.Equal(t, http.StatusUnauthorized, lost.signed(storedSecret))
			require.Equal(t, http.StatusOK, lost.get("/readyz").status)
			require.JSONEq(t, `{"status":"degraded","database":"connected","redis":"connected","secrets":"unreadable"}`,
				string(lost.get("/health").body))
			require.Contains(t, string(lost.get("/metrics").body), "\nmarketflow_unreadable_secrets 1\n")
			require.Equal(t, 1, logged.FilterMessageSnippet("a stored webhook secret cannot be opened").Len())

			// Nothing that was sealed is lost: the key may come back, or the secret be added again.
			require.NoError(t, lost.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
				if name == "none" {
					_, err := tools.WebhookSecrets.Rotate(ctx, operator())
					require.ErrorContains(t, err, "SECRETS_KEY is not set; make one with: openssl rand -base64 32")

					return nil
				}

				rotated, err := tools.WebhookSecrets.Rotate(ctx, operator())
				require.Len(t, rotated.Left, 1)

				return err
			}))
			within(t, []*world{w}, storedSecret, http.StatusOK)
		})
	}
}

// A row that somebody has copied over another one, or changed, does not count.
func TestWebhookSecrets_TamperedWith(t *testing.T) {
	t.Parallel()

	_, key := secret.NewKey()
	w := newWorld(t, withSecretsKey(key))
	first, second := w.addSecret(storedSecret), w.addSecret(rolledSecret)
	within(t, []*world{w}, rolledSecret, http.StatusOK)

	_, err := w.db.Pool().Exec(t.Context(),
		"UPDATE webhook_secrets SET sealed = (SELECT sealed FROM webhook_secrets WHERE id = $1) WHERE id = $2", first.ID, second.ID)
	require.NoError(t, err)

	within(t, []*world{w}, rolledSecret, http.StatusUnauthorized)
	require.Equal(t, http.StatusOK, w.signed(storedSecret))

	// What was removed with psql is gone too.
	_, err = w.db.Pool().Exec(t.Context(), "DELETE FROM webhook_secrets")
	require.NoError(t, err)
	within(t, []*world{w}, storedSecret, http.StatusUnauthorized)
}

func TestWebhookSecrets_NoneAtAll(t *testing.T) {
	t.Parallel()

	_, key := secret.NewKey()
	w := newWorld(t, withSecretsKey(key))
	w.config.StripeWebhookSecrets = nil
	require.ErrorContains(t, w.tryStart(w.config), "STRIPE_WEBHOOK_SECRET is not set, and no webhook secret in the database works")
}
