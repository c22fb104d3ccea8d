package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/ports"
)

var _ ports.WebhookSecrets = (*Store)(nil)

// WebhookSecrets implements ports.KnownWebhookSecrets.
func (s *Store) WebhookSecrets(ctx context.Context) ([]secret.Webhook, error) {
	rows, err := query(ctx, s.askKeys(), "reading the webhook secrets",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.WebhookSecret, error) {
			return q.ListWebhookSecrets(ctx)
		})

	return mapped(rows, webhookSecretFromDB), err
}

// TouchWebhookSecrets implements ports.KnownWebhookSecrets.
func (s *Store) TouchWebhookSecrets(ctx context.Context, used map[uuid.UUID]time.Time) error {
	ids, times := inOneOrder(used)

	return s.background.exec(ctx, "recording the use of webhook secrets", func(ctx context.Context, q *sqlc.Queries) error {
		return q.TouchWebhookSecrets(ctx, sqlc.TouchWebhookSecretsParams{Ids: ids, UsedAt: times})
	})
}

// AddWebhookSecret implements ports.WebhookSecrets.
func (s *Store) AddWebhookSecret(
	ctx context.Context, added secret.Webhook, entry ports.AuditEntry,
) (secret.Webhook, error) {
	return s.addWebhookSecret(ctx, "adding a webhook secret", added, entry,
		func(context.Context, *sqlc.Queries) error { return nil })
}

// RollWebhookSecret implements ports.WebhookSecrets.
func (s *Store) RollWebhookSecret(
	ctx context.Context, old uuid.UUID, overlap time.Duration, added secret.Webhook, entry ports.AuditEntry,
) (secret.Webhook, error) {
	return s.addWebhookSecret(ctx, "rolling a webhook secret", added, entry,
		func(ctx context.Context, q *sqlc.Queries) error { return expireWebhookSecret(ctx, q, old, overlap) })
}

func expireWebhookSecret(ctx context.Context, q *sqlc.Queries, old uuid.UUID, overlap time.Duration) error {
	before, err := q.GetWebhookSecret(ctx, old)
	if err != nil {
		return err
	}

	now, err := q.GetNow(ctx)
	if err != nil {
		return err
	}

	if !webhookSecretFromDB(before).Usable(now) {
		return fault.New(fault.Invalid, "This secret has expired; add the new one instead.")
	}

	_, err = q.ExpireWebhookSecret(ctx, sqlc.ExpireWebhookSecretParams{ID: old, Seconds: overlap.Seconds()})

	return err
}

// addWebhookSecret writes a secret after what has to be done first.
func (s *Store) addWebhookSecret(
	ctx context.Context, doing string, added secret.Webhook, entry ports.AuditEntry,
	first func(context.Context, *sqlc.Queries) error,
) (secret.Webhook, error) {
	var row sqlc.WebhookSecret

	err := s.changeWithAudit(ctx, doing, entry,
		func(ctx context.Context, q *sqlc.Queries) (err error) {
			if err := first(ctx, q); err != nil {
				return err
			}

			row, err = insertWebhookSecret(ctx, q, added)

			return err
		},
		func(ctx context.Context, q *sqlc.Queries) (err error) {
			row, err = q.GetWebhookSecret(ctx, added.ID)

			return err
		})

	return webhookSecretFromDB(row), errNoWebhookSecret(err)
}

func insertWebhookSecret(ctx context.Context, q *sqlc.Queries, added secret.Webhook) (sqlc.WebhookSecret, error) {
	kept, err := q.CountWebhookSecrets(ctx)

	switch {
	case err != nil:
		return sqlc.WebhookSecret{}, fmt.Errorf("counting the webhook secrets: %w", err)
	case kept >= ports.MaxWebhookSecrets:
		return sqlc.WebhookSecret{}, fault.Newf(fault.Invalid,
			"There are %d webhook secrets, which is the most; remove those that have expired or are not used.", kept)
	}

	row, err := q.InsertWebhookSecret(ctx, sqlc.InsertWebhookSecretParams{
		ID: added.ID, Hint: added.Hint, Sealed: added.Sealed, CreatedBy: added.CreatedBy, ExpiresAt: optional(added.ExpiresAt),
	})
	if err != nil {
		return row, fmt.Errorf("inserting webhook secret %s: %w", added.ID, err)
	}

	return row, nil
}

// RemoveWebhookSecret implements ports.WebhookSecrets.
func (s *Store) RemoveWebhookSecret(ctx context.Context, id uuid.UUID, entry ports.AuditEntry) error {
	return s.changeWithAudit(ctx, "removing a webhook secret", entry,
		func(ctx context.Context, q *sqlc.Queries) error {
			removed, err := q.DeleteWebhookSecret(ctx, id)
			if err == nil && removed == 0 {
				return errNotFound("webhook secret")
			}

			return err
		},
		func(context.Context, *sqlc.Queries) error { return nil })
}

// ResealWebhookSecrets implements ports.WebhookSecrets.
func (s *Store) ResealWebhookSecrets(ctx context.Context, anew []ports.Resealed, entry ports.AuditEntry) (int, error) {
	var resealed int

	err := s.changeWithAudit(ctx, "sealing webhook secrets anew", entry,
		func(ctx context.Context, q *sqlc.Queries) error {
			resealed = 0 // an attempt before this one may have been undone

			for _, one := range anew {
				written, err := q.ResealWebhookSecret(ctx, sqlc.ResealWebhookSecretParams{
					ID: one.ID, Before: one.Before, Anew: one.Anew,
				})
				if err != nil {
					return fmt.Errorf("sealing webhook secret %s: %w", one.ID, err)
				}

				resealed += int(written)
			}

			if resealed == 0 {
				return errUnchanged
			}

			return nil
		},
		func(context.Context, *sqlc.Queries) error {
			resealed = len(anew)

			return nil
		})

	return resealed, err
}

// errNoWebhookSecret is err, or fault.NotFound where no row was found.
func errNoWebhookSecret(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("webhook secret")
	}

	return err
}

func webhookSecretFromDB(row sqlc.WebhookSecret) secret.Webhook {
	return secret.Webhook{
		ID: row.ID, Hint: row.Hint, Sealed: row.Sealed, CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt.UTC(),
		ExpiresAt: utc(row.ExpiresAt), LastUsedAt: utc(row.LastUsedAt),
	}
}
