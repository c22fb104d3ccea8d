package stripe

import (
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
	// idleTimeout is below the minute after which servers commonly hang up, so
	// that few requests meet a connection that has just died.
	idleTimeout = 45 * time.Second
	// maxObject and maxList bound what is read of an answer: an object, or 100 of
	// them, with all the metadata that Stripe allows stays below.
	maxObject, maxList = 1 << 20, 16 << 20
	// maxHeader bounds an answer's headers.
	maxHeader = 1 << 20
)

// newNetwork speaks HTTP/1.1, one connection for each call in flight: a
// connection that dies takes one call with it, not all of them.
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

// newClient traces each request as OpenTelemetry's HTTP conventions say. Stripe
// is told the trace's id and nothing else of it; Meter measures, not otelhttp.
func newClient(network http.RoundTripper, traces trace.TracerProvider) *http.Client {
	return &http.Client{
		Transport: &wire{next: otelhttp.NewTransport(network,
			otelhttp.WithTracerProvider(traces),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()),
			otelhttp.WithPropagators(propagation.TraceContext{}),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
		)},
		// Stripe does not redirect. Following would send the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange is one attempt as the wire saw it. Stripe-go does not show all of
// it: where a body does not decode, status and headers are gone.
type exchange struct {
	// body, number and left, how much of the answer may still be read, are set by
	// the sender.
	body   string
	number int
	left   int64

	asked, connected bool // a connection was asked for, and there was one

	status      int // 0 until there is an answer
	requestID   string
	shouldRetry string
	replayed    bool
	broken      error // reading the answer ended early
}

// unsent: net/http asked for a connection and got none, so that it has written
// nothing. The name look-up, the dial, a proxy's CONNECT and the TLS handshake all
// come before there is a connection (net/http/httptrace.ClientTrace.GotConn). What
// was written to a connection that turns out dead counts as sent.
func (e *exchange) unsent() bool { return e.asked && !e.connected }

func (e *exchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { e.asked = true },
		GotConn: func(httptrace.GotConnInfo) { e.connected = true },
	}
}

type exchangeKey struct{}

// wire is what every request passes last.
type wire struct{ next http.RoundTripper }

// RoundTrip sends the exchange's body in place of stripe-go's, which would be
// chunked, and written anew by whatever version is running: a request must
// come back to Stripe as it was first sent.
//
// There is no GetBody on purpose. With it net/http quietly sends a POST again
// that has an Idempotency-Key and met a dying connection (net/http.Transport's
// documentation), and an answer to the copy would pass for one to the original.
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
	seen.replayed = answer.Header.Get("Idempotent-Replayed") == "true"
	answer.Body = &watchedBody{ReadCloser: answer.Body, seen: seen}

	return answer, nil
}

var (
	errNoExchange = errors.New("a request that the gateway did not send")
	errTooLong    = errors.New("the answer is too long for what was asked")
)

// watchedBody remembers that a body broke off, and ends one that does not end.
type watchedBody struct {
	io.ReadCloser

	seen *exchange
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	if b.seen.left <= 0 {
		b.seen.broken = errTooLong

		return 0, errTooLong
	}

	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.seen.left)])
	b.seen.left -= int64(n)

	if err != nil && !errors.Is(err, io.EOF) {
		b.seen.broken = err
	}

	return n, err //nolint:wrapcheck // io.EOF stays io.EOF
}

// describe says in an attempt's span what became of it.
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

	if c.paymentID != "" { // a list is about no one payment
		span.SetAttributes(attribute.String("marketflow.payment.id", c.paymentID))
	}

	if seen.requestID != "" {
		span.SetAttributes(attribute.String("stripe.request_id", seen.requestID))
	}

	if v.outcome == unknown {
		span.SetStatus(codes.Error, string(v.reason))
	}
}

// leveledLogger is stripe-go's log, at debug level: the errors that it reports
// are returned as well. Its lines on bodies and requests are dropped: they hold
// secrets, and the span says the rest.
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
