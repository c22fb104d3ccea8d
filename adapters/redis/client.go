// Package redis counts the rate limits of all processes together, in Redis. It
// knows no payment: with Redis down, slow, flushed or lying, each process
// limits by itself, and a measurement says so.
//
// Everything here is written for a Redis that cannot be trusted: names are
// hashes, answers are checked, every command has a deadline, and a Redis that
// fails is left alone for a while.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/sony/gobreaker/v2"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Defaults. A command to a Redis nearby takes well under a millisecond. 50 ms
// leave room for a pause of either process that should not count as an outage.
// A connection takes longer than a command and is made in
// the background: whoever asked has stopped waiting after 50 ms, the next
// caller finds it.
const (
	DefaultTimeout     = 50 * time.Millisecond
	DefaultDialTimeout = 100 * time.Millisecond
	DefaultPoolTimeout = 20 * time.Millisecond
	// DefaultPoolSize serves 16 000 commands a second at a millisecond each.
	DefaultPoolSize = 16
	// DefaultRest is how long a failing Redis is left alone.
	DefaultRest = time.Second
)

// failuresToRest in a row are an outage; fewer may be a pause of this process.
const failuresToRest = 3

// errURL: the errors of net/url and of go-redis show parts of the URL.
var errURL = errors.New("REDIS_URL is not a URL such as redis://localhost:6379/0")

// Config says how to reach Redis. It prints without its password.
type Config struct {
	// URL is REDIS_URL: redis://[user:password@]host[:port][/db] or rediss://…
	// for TLS. Its options (https://pkg.go.dev/github.com/redis/go-redis/v9#ParseURL)
	// win over the defaults, except that nothing is ever retried.
	URL string
	// Timeout bounds each command, the wait for a connection included;
	// DefaultTimeout where it is zero.
	Timeout time.Duration
	// Rest is how long a failing Redis is left alone; DefaultRest where it is zero.
	Rest time.Duration
	// Tracer makes a span of each command, without its arguments; nil for none.
	Tracer trace.TracerProvider
	// Logger gets outages, and at level debug what go-redis has to say; nil for none.
	// go-redis has one logger for the whole process: that of the newest client.
	Logger *zap.Logger
}

// String implements fmt.Stringer without the password.
func (c Config) String() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "redis: ***"
	}

	return u.Scheme + "://" + u.Host + u.Path
}

// GoString implements fmt.GoStringer without the password.
func (c Config) GoString() string { return c.String() }

// MarshalText implements encoding.TextMarshaler without the password.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Client is a connection pool with a circuit breaker in front of it.
type Client struct {
	redis   *goredis.Client
	breaker *gobreaker.CircuitBreaker[struct{}]
	timeout time.Duration
	logger  *zap.Logger
	// cause is the last failure, for the line that tells of an outage.
	cause atomic.Value
}

// NewClient returns a client. It does not connect yet; a URL that cannot be
// read is an error that does not show it.
func NewClient(c Config) (*Client, error) {
	options, err := c.options()
	if err != nil {
		return nil, err
	}

	client := &Client{timeout: orDefault(c.Timeout, DefaultTimeout), logger: c.Logger}
	if client.logger == nil {
		client.logger = zap.NewNop()
	}

	goredis.SetLogger(libraryLog{client.logger})

	client.redis = goredis.NewClient(options)
	client.breaker = gobreaker.NewCircuitBreaker[struct{}](client.breakerSettings(orDefault(c.Rest, DefaultRest)))

	if c.Tracer == nil {
		return client, nil
	}

	// Without statements: their arguments are hashes, of no use to a reader.
	err = redisotel.InstrumentTracing(client.redis, redisotel.WithTracerProvider(c.Tracer),
		redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false),
		redisotel.WithAttributes(semconv.DBSystemNameRedis), // it knows only the name of old, db.system
		redisotel.WithDialFilter(true))                      // a dial belongs to no request: its span would be a trace of its own
	if err != nil {
		return nil, fmt.Errorf("tracing Redis: %w", err)
	}

	client.redis.AddHook(operationName{}) // inside the span

	return client, nil
}

// operationName adds to each command's span what redisotel leaves out of
// OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/database/redis/).
type operationName struct{}

var _ goredis.Hook = operationName{}

// DialHook implements goredis.Hook.
func (operationName) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook implements goredis.Hook.
func (operationName) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		// Where redisotel makes no span, this one is the caller's.
		if span := trace.SpanFromContext(ctx); span.IsRecording() && !redisotel.DefaultCommandFilter(cmd) {
			span.SetAttributes(semconv.DBOperationName(cmd.FullName()))
		}

		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements goredis.Hook. Nothing here is sent in one.
func (operationName) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (c Config) options() (*goredis.Options, error) {
	options, err := goredis.ParseURL(c.URL)
	if err != nil {
		return nil, errURL
	}

	options.DialTimeout = orDefault(options.DialTimeout, DefaultDialTimeout)
	options.ReadTimeout = orDefault(options.ReadTimeout, orDefault(c.Timeout, DefaultTimeout))
	options.WriteTimeout = orDefault(options.WriteTimeout, orDefault(c.Timeout, DefaultTimeout))
	options.PoolTimeout = orDefault(options.PoolTimeout, DefaultPoolTimeout)

	if options.PoolSize == 0 {
		options.PoolSize = DefaultPoolSize
	}

	// The next request is the retry.
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.ContextTimeoutEnabled = true

	// Small answers, no pipelines, nothing of RESP3: less memory, and no round
	// trips about the client itself on each new connection.
	const bufferSize = 4 << 10

	options.ReadBufferSize, options.WriteBufferSize = bufferSize, bufferSize
	options.PipelinePoolSize = -1
	options.Protocol = 2
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	return options, nil
}

// Ping asks Redis whether it is there, breaker or not, within the timeout of
// any other command.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	if err := c.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("pinging Redis: %w", err)
	}

	return nil
}

// PoolStats tells how the connections are used.
func (c *Client) PoolStats() *goredis.PoolStats { return c.redis.PoolStats() }

// Close closes every connection. Commands after it fail.
func (c *Client) Close() error {
	if err := c.redis.Close(); err != nil {
		return fmt.Errorf("closing the connections to Redis: %w", err)
	}

	return nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}

	return d
}

// libraryLog is go-redis's logger. What it reports reaches the operator by the
// breaker and the metrics already, so it is detail.
type libraryLog struct{ logger *zap.Logger }

// Printf implements go-redis's logging interface.
func (l libraryLog) Printf(_ context.Context, format string, args ...any) {
	if entry := l.logger.Check(zap.DebugLevel, "go-redis"); entry != nil {
		entry.Write(zap.String("detail", fmt.Sprintf(format, args...)))
	}
}
