package observability

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/pgtest"
)

// Nobody should find out at three in the morning that a statement has a typo.
func TestRunbooks_StatementsRun(t *testing.T) {
	t.Parallel()

	pool := pgtest.New(t).Pool()

	for _, statement := range statements(t) {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// statements are the runbooks'.
func statements(t *testing.T) []string {
	t.Helper()

	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(read(t, "docs/operations.md")), -1)
	require.NotEmpty(t, blocks)

	all := make([]string, 0, len(blocks))
	for _, block := range blocks {
		all = append(all, block[1])
	}

	return all
}

// Closing a claim by hand freezes an answer that clients get for ever.
func TestRunbooks_ClosingAClaim(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	pool := w.db.Pool()
	body := `{"amount":10,"currency":"USD","idempotency_key":"given up"}`
	paymentID := w.created(body).text(t, "id")

	_, err := pool.Exec(t.Context(), `DELETE FROM payments`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `UPDATE payment_requests
		SET state = 'needs_attention', response_status = NULL, response_body = NULL`)
	require.NoError(t, err)

	var closing string

	for _, statement := range statements(t) {
		if strings.HasPrefix(statement, "UPDATE payment_requests") {
			closing = strings.ReplaceAll(statement, "00000000-0000-0000-0000-000000000000", paymentID)
		}
	}

	closed, err := pool.Exec(t.Context(), closing)
	require.NoError(t, err)
	require.EqualValues(t, 1, closed.RowsAffected())

	again := newWorldOn(t, w) // the first has the answer in memory
	answer := again.create(body)
	require.Equal(t, 502, answer.status, "%s", answer.body)
	require.Equal(t, "This payment was never made. Use a new idempotency key.", answer.text(t, "detail"))
	require.Equal(t, "true", answer.header.Get("Idempotent-Replayed"))
}

// newWorldOn starts a second service on the database and at the Stripe of
// another, without Redis.
func newWorldOn(t *testing.T, w *world) *world {
	t.Helper()

	return newWorld(t, "DATABASE_URL", w.db.URL, "STRIPE_API_BASE", w.stripe.URL, "REDIS_URL", "")
}
