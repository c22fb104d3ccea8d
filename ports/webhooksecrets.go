package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/secret"
)

// MaxWebhookSecrets is the most that are kept at once. An event that none of them has signed is
// compared with all.
const MaxWebhookSecrets = 8

// WebhookSecrets keeps the secrets with which the provider signs its events, sealed. The store
// cannot open them.
//
// Atomicity: a change is one commit with its entry in the audit. Idempotency: a change may be
// repeated with the same entry; the entry's id tells that it has been done. Errors: an
// unreachable or overloaded database is fault.Unavailable, and then surely nothing was
// written; if a change may have been written, the error is fault.Unknown. No such secret:
// fault.NotFound.
type WebhookSecrets interface {
	KnownWebhookSecrets

	// AddWebhookSecret writes a secret. The store sets CreatedAt. If there are
	// MaxWebhookSecrets already: fault.Invalid.
	AddWebhookSecret(ctx context.Context, added secret.Webhook, entry AuditEntry) (secret.Webhook, error)

	// RollWebhookSecret writes a secret in place of the usable secret old, which works for the
	// time overlap, or less if it expires before that. If old has expired, or there are too
	// many: fault.Invalid.
	RollWebhookSecret(
		ctx context.Context, old uuid.UUID, overlap time.Duration, added secret.Webhook, entry AuditEntry,
	) (secret.Webhook, error)

	// RemoveWebhookSecret deletes a secret.
	RemoveWebhookSecret(ctx context.Context, id uuid.UUID, entry AuditEntry) error

	// ResealWebhookSecrets replaces sealed texts, each only if it is still as it was read, and
	// returns how many; all of them, if an attempt whose answer was lost has done it. If none
	// is, there is no entry.
	ResealWebhookSecrets(ctx context.Context, anew []Resealed, entry AuditEntry) (int, error)
}

// Resealed is a secret that was sealed anew.
type Resealed struct {
	ID           uuid.UUID
	Before, Anew secret.Sealed
}

// KnownWebhookSecrets is what a process needs to tell who signed an event.
type KnownWebhookSecrets interface {
	// KeysVersion changes with each of them, too.
	KeysVersion(ctx context.Context) (uuid.UUID, error)

	// WebhookSecrets returns all of them, newest first.
	WebhookSecrets(ctx context.Context) ([]secret.Webhook, error)

	// TouchWebhookSecrets records when secrets were last used. A time less than a minute after
	// the recorded one is not worth a write. A secret that is not there is left out.
	TouchWebhookSecrets(ctx context.Context, used map[uuid.UUID]time.Time) error
}

// The actions on secrets.
const (
	AuditWebhookSecretAdded   AuditAction = "webhook_secret.add"
	AuditWebhookSecretRolled  AuditAction = "webhook_secret.roll"
	AuditWebhookSecretRemoved AuditAction = "webhook_secret.remove"
	AuditSecretsRotated       AuditAction = "secrets.rotate"
)
