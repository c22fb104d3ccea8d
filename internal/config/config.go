// Package config reads the service's configuration: the environment alone,
// checked whole at start.
package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/joho/godotenv"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/internal/telemetry"
)

// Config is the whole of it. .env.example explains each variable; the standard
// OTEL_* variables are read by OpenTelemetry itself.
type Config struct {
	// HTTPAddr is where the service listens.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":3000"`
	// ShutdownTimeout is how long requests in flight may take to end.
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s"`

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

	// RateLimit is in requests per second and client; 0 is off.
	RateLimit int `env:"RATE_LIMIT" envDefault:"0"`

	// RecoveryInterval is how often unfinished claims and parked events are
	// looked for.
	RecoveryInterval time.Duration `env:"RECOVERY_INTERVAL" envDefault:"1s"`

	// ReconcileInterval is how often our books are held against Stripe's; 0 is
	// never.
	ReconcileInterval time.Duration `env:"RECONCILE_INTERVAL" envDefault:"5m"`

	// PprofAddr serves net/http/pprof; empty is off. It tells much about the
	// process: keep it private.
	PprofAddr string `env:"PPROF_ADDR"`

	LogLevel zapcore.Level `env:"LOG_LEVEL" envDefault:"info"`
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
	if err := godotenv.Load(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading .env: %w", err)
	}

	return env.ToMap(os.Environ()), nil
}

// LoadDatabaseURL reads DATABASE_URL alone, for commands that need nothing else.
func LoadDatabaseURL() (Secret, error) {
	variables, err := Variables()
	if err != nil {
		return "", err
	}

	found := &problems{about: map[string]error{}}
	c := Config{DatabaseURL: Secret(strings.TrimSpace(variables["DATABASE_URL"]))}
	c.checkStores(found)

	return c.DatabaseURL, found.join()
}

// FromEnvironment reads variables. The error lists every problem at once, and
// never a secret.
func FromEnvironment(variables map[string]string) (Config, error) {
	found := &problems{about: map[string]error{}}

	config, err := env.ParseAsWithOptions[Config](env.Options{Environment: variables})

	var each env.AggregateError
	if err != nil && !errors.As(err, &each) {
		return Config{}, fmt.Errorf("reading the environment: %w", err)
	}

	for _, one := range each.Errors {
		found.unreadable(one)
	}

	config.check(found)

	return config, found.join()
}

// problems keeps the first problem with each variable.
type problems struct{ about map[string]error }

func (p *problems) say(variable, what string) {
	if p.about[variable] == nil {
		p.about[variable] = fmt.Errorf("%s: %s", variable, what) //nolint:err113 // for a person
	}
}

// unreadable: the value may be shown, because every secret is readable.
func (p *problems) unreadable(err error) {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		p.say("environment", err.Error())

		return
	}

	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	p.say(field.Tag.Get("env"), parse.Err.Error())
}

func (p *problems) join() error {
	list := make([]error, 0, len(p.about))
	for _, variable := range slices.Sorted(maps.Keys(p.about)) {
		list = append(list, p.about[variable])
	}

	return errors.Join(list...)
}

func (c Config) check(found *problems) {
	c.checkStores(found)
	c.checkStripe(found)

	for variable, ok := range map[string]bool{
		"DATABASE_MAX_CONNS":   c.DatabaseMaxConns > 0,
		"STRIPE_TIMEOUT":       c.StripeTimeout > 0,
		"STRIPE_MAX_IN_FLIGHT": c.StripeMaxInFlight > 0,
		"RECOVERY_INTERVAL":    c.RecoveryInterval > 0,
		"SHUTDOWN_TIMEOUT":     c.ShutdownTimeout > 0,
	} {
		if !ok {
			found.say(variable, "must be greater than 0")
		}
	}

	for variable, ok := range map[string]bool{
		"HTTP_ADDR":  isAddress(c.HTTPAddr),
		"PPROF_ADDR": c.PprofAddr == "" || isAddress(c.PprofAddr),
	} {
		if !ok {
			found.say(variable, "is no address with a port, such as 127.0.0.1:3000 or :3000")
		}
	}

	if c.ReconcileInterval < 0 {
		found.say("RECONCILE_INTERVAL", "must be 0 (never) or more")
	}

	if c.RateLimit < 0 {
		found.say("RATE_LIMIT", "must be 0 (off) or more requests per second")
	}
}

func (c Config) checkStores(found *problems) {
	if c.DatabaseURL == "" {
		found.say("DATABASE_URL", "is not set; for example postgres://user:password@localhost:5432/marketflow")
	} else if _, err := pgxpool.ParseConfig(c.DatabaseURL.Reveal()); err != nil {
		found.say("DATABASE_URL", "is no PostgreSQL URL")
	}

	if c.RedisURL != "" {
		if _, err := redis.ParseURL(c.RedisURL.Reveal()); err != nil {
			found.say("REDIS_URL", "is no redis:// URL; leave it empty to run without Redis")
		}
	}
}

func (c Config) checkStripe(found *problems) {
	switch key := c.StripeSecretKey.Reveal(); {
	case key == "":
		found.say("STRIPE_SECRET_KEY", "is not set; see https://dashboard.stripe.com/apikeys")
	case !strings.HasPrefix(key, "sk_") && !strings.HasPrefix(key, "rk_"):
		found.say("STRIPE_SECRET_KEY", "must begin with sk_ or rk_")
	}

	if len(c.StripeWebhookSecrets) == 0 {
		found.say("STRIPE_WEBHOOK_SECRET", "is not set; see https://dashboard.stripe.com/webhooks")
	}

	// An empty secret would accept events that anybody can sign.
	for _, secret := range c.StripeWebhookSecrets {
		if secret == "" {
			found.say("STRIPE_WEBHOOK_SECRET", "holds an empty secret; separate several by one comma")
		}
	}

	if c.StripeAPIBase != "" && !isURL(c.StripeAPIBase, "http", "https") {
		found.say("STRIPE_API_BASE", "is no http:// or https:// URL; leave it empty for Stripe itself")
	}
}

// isAddress: something to listen on; whether this machine has the host is not
// asked.
func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return false
	}

	_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)

	return err == nil
}

func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)

	return err == nil && slices.Contains(schemes, u.Scheme) && (u.Host != "" || u.Path != "")
}
