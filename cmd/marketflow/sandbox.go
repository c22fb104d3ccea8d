package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/sandbox"
)

func newSandboxCommand() *cobra.Command {
	var (
		addr    string
		options sandbox.Options
	)

	command := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a Stripe that needs no account and no network",
		Long: `Runs a stateful stand-in for Stripe's payments API: test cards, idempotency,
signed webhooks, and faults on demand. sandbox/README.md tells the rest.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))

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
		},
	}

	flags := command.Flags()
	flags.StringVar(&addr, "addr", "127.0.0.1:12111", "where to listen")
	flags.StringVar(&options.WebhookURL, "webhook-url", "", "where to deliver every event; empty delivers none")
	flags.StringVar(&options.WebhookSecret, "webhook-secret", "",
		"what to sign events with; empty makes one up, prints it and keeps it in the state")
	flags.StringVar(&options.StateFile, "state", "", "keep everything in this file; empty forgets it at the end")

	return command
}
