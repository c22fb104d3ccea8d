package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/sandbox"
)

const (
	devSecretKey     = config.DevSecretKey
	devWebhookSecret = "whsec_marketflow_dev_only_marketflow_dev_only" //nolint:gosec // the sandbox's
	devStopTimeout   = 20 * time.Second
	defaultAddr      = ":3000"
)

func newDevCommand() *cobra.Command {
	var dataDir, sandboxAddr string

	command := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: PostgreSQL, Redis, a Stripe sandbox and the service",
		Long: `Starts PostgreSQL, Redis and a Stripe sandbox, migrates, and serves on HTTP_ADDR
(:3000). Nothing has to be configured. Ctrl-C stops everything; the data are found
again by the next start. With DATABASE_URL or REDIS_URL set, those are used.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDev(cmd.Context(), cmd.OutOrStdout(), dataDir, sandboxAddr)
		},
	}

	flags := command.Flags()
	flags.StringVar(&dataDir, "data", ".marketflow", "where the data are kept")
	flags.StringVar(&sandboxAddr, "sandbox-addr", "127.0.0.1:12111", "where the Stripe sandbox listens")

	return command
}

// runDev starts one thing after the other and stops them the other way round.
func runDev(ctx context.Context, out io.Writer, dataDir, sandboxAddr string) (err error) {
	var stops []func(context.Context) error

	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStopTimeout)
		defer cancel()

		for _, stop := range slices.Backward(stops) {
			err = errors.Join(err, stop(ctx))
		}
	}()

	variables, err := config.Variables()
	if err != nil {
		return err
	}

	base, err := ownURL(variables["HTTP_ADDR"])
	if err != nil {
		return err
	}

	if err := checkFree(ctx, valueOr(variables["HTTP_ADDR"], defaultAddr), sandboxAddr); err != nil {
		return err
	}

	if variables["DATABASE_URL"] == "" {
		server, err := startPostgres(ctx, out, dataDir)
		if err != nil {
			return err
		}

		stops = append(stops, server.Stop)
		variables["DATABASE_URL"] = server.URL()
	}

	if variables["REDIS_URL"] == "" {
		redis, err := devserver.StartRedis(devserver.RedisOptions{})
		if err != nil {
			return err
		}

		stops = append(stops, func(context.Context) error { redis.Stop(); return nil })
		variables["REDIS_URL"] = redis.URL()
	}

	stripe, err := startSandbox(ctx, dataDir, sandboxAddr, base+"/webhooks/stripe")
	if err != nil {
		return err
	}

	stops = append(stops, func(context.Context) error { return stripe.Close() })
	variables["STRIPE_API_BASE"] = stripe.URL
	variables["STRIPE_SECRET_KEY"] = devSecretKey
	variables["STRIPE_WEBHOOK_SECRET"] = devWebhookSecret
	variables["DRAIN_DELAY"] = "0" // no load balancer has to notice Ctrl-C

	return serveDev(ctx, variables, func() { printWelcome(out, base, stripe.URL, variables) })
}

// serveDev migrates and runs the service; ready is called once it listens.
func serveDev(ctx context.Context, variables map[string]string, ready func()) error {
	settings, err := config.ForDev(variables)
	if err != nil {
		return err
	}

	if err := postgres.Migrate(ctx, settings.DatabaseURL.Reveal()); err != nil {
		return err
	}

	service, err := bootstrap.Start(ctx, settings, bootstrap.Version(version))
	if err != nil {
		return err
	}

	ready()

	return service.Wait(ctx)
}

// ownURL is where this machine reaches the service.
func ownURL(httpAddr string) (string, error) {
	host, port, err := net.SplitHostPort(valueOr(httpAddr, defaultAddr))
	if err != nil || port == "" || port == "0" {
		return "", errors.New("HTTP_ADDR: must be host:port, such as 127.0.0.1:3000")
	}

	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}

	return "http://" + net.JoinHostPort(host, port), nil
}

// checkFree says at once, in one line, that a port is taken.
func checkFree(ctx context.Context, addrs ...string) error {
	for _, addr := range addrs {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s is taken by another program; stop it, or choose another port with HTTP_ADDR or --sandbox-addr",
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

func startPostgres(ctx context.Context, out io.Writer, dataDir string) (*devserver.Postgres, error) {
	return devserver.StartPostgres(ctx, devserver.PostgresOptions{
		DataDir:    filepath.Join(dataDir, "postgres"),
		Durability: devserver.Durable,
		Notice:     func(line string) { fmt.Fprintln(out, line) },
	})
}

func startSandbox(ctx context.Context, dataDir, addr, webhookURL string) (*sandbox.Server, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}

	return sandbox.Listen(ctx, addr, sandbox.Options{
		StateFile:     filepath.Join(dataDir, "stripe-sandbox.journal"),
		WebhookURL:    webhookURL,
		WebhookSecret: devWebhookSecret,
		Logger:        slog.New(slog.DiscardHandler),
	})
}

func valueOr(value, otherwise string) string {
	if value == "" {
		return otherwise
	}

	return value
}

func printWelcome(out io.Writer, base, stripe string, variables map[string]string) {
	fmt.Fprintf(out, `
MarketFlow is running. Ctrl-C stops everything; the data stay.

  service         %[1]s   (GET /health, /metrics, /openapi.yaml)
  Stripe sandbox  %[2]s   (any sk_test_… key)
  PostgreSQL      %[3]s
  Redis           %[4]s
  webhook secret  %[5]s

Try it: create a payment, pay it at the sandbox, read it.

  P=$(curl -s %[1]s/payments -H 'Content-Type: application/json' \
    -d '{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1"}'); echo "$P"

  curl -s -u %[6]s: %[2]s/v1/payment_intents/$(echo "$P" | grep -o 'pi_[A-Za-z0-9]*' | head -1)/confirm \
    -d payment_method=pm_card_visa -d return_url=https://example.com/done

  curl -s %[1]s/payments/$(echo "$P" | cut -d'"' -f4)

`, base, stripe, variables["DATABASE_URL"], variables["REDIS_URL"], devWebhookSecret, devSecretKey)
}
