package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/sandbox"
)

const (
	devSecretKey   = config.DevSecretKey
	devStopTimeout = 20 * time.Second
	devAddr        = "127.0.0.1:3000"
	// devWebhookSecretFile is in the data directory and holds what the sandbox signs with.
	devWebhookSecretFile = "webhook-secret"
	// devSecretsKeyFile is beside it and holds what seals secrets in the database.
	devSecretsKeyFile = "secrets-key"
)

// devOptions are dev's flags.
type devOptions struct{ dataDir, sandboxAddr, databaseURL, redisURL string }

func newDevCommand() *cobra.Command {
	var options devOptions

	command := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: PostgreSQL, Redis, a Stripe sandbox and the service",
		Long: `Starts PostgreSQL, Redis and a Stripe sandbox, migrates the database, and serves on
HTTP_ADDR (127.0.0.1:3000). Nothing has to be configured. Ctrl-C stops everything; the
next start has the same data. While it runs, other commands use its settings with --dev.

It never touches a database that it did not make: DATABASE_URL, REDIS_URL and the
Stripe settings of the environment are ignored.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.dataDir, _ = cmd.Flags().GetString(dataFlag)

			return runDev(cmd.Context(), cmd.OutOrStdout(), options)
		},
	}

	flags := command.Flags()
	flags.StringVar(&options.sandboxAddr, "sandbox-addr", "127.0.0.1:12111", "where the Stripe sandbox listens")
	flags.StringVar(&options.databaseURL, "database-url", "",
		"use this database instead of starting one; it must be empty or made by dev")
	flags.StringVar(&options.redisURL, "redis-url", "", "use this Redis instead of starting one")

	return command
}

// runDev starts one thing after the other and stops them in reverse order.
func runDev(ctx context.Context, out io.Writer, options devOptions) (err error) {
	d := &devRun{options: options, out: out}

	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStopTimeout)
		defer cancel()

		for _, stop := range slices.Backward(d.stops) {
			err = errors.Join(err, stop(ctx))
		}
	}()

	if d.variables, err = devVariables(out); err != nil {
		return err
	}

	if d.base, err = ownURL(d.variables["HTTP_ADDR"]); err != nil {
		return err
	}

	if err := checkFree(ctx, d.variables["HTTP_ADDR"], options.sandboxAddr); err != nil {
		return err
	}

	for _, start := range []func(context.Context) error{d.startPostgres, d.startRedis, d.startSandbox, d.prepareDatabase} {
		if err := start(ctx); err != nil {
			return err
		}
	}

	return d.serve(ctx)
}

// devVariables are those of the environment without devOwn: a production DATABASE_URL
// in .env does not mean that somebody wants to try things there.
func devVariables(out io.Writer) (map[string]string, error) {
	variables, err := config.Variables()
	if err != nil {
		return nil, err
	}

	var ignored []string

	for _, name := range devOwn() {
		if variables[name] != "" {
			ignored = append(ignored, name)
		}

		delete(variables, name)
	}

	if len(ignored) > 0 {
		fmt.Fprintf(out, "dev ignores %s from the environment; see --database-url and --redis-url\n", strings.Join(ignored, ", "))
	}

	// There is only made-up money, and only this machine reaches it.
	variables["AUTH"] = string(config.AuthOff)
	variables["HTTP_ADDR"] = cmp.Or(variables["HTTP_ADDR"], devAddr)

	return variables, nil
}

// devRun is one run of dev.
type devRun struct {
	options   devOptions
	out       io.Writer
	variables map[string]string
	// base is where the service is reached.
	base string
	// own is the PostgreSQL that this run started; nil where one was given.
	own   *devserver.Postgres
	stops []func(context.Context) error
}

func (d *devRun) startPostgres(ctx context.Context) error {
	if d.options.databaseURL != "" {
		d.variables["DATABASE_URL"] = d.options.databaseURL

		return nil
	}

	var err error

	d.own, err = devserver.StartPostgres(ctx, devserver.PostgresOptions{
		DataDir: filepath.Join(d.options.dataDir, "postgres"),
		Notice:  func(line string) { fmt.Fprintln(d.out, line) },
	})
	if err != nil {
		return err
	}

	d.stops = append(d.stops, d.own.Stop)
	d.variables["DATABASE_URL"] = d.own.URL()

	return nil
}

func (d *devRun) startRedis(context.Context) error {
	if d.options.redisURL != "" {
		d.variables["REDIS_URL"] = d.options.redisURL

		return nil
	}

	redis, err := devserver.StartRedis()
	if err != nil {
		return err
	}

	d.stops = append(d.stops, func(context.Context) error { redis.Stop(); return nil })
	d.variables["REDIS_URL"] = redis.URL()

	return nil
}

func (d *devRun) startSandbox(ctx context.Context) error {
	// A PostgreSQL of our own has made the directory already: its user needs access.
	if err := os.MkdirAll(d.options.dataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}

	signing, err := kept(d.options.dataDir, devWebhookSecretFile, makeWebhookSecret)
	if err != nil {
		return err
	}

	sealing, err := kept(d.options.dataDir, devSecretsKeyFile, makeSecretsKey)
	if err != nil {
		return err
	}

	stripe, err := sandbox.Listen(ctx, d.options.sandboxAddr, sandbox.Options{
		StateFile:     filepath.Join(d.options.dataDir, "stripe-sandbox.journal"),
		WebhookURL:    d.base + "/webhooks/stripe",
		WebhookSecret: signing,
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}

	d.stops = append(d.stops, func(context.Context) error { return stripe.Close() })
	d.variables["STRIPE_API_BASE"] = stripe.URL
	d.variables["STRIPE_SECRET_KEY"] = devSecretKey
	d.variables["STRIPE_WEBHOOK_SECRET"] = signing
	d.variables["SECRETS_KEY"] = sealing
	d.variables["DRAIN_DELAY"] = "0" // there is no load balancer that must notice Ctrl-C

	return nil
}

// kept is what a file of the data directory holds; if it is not there, what is made for it. One
// `dev` does not accept events that are signed for another.
func kept(dataDir, file string, draw func() string) (string, error) {
	path := filepath.Join(dataDir, file)

	text, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}

	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}

	made := draw()

	return made, writePrivate(path, made+"\n")
}

func makeWebhookSecret() string { return "whsec_" + rand.Text() + rand.Text() }

func makeSecretsKey() string {
	_, text := secret.NewKey()

	return text
}

// prepareDatabase migrates a database that dev may use, and marks it as made by dev.
func (d *devRun) prepareDatabase(ctx context.Context) error {
	settings, err := config.ForDev(d.variables)
	if err != nil {
		return err
	}

	url := settings.DatabaseURL.Reveal()

	if err := postgres.CheckForDev(ctx, url, d.own != nil); err != nil {
		return err
	}

	if err := postgres.Migrate(ctx, url); err != nil {
		return err
	}

	return postgres.MarkMadeByDev(ctx, url, strings.TrimPrefix(settings.StripeAPIBase, "http://"))
}

// serve runs the service until ctx ends.
func (d *devRun) serve(ctx context.Context) error {
	settings, err := config.ForDev(d.variables)
	if err != nil {
		return err
	}

	service, err := bootstrap.Start(ctx, settings, bootstrap.Version(version))
	if err != nil {
		return err
	}

	remove, err := leaveSettings(d.options.dataDir, d.variables)
	if err != nil {
		return errors.Join(err, service.Stop(context.WithoutCancel(ctx)))
	}

	d.welcome()

	return errors.Join(service.Wait(ctx), remove())
}

// ownURL is the service's URL on this machine.
func ownURL(httpAddr string) (string, error) {
	host, port, err := net.SplitHostPort(httpAddr)
	if err != nil || port == "" || port == "0" {
		return "", errors.New("HTTP_ADDR: must be host:port, such as 127.0.0.1:3000")
	}

	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}

	return "http://" + net.JoinHostPort(host, port), nil
}

// checkFree reports a port that is in use before anything is started.
func checkFree(ctx context.Context, addrs ...string) error {
	for _, addr := range addrs {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s is in use by another program; stop it, or choose another port with HTTP_ADDR or --sandbox-addr",
				addr)
		}

		if err != nil {
			return fmt.Errorf("trying to listen: %w", err)
		}

		if err := listener.Close(); err != nil {
			return fmt.Errorf("closing the trial listener: %w", err)
		}
	}

	return nil
}

// welcome prints no password: psql reads it from a file.
func (d *devRun) welcome() {
	fmt.Fprintf(d.out, `
MarketFlow is running. Ctrl-C stops everything and keeps the data.

  service         %[1]s   (GET /health, /metrics, /openapi.yaml)
  Stripe sandbox  %[2]s   (any sk_test_… key)
  PostgreSQL      %[3]s
  Redis           %[4]s
  webhook secret  in %[5]s
  other commands  marketflow inbox list --dev%[6]s

Try it: create a payment, pay it at the sandbox, read it.

  P=$(curl -s %[1]s/payments -H 'Content-Type: application/json' \
    -d '{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1"}'); echo "$P"

  curl -s -u %[7]s: %[2]s/v1/payment_intents/$(echo "$P" | grep -o 'pi_[A-Za-z0-9]*' | head -1)/confirm \
    -d payment_method=pm_card_visa -d return_url=https://example.com/done

  curl -s %[1]s/payments/$(echo "$P" | cut -d'"' -f4)

`, d.base, d.variables["STRIPE_API_BASE"], d.psql(), d.redisAddr(),
		filepath.Join(d.options.dataDir, devWebhookSecretFile), d.dataArgument(), devSecretKey)
}

// psql is how a person reaches the database.
func (d *devRun) psql() string {
	c, err := pgx.ParseConfig(d.variables["DATABASE_URL"])
	if err != nil {
		return "from --database-url"
	}

	if d.own == nil {
		return fmt.Sprintf("%s:%d/%s, from --database-url", c.Host, c.Port, c.Database)
	}

	return fmt.Sprintf("PGPASSWORD=$(cat %s) psql -h %s -p %d -U %s %s",
		d.own.PasswordFile(), c.Host, c.Port, c.User, c.Database)
}

func (d *devRun) redisAddr() string {
	u, err := url.Parse(d.variables["REDIS_URL"])
	if err != nil {
		return "from --redis-url"
	}

	return u.Redacted()
}

// dataArgument is what a command needs in addition to --dev.
func (d *devRun) dataArgument() string {
	if d.options.dataDir == defaultDataDir {
		return ""
	}

	return " --data " + d.options.dataDir
}
