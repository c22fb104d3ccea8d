// Package config reads the service's configuration from the environment and checks
// all of it at start.
//
// To add a variable, add a field to Config and a paragraph to .env.example.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
	"github.com/joho/godotenv"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/internal/telemetry"
)

// The variables without which nothing starts.
const (
	nameDatabase      = "DATABASE_URL"
	nameSecretKey     = "STRIPE_SECRET_KEY"
	nameWebhookSecret = "STRIPE_WEBHOOK_SECRET" //nolint:gosec // a name
	nameSecretsKey    = "SECRETS_KEY"
)

// Auth is who may use the API.
type Auth string

// The values of AUTH.
const (
	// AuthKeys: whoever has an API key.
	AuthKeys Auth = "keys"
	// AuthOff: whoever reaches the service.
	AuthOff Auth = "off"
)

const nameMetadataIndex = "METADATA_INDEX"

// Config is the whole configuration. A field's tags say the variable, its default and
// the range of its value (from, to, and what zero means if it is outside of it).
// .env.example explains each variable; a test compares the two. OpenTelemetry itself
// reads the standard OTEL_* variables.
type Config struct {
	// HTTPAddr is where the service listens.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":3000"`
	// ShutdownTimeout is how long stopping may take, DrainDelay included.
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s" from:"100ms" to:"1h"`
	// DrainDelay is how long the service still takes requests when it is asked to stop,
	// while /readyz answers 503, so that a load balancer can notice. It is cut to half
	// of ShutdownTimeout.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"3s" from:"0s" to:"1h"`

	// Auth says whether clients need API keys.
	Auth Auth `env:"AUTH" envDefault:"keys"`

	DatabaseURL Secret `env:"DATABASE_URL"`
	// DatabaseMaxConns is the most connections that requests use at once. Lists and
	// jobs have a pool of their own.
	DatabaseMaxConns int32 `env:"DATABASE_MAX_CONNS" envDefault:"8" from:"1" to:"1000"`

	// InstallationID is the id that an empty database gets; zero is one of its own.
	InstallationID uuid.UUID `env:"INSTALLATION_ID"`

	// RedisURL is empty where there is no Redis.
	RedisURL Secret `env:"REDIS_URL"`

	StripeSecretKey Secret `env:"STRIPE_SECRET_KEY"`
	// StripeWebhookSecrets are tried in turn, for a rollover. There may be none if SecretsKey
	// is set: then the database has them.
	StripeWebhookSecrets []Secret `env:"STRIPE_WEBHOOK_SECRET"`
	// SecretsKey seals what the database keeps secret: the first key seals, all of them open.
	SecretsKey []Secret `env:"SECRETS_KEY"`
	// StripeAPIBase is empty for Stripe itself.
	StripeAPIBase string `env:"STRIPE_API_BASE"`
	// StripeTimeout bounds one attempt.
	StripeTimeout time.Duration `env:"STRIPE_TIMEOUT" envDefault:"8s" from:"100ms" to:"2m"`
	// StripeMaxInFlight is the most calls to Stripe at once; beyond it requests
	// are shed with 503.
	StripeMaxInFlight int `env:"STRIPE_MAX_IN_FLIGHT" envDefault:"512" from:"1" to:"100000"`

	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES"`

	// RateLimit is in requests per second and client; 0 is off. Without Redis each
	// process counts by itself.
	RateLimit int `env:"RATE_LIMIT" envDefault:"0" from:"0" to:"1000000"`

	// RecoveryInterval is how often the service looks for unfinished operations and
	// parked events.
	RecoveryInterval time.Duration `env:"RECOVERY_INTERVAL" envDefault:"1s" from:"100ms" to:"1h"`

	// ReconcileInterval is how often our records are compared with Stripe's.
	ReconcileInterval time.Duration `env:"RECONCILE_INTERVAL" envDefault:"5m" from:"1s" to:"24h" zero:"never"`

	// MetadataIndex are the names of metadata by which payments are found. All processes
	// have the same.
	MetadataIndex []string `env:"METADATA_INDEX"`

	// MetricsAddr serves /metrics instead of HTTPAddr; empty leaves it there.
	MetricsAddr string `env:"METRICS_ADDR"`

	// PprofAddr serves net/http/pprof; empty is off. Profiles reveal much about the
	// process: keep the address private.
	PprofAddr string `env:"PPROF_ADDR"`

	LogLevel zapcore.Level `env:"LOG_LEVEL" envDefault:"info"`

	// Warnings name settings that work and are seldom right, one line each.
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
		return nil, errors.New(".env: cannot be read; write one NAME=value on each line") //nolint:err113 // for a person
	}

	return env.ToMap(os.Environ()), nil
}

// LoadDatabaseURL reads only DATABASE_URL, for commands that need nothing else.
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

// ForDev is FromEnvironment for `marketflow dev`. Only dev may use the key and the
// secrets that everybody knows.
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

	config.Warnings = append(config.warnings(dev), lookAlikes(variables, found)...)

	return config, found.join()
}

// unreadableLine is the first line that is not NAME=value, or 0. Godotenv's own errors
// show all lines after it, with their secrets.
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
