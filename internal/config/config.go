// Package config reads the service's configuration: the environment alone,
// checked whole at start.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/joho/godotenv"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/internal/telemetry"
)

// The variables without which nothing starts.
const (
	nameDatabase      = "DATABASE_URL"
	nameSecretKey     = "STRIPE_SECRET_KEY"
	nameWebhookSecret = "STRIPE_WEBHOOK_SECRET" //nolint:gosec // a name
)

// Config is the whole of it. .env.example explains each variable; the standard
// OTEL_* variables are read by OpenTelemetry itself.
type Config struct {
	// HTTPAddr is where the service listens.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":3000"`
	// ShutdownTimeout is how long stopping may take, DrainDelay included.
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s"`
	// DrainDelay is how long requests are still taken when the service is asked to
	// stop, while /readyz answers 503: a load balancer takes that long to notice.
	// Half of ShutdownTimeout at most.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"3s"`

	DatabaseURL Secret `env:"DATABASE_URL"`
	// DatabaseMaxConns is the most connections that requests use at once. The
	// background jobs have five more.
	DatabaseMaxConns int32 `env:"DATABASE_MAX_CONNS" envDefault:"8"`

	// RedisURL is empty where there is no Redis.
	RedisURL Secret `env:"REDIS_URL"`

	StripeSecretKey Secret `env:"STRIPE_SECRET_KEY"`
	// StripeWebhookSecrets are tried in turn, for a rollover.
	StripeWebhookSecrets []Secret `env:"STRIPE_WEBHOOK_SECRET"`
	// StripeAPIBase is empty for Stripe itself.
	StripeAPIBase string `env:"STRIPE_API_BASE"`
	// StripeTimeout bounds one attempt.
	StripeTimeout time.Duration `env:"STRIPE_TIMEOUT" envDefault:"8s"`
	// StripeMaxInFlight is the most calls to Stripe at once; beyond it requests
	// are shed with 503.
	StripeMaxInFlight int `env:"STRIPE_MAX_IN_FLIGHT" envDefault:"512"`

	// RateLimit is in requests per second and client; 0 is off. Without Redis each
	// process counts by itself.
	RateLimit int `env:"RATE_LIMIT" envDefault:"0"`

	// RecoveryInterval is how often unfinished operations and parked events are
	// looked for.
	RecoveryInterval time.Duration `env:"RECOVERY_INTERVAL" envDefault:"1s"`

	// ReconcileInterval is how often our records are held against Stripe's; 0 is
	// never.
	ReconcileInterval time.Duration `env:"RECONCILE_INTERVAL" envDefault:"5m"`

	// MetricsAddr serves /metrics instead of HTTPAddr; empty leaves it there.
	MetricsAddr string `env:"METRICS_ADDR"`

	// PprofAddr serves net/http/pprof; empty is off. It tells much about the
	// process: keep it private.
	PprofAddr string `env:"PPROF_ADDR"`

	LogLevel zapcore.Level `env:"LOG_LEVEL" envDefault:"info"`

	// Warnings are what is allowed and seldom right, one line each.
	Warnings []string
}

// Load reads the environment, and .env for what it does not set. The error
// lists every problem at once.
func Load() (Config, error) {
	variables, err := Variables()
	if err != nil {
		return Config{}, err
	}

	config, err := FromEnvironment(variables)

	return config, errors.Join(err, telemetry.CheckEnvironment())
}

// Variables are those of the environment, and of .env for what it does not set.
func Variables() (map[string]string, error) {
	text, err := os.ReadFile(".env")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading .env: %w", err)
	}

	if line := unreadableLine(string(text)); line > 0 {
		return nil, fmt.Errorf(".env: line %d is not NAME=value", line) //nolint:err113 // for a person
	}

	if err := godotenv.Load(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New(".env: cannot be read; write NAME=value, one a line") //nolint:err113 // for a person
	}

	return env.ToMap(os.Environ()), nil
}

// LoadDatabaseURL reads DATABASE_URL alone, for commands that need nothing else.
func LoadDatabaseURL() (Secret, error) {
	variables, err := Variables()
	if err != nil {
		return "", err
	}

	found := newProblems()
	c := Config{DatabaseURL: Secret(tidy(variables, []string{nameDatabase}, found)[nameDatabase])}
	c.checkStores(found)
	lookAlikes(variables, found)

	return c.DatabaseURL, found.join()
}

// FromEnvironment reads variables. The error lists every problem at once, and
// never a secret.
func FromEnvironment(variables map[string]string) (Config, error) {
	return fromEnvironment(variables, false)
}

// ForDev is FromEnvironment for `marketflow dev`, which alone may use the key and
// the secrets that everybody knows.
func ForDev(variables map[string]string) (Config, error) { return fromEnvironment(variables, true) }

func fromEnvironment(variables map[string]string, dev bool) (Config, error) {
	found := newProblems()

	config, err := env.ParseAsWithOptions[Config](env.Options{Environment: tidy(variables, names(), found)})

	var each env.AggregateError
	if err != nil && !errors.As(err, &each) {
		return Config{}, errors.New("the environment cannot be read") //nolint:err113 // its text may hold a value
	}

	for _, one := range each.Errors {
		found.unreadable(one)
	}

	config.check(found, dev)
	checkProxies(variables, found)

	config.Warnings = append(config.warnings(), lookAlikes(variables, found)...)

	return config, found.join()
}

// unreadableLine is the line from which on text is no list of NAME=value, and 0
// where all of it is. Godotenv's own errors show what follows, with all secrets.
func unreadableLine(text string) int {
	lines := strings.SplitAfter(text, "\n")

	last := len(lines) + 1
	for last > 1 {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:last-1], "") + "\n"); err == nil {
			break
		}

		last--
	}

	if last > len(lines) {
		return 0
	}

	return last
}
