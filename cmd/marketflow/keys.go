package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

func newKeysCommand() *cobra.Command {
	return group("keys", "Make, list, roll and revoke API keys",
		newKeysCreateCommand(), newKeysListCommand(), newKeysRollCommand(), newKeysRevokeCommand())
}

// keyBy is a person, who may do everything.
func keyBy(by decisionFlags, whose operation.Tenant) tenants.By {
	d := by.decision()

	return tenants.By{
		Tenant: whose, Actor: ports.Actor{Name: d.Actor, OnBehalfOf: d.OnBehalfOf}, Reason: d.Reason, May: tenant.AllScopes(),
	}
}

func newKeysCreateCommand() *cobra.Command {
	var (
		by      decisionFlags
		whose   operation.Tenant
		order   tenants.Order
		expires time.Duration
	)

	command := &cobra.Command{
		Use:   "create NAME --scopes SCOPE,…",
		Short: "Make an API key, and print it this once",
		Long: `Makes an API key for backends that use this installation, live or test as its key at
Stripe. The key itself is printed once and cannot be read again: only its SHA-256 is
kept.

Scopes are ` + tenant.AllScopes().String() + `; or a preset:

  read-only  reads everything but the audit
  checkout   creates, confirms and cancels payments, and keeps customers
  support    reads payments and customers; refunds, and answers disputes
  admin      everything, also making other keys

They may be mixed: --scopes checkout,payments:capture.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Name = args[0]

			if cmd.Flags().Changed("expires") {
				if expires <= 0 {
					return fmt.Errorf("--expires must be a time such as 2160h, not %s", expires)
				}

				order.ExpiresAt = time.Now().Add(expires)
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				made, err := tools.Keys.Create(ctx, keyBy(by, whose), order)
				if err != nil {
					return err
				}

				return printMade(cmd, made)
			})
		},
	}
	command.Flags().StringSliceVar(&order.Scopes, "scopes", nil, "what the key may do: scopes and presets, separated by commas")
	command.Flags().DurationVar(&expires, "expires", 0, "for how long it works, such as 2160h for 90 days (default for ever)")

	_ = command.MarkFlagRequired("scopes") // the flag is there

	addTenantFlag(command, &whose)
	by.add(command, false)

	return command
}

// printMade prints a new key alone, so that a script can keep it; the rest goes to stderr.
func printMade(cmd *cobra.Command, made tenants.Made) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s may do: %s. Keep it now: it is not shown again.\n", made.Name, made.Scopes)

	return printAnswer(cmd, json.RawMessage(edge.EncodeMadeAPIKey(made)),
		func(w io.Writer) { fmt.Fprintln(w, made.Secret.Reveal()) })
}

func newKeysListCommand() *cobra.Command {
	var (
		whose operation.Tenant
		limit int
	)

	command := &cobra.Command{
		Use:   listCommand,
		Short: "List API keys, the newest first, also those that do not work any more",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}

			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				page, err := tools.Keys.List(ctx, whose, ports.KeyPosition{}, limit)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(page.Keys, newKeyRow), func(w io.Writer) { printKeys(w, page.Keys) })
			})
		},
	}
	addTenantFlag(command, &whose)
	addLimitFlag(command, &limit)

	return command
}

func newKeyRow(k tenant.Key) json.RawMessage { return edge.EncodeAPIKey(k) }

func printKeys(w io.Writer, keys []tenant.Key) {
	printTable(w, "CREATED\tKEY\tNAME\tSTATE\tLAST USED\tEXPIRES\tSCOPES", func(w io.Writer) {
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(k.CreatedAt), k.Prefix, oneLine(k.Name), stateOf(k),
				stamp(k.LastUsedAt), stamp(k.ExpiresAt), strings.ReplaceAll(k.Scopes.String(), " ", ""))
		}
	})
}

func stateOf(k tenant.Key) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.Usable(time.Now()):
		return "expired"
	default:
		return "works"
	}
}

func newKeysRollCommand() *cobra.Command {
	var (
		by      decisionFlags
		whose   operation.Tenant
		overlap time.Duration
	)

	command := &cobra.Command{
		Use:   "roll KEY",
		Short: "Make a key in place of another, which works on for a while",
		Long: `Makes a key with the name and scopes of another, and prints it this once. The old key
works on for --overlap, so that every backend can change to the new one. KEY is its id
or its beginning, such as mf_test_abcd1234.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				old, err := findKey(ctx, tools, whose, args[0])
				if err != nil {
					return err
				}

				made, err := tools.Keys.Roll(ctx, keyBy(by, whose), old.ID, overlap)
				if err != nil {
					return err
				}

				return printMade(cmd, made)
			})
		},
	}
	command.Flags().DurationVar(&overlap, "overlap", tenants.UsualOverlap, "how long the old key works on, 0 to 720h")
	addTenantFlag(command, &whose)
	by.add(command, false)

	return command
}

func newKeysRevokeCommand() *cobra.Command {
	var (
		by    decisionFlags
		whose operation.Tenant
	)

	command := &cobra.Command{
		Use:   "revoke KEY",
		Short: "End a key for ever, within five seconds in every process",
		Long: `Ends a key for ever: within five seconds no process takes it. KEY is its id, its
beginning, such as mf_test_abcd1234, or the whole key, as it was found where it should
not be.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				key, err := findKey(ctx, tools, whose, args[0])
				if err != nil {
					return err
				}

				revoked, err := tools.Keys.Revoke(ctx, keyBy(by, whose), key.ID)
				if err != nil {
					return err
				}

				return printAnswer(cmd, newKeyRow(revoked), func(w io.Writer) {
					fmt.Fprintf(w, "%s (%s) is revoked. It was last used at %s.\n", revoked.Prefix, revoked.Name,
						cmp.Or(stamp(revoked.LastUsedAt), "-"))
				})
			})
		},
	}
	addTenantFlag(command, &whose)
	by.add(command, false)

	return command
}

// findKey takes an id, a prefix or a whole key.
func findKey(ctx context.Context, tools bootstrap.Tools, whose operation.Tenant, name string) (tenant.Key, error) {
	if secret, err := tenant.ParseKey(name); err == nil {
		name = secret.Prefix()
	}

	key, err := tools.Keys.Find(ctx, whose, name)

	return key, named(err, "API key", fmt.Sprintf("%.16s", name))
}
