package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/internal/config"
)

var errNoSigningSecret = errors.New("STRIPE_WEBHOOK_SECRET is not set, and no webhook secret in the database works, " +
	"so no event of Stripe would be taken. Set it, or add one:\n" +
	"  marketflow webhook-secrets add < FILE")

// knowSecrets reads the stored webhook secrets before the first event, and from then on whenever
// they change.
func knowSecrets(lc fx.Lifecycle, c config.Config, stored *tenants.SigningSecrets, log *zap.Logger) {
	watched := &watchedSecrets{SigningSecrets: stored, log: log}

	keepKnown(lc, "webhook secrets", watched, log, func(start context.Context) error {
		usable, err := stored.AnyUsable(start)

		switch unreadable := stored.Unreadable(); {
		case err != nil:
			return err
		case usable || len(c.StripeWebhookSecrets) > 0:
			watched.tell()

			return nil
		case len(unreadable) > 0:
			//nolint:err113 // for a person
			return fmt.Errorf("STRIPE_WEBHOOK_SECRET is not set, and none of the %d webhook secrets in the database can be opened: "+
				"the one that ends with %s, for instance: %w. Set SECRETS_KEY to the key that sealed them, or remove them and add "+
				"them again with `marketflow webhook-secrets`", len(unreadable), unreadable[0].Hint, unreadable[0].Err)
		default:
			return errNoSigningSecret
		}
	})
}

// watchedSecrets says in the log when secrets cannot be opened, once for each change.
type watchedSecrets struct {
	*tenants.SigningSecrets

	log  *zap.Logger
	told []tenants.Unreadable
}

// Refresh reads the secrets if they have changed.
func (w *watchedSecrets) Refresh(ctx context.Context) error {
	err := w.SigningSecrets.Refresh(ctx)
	if err == nil {
		w.tell()
	}

	return err
}

func (w *watchedSecrets) tell() {
	unreadable := w.Unreadable()

	for _, one := range unreadable {
		if !slices.Contains(w.told, one) {
			w.log.Error("a stored webhook secret cannot be opened, so events that are signed with it are not taken",
				zap.Stringer("webhook_secret", one.ID), zap.String("hint", one.Hint), zap.Error(one.Err))
		}
	}

	if len(unreadable) == 0 && len(w.told) > 0 {
		w.log.Info("all webhook secrets can be opened")
	}

	w.told = unreadable
}
