package http_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A flood of lines that anybody can cause is cut, and says by how much.
func TestLog_StrangersDoNotFillIt(t *testing.T) {
	t.Parallel()

	const flood = 3000

	for name, send := range map[string]func(*testBundle) *httptest.ResponseRecorder{
		"no signature": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", event)
		},
		"a forged one": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", forged())
		},
		"too large": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", strings.Repeat("x", 1<<20+1), "Stripe-Signature", forged())
		},
		"no route":     func(b *testBundle) *httptest.ResponseRecorder { return b.do(http.MethodGet, "/wp-login.php", "") },
		"no method":    func(b *testBundle) *httptest.ResponseRecorder { return b.do(http.MethodGet, "/webhooks/stripe", "") },
		"cross-origin": func(b *testBundle) *httptest.ResponseRecorder { return b.do("BREW", "/payments", "", "Origin", "null") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			begun := time.Now()
			written := func() (lines, leftOut int64) {
				for _, line := range b.lines.FilterMessage("request").All() {
					n, _ := line.ContextMap()["left_out"].(int64)
					lines, leftOut = lines+1, leftOut+n
				}

				return lines, leftOut
			}

			for range flood {
				require.GreaterOrEqual(t, send(b).Code, http.StatusBadRequest)
			}

			lines, _ := written()
			require.Less(t, float64(lines), 40+20*time.Since(begun).Seconds())

			sent := int64(flood)

			require.Eventually(t, func() bool { // the next line has what was left out before it
				sent++

				send(b)

				lines, leftOut := written()

				return lines+leftOut == sent
			}, 10*time.Second, 20*time.Millisecond)
		})
	}
}

// Honest requests have a line each.
func TestLog_TellsOfEveryOther(t *testing.T) {
	t.Parallel()

	b := setup(t)
	for range 100 {
		b.webhook()
		b.do(http.MethodPost, "/payments", `{}`)
	}

	require.Equal(t, 200, b.lines.FilterMessage("request").Len())
	require.Equal(t, 200, b.lines.Len(), "what an event did is in the same line")

	line := b.lines.FilterFieldKey("event_id").All()[0].ContextMap()
	require.Equal(t, "/webhooks/stripe", line["route"])
	require.Equal(t, "evt_1", line["event_id"])
	require.Equal(t, "stale", line["outcome"])
}
