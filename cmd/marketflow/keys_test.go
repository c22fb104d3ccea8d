package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
)

func TestKeys(t *testing.T) {
	t.Parallel()

	d := newDesk(t)

	// Only the key goes to stdout, so that KEY=$(marketflow keys create …) works.
	made := d.run("keys", "create", "Shop", "--scopes", "checkout,payments:capture", "--expires", "2160h", "--reason", "a new shop")
	require.Zero(t, made.code, made.stderr)
	require.Contains(t, made.stderr, "it is not shown again")

	secret, err := tenant.ParseKey(strings.TrimSpace(made.stdout))
	require.NoError(t, err)
	require.NotContains(t, made.stderr, secret.Reveal())

	asJSON := d.object("keys", "create", "Desk", "--scopes", "support")
	require.Equal(t, "Desk", asJSON["name"])
	require.Contains(t, asJSON, "secret")

	list := d.run("keys", "list")
	require.Zero(t, list.code)
	require.Contains(t, list.stdout, secret.Prefix())
	require.NotContains(t, list.stdout, secret.Reveal())
	require.Len(t, d.ids("keys", "list"), 2)

	rolled := d.object("keys", "roll", secret.Prefix(), "--overlap", "1h")
	require.Equal(t, "Shop", rolled["name"])

	// Whoever found a key may paste it whole.
	revoked := d.run("keys", "revoke", secret.Reveal(), "--reason", "found in a repository")
	require.Zero(t, revoked.code, revoked.stderr)
	require.Contains(t, revoked.stdout, "is revoked")
	require.NotContains(t, revoked.stdout+revoked.stderr, secret.Reveal())
	require.Contains(t, d.run("keys", "list").stdout, "revoked")

	d.fails("a new one", "keys", "roll", secret.Prefix())
	d.fails("there is no API key mf_test_00000000", "keys", "revoke", "mf_test_00000000")
	d.fails("A key is named by its id", "keys", "revoke", "Shop")
	d.fails("scopes must be of", "keys", "create", "x", "--scopes", "root")
	d.fails("required flag", "keys", "create", "x")
	d.fails("--expires must be a time", "keys", "create", "x", "--scopes", "admin", "--expires", "-1h")
	d.fails("the overlap must be from 0", "keys", "roll", text(t, rolled, "id"), "--overlap", "721h")
}

func TestAudit(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	made := d.object("keys", "create", "Shop", "--scopes", "checkout", "--actor", "me", "--reason", "a new shop")
	id := text(t, made, "id")

	list := d.run("audit", "list")
	require.Zero(t, list.code, list.stderr)
	require.Contains(t, list.stdout, "api_key.create")
	require.Contains(t, list.stdout, "a new shop")

	require.Len(t, d.ids("audit", "list", "--object", id, "--actor", "me", "--action", "api_key.create", "--since", "1h"), 1)
	require.Empty(t, d.ids("audit", "list", "--until", "1h"))
	require.Empty(t, d.ids("audit", "list", "--actor", "you"))

	// An export ends where the audit is complete, a moment ago.
	var table ran

	require.Eventually(t, func() bool {
		table = d.run("audit", "export", "--object", id)
		require.Zero(t, table.code, table.stderr)
		require.True(t, strings.HasPrefix(table.stdout, "id,at,actor,"))

		return len(strings.Split(strings.TrimSpace(table.stdout), "\r\n")) == 2
	}, time.Minute, 100*time.Millisecond)

	// The next one begins there.
	_, next, found := strings.Cut(strings.TrimSpace(table.stderr), "--from ")
	require.True(t, found, "%q", table.stderr)

	after := d.object("keys", "create", "Desk", "--scopes", "support")

	var lines []string

	require.Eventually(t, func() bool {
		exported := d.run("audit", "export", "-o", "json", "--from", next)
		require.Zero(t, exported.code, exported.stderr)
		lines = strings.Split(strings.TrimSpace(exported.stdout), "\n")

		return lines[0] != ""
	}, time.Minute, 100*time.Millisecond)
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], text(t, after, "id"))
	d.fails("--from must be a time", "audit", "export", "--from", "yesterday")
}

// Whoever names a tenant means what is that tenant's, and a decision is told to whom it concerns.
func TestTenants_OwnWhatIsNamed(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	require.Zero(t, d.run("tenants", "create", "acme").code)

	id := d.giveUp("order_1")
	reason := []string{"--reason", "judged"}

	for _, named := range [][]string{
		{"operations", "show", id},
		append([]string{"operations", "close", id}, reason...),
		{"payments", "show", id},
		append([]string{"payments", "accept", id}, reason...),
		append([]string{"customers", "erase", id}, reason...),
	} {
		d.fails("here is no ", append(named, "--tenant", "acme")...)
	}

	require.Empty(t, d.ids("operations", "list", "--tenant", "acme"))
	require.Len(t, d.ids("operations", "list", "--tenant", "default"), 1)
	require.Zero(t, d.run("operations", "show", id, "--tenant", "default").code)
	require.Empty(t, d.audit(id), "nothing was decided")

	closed := d.run("operations", "close", id, "--tenant", "default", "--reason", "judged", "--on-behalf-of", "Rosen, finance")
	require.Zero(t, closed.code, closed.stderr)
	require.Contains(t, closed.stdout, "Rosen, finance")

	entry := d.audit(id)[0]
	require.Equal(t, "Rosen, finance", entry.OnBehalfOf)
	require.Equal(t, operation.DefaultTenant, entry.Tenant)
	require.NotEmpty(t, d.ids("audit", "list", "--object", id, "--tenant", "default"))
	require.Empty(t, d.ids("audit", "list", "--object", id, "--tenant", "acme"))

	made := d.object("keys", "create", "Shop", "--scopes", "checkout", "--tenant", "acme", "--on-behalf-of", "Rosen")
	require.Equal(t, "Rosen", d.audit(text(t, made, "id"))[0].OnBehalfOf)
	d.fails("On whose behalf", "operations", "close", d.giveUp("order_2"), "--reason", "x", "--on-behalf-of", "two\nlines")
}
