package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	sandboxURL = "http://127.0.0.1:12111"
	// sandboxKey works at any sandbox that does not list its keys.
	sandboxKey = "sk_test_sandbox"
)

var errSandboxFlag = errors.New("flag")

func newSandboxCommand() *cobra.Command {
	var (
		addr                 string
		options              sandbox.Options
		accounts, restricted []string
	)

	command := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a stand-in for Stripe that needs no account and no network",
		Long: `Runs a stateful stand-in for Stripe's payments API: test cards, idempotency,
signed webhooks, and faults on demand. sandbox/README.md explains the rest.

Each flag has an environment variable, such as SANDBOX_WEBHOOK_SECRET; the flag
wins.`,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))

			if err := readAccounts(&options, accounts, restricted); err != nil {
				return err
			}

			return runSandbox(cmd, addr, options)
		},
	}

	flags := command.Flags()
	flags.StringVar(&addr, "addr", "127.0.0.1:12111", "where to listen")
	flags.StringVar(&options.WebhookURL, "webhook-url", "", "where to deliver every event; empty delivers none")
	flags.StringVar(&options.WebhookSecret, "webhook-secret", "",
		"what to sign events with; empty generates one, prints it and keeps it in the state")
	flags.StringVar(&options.StateFile, "state", "", "keep everything in this file; empty keeps it in memory")
	flags.StringVar(&options.PublicURL, "public-url", "",
		"where browsers reach the sandbox; empty is the address of each API request")
	flags.BoolVar(&options.RefundEvents, "refund-events", false,
		"also send refund.created, refund.updated and refund.failed, as Stripe does since 2024-10-28")
	flags.BoolVar(&options.RefundsNeedBalance, "refunds-need-balance", false,
		"keep refunds pending until the available balance covers them, as Stripe does")
	flags.BoolVar(&options.AllowRemoteWebhooks, "allow-remote-webhooks", false,
		"let clients register webhook endpoints on other machines")
	flags.StringArrayVar(&accounts, "account", nil,
		"an account and its keys, acct_…[@PLATFORM][=sk_test_…,sk_live_…]; may be repeated, the first also takes every other test key")
	flags.StringArrayVar(&restricted, "restricted-key", nil,
		"what a restricted key may do, rk_test_…=payment_intents:write,charges:read; may be repeated")

	command.AddCommand(newTriggerCommand(), newListenCommand())

	return command
}

func runSandbox(cmd *cobra.Command, addr string, options sandbox.Options) error {
	server, err := sandbox.Listen(cmd.Context(), addr, options)
	if err != nil {
		return err
	}

	cmd.Printf("Stripe sandbox   %s   (any sk_test_… key)\n", server.URL)

	if options.WebhookURL != "" {
		cmd.Printf("webhooks to      %s   signed with %s\n", options.WebhookURL, server.WebhookSecret())
	}

	<-cmd.Context().Done()

	if err := server.Close(); err != nil {
		return fmt.Errorf("stopping the sandbox: %w", err)
	}

	return nil
}

// fromEnvironment sets flags that the command line does not have, such as
// --webhook-url from SANDBOX_WEBHOOK_URL. A flag that may be repeated takes several
// values, separated by spaces. An error does not show the value, which may be a secret.
func fromEnvironment(flags *pflag.FlagSet) error {
	var failed error

	flags.VisitAll(func(flag *pflag.Flag) {
		name := "SANDBOX_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))

		value := os.Getenv(name)
		if value == "" || flag.Changed || flag.Name == "help" {
			return
		}

		values := []string{value}
		if flag.Value.Type() == "stringArray" {
			values = strings.Fields(value)
		}

		for _, each := range values {
			if flags.Set(flag.Name, each) != nil {
				failed = errors.Join(failed, fmt.Errorf("%w: %s must be a %s", errSandboxFlag, name, flag.Value.Type()))
			}
		}
	})

	return failed
}

// readAccounts reads --account and --restricted-key. Errors do not repeat keys.
func readAccounts(options *sandbox.Options, accounts, restricted []string) error {
	for _, text := range accounts {
		named, keys, _ := strings.Cut(text, "=")
		id, platform, _ := strings.Cut(named, "@")
		account := sandbox.Account{ID: id, Platform: platform}

		if keys != "" {
			account.Keys = strings.Split(keys, ",")
		}

		options.Accounts = append(options.Accounts, account)
	}

	for _, text := range restricted {
		key, permissions, found := strings.Cut(text, "=")
		if !found {
			return fmt.Errorf("%w: --restricted-key needs KEY=PERMISSION,…", errSandboxFlag)
		}

		if options.Restricted == nil {
			options.Restricted = map[string][]string{}
		}

		options.Restricted[key] = strings.FieldsFunc(permissions, func(r rune) bool { return r == ',' })
	}

	return nil
}

// addClientFlags adds the flags of commands that call a running sandbox.
func addClientFlags(command *cobra.Command, client *sandbox.Client) {
	command.Flags().StringVar(&client.URL, "url", sandboxURL, "where the sandbox is")
	command.Flags().StringVar(&client.Key, "key", sandboxKey, "a secret key of the account")
}

func newTriggerCommand() *cobra.Command {
	var client sandbox.Client

	command := &cobra.Command{
		Use:   "trigger EVENT",
		Short: "Cause an event in a running sandbox",
		Long: "Creates new objects in a running sandbox and changes them until the event occurs.\nEvents:\n\n  " +
			strings.Join(sandbox.TriggerEvents(), "\n  "),
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: sandbox.TriggerEvents(),
		RunE: func(cmd *cobra.Command, args []string) error {
			intent, err := client.Trigger(cmd.Context(), args[0])
			if err != nil {
				return err
			}

			cmd.Printf("%s for %s\n", args[0], intent)

			return nil
		},
	}

	addClientFlags(command, &client)

	return command
}

func newListenCommand() *cobra.Command {
	var (
		client  sandbox.Client
		forward sandbox.Forwarding
		bodies  bool
	)

	command := &cobra.Command{
		Use:   "listen",
		Short: "Print a running sandbox's events and forward them to your server",
		Long: `Registers a webhook endpoint at a running sandbox, prints its events, forwards them
to your server, and removes the endpoint at the end. Events that your server does not
accept are sent again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runListen(cmd, client, forward, bodies) },
	}

	addClientFlags(command, &client)

	flags := command.Flags()
	flags.StringVar(&forward.To, "forward-to", "", "your server's webhook URL; empty only prints")
	flags.StringVar(&forward.Secret, "webhook-secret", "", "what to sign with; empty takes the endpoint's new secret")
	flags.StringSliceVar(&forward.Events, "events", nil, "types of events, separated by commas; empty is all")
	flags.StringVar(&forward.APIVersion, "api-version", "", "the API version that events are labelled with")
	flags.BoolVar(&bodies, "bodies", false, "print the events as well as their names")

	return command
}

func runListen(cmd *cobra.Command, client sandbox.Client, forward sandbox.Forwarding, bodies bool) error {
	lines := make(chan string)
	ctx, stop := context.WithCancel(cmd.Context())

	defer stop()

	forward.Ready = func(secret string) { cmd.Printf("ready: events are signed with %s\n", secret) }
	forward.Heard = func(heard sandbox.Heard) {
		line := heard.Type + " " + heard.ID

		switch {
		case heard.Err != nil:
			line += " -> " + heard.Err.Error()
		case heard.Status != 0:
			line += fmt.Sprintf(" -> %d", heard.Status)
		}

		if bodies {
			line += "\n" + string(heard.Body)
		}

		select {
		case lines <- line:
		case <-ctx.Done():
		}
	}

	ended := make(chan error, 1)

	go func() { ended <- client.Forward(ctx, forward) }()

	for {
		select {
		case line := <-lines:
			cmd.Println(line)
		case err := <-ended:
			return err
		}
	}
}
