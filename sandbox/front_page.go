package sandbox

import (
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

// frontPageRows is how many of the newest payments and events the page shows.
const frontPageRows = 25

// frontPage shows a person what is in the sandbox.
//
//nolint:gochecknoglobals // parsed once, never written
var frontPage = template.Must(template.New("front").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Stripe sandbox</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin-bottom:2rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
code{font-size:.9em}h2{margin:2rem 0 .5rem;font-size:1.2rem}.quiet{color:#666}</style>
<h1>Stripe sandbox</h1>
<p>API version <code>{{.Version}}</code>, its clock says {{.Now}}{{if .Offset}} ({{.Offset}} from this machine's){{end}}.
{{if .Hangs}}<strong>The API hangs: every request is accepted and none is answered.</strong>{{end}}</p>
{{range .Accounts}}<h2>{{.ID}}, {{.Mode}} mode</h2>
<p>{{.Payments}} payments, {{.Charges}} charges, {{.Refunds}} refunds, {{.Disputes}} disputes, {{.Customers}} customers,
{{.Setups}} setup intents, {{.Events}} events.
Balance:{{range .Balances}} {{.}};{{end}}</p>
{{if .Latest}}<table><tr><th>Payment<th>Amount<th>Status<th>Created<th>Metadata</tr>
{{range .Latest}}<tr><td>{{if .Pay}}<a href="{{.Pay}}"><code>{{.ID}}</code></a>{{else}}<code>{{.ID}}</code>{{end}}
<td>{{.Amount}}<td>{{.Status}}<td>{{.Created}}
<td>{{range .Metadata}}{{.Key}}={{.Value}} {{end}}</tr>
{{end}}</table>{{else}}<p class="quiet">No payments yet.</p>{{end}}
{{if .Happened}}<table><tr><th>Event<th>Type<th>Created<th>Deliveries</tr>
{{range .Happened}}<tr><td><code>{{.ID}}</code><td>{{.Type}}<td>{{.Created}}<td>{{range .Deliveries}}{{.}} {{end}}</tr>
{{end}}</table>{{end}}
{{if .Endpoints}}<table><tr><th>Webhook endpoint<th>URL<th>Events<th>Version<th>Status</tr>
{{range .Endpoints}}<tr><td><code>{{.ID}}</code><td>{{.URL}}
<td>{{range .Types}}{{.}} {{end}}{{if .Connect}}(connected accounts){{end}}
<td>{{or .APIVersion "the account's"}}<td>{{if .Disabled}}disabled{{else}}enabled{{end}}</tr>
{{end}}</table>{{end}}{{end}}
{{if .Faults}}<h2>Fault rules</h2><table><tr><th>Rule<th>Action<th>Matched<th>Fired<th>Held</tr>
{{range .Faults}}<tr><td><code>{{.ID}}</code>
<td>{{.Action}} {{.Method}} {{.Path}} {{.Event}}<td>{{.Matched}}<td>{{.Fired}}<td>{{.Held}}</tr>
{{end}}</table>{{end}}
</html>
`))

// accountView is an account as the page shows it.
type accountView struct {
	ID, Mode                                     string
	Payments, Charges, Refunds, Disputes, Events int
	Customers, Setups                            int
	Balances                                     []string
	Latest                                       []paymentView
	Happened                                     []eventView
	Endpoints                                    []*webhookEndpoint
}

type paymentView struct {
	ID, Amount, Status, Created string
	Pay                         string // where its customer can go on with it; empty: nowhere
	Metadata                    metadata
}

type eventView struct {
	ID, Type, Created string
	Deliveries        []string
}

func (s *Sandbox) serveFrontPage(w http.ResponseWriter, r *http.Request) {
	offset := ""
	if moved := time.Duration(s.clock.offset.Load()); moved != 0 {
		offset = moved.String()
	}

	hangs, _ := s.Hung()
	shown := []accountView{}

	for _, a := range s.accounts {
		if view := a.view(); a == s.home() || view.Events > 0 || len(view.Endpoints) > 0 || a.hasKey() {
			shown = append(shown, view)
		}
	}

	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")

	err := frontPage.Execute(w, map[string]any{
		"Version": apiVersion, "Now": pageTime(s.clock.seconds()), "Offset": offset, "Hangs": hangs, "Accounts": shown,
		"Faults": s.Faults(),
	})
	if err != nil {
		s.log.Debug("the client hung up before its page", "error", err)
	}
}

func pageTime(seconds int64) string { return unixTime(seconds).UTC().Format("2006-01-02 15:04:05 UTC") }

// newest are the last objects of a shelf, the newest first.
func newest[T any](items []shelved[T]) []shelved[T] {
	last := slices.Clone(items[max(0, len(items)-frontPageRows):])
	slices.Reverse(last)

	return last
}

func (s *account) view() accountView {
	payments, events := s.books.payments.all(), s.books.events.all()
	view := accountView{
		ID: s.id, Mode: "test", Payments: len(payments), Charges: len(s.books.charges.all()),
		Refunds: len(s.books.refunds.all()), Disputes: len(s.books.disputes.all()), Events: len(events),
		Customers: len(s.books.wallet.customers.all()), Setups: len(s.books.wallet.setups.all()),
	}

	if s.live {
		view.Mode = "live"
	}

	for _, b := range s.balances() {
		view.Balances = append(view.Balances,
			pageMoney(b.available.sum(), b.currency)+" available, "+pageMoney(b.pending.sum(), b.currency)+" pending")
	}

	for _, item := range newest(payments) {
		item.object.mu.Lock()
		i := item.object.intent
		item.object.mu.Unlock()

		view.Latest = append(view.Latest, paymentView{
			ID: i.ID, Amount: pageMoney(i.Amount, i.Currency), Status: i.Status, Created: pageTime(i.Created),
			Metadata: i.Metadata, Pay: i.page(),
		})
	}

	for _, item := range newest(events) {
		view.Happened = append(view.Happened, item.object.view())
	}

	for _, r := range s.webhooks.list() {
		settings, _ := r.now()
		view.Endpoints = append(view.Endpoints, settings)
	}

	return view
}

func pageMoney(amount int64, currency string) string {
	sign := ""
	if amount < 0 {
		sign, amount = "-", -amount
	}

	return sign + currencies[currency].digits(amount) + " " + strings.ToUpper(currency)
}

func (e *event) view() eventView {
	view := eventView{ID: e.id, Type: e.kind, Created: pageTime(e.created)}

	for _, d := range e.sendings() {
		state, report := "waits", d.report()

		switch {
		case report.Lost:
			state = "lost"
		case report.Delivered:
			state = "delivered"
		case report.Attempts > 0:
			state = statusFailed
		}

		view.Deliveries = append(view.Deliveries, state+" at "+report.URL)
	}

	return view
}
