// Package sandbox is a stateful Stripe for payments in one http.Handler: the
// real API over HTTP for the real clients, with Stripe's idempotency, test
// cards, signed webhooks, and faults on demand.
//
// It shares no code with the rest of MarketFlow: its books, its currency table
// and its clock are a second opinion to hold a payment system against.
package sandbox

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Defaults of Options.
const (
	defaultWebhookConcurrency = 32
	defaultWebhookTimeout     = 10 * time.Second
	defaultSettleDelay        = 3 * time.Second
	defaultProcessingTime     = 4 * 24 * time.Hour
	defaultConfirmLimit       = 20
	defaultRetryBase          = time.Second
	defaultRetryMax           = time.Hour
	defaultGiveUp             = 3 * 24 * time.Hour
)

// Options are a sandbox's settings. The zero value is a sandbox in memory that
// delivers no webhooks.
type Options struct {
	// WebhookURL gets every event. More receivers are registered with
	// AddWebhook or POST /v1/webhook_endpoints.
	WebhookURL string
	// WebhookSecret signs what goes to WebhookURL. Empty: the state file's, or
	// a new one; Sandbox.WebhookSecret returns it.
	WebhookSecret string
	// WebhookConcurrency is how many deliveries one receiver gets at a time
	// (default 32).
	WebhookConcurrency int
	// WebhookTimeout is how long a receiver may take to answer (default 10 s).
	WebhookTimeout time.Duration
	// RetryBase is the wait after the first failed delivery (default 1 s). It
	// doubles with each further one up to RetryMax (default 1 h).
	RetryBase, RetryMax time.Duration
	// WebhookGiveUp is the age at which an event is no longer retried
	// (default three days, as in Stripe's live mode).
	WebhookGiveUp time.Duration
	// StateFile is where the sandbox keeps its state, so that it survives a
	// restart and a SIGKILL. Empty: in memory alone. Fault rules are not kept.
	StateFile string
	// Accounts are Stripe accounts with books of their own. The first is opened
	// by every test key that none of them lists (default: DefaultAccount, and
	// every test key opens it). Live keys open nothing unless they are listed.
	Accounts []Account
	// Restricted limits restricted keys (rk_…) to permissions such as
	// "payment_intents:write", which includes reading, "charges:read" or
	// "*:read". One that is not named here may do everything.
	Restricted map[string][]string
	// AllowRemoteWebhooks lets clients register webhook endpoints that are not on
	// this machine. WebhookURL and AddWebhook may name any.
	AllowRemoteWebhooks bool
	// RefundEvents also tells of refunds of charges by refund.created,
	// refund.updated and refund.failed, as Stripe does since 2024-10-28. Endpoints
	// of such a version get them anyway.
	RefundEvents bool
	// RefundsNeedBalance makes refunds wait, pending, until the available balance
	// covers them, as at Stripe. Without it the balance may become negative.
	RefundsNeedBalance bool
	// SettleDelay is how long a refund that does not end at once takes to, evidence
	// to decide a test dispute, and an asynchronous capture's balance transaction to
	// be there, on the sandbox's clock (default 3 s).
	SettleDelay time.Duration
	// ProcessingTime is how long a bank debit is processed, on the sandbox's clock
	// (default four days).
	ProcessingTime time.Duration
	// ConfirmLimit is how many confirmations of one intent may fail before it is
	// canceled (default 20; Stripe has a limit and does not publish it).
	ConfirmLimit int
	// PublicURL is where customers' browsers reach the sandbox, for the 3-D
	// Secure page (default: the address the API request came to).
	PublicURL string
	// Now is the time beneath the sandbox's clock (default time.Now). Webhooks
	// are signed with this time even when the clock was moved: the receiver
	// checks them by its own.
	Now func() time.Time
	// Logger hears of failed deliveries (default: nothing is logged).
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	orDuration := func(value *time.Duration, otherwise time.Duration) {
		if *value <= 0 {
			*value = otherwise
		}
	}

	orDuration(&o.WebhookTimeout, defaultWebhookTimeout)
	orDuration(&o.SettleDelay, defaultSettleDelay)
	orDuration(&o.ProcessingTime, defaultProcessingTime)
	orDuration(&o.RetryBase, defaultRetryBase)
	orDuration(&o.RetryMax, defaultRetryMax)
	orDuration(&o.WebhookGiveUp, defaultGiveUp)

	if o.WebhookConcurrency <= 0 {
		o.WebhookConcurrency = defaultWebhookConcurrency
	}

	if o.ConfirmLimit <= 0 {
		o.ConfirmLimit = defaultConfirmLimit
	}

	if o.Now == nil {
		o.Now = time.Now
	}

	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}

	return o
}

// backoff is the wait after a delivery's n-th failed attempt.
func (o Options) backoff(attempt int) time.Duration {
	wait := o.RetryBase
	for n := 1; n < attempt && wait < o.RetryMax; n++ {
		wait *= 2
	}

	return min(wait, o.RetryMax)
}

// Sandbox is a Stripe. It serves the API under /v1, its own control API under
// /_sandbox, and is safe for any number of goroutines. Close it after use.
type Sandbox struct {
	options  Options
	log      *slog.Logger
	clock    *clock
	schedule *schedule
	accounts []*account          // in the order of the options, test mode before live
	opens    map[string]*account // by secret key, those that the options list
	faults   *faults
	closing  chan struct{} // closed when Close begins
	journal  *journal      // nil without a state file
	// webhookSecret signs what goes to Options.WebhookURL.
	webhookSecret string
	doors         http.Handler // the control API
}

// New returns a running sandbox.
func New(options Options) (*Sandbox, error) {
	options = options.withDefaults()
	s := &Sandbox{
		options: options, log: options.Logger, clock: &clock{real: options.Now},
		opens: map[string]*account{}, closing: make(chan struct{}),
	}

	if err := s.openAccounts(); err != nil {
		return nil, err
	}

	s.schedule = newSchedule(s.clock)
	s.faults = newFaults()
	s.doors = s.controlRoutes()

	if options.StateFile != "" {
		if err := s.load(options.StateFile); err != nil {
			s.stop()

			return nil, err
		}
	}

	s.webhookSecret = s.home().configureWebhook(options.WebhookSecret)

	if live := s.account(s.home().id, true); live.hasKey() {
		live.configureWebhook(s.webhookSecret)
	}

	for _, a := range s.accounts {
		for _, item := range a.books.events.all() {
			a.webhooks.resume(item.object)
		}
	}

	for _, a := range s.accounts {
		for _, item := range a.books.payments.all() {
			a.resume(item.object)
		}
	}

	s.pruneLater()

	return s, nil
}

// Close lets go of requests that faults hold, stops deliveries and jobs and
// waits for those under way. It may be called once.
func (s *Sandbox) Close() error {
	s.stopHolding()
	s.stop()

	if s.journal == nil {
		return nil
	}

	return s.journal.close()
}

// stop ends deliveries and jobs and waits for those under way.
func (s *Sandbox) stop() {
	for _, a := range s.accounts {
		a.webhooks.close()
	}

	s.schedule.close()
}

// WebhookSecret is what signs the events for Options.WebhookURL: the secret that
// was given, or made up, or found in the state file.
func (s *Sandbox) WebhookSecret() string { return s.webhookSecret }

// ServeHTTP answers Stripe's API, the control API and, at /, a page that shows
// what is in the sandbox.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // a client that sends slowly holds a connection no longer than this
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(readBodyTimeout)) // or it has none
		r.Body = &timedBody{ReadCloser: r.Body, control: control}
	}

	switch {
	case strings.HasPrefix(r.URL.Path, "/_sandbox/"):
		s.doors.ServeHTTP(w, r)
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		s.guard(http.HandlerFunc(s.serveFrontPage)).ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, payPath):
		s.doors.ServeHTTP(w, r)
	case s.allowOrigins(w, r):
	default:
		s.serveAPI(w, r)
	}
}

// timedBody ends the body's time-out when it has been read: what follows is the
// wait for an answer, which faults may make long.
type timedBody struct {
	io.ReadCloser

	control *http.ResponseController
}

// Read implements io.Reader.
func (b *timedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}

	return n, err //nolint:wrapcheck // a reader's errors pass as they are
}

// baseURL is where the client that sent a request reaches the sandbox.
func (s *Sandbox) baseURL(r *http.Request) string {
	if s.options.PublicURL != "" {
		return strings.TrimSuffix(s.options.PublicURL, "/")
	}

	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}

	return scheme + r.Host
}

// pruneLater forgets old idempotency keys once an hour of the sandbox's clock.
func (s *Sandbox) pruneLater() {
	s.schedule.after(time.Hour, func() {
		for _, a := range s.accounts {
			for _, key := range a.keys.prune() {
				a.saveOne(keyUsed+key, nil, renderedSize)
			}
		}

		s.pruneLater()
	})
}

// stopHolding lets go of requests that faults hold.
func (s *Sandbox) stopHolding() {
	select {
	case <-s.closing:
	default:
		close(s.closing)
	}
}
