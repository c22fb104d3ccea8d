package postgres_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/pgtest"
)

// Payments come faster than autovacuum looks at their tables, so the plans have to
// be right for tables of which the planner knows nothing, and for those where it
// saw nothing pending or parked.
func TestStatements_ArePlannedAsLookups(t *testing.T) {
	t.Parallel()

	for name, known := range map[string]string{
		"Fresh": "SELECT",
		"Quiet": `
			INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount)
				SELECT gen_random_uuid(), 'pi_' || n, 'key_' || n, 10 FROM generate_series(1, 2000) n;
			INSERT INTO operations (id, kind, idempotency_key, fingerprint, amount, currency, stripe_key, stripe_path,
					stripe_params, state, leased_until, retry_at, response_status, response_body)
				SELECT id, 'create', idempotency_key, sha256(''), 10, 'USD', '', '', '', 'finished', 'now', 'now', 201, ''
				FROM payments;
			INSERT INTO operations (id, kind, subject, idempotency_key, fingerprint, stripe_key, stripe_path,
					stripe_params, state, leased_until, retry_at, response_status, response_body)
				SELECT gen_random_uuid(), 'capture', id, 'capture ' || idempotency_key, sha256(''), '', '', '', 'finished',
				       'now', 'now', 200, ''
				FROM payments;
			INSERT INTO stripe_events (id, type, object_id, payload, outcome)
				SELECT 'evt_' || n, 'payment_intent.created', 'pi_' || n, '', 'stale' FROM generate_series(1, 2000) n;
			INSERT INTO payment_transitions (payment_id, to_status, cause) SELECT id, 'pending', 'request' FROM payments;
			INSERT INTO refunds (id, tenant, payment_id, payment_created_at, stripe_refund_id, amount, currency, status, origin,
					version, created_at, updated_at)
				SELECT gen_random_uuid(), 1, id, created_at, 're_' || idempotency_key, 1, 'USD', 'succeeded', 'stripe', 1, 'now', 'now'
				FROM payments;
			INSERT INTO disputes (id, tenant, payment_id, payment_created_at, stripe_dispute_id, amount, currency, kind, status, reason,
					network_reason_code, submissions, counted, counted_currency, balance, version, created_at, updated_at)
				SELECT gen_random_uuid(), 1, id, created_at, 'du_' || idempotency_key, 1, 'USD', 'chargeback', 'lost', '', '', 0, 1, 'USD',
				       '[]', 1, 'now', 'now' FROM payments;
			INSERT INTO payment_metadata SELECT 1, 'order', idempotency_key, created_at, id FROM payments;
			ANALYZE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			conn, err := newPool(t, pgtest.New(t).URL, 1).Acquire(t.Context())
			require.NoError(t, err)
			t.Cleanup(conn.Release)

			_, err = conn.Exec(t.Context(), known)
			require.NoError(t, err)
			requireLookups(t, conn.Conn())
		})
	}
}

func requireLookups(t *testing.T, conn *pgx.Conn) {
	t.Helper()

	// They read everything because they are asked for it, or a small table, or ask whether a
	// table has any row.
	everything := []string{
		"ListEvents", "ListFinishedOperations", "GetReconciledThrough", "StartReconciledThrough",
		"MoveReconciledThrough", "HoldReconciliation", "ReleaseReconciliation",
		"GetSystemIdentifier", "CountRelations", "ListAdoptions", "SetInstallationID",
		"MissMetadataNames", "AddMetadataNames", "GetMetadataNames",
		"GetKeysVersion", "LockKeys", "ListUsableKeys", "CountUsableKeys", "TouchKeys", "ListTenants", "ForgetMetadata",
		"ListWebhookSecrets", "CountWebhookSecrets", "TouchWebhookSecrets",
		"ListAuditEntries", "ListAuditedOperations", // planned for their arguments, each time
	}
	// What waits is looked for in an index of its own.
	waiting := []string{
		"TakeOperations", "GetBacklog", "ListParkedEvents", "ListNewestParkedEvents", "ListUnfinishedOperations",
		"GiveUpOperations", "ListHints", "ListOverdrawn",
	}
	wholeIndex := regexp.MustCompile(`Index (Only )?Scan .*\n +(->|Filter|InitPlan|CTE|SubPlan|$)`)

	for name, text := range statements(t) {
		plan := planOf(t, conn, name, text)

		if !slices.Contains(everything, name) {
			require.NotContains(t, plan, "Seq Scan", "%s:\n%s", name, plan)
			require.NotRegexp(t, wholeIndex, withoutWaiting(plan, slices.Contains(waiting, name)),
				"%s reads a whole index:\n%s", name, plan)
		}
	}
}

// withoutWaiting leaves out the indexes of what waits, where a statement is for it.
func withoutWaiting(plan string, allowed bool) string {
	if !allowed {
		return plan
	}

	return regexp.MustCompile(`(?m)^.*(operations_(pending|needs_attention)|stripe_events_(parked\w*|hints)|`+
		`payments_overdrawn|refunds_under_way|disputes_open).*$`).
		ReplaceAllString(plan, "")
}

// statements are sqlc's, by name.
func statements(t *testing.T) map[string]string {
	t.Helper()

	files, err := filepath.Glob("internal/sqlc/*.sql.go")
	require.NoError(t, err)

	found := map[string]string{}

	for _, file := range files {
		code, err := os.ReadFile(file)
		require.NoError(t, err)

		for _, match := range regexp.MustCompile("const (\\w+) = `([^`]+)`").FindAllStringSubmatch(string(code), -1) {
			found[match[1]] = match[2]
		}
	}

	require.NotEmpty(t, found)

	return found
}

func planOf(t *testing.T, conn *pgx.Conn, name, text string) string {
	t.Helper()

	prepared, err := conn.Prepare(t.Context(), name, text)
	require.NoError(t, err)

	arguments := strings.Repeat(", NULL", len(prepared.ParamOIDs))
	if arguments != "" {
		arguments = "(" + arguments[2:] + ")"
	}

	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE "+pgx.Identifier{name}.Sanitize()+arguments)
	require.NoError(t, err)

	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)

	return strings.Join(lines, "\n") + "\n"
}
