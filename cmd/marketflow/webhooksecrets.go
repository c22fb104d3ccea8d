package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
)

func newWebhookSecretsCommand() *cobra.Command {
	return group("webhook-secrets", "Keep Stripe's signing secrets in the database: add, roll, list and remove them",
		newWebhookSecretsAddCommand(), newWebhookSecretsRollCommand(), newWebhookSecretsListCommand(),
		newWebhookSecretsRemoveCommand())
}

const secretFromStdin = `The secret is read from the standard input, so that it is in no list of processes and no
shell's history. It is kept sealed with the first key of SECRETS_KEY. Within five seconds
every process takes events that are signed with it; nothing is restarted.`

func newWebhookSecretsAddCommand() *cobra.Command {
	var (
		by      decisionFlags
		expires time.Duration
	)

	command := &cobra.Command{
		Use:   "add < FILE",
		Short: "Take events of Stripe that are signed with one more secret",
		Long:  "Adds the signing secret of a webhook endpoint at Stripe.\n\n" + secretFromStdin,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // cobra would show it
				return errors.New("the secret is read from the standard input and never from an argument, which others can see: " +
					"roll it at Stripe, and add the new one with `marketflow webhook-secrets add < FILE`")
			}

			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			expiresAt, err := expiryOf(cmd, expires)
			if err != nil {
				return err
			}

			return addWebhookSecret(cmd, func(ctx context.Context, tools bootstrap.Tools, text string) (secret.Webhook, error) {
				return tools.WebhookSecrets.Add(ctx, keyBy(by, 0), text, expiresAt)
			})
		},
	}
	command.Flags().DurationVar(&expires, "expires", 0, "for how long it works, such as 24h (default until it is removed)")
	by.add(command, false)

	return command
}

// expiryOf is zero if nobody has said when it shall end.
func expiryOf(cmd *cobra.Command, expires time.Duration) (time.Time, error) {
	switch {
	case !cmd.Flags().Changed("expires"):
		return time.Time{}, nil
	case expires <= 0:
		return time.Time{}, fmt.Errorf("--expires must be a time such as 2160h, not %s", expires)
	default:
		return time.Now().Add(expires), nil
	}
}

func newWebhookSecretsRollCommand() *cobra.Command {
	var (
		by      decisionFlags
		overlap time.Duration
	)

	command := &cobra.Command{
		Use:   "roll SECRET < FILE",
		Short: "Add a secret in place of another, which works on for a while",
		Long: `Adds a secret, and lets another one end after --overlap: give it as long as Stripe signs
with both. SECRET is the old one's id, or its last four characters as ` + "`list`" + ` shows them.

` + secretFromStdin,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return addWebhookSecret(cmd, func(ctx context.Context, tools bootstrap.Tools, text string) (secret.Webhook, error) {
				old, err := findWebhookSecret(ctx, tools, args[0])
				if err != nil {
					return old, err
				}

				return tools.WebhookSecrets.Roll(ctx, keyBy(by, 0), old.ID, overlap, text)
			})
		},
	}
	command.Flags().DurationVar(&overlap, "overlap", tenants.UsualOverlap, "how long the old secret works on, 0 to 720h")
	by.add(command, false)

	return command
}

// addWebhookSecret reads a secret and prints what was made of it.
func addWebhookSecret(
	cmd *cobra.Command, add func(ctx context.Context, tools bootstrap.Tools, text string) (secret.Webhook, error),
) error {
	text, err := readSecret(cmd)
	if err != nil {
		return err
	}

	return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
		added, err := add(ctx, tools, text)
		if err != nil {
			return err
		}

		row := tenants.ListedSecret{Webhook: added}

		return printAnswer(cmd, newWebhookSecretRow(row), func(w io.Writer) { printWebhookSecrets(w, []tenants.ListedSecret{row}) })
	})
}

// maxSecretInput bounds what is read as a secret.
const maxSecretInput = 4 << 10

// readSecret reads a webhook secret from the standard input. No error shows any of it.
func readSecret(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()

	if file, ok := in.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "Paste the secret (whsec_…), then press Enter and Ctrl-D:")
		}
	}

	bytes, err := io.ReadAll(io.LimitReader(in, maxSecretInput))
	if err != nil {
		return "", fmt.Errorf("reading the secret from the standard input: %w", err)
	}

	text := strings.TrimSpace(string(bytes))
	if text == "" {
		return "", errors.New("the secret is read from the standard input, which is empty: marketflow webhook-secrets add < FILE")
	}

	dev, _ := cmd.Flags().GetBool(devFlag)

	return text, config.CheckWebhookSecret(config.Secret(text), dev)
}

func newWebhookSecretsListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   listCommand,
		Short: "List the stored secrets, the newest first, without themselves",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				list, err := tools.WebhookSecrets.List(ctx)
				if err != nil {
					return err
				}

				return printAnswer(cmd, rowsOf(list, newWebhookSecretRow), func(w io.Writer) { printWebhookSecrets(w, list) })
			})
		},
	}
}

// webhookSecretRow is a stored secret in JSON.
type webhookSecretRow struct {
	ID         string     `json:"id"`
	Hint       string     `json:"hint"`
	State      string     `json:"state"`
	SealedWith string     `json:"sealed_with"`
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

func newWebhookSecretRow(s tenants.ListedSecret) webhookSecretRow {
	return webhookSecretRow{
		ID: s.ID.String(), Hint: s.Hint, State: stateOfSecret(s), SealedWith: s.Sealed.KeyID().String(), CreatedBy: s.CreatedBy,
		CreatedAt: s.CreatedAt, ExpiresAt: orNull(s.ExpiresAt), LastUsedAt: orNull(s.LastUsedAt),
	}
}

func stateOfSecret(s tenants.ListedSecret) string {
	switch {
	case !s.Usable(time.Now()):
		return "expired"
	case s.Err != nil:
		return "unreadable"
	default:
		return "works"
	}
}

func printWebhookSecrets(w io.Writer, list []tenants.ListedSecret) {
	printTable(w, "ID\tENDS WITH\tSTATE\tADDED\tBY\tLAST USED\tEXPIRES\tSEALED WITH", func(w io.Writer) {
		for _, s := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Hint, stateOfSecret(s), stamp(s.CreatedAt),
				oneLine(s.CreatedBy), stamp(s.LastUsedAt), stamp(s.ExpiresAt), s.Sealed.KeyID())
		}
	})
}

func newWebhookSecretsRemoveCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "remove SECRET",
		Short: "Take no more events that are signed with a secret, within five seconds in every process",
		Long: `Deletes a secret: within five seconds no process takes an event that is signed with it.
SECRET is its id, or its last four characters as ` + "`list`" + ` shows them. A secret that stands
in STRIPE_WEBHOOK_SECRET too goes on working.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				found, err := findWebhookSecret(ctx, tools, args[0])
				if err != nil {
					return err
				}

				removed, err := tools.WebhookSecrets.Remove(ctx, keyBy(by, 0), found.ID)
				if err != nil {
					return err
				}

				row := newWebhookSecretRow(tenants.ListedSecret{Webhook: removed})
				row.State = "removed"

				return printAnswer(cmd, row, func(w io.Writer) {
					fmt.Fprintf(w, "%s, which ends with %s, is removed.\n", removed.ID, removed.Hint)
				})
			})
		},
	}
	by.add(command, false)

	return command
}

// findWebhookSecret takes an id, or the last characters.
func findWebhookSecret(ctx context.Context, tools bootstrap.Tools, name string) (secret.Webhook, error) {
	if strings.HasPrefix(name, "whsec_") {
		return secret.Webhook{}, errors.New("name a secret by its id or its last four characters, and not by itself")
	}

	found, err := tools.WebhookSecrets.Find(ctx, name)

	return found, named(err, "webhook secret", fmt.Sprintf("%.36s", name))
}

func newSecretsCommand() *cobra.Command {
	return group("secrets", "Change the key that seals what the database keeps secret", newSecretsRotateCommand())
}

func newSecretsRotateCommand() *cobra.Command {
	var by decisionFlags

	command := &cobra.Command{
		Use:   "rotate",
		Short: "Seal everything anew with the first key of SECRETS_KEY",
		Long: `Seals everything anew with the first key of SECRETS_KEY, so that the others can be
dropped from it. Processes may run meanwhile, once all of them have the new key. It may be
repeated. Exit code 2: something cannot be opened and is left as it is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTools(cmd, func(ctx context.Context, tools bootstrap.Tools) error {
				rotated, err := tools.WebhookSecrets.Rotate(ctx, keyBy(by, 0))
				if err != nil {
					return err
				}

				if err := printAnswer(cmd, newRotatedRow(rotated), func(w io.Writer) { printRotated(w, rotated) }); err != nil {
					return err
				}

				return unreadableLeft(rotated)
			})
		},
	}
	by.add(command, false)

	return command
}

// rotatedRow is what a rotation did, in JSON.
type rotatedRow struct {
	Key      string   `json:"key"`
	Resealed int      `json:"resealed"`
	Already  int      `json:"already"`
	Left     []string `json:"left"`
}

func newRotatedRow(r tenants.Rotated) rotatedRow {
	return rotatedRow{
		Key: r.Key.String(), Resealed: r.Resealed, Already: r.Already,
		Left: rowsOf(r.Left, func(u tenants.Unreadable) string { return u.ID.String() }),
	}
}

func printRotated(w io.Writer, r tenants.Rotated) {
	fmt.Fprintf(w, "%d sealed anew with key %s; %d were already.\n", r.Resealed, r.Key, r.Already)

	for _, left := range r.Left {
		fmt.Fprintf(w, "webhook secret %s, which ends with %s, is left as it is: %s\n", left.ID, left.Hint, left.Err)
	}

	if len(r.Left) == 0 {
		fmt.Fprintln(w, "The other keys can be dropped from SECRETS_KEY.")
	}
}

// unreadableLeft asks a person for what a rotation could not do.
func unreadableLeft(r tenants.Rotated) error {
	if len(r.Left) == 0 {
		return nil
	}

	//nolint:err113 // for a person
	return &exitError{fmt.Errorf("%d cannot be opened; drop no key that may have sealed them", len(r.Left)), 2}
}
