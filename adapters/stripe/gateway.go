// Package stripe is the payment provider: Gateway calls Stripe's API, Webhooks
// verifies and reads its events.
//
// Stripe-go builds requests, adds the key and decodes errors. Whatever decides
// whether a payment exists is done here. README.md says what the package owns,
// what always holds, and which file does what.
package stripe

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	stripego "github.com/stripe/stripe-go/v76"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/ports"
)

// Config says how to reach Stripe. Zero values take the defaults.
type Config struct {
	// SecretKey is "sk_…" or "rk_…". A restricted key must be allowed to write
	// PaymentIntents, Refunds, Customers, SetupIntents, PaymentMethods and Disputes, and to read Events.
	SecretKey string
	// APIBase is the API's URL without /v1; empty is https://api.stripe.com.
	APIBase string
	// AttemptTimeout is how long a single attempt may take; 10 s by default.
	AttemptTimeout time.Duration
	// MaxAttempts is the most times that one call is sent, the first included; 3
	// by default.
	MaxAttempts int
	// MaxInFlight is how many attempts of all kinds may wait for Stripe at once;
	// 256 by default. Further ones are shed: they fail at once, without a queue.
	MaxInFlight int
	// StallAfter is how long Stripe may leave every waiting call unanswered
	// before it counts as dead; 700 ms by default.
	StallAfter time.Duration
}

func (c Config) withDefaults() Config {
	return Config{
		SecretKey:      c.SecretKey,
		APIBase:        cmp.Or(c.APIBase, stripego.APIURL),
		AttemptTimeout: cmp.Or(c.AttemptTimeout, 10*time.Second),
		MaxAttempts:    cmp.Or(c.MaxAttempts, 3),
		MaxInFlight:    cmp.Or(c.MaxInFlight, 256),
		StallAfter:     cmp.Or(c.StallAfter, 700*time.Millisecond),
	}
}

// Meter takes the gateway's measurements. It must not block: some calls are
// made with a lock held.
type Meter interface {
	// Call: an attempt has ended, or was shed before it was sent. operation is
	// create_intent, confirm_intent, capture_intent, cancel_intent, update_intent, get_intent, list_intents,
	// list_events, get_account, create_customer, update_customer, delete_customer, create_setup, detach_method,
	// get_customer, list_customers, get_method, list_methods, create_refund, cancel_refund, list_refunds, submit_evidence,
	// accept_dispute, get_dispute or list_disputes; outcome
	// is done, declined, rejected, deployment_rejected, unknown or not_sent; reason is one of
	// the Reason constants. took is zero if nothing was sent.
	Call(operation, outcome, reason string, took time.Duration)
	// InFlight: the number of attempts that wait for Stripe has changed by delta.
	InFlight(delta int)
	// BreakerState: the circuit breaker has opened (all calls but probes are shed)
	// or closed.
	BreakerState(open bool)
}

type noMeter struct{}

func (noMeter) Call(string, string, string, time.Duration) {}
func (noMeter) InFlight(int)                               {}
func (noMeter) BreakerState(bool)                          {}

// Option replaces something that a gateway works with.
type Option func(*Gateway)

// WithLogger sets the log for changes of the circuit breaker and, at debug level
// and without secrets and bodies, for stripe-go's own lines. By default there is
// none.
func WithLogger(log *zap.Logger) Option { return func(g *Gateway) { g.log = log } }

// WithMeter sets what measures the calls; nothing does by default.
func WithMeter(meter Meter) Option { return func(g *Gateway) { g.meter = meter } }

// WithTracerProvider sets the tracer provider; the default is OpenTelemetry's
// global one.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(g *Gateway) { g.traces = provider }
}

// WithTransport replaces the network.
func WithTransport(network http.RoundTripper) Option {
	return func(g *Gateway) { g.network = network }
}

// WithSleep replaces how the gateway waits between attempts. sleep returns ctx's
// error if ctx ends first.
func WithSleep(sleep func(ctx context.Context, d time.Duration) error) Option {
	return func(g *Gateway) { g.sleep = sleep }
}

// Gateway is Stripe as a ports.Provider. It is safe for concurrent use.
type Gateway struct {
	config  Config
	host    string
	mode    binding.Mode
	log     *zap.Logger
	meter   Meter
	traces  trace.TracerProvider
	network http.RoundTripper
	sleep   func(ctx context.Context, d time.Duration) error

	tracer  trace.Tracer
	backend stripego.Backend
	gate    *gate
	// That customers, disputes or refunds cannot be listed is said once.
	noCustomers, noDisputes, noRefunds sync.Once
	// hasRefunds: a call about refunds was answered, so the API has them.
	hasRefunds atomic.Bool
}

var _ ports.Provider = (*Gateway)(nil)

// NewGateway returns a gateway. It does no I/O.
func NewGateway(config Config, options ...Option) *Gateway {
	g := &Gateway{
		config: config.withDefaults(),
		log:    zap.NewNop(),
		meter:  noMeter{},
		traces: otel.GetTracerProvider(),
		sleep:  sleep,
	}
	g.host, g.mode = hostOf(g.config.APIBase), modeOfKey(g.config.SecretKey)
	g.network = newNetwork(g.config.MaxInFlight)

	for _, option := range options {
		option(g)
	}

	g.tracer = g.traces.Tracer(instrumentation)
	g.gate = newGate(g.config, g.meter, g.log)
	g.backend = stripego.GetBackendWithConfig(stripego.APIBackend, &stripego.BackendConfig{
		URL:           &g.config.APIBase,
		HTTPClient:    newClient(g.network, g.traces),
		LeveledLogger: leveledLogger{log: g.log},
		// No retries by stripe-go: the answer to one that we do not see could hide
		// that the first attempt succeeded. The loop is in Gateway.call.
		MaxNetworkRetries: new(int64),
		EnableTelemetry:   new(bool),
	})

	return g
}

// Ready implements ports.Provider.
func (g *Gateway) Ready() error { return g.gate.ready(writes) }

const (
	maxKeyLength    = 255 // https://docs.stripe.com/api/idempotent_requests
	decimal         = 10
	firstPause      = 50 * time.Millisecond // on average
	longestPause    = 500 * time.Millisecond
	instrumentation = "github.com/marketflow/marketflow/adapters/stripe"
)

// Send implements ports.Provider.
func (g *Gateway) Send(ctx context.Context, sent ports.Call, resend bool) (ports.Object, error) {
	if about, ok := readRefundCall(sent); ok {
		return g.sendOnRefund(ctx, sent, about, resend)
	}

	if about, ok := readCustomerCall(sent); ok {
		return g.sendOnCustomer(ctx, sent, about, resend)
	}

	if about, ok := readDisputeCall(sent); ok {
		return g.sendOnDispute(ctx, sent, about, resend)
	}

	asked, err := readCall(sent)
	if err != nil {
		return ports.Object{}, fmt.Errorf("read the call to send: %w", err)
	}

	var (
		got     intentObject
		decline *failure // the last attempt, if it was declined
	)

	err = g.call(ctx, &call{
		operation: asked.operation,
		kind:      writes,
		maxAnswer: maxObject,
		method:    http.MethodPost,
		path:      sent.Path,
		key:       sent.Key,
		body:      sent.Params,
		paymentID: asked.paymentID,
		answer:    emptied(&got),
		judge: func(failed *failure, first bool) verdict {
			v := judgeSent(asked, &got, failed, first && !resend)
			if decline = nil; v.outcome == declined {
				decline = failed
			}

			return v
		},
	})
	if err != nil {
		return ports.Object{}, err
	}

	object := ports.Object{Intent: got.intent(), Declined: decline != nil}
	if object.Declined && object.Intent.Decline.IsZero() {
		object.Intent.Decline = decline.decline()
	}

	return object, nil
}

// call is one call of Stripe's API; every attempt sends the same bytes.
type call struct {
	// operation is its name in metrics, traces and errors.
	operation    string
	kind         kind
	method, path string
	// maxAnswer bounds the answer's body, in bytes.
	maxAnswer int64
	// key is the idempotency key, and body is sent byte for byte; a read has neither.
	key, body string
	// paymentID is for the trace.
	paymentID string
	// answer returns what the next attempt's answer is decoded into, emptied.
	answer func() any
	// judge decides what an attempt proves; failed is nil if an object came back.
	// first says that no earlier attempt was sent.
	judge func(failed *failure, first bool) verdict
}

// emptied makes a call's answer of got: an attempt must not see what an earlier one
// has left there.
func emptied[T any](got *T) func() any {
	return func() any {
		*got = *new(T)

		return got
	}
}

// call sends c, and sends it again as long as that may help, the gate lets it
// through and ctx has time. The result is what the last attempt that was sent has
// proved: one that was not sent changes nothing, unless none was sent at all.
func (g *Gateway) call(ctx context.Context, c *call) error {
	var result error

	// Full jitter, from nothing to twice the pause: callers who failed together
	// do not come back together.
	pause := backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: longestPause, Multiplier: 2, RandomizationFactor: 1,
	}

	for number, first := 1, true; ; number++ {
		v := g.attempt(ctx, c, number, first)

		if v.outcome != notSent || first {
			result = v.err
		}

		first = first && v.outcome == notSent

		again := v.again && number < g.config.MaxAttempts && g.gate.ready(c.kind) == nil && g.pause(ctx, pause.NextBackOff())
		if !again {
			return result
		}
	}
}

// pause waits before the next attempt. It is false where ctx would end before.
func (g *Gateway) pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}

	return g.sleep(ctx, d) == nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the next attempt: %w", context.Cause(ctx))
	}
}

// attempt sends c once, if the gate lets it through, and reports to meter and
// trace. first says that no earlier attempt was sent.
func (g *Gateway) attempt(ctx context.Context, c *call, number int, first bool) verdict {
	ticket, shed := g.gate.enter(ctx, c.kind)
	if shed != nil {
		g.meter.Call(c.operation, string(notSent), string(shed.reason), 0)

		return verdict{outcome: notSent, reason: shed.reason, err: shed}
	}

	spanCtx, span := g.tracer.Start(ticket.ctx, "stripe."+c.operation)
	defer span.End()

	seen := exchange{body: c.body, number: number, mayRead: c.maxAnswer}
	err := g.send(spanCtx, c, &seen)
	failed := explain(err, &seen, ticket.ended(ctx))
	v := c.judge(failed, first)

	took := g.gate.leave(ticket, healthOf(failed))
	if v.outcome == notSent {
		took = 0
	}

	g.meter.Call(c.operation, string(v.outcome), string(v.reason), took)
	v.err = v.wrap(c.operation, &seen)
	describe(span, c, &seen, v)

	return v
}

func (g *Gateway) send(ctx context.Context, c *call, seen *exchange) error {
	params := &stripego.Params{Context: context.WithValue(ctx, exchangeKey{}, seen)}
	if c.key != "" {
		params.IdempotencyKey = &c.key
	}

	err := g.backend.CallRaw(c.method, c.path, g.config.SecretKey, nil, params, new(unread))
	if err != nil {
		return err //nolint:wrapcheck // explain translates it
	}

	return decode(seen.answer, c.answer())
}
