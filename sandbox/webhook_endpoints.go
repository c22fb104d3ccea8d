package sandbox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AddWebhook registers a receiver for the first account's events of the given types, or of all
// types when none is given, and returns its signing secret: the one passed, or
// where that is empty a new one, or that of a receiver with the same URL, which
// is replaced.
func (s *Sandbox) AddWebhook(url, secret string, types ...string) string {
	return s.home().addWebhook(url, secret, types)
}

func (s *account) addWebhook(url, secret string, types []string) string {
	if len(types) == 0 {
		types = []string{"*"}
	}

	made := &webhookEndpoint{ID: newID("we_1"), Created: s.clock.seconds(), URL: url, Secret: secret, Types: types, Live: s.live}

	for _, r := range s.webhooks.list() {
		if old, _ := r.now(); old.URL == url {
			made.ID, made.Created, made.Configured = old.ID, old.Created, old.Configured
			made.Secret = orDefault(secret, old.Secret)
		}
	}

	made.Secret = orDefault(made.Secret, NewWebhookSecret())
	s.keepEndpoint(made)

	return made.Secret
}

// configureWebhook registers the receiver that the options name, in the place of
// the one that they named when the state file was written, and returns its
// secret.
func (s *account) configureWebhook(secret string) string {
	made := &webhookEndpoint{
		ID: newID("we_1"), Created: s.clock.seconds(), URL: s.options.WebhookURL, Secret: secret,
		Types: []string{"*"}, Configured: true, Live: s.live,
	}

	for _, r := range s.webhooks.list() {
		old, _ := r.now()

		switch {
		case !old.Configured:
		case made.URL == "":
			s.webhooks.remove(r)
			s.saveOne(keyEndpoint+r.id, nil, 0)
		default:
			made.ID, made.Created, made.Secret = old.ID, old.Created, orDefault(made.Secret, old.Secret)
		}
	}

	if made.URL == "" {
		return ""
	}

	made.Secret = orDefault(made.Secret, NewWebhookSecret())
	s.keepEndpoint(made)

	return made.Secret
}

// keepEndpoint enters an endpoint's new version into the books.
func (s *account) keepEndpoint(e *webhookEndpoint) {
	s.webhooks.register(e)
	s.saveOne(keyEndpoint+e.ID, e, 0)
}

// webhookEndpoint is one version of a Webhook Endpoint.
type webhookEndpoint struct {
	ID          string
	Created     int64
	Live        bool
	URL         string
	Secret      string
	Types       []string
	Description string
	Metadata    metadata
	// APIVersion is what its events are labelled with; empty: the account's.
	APIVersion string
	// Connect is true for one that gets the events of connected accounts
	// instead of its own account's.
	Connect  bool
	Disabled bool
	// Configured is true for the one that Options.WebhookURL names.
	Configured bool
}

// wants tells whether the endpoint subscribed to an event.
func (e *webhookEndpoint) wants(what *event) bool {
	return !e.Disabled && (slices.Contains(e.Types, "*") || slices.Contains(e.Types, what.kind)) &&
		(!what.isNewer() || e.APIVersion >= refundEventsSince)
}

// render is an event as the endpoint gets it.
func (e *webhookEndpoint) render(what *event) []byte {
	w := jsonWriter{buf: make([]byte, 0, renderedSize)}
	what.write(&w, orDefault(e.APIVersion, apiVersion), e.Connect)

	return append(w.buf, '\n')
}

// writeJSON writes the endpoint without its secret, which Stripe shows once.
func (e *webhookEndpoint) writeJSON(w *jsonWriter) { e.write(w, false) }

func (e *webhookEndpoint) write(w *jsonWriter, withSecret bool) {
	w.beginObject()
	w.str("id", e.ID)
	w.str("object", "webhook_endpoint")
	w.strOrNull("api_version", e.APIVersion)
	w.null("application")
	w.num("created", e.Created)
	w.strOrNull("description", e.Description)
	w.strings("enabled_events", e.Types)
	w.boolean("livemode", e.Live)
	e.Metadata.write(w)

	if withSecret {
		w.str("secret", e.Secret)
	}

	if e.Disabled {
		w.str("status", "disabled")
	} else {
		w.str("status", "enabled")
	}

	w.str("url", e.URL)
	w.endObject()
}

// newEndpoint is an endpoint with the secret that its creation shows.
type newEndpoint struct{ *webhookEndpoint }

func (e newEndpoint) writeJSON(w *jsonWriter) { e.write(w, true) }

// createWebhookEndpoint is POST /v1/webhook_endpoints.
func (s *account) createWebhookEndpoint(rq *request) *refusal {
	p := rq.params
	made := &webhookEndpoint{ID: newID("we_1"), Secret: NewWebhookSecret(), Created: s.clock.seconds(), Live: s.live}
	made.URL = p.required("url")

	if !p.has("enabled_events") {
		p.required("enabled_events")
	}

	s.readEndpoint(p, made)

	made.APIVersion = p.text("api_version")
	if made.APIVersion != "" && !isVersion(made.APIVersion) {
		p.refuse(invalid("Invalid API version: "+made.APIVersion+". A version is a date such as 2023-10-16, or since 2024 "+
			"a date and a name such as 2024-10-28.acacia.", "api_version", ""))
	}

	made.Connect, _ = p.boolean("connect")

	if r := rq.finish(); r != nil {
		return r
	}

	s.keepEndpoint(made)

	rq.body = newEndpoint{made}

	return nil
}

// isVersion tells whether a text is formed like one of Stripe's API versions:
// a date, since 2024-09-30 with the name of its release.
func isVersion(text string) bool {
	date, name, named := strings.Cut(text, ".")
	_, err := time.Parse(time.DateOnly, date)
	isLetter := func(c rune) bool { return c >= 'a' && c <= 'z' }

	return err == nil && (!named || (name != "" && strings.TrimFunc(name, isLetter) == ""))
}

// readEndpoint reads what create and update have in common.
func (s *account) readEndpoint(p *params, e *webhookEndpoint) {
	if p.has("enabled_events") {
		e.Types = p.list("enabled_events")
		if len(e.Types) == 0 {
			p.refuse(emptyParam("enabled_events"))
		}

		for i, kind := range e.Types {
			if !canSubscribe(kind) {
				p.refuse(invalid("Invalid enabled_events["+strconv.Itoa(i)+"]: must be one of *, "+
					strings.Join(paymentEvents, ", ")+", or another of Stripe's types of events",
					"enabled_events["+strconv.Itoa(i)+"]", ""))
			}
		}
	}

	e.Metadata = readMetadata(p, e.Metadata)
	setText(p, "description", &e.Description)

	if !p.has("url") {
		return
	}

	u, err := url.Parse(e.URL)

	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		p.refuse(invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url", codeURLInvalid))
	case !s.options.AllowRemoteWebhooks && !isLoopback(u.Host):
		p.refuse(invalid("Invalid URL: the sandbox delivers to this machine alone (localhost, 127.0.0.1, [::1]) unless it "+
			"is started with --allow-remote-webhooks.", "url", codeURLInvalid))
	}
}

// paymentEvents are Stripe's types of events about payments. Those of other
// groups never come here, whatever their names.
//
//nolint:gochecknoglobals // a table, never written
var paymentEvents = []string{
	"charge.captured", "charge.dispute.closed", "charge.dispute.created", "charge.dispute.funds_reinstated",
	"charge.dispute.funds_withdrawn", "charge.dispute.updated", "charge.expired", "charge.failed", "charge.pending",
	"charge.refund.updated", "charge.refunded", "charge.succeeded", "charge.updated",
	"payment_intent.amount_capturable_updated", "payment_intent.canceled", "payment_intent.created",
	"payment_intent.partially_funded", "payment_intent.payment_failed", "payment_intent.processing",
	"payment_intent.requires_action", "payment_intent.succeeded", "refund.created", "refund.failed", "refund.updated",
}

// canSubscribe refuses what would never be delivered: a misspelt type, and a
// group's wildcard, which Stripe has for lists of events alone.
func canSubscribe(kind string) bool {
	group, _, _ := strings.Cut(kind, ".")

	switch group {
	case objectCharge, objectIntent, objectRefund:
		return slices.Contains(paymentEvents, kind)
	default:
		return kind == "*" || !strings.Contains(kind, "*")
	}
}

// getWebhookEndpoint is GET /v1/webhook_endpoints/:id.
func (s *account) getWebhookEndpoint(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	found, r := s.findReceiver(rq.objectID)
	if r != nil {
		return r
	}

	settings, _ := found.now()

	rq.body = settings

	return nil
}

func (s *account) findReceiver(id string) (*receiver, *refusal) {
	receivers := s.webhooks.list()

	index := slices.IndexFunc(receivers, func(r *receiver) bool { return r.id == id })
	if index < 0 {
		return nil, missing("webhook endpoint", id, "webhook_endpoint")
	}

	return receivers[index], nil
}

// updateWebhookEndpoint is POST /v1/webhook_endpoints/:id.
func (s *account) updateWebhookEndpoint(rq *request) *refusal {
	s.readEndpoint(rq.params, &webhookEndpoint{URL: rq.params.text("url")})

	disabled, toggled := rq.params.boolean("disabled")

	if r := rq.finish(); r != nil {
		return r
	}

	found, r := s.findReceiver(rq.objectID)
	if r != nil {
		return r
	}

	before, _ := found.now()
	next := *before
	next.URL = orDefault(rq.params.text("url"), before.URL)
	s.readEndpoint(rq.params, &next)

	if toggled {
		next.Disabled = disabled
	}

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	s.keepEndpoint(&next)

	rq.body = &next

	return nil
}

// deleteWebhookEndpoint is DELETE /v1/webhook_endpoints/:id.
func (s *account) deleteWebhookEndpoint(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	found, r := s.findReceiver(rq.objectID)
	if r != nil {
		return r
	}

	s.webhooks.remove(found)
	s.saveOne(keyEndpoint+found.id, nil, 0)

	w := jsonWriter{}
	w.beginObject()
	w.str("id", found.id)
	w.str("object", "webhook_endpoint")
	w.boolean("deleted", true)
	w.endObject()

	rq.body = rawDocument(w.buf)

	return nil
}

// listWebhookEndpoints is GET /v1/webhook_endpoints.
func (s *account) listWebhookEndpoints(rq *request) *refusal {
	receivers := s.webhooks.list()
	items := make([]shelved[*webhookEndpoint], 0, len(receivers))

	for _, r := range receivers {
		settings, _ := r.now()
		items = append(items, shelved[*webhookEndpoint]{id: r.id, created: settings.Created, object: settings})
	}

	return list(rq, listing[*webhookEndpoint]{
		kind: "webhook endpoint", url: "/v1/webhook_endpoints", items: items,
		position: func(id string) (int, bool) {
			index := slices.IndexFunc(items, func(item shelved[*webhookEndpoint]) bool { return item.id == id })

			return index, index >= 0
		},
		show: func(w *jsonWriter, e *webhookEndpoint, _ expansion) { e.writeJSON(w) },
	})
}
