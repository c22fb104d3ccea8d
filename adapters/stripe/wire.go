package stripe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

const (
	dialTimeout = 5 * time.Second
	// idleTimeout is below the minute after which many servers close an idle
	// connection, so that few requests are written to a closed one.
	idleTimeout = 45 * time.Second
	// maxObject and maxList bound how much of an answer is read. An object, or a list
	// of 100, is smaller with all the metadata that Stripe allows.
	maxObject, maxList = 1 << 20, 16 << 20
	// maxHeader bounds an answer's headers.
	maxHeader = 1 << 20
)

// newNetwork speaks HTTP/1.1, with one connection for each call under way: a
// connection that breaks fails one call, not all of them.
func newNetwork(maxInFlight int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)

	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		Protocols:           protocols,
		MaxIdleConns:        maxInFlight,
		MaxIdleConnsPerHost: maxInFlight,
		IdleConnTimeout:     idleTimeout,

		MaxResponseHeaderBytes: maxHeader,
	}
}

// newClient traces each request by OpenTelemetry's HTTP conventions. Stripe gets the
// trace's id and no baggage. Meter measures, so otelhttp does not.
//
// wire comes after otelhttp, which wraps bodies: net/http writes headers and body at once
// only if it knows that the body is in memory.
func newClient(network http.RoundTripper, traces trace.TracerProvider) *http.Client {
	return &http.Client{
		Transport: otelhttp.NewTransport(&wire{next: network},
			otelhttp.WithTracerProvider(traces),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()),
			otelhttp.WithPropagators(propagation.TraceContext{}),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
		),
		// Stripe does not redirect, and following would send the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange is what wire sees of one attempt. Stripe-go does not return all of it:
// if a body does not decode, status and headers are lost.
type exchange struct {
	// The sender sets these: mayRead is how many bytes of the answer may still be read.
	body    string
	number  int
	mayRead int64

	asked, connected bool // a connection was asked for, and there was one

	status      int // 0 until there is an answer
	requestID   string
	shouldRetry string
	replayed    bool
	answer      []byte // the body, unless it is an error's that is no decline
	broken      error  // reading the answer ended early
}

// unsent says that net/http asked for a connection and got none, so it has written
// nothing. The DNS look-up, the dial, a proxy's CONNECT and the TLS handshake all
// come before GotConn (net/http/httptrace.ClientTrace). What is written to a
// connection that turns out to be dead counts as sent.
func (e *exchange) unsent() bool { return e.asked && !e.connected }

func (e *exchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { e.asked = true },
		GotConn: func(httptrace.GotConnInfo) { e.connected = true },
	}
}

type exchangeKey struct{}

// wire is the last of our code that a request passes, and the first that an answer does.
type wire struct{ next http.RoundTripper }

// RoundTrip replaces stripe-go's body, which would be chunked, with the exchange's: a
// request must reach Stripe as it was first sent, whatever version is running.
//
// It sets no GetBody. With one net/http would itself resend a POST that has an
// Idempotency-Key when its connection dies (see net/http.Transport), and we would
// take the answer to that copy for the answer to the original.
//
// It keeps an answer that is no error, and stripe-go gets an empty object. We decode the
// answer by rules of our own, and stripe-go would go through it several times before. What
// a bank declined is an error and has the intent in it, so both get that.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	seen, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errNoExchange
	}

	// A copy, as a RoundTripper does not modify its request.
	sent := r.WithContext(httptrace.WithClientTrace(r.Context(), seen.trace()))
	sent.Body, sent.GetBody, sent.ContentLength = http.NoBody, nil, 0

	if seen.body != "" {
		sent.Body = io.NopCloser(strings.NewReader(seen.body))
		sent.ContentLength = int64(len(seen.body))
	}

	answer, err := w.next.RoundTrip(sent)
	if err != nil {
		return nil, fmt.Errorf("reach stripe: %w", err)
	}

	seen.status = answer.StatusCode
	seen.requestID = requestID(answer.Header.Get("Request-Id"))
	seen.shouldRetry = answer.Header.Get("Stripe-Should-Retry")
	seen.replayed = answer.Header.Get("Idempotent-Replayed") == isTrue
	answer.Body = &watchedBody{ReadCloser: answer.Body, seen: seen}

	declined := answer.StatusCode == http.StatusPaymentRequired
	if answer.StatusCode >= http.StatusBadRequest && !declined {
		return answer, nil
	}

	// If it breaks, stripe-go finds it broken too.
	if seen.answer, err = io.ReadAll(answer.Body); err == nil {
		_ = answer.Body.Close()

		var forStripeGo io.Reader = strings.NewReader("{}")
		if declined {
			forStripeGo = bytes.NewReader(seen.answer)
		}

		answer.Body = io.NopCloser(forStripeGo)
	}

	return answer, nil
}

// unread is what stripe-go decodes its empty object into.
type unread struct{}

// SetLastResponse implements stripe-go's LastResponseSetter.
func (*unread) SetLastResponse(*stripego.APIResponse) {}

var (
	errNoExchange = errors.New("this request was not made by the gateway")
	errTooLong    = errors.New("the answer is longer than such an answer can be")
)

// watchedBody notes how reading a body failed, and ends a body that is too long.
type watchedBody struct {
	io.ReadCloser

	seen *exchange
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	if b.seen.mayRead <= 0 {
		b.seen.broken = errTooLong

		return 0, errTooLong
	}

	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.seen.mayRead)])
	b.seen.mayRead -= int64(n)

	if err != nil && !errors.Is(err, io.EOF) {
		b.seen.broken = err
	}

	return n, err //nolint:wrapcheck // io.EOF stays io.EOF
}

// describe writes an attempt's outcome into its span.
func describe(span trace.Span, c *call, seen *exchange, v verdict) {
	if !span.IsRecording() {
		return
	}

	span.SetAttributes(
		attribute.Int("stripe.attempt", seen.number),
		attribute.String("stripe.outcome", string(v.outcome)),
		attribute.String("stripe.reason", string(v.reason)),
		attribute.Bool("stripe.idempotent_replayed", seen.replayed),
	)

	if c.paymentID != "" { // only a create knows its payment
		span.SetAttributes(attribute.String("marketflow.payment.id", c.paymentID))
	}

	if seen.requestID != "" {
		span.SetAttributes(attribute.String("stripe.request_id", seen.requestID))
	}

	if v.outcome == unknown {
		span.SetStatus(codes.Error, string(v.reason))
	}
}

// leveledLogger is stripe-go's log. Warnings and errors are logged at debug level
// only, since they are returned as well. Lines about requests and bodies are dropped:
// they hold secrets.
type leveledLogger struct{ log *zap.Logger }

var _ stripego.LeveledLoggerInterface = leveledLogger{}

func (leveledLogger) Debugf(string, ...any)                    {}
func (leveledLogger) Infof(string, ...any)                     {}
func (l leveledLogger) Warnf(format string, arguments ...any)  { l.write(format, arguments) }
func (l leveledLogger) Errorf(format string, arguments ...any) { l.write(format, arguments) }

func (l leveledLogger) write(format string, arguments []any) {
	if entry := l.log.Check(zap.DebugLevel, "stripe-go"); entry != nil {
		entry.Write(zap.String("line", sentence(fmt.Sprintf(format, arguments...))))
	}
}
