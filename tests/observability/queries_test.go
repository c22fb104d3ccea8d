package observability

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/marketflow/marketflow/sandbox"
)

// Every query of every dashboard and rule finds something in a Prometheus that
// has scraped a service under load.
func TestQueries_FindSomething(t *testing.T) {
	t.Parallel()

	w := newWorld(t, "RECONCILE_INTERVAL", "1s", "RATE_LIMIT", "1000")
	p := startPrometheus(t, w.service.Addr())

	w.eventually(func() bool { // a rate is made of two scrapes
		found, err := p.numbers(`count_over_time(up{job="marketflow"}[1m]) >= 2`)

		return err == nil && len(found) == 1
	}, "Prometheus does not scrape the service")

	w.load("first")
	w.eventually(func() bool {
		found, err := p.numbers(`marketflow_payments_total{status="succeeded",currency="USD"}`)

		return err == nil && len(found) == 1
	}, "Prometheus does not see the first payments")
	w.load("second")

	queries := map[string]string{}

	for _, panel := range panels(t) {
		for i, target := range panel.Targets {
			queries[fmt.Sprintf("%s, %s, %d", panel.dashboard, panel.Title, i)] = forNow(target.Expr)
		}
	}

	for _, r := range rules(t) {
		for i, query := range withoutThresholds(r.Expr) {
			queries[fmt.Sprintf("rule %s%s%v, %d", r.Alert, r.Record, r.Labels, i)] = query
		}
	}

	for where, query := range queries {
		w.eventually(func() bool {
			found, err := p.numbers(query)
			require.NoError(t, err, where)

			return len(found) > 0
		}, where+" finds nothing: "+query)
	}

	requireHealthyRules(t, p)
	requireExemplars(t, p)
}

// load does everything that is counted. name makes its idempotency keys its own.
func (w *world) load(name string) {
	w.t.Helper()

	hook := w.stripe.AddWebhook(w.url+"/webhooks/stripe", webhookSecret)
	require.Equal(w.t, webhookSecret, hook)

	for i, method := range []string{"pm_card_visa", "pm_card_chargeDeclined", "pm_card_visa", ""} {
		body := fmt.Sprintf(`{"amount":%d,"currency":"USD","idempotency_key":"%s order %d"}`, 100+i, name, i)
		made := w.created(body)
		w.created(body)                                                                                      // a replay
		w.create(fmt.Sprintf(`{"amount":9%d,"currency":"USD","idempotency_key":"%s order %d"}`, i, name, i)) // another payload

		intent := made.text(w.t, "stripe_payment_intent_id")
		if method == "" {
			w.atStripe("/v1/payment_intents/"+intent+"/cancel", "")
			w.finished(made.text(w.t, "id"), "cancelled")

			continue
		}

		w.confirm(intent, method)
		w.finished(made.text(w.t, "id"), map[string]string{
			"pm_card_visa": "succeeded", "pm_card_chargeDeclined": "failed",
		}[method])
	}

	w.held(`{"amount":8,"currency":"USD","capture_method":"manual"}`, "capture", `{"amount":3}`, "succeeded")
	w.held(`{"amount":9,"currency":"USD","capture_method":"manual"}`, "cancel", "", "cancelled")

	disputed := w.created(`{"amount":12,"currency":"USD"}`)
	w.confirm(disputed.text(w.t, "stripe_payment_intent_id"), "pm_card_createDispute")
	w.eventually(func() bool {
		read := w.do(http.MethodGet, "/payments/"+disputed.text(w.t, "id"), "")

		return strings.Contains(string(read.body), `"amount_disputed":12.00`)
	}, "the dispute arrives")

	w.created(`{"amount":500,"currency":"JPY"}`)
	w.create(`{"amount":0.01,"currency":"USD"}`)                         // too small: Stripe refuses
	w.create(`{"amount":"ten","currency":"USD"}`)                        // 400
	w.webhook(succeeded("pi_unknown"), webhookSecret)                    // parked
	w.webhook(succeeded("pi_forged"), "whsec_of_somebody_else_entirely") // 401
	w.do(http.MethodGet, "/nowhere", "")

	w.fault(sandbox.Fault{Action: sandbox.DropAfter, Method: http.MethodPost, Path: "/v1/payment_intents", Count: 3})
	require.Equal(w.t, http.StatusServiceUnavailable, w.create(`{"amount":7,"currency":"USD"}`).status)

	w.eventually(func() bool {
		metrics := w.metrics()

		return strings.Contains(metrics, `marketflow_operations_finished_total{by="recovery",kind="create",outcome="done"} 1.0`) ||
			strings.Contains(metrics, `marketflow_operations_finished_total{by="webhook",kind="create",outcome="done"} 1.0`)
	}, "the unknown outcome is not finished")
}

// held authorises a payment and ends it.
func (w *world) held(body, action, with, status string) {
	w.t.Helper()

	made := w.created(body)
	w.confirm(made.text(w.t, "stripe_payment_intent_id"), "pm_card_visa")

	ended := w.do(http.MethodPost, "/payments/"+made.text(w.t, "id")+"/"+action, with)
	require.Equal(w.t, http.StatusOK, ended.status, "%s", ended.body)
	require.Equal(w.t, status, ended.text(w.t, "status"))
}

// forNow fills in Grafana's variables.
func forNow(query string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$__range", "1m").Replace(query)
}

var (
	// threshold is what an alert compares with.
	threshold = regexp.MustCompile(`\s(==|!=|>=|<=|>|<)\s[0-9.]+`)
	// unless is what keeps an alert quiet.
	unless = regexp.MustCompile(`unless on \(\) ([^\n]*)`)
	// nothing stands in for series that are absent.
	nothing = regexp.MustCompile(` or vector\(0\)`)
)

// withoutThresholds makes an alert's expression several that have something to say
// while all is well. (There is no marketflow:cause then.)
func withoutThresholds(expr string) []string {
	parts := []string{unless.ReplaceAllString(expr, "")}

	for _, clause := range unless.FindAllStringSubmatch(expr, -1) {
		if !strings.Contains(clause[1], "marketflow:cause") {
			parts = append(parts, clause[1])
		}
	}

	for i := range parts {
		parts[i] = nothing.ReplaceAllString(threshold.ReplaceAllString(parts[i], ""), "")
	}

	return parts
}

func requireHealthyRules(t *testing.T, p *prometheus) {
	t.Helper()

	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}

	require.NoError(t, p.ask("/api/v1/rules", nil, &data))

	count := 0

	for _, group := range data.Groups {
		for _, r := range group.Rules {
			require.NotEqual(t, "err", r.Health, "%s: %s", r.Name, r.LastError)

			count++
		}
	}

	require.Len(t, rules(t), count)
}

// requireExemplars: a dot on a latency leads to a trace that was sent.
func requireExemplars(t *testing.T, p *prometheus) {
	t.Helper()

	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			if !target.Exemplar {
				continue
			}

			var data []struct {
				Exemplars []struct{ Labels map[string]string }
			}

			require.NoError(t, p.ask("/api/v1/query_exemplars",
				url.Values{"query": {forNow(target.Expr)}, "start": {"0"}, "end": {"9999999999"}}, &data))
			require.NotEmpty(t, data, "%s has no exemplars", panel.Title)

			id := data[0].Exemplars[0].Labels["trace_id"]
			require.NotEmpty(t, received.find(func(s *otlp.Span) bool { return hex.EncodeToString(s.GetTraceId()) == id }), id)
		}
	}
}

func TestMetrics_PromtoolFindsNothingToCheck(t *testing.T) {
	t.Parallel()

	promtool := tool(t, "promtool")
	w := newWorld(t, "RECONCILE_INTERVAL", "1s", "RATE_LIMIT", "1000")
	w.load("only")

	metrics := string(w.do(http.MethodGet, "/metrics", "", "Accept", "text/plain").body)
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
	requireShown(t, metrics)
}

// requireShown: what is measured is on a dashboard or in a rule.
func requireShown(t *testing.T, metrics string) {
	t.Helper()

	var queries strings.Builder

	for _, p := range panels(t) {
		for _, target := range p.Targets {
			queries.WriteString(target.Expr + "\n")
		}
	}

	for _, r := range rules(t) {
		queries.WriteString(r.Expr + "\n")
	}

	names := regexp.MustCompile(`(?m)^# TYPE (marketflow_\w+)`).FindAllStringSubmatch(metrics, -1)
	require.NotEmpty(t, names)

	for _, name := range names {
		require.Regexp(t, name[1]+`(_bucket|_sum|_count)?\b`, queries.String())
	}
}
