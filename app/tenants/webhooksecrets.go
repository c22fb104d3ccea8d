package tenants

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/ports"
)

const (
	objectWebhookSecret, objectSecretsKey = "webhook_secret", "secrets_key"

	// rotateAtOnce is how many secrets one commit seals anew.
	rotateAtOnce = 100
)

// WebhookSecrets adds, rolls, lists and removes the stored secrets with which the provider signs
// its events, by a person's decision. It keeps them sealed. They are the installation's: the
// provider's account is one for all tenants.
type WebhookSecrets struct {
	store    ports.WebhookSecrets
	keys     secret.Keys
	observer Observer
	spans    ports.Spans
}

// NewWebhookSecrets returns the use cases. keys seal.
func NewWebhookSecrets(store ports.WebhookSecrets, keys secret.Keys, observer Observer, spans ports.Spans) *WebhookSecrets {
	return &WebhookSecrets{store: store, keys: keys, observer: observer, spans: spans}
}

// ListedSecret is a stored secret, and why it cannot be opened; Err is nil if it can.
type ListedSecret struct {
	secret.Webhook

	Err error
}

// List returns all stored secrets, newest first.
func (uc *WebhookSecrets) List(ctx context.Context) ([]ListedSecret, error) {
	stored, err := uc.store.WebhookSecrets(ctx)
	list := make([]ListedSecret, 0, len(stored))

	for _, one := range stored {
		_, openErr := uc.keys.Open(one.Sealed, one.Place())
		list = append(list, ListedSecret{one, openErr})
	}

	return list, err
}

// Add seals and keeps a secret. It expires at a time, or if that is zero never. One that has
// not the provider's form or is stored already, or a time that is past, is fault.Invalid, and so
// is everything where there is no key to seal with.
func (uc *WebhookSecrets) Add(ctx context.Context, by By, text string, expiresAt time.Time) (secret.Webhook, error) {
	return ports.InSpan(ctx, uc.spans, "app.AddWebhookSecret", func(ctx context.Context) (secret.Webhook, error) {
		if !expiresAt.IsZero() && !expiresAt.After(time.Now()) {
			return secret.Webhook{}, fault.New(fault.Invalid, "expires_at is in the past")
		}

		added, err := uc.seal(ctx, by, text)
		if err != nil {
			return secret.Webhook{}, err
		}

		added.ExpiresAt = expiresAt

		entry, err := by.entry(ports.AuditWebhookSecretAdded, objectWebhookSecret, added.ID.String(), describeSecret(added))
		if err != nil {
			return secret.Webhook{}, err
		}

		made, err := uc.store.AddWebhookSecret(ctx, added, entry)
		if err == nil {
			uc.observer.KeyChanged(ctx, entry)
		}

		return made, err
	})
}

// Roll is Add in place of another secret, which works on for the time overlap. If that one has
// expired, the error is fault.Invalid.
func (uc *WebhookSecrets) Roll(
	ctx context.Context, by By, old uuid.UUID, overlap time.Duration, text string,
) (secret.Webhook, error) {
	return ports.InSpan(ctx, uc.spans, "app.RollWebhookSecret", func(ctx context.Context) (secret.Webhook, error) {
		if overlap < 0 || overlap > MaxOverlap {
			return secret.Webhook{}, fault.Newf(fault.Invalid, "the overlap must be from 0 to %d days", MaxOverlap/(24*time.Hour))
		}

		added, err := uc.seal(ctx, by, text)
		if err != nil {
			return secret.Webhook{}, err
		}

		after := describeSecret(added)
		after["next"], after["overlap_seconds"] = added.ID.String(), overlap.Seconds()

		entry, err := by.entry(ports.AuditWebhookSecretRolled, objectWebhookSecret, old.String(), after)
		if err != nil {
			return secret.Webhook{}, err
		}

		made, err := uc.store.RollWebhookSecret(ctx, old, overlap, added, entry)
		if err == nil {
			uc.observer.KeyChanged(ctx, entry)
		}

		return made, err
	})
}

// Remove ends a secret: within five seconds no process takes it.
func (uc *WebhookSecrets) Remove(ctx context.Context, by By, id uuid.UUID) (secret.Webhook, error) {
	return ports.InSpan(ctx, uc.spans, "app.RemoveWebhookSecret", func(ctx context.Context) (secret.Webhook, error) {
		removed, err := uc.find(ctx, func(s secret.Webhook) bool { return s.ID == id })
		if err != nil {
			return removed, err
		}

		entry, err := by.entry(ports.AuditWebhookSecretRemoved, objectWebhookSecret, id.String(), nil)
		if err != nil {
			return removed, err
		}

		entry.Before = describeSecret(removed)

		if err := uc.store.RemoveWebhookSecret(ctx, id, entry); err != nil {
			return removed, err
		}

		uc.observer.KeyChanged(ctx, entry)

		return removed, nil
	})
}

// Find returns a secret by its id, or by its hint if no other has the same.
func (uc *WebhookSecrets) Find(ctx context.Context, name string) (secret.Webhook, error) {
	if id, err := uuid.Parse(name); err == nil {
		return uc.find(ctx, func(s secret.Webhook) bool { return s.ID == id })
	}

	return uc.find(ctx, func(s secret.Webhook) bool { return s.Hint == name })
}

func (uc *WebhookSecrets) find(ctx context.Context, is func(secret.Webhook) bool) (secret.Webhook, error) {
	list, err := uc.store.WebhookSecrets(ctx)
	if err != nil {
		return secret.Webhook{}, err
	}

	found := slices.DeleteFunc(list, func(s secret.Webhook) bool { return !is(s) })

	switch len(found) {
	case 0:
		return secret.Webhook{}, fault.New(fault.NotFound, "There is no such webhook secret.")
	case 1:
		return found[0], nil
	default:
		return secret.Webhook{}, fault.New(fault.Invalid, "Several webhook secrets end like this; name one by its id.")
	}
}

// seal makes a secret that may be kept.
func (uc *WebhookSecrets) seal(ctx context.Context, by By, text string) (secret.Webhook, error) {
	text = strings.TrimSpace(text)

	hint, err := secret.HintOf(text)
	if err != nil {
		return secret.Webhook{}, err
	}

	if err := uc.checkNew(ctx, []byte(text)); err != nil {
		return secret.Webhook{}, err
	}

	id, err := newID()
	if err != nil {
		return secret.Webhook{}, err
	}

	sealed, err := uc.keys.Seal([]byte(text), secret.PlaceOfWebhook(id))
	if err != nil {
		return secret.Webhook{}, fault.New(fault.Invalid, "Nothing can be sealed: "+err.Error())
	}

	return secret.Webhook{ID: id, Hint: hint, Sealed: sealed, CreatedBy: by.Actor.Name}, nil
}

// checkNew: whoever added the same secret twice would think that it is gone when he removed it
// once.
func (uc *WebhookSecrets) checkNew(ctx context.Context, text []byte) error {
	list, err := uc.store.WebhookSecrets(ctx)
	if err != nil {
		return err
	}

	for _, one := range list {
		if known, err := uc.keys.Open(one.Sealed, one.Place()); err == nil && bytes.Equal(known, text) {
			return fault.Newf(fault.Invalid, "This secret is stored already, as %s.", one.ID)
		}
	}

	return nil
}

// describeSecret is a secret in the audit, without itself.
func describeSecret(s secret.Webhook) map[string]any {
	described := map[string]any{"hint": s.Hint, "sealed_with": s.Sealed.KeyID().String()}
	if !s.ExpiresAt.IsZero() {
		described["expires_at"] = s.ExpiresAt.UTC()
	}

	return described
}

// Rotated is what a rotation did.
type Rotated struct {
	// Key is the id of the key that all is sealed with now.
	Key secret.KeyID
	// Resealed were sealed anew, and Already were sealed with that key.
	Resealed, Already int
	// Left cannot be opened: they are sealed with a key that is lost, or damaged.
	Left []Unreadable
}

// Rotate seals everything anew with the first key, so that the others can be dropped. It may be
// repeated, and stopped at any time: what is done is done. Processes may run meanwhile. What
// cannot be opened is left as it is. Without a key: fault.Invalid.
func (uc *WebhookSecrets) Rotate(ctx context.Context, by By) (Rotated, error) {
	return ports.InSpan(ctx, uc.spans, "app.RotateSecrets", func(ctx context.Context) (Rotated, error) {
		first, err := uc.keys.First()
		if err != nil {
			return Rotated{}, fault.New(fault.Invalid, "Nothing can be sealed: "+err.Error())
		}

		stored, err := uc.store.WebhookSecrets(ctx)
		if err != nil {
			return Rotated{}, err
		}

		rotated := Rotated{Key: first}

		for batch := range slices.Chunk(uc.anew(stored, &rotated), rotateAtOnce) {
			entry, err := by.entry(ports.AuditSecretsRotated, objectSecretsKey, first.String(),
				map[string]any{"webhook_secrets": len(batch)})
			if err != nil {
				return rotated, err
			}

			resealed, err := uc.store.ResealWebhookSecrets(ctx, batch, entry)
			if err != nil {
				return rotated, err
			}

			rotated.Resealed += resealed

			if resealed > 0 {
				uc.observer.KeyChanged(ctx, entry)
			}
		}

		return rotated, nil
	})
}

// anew seals what another key has sealed, and counts the rest.
func (uc *WebhookSecrets) anew(stored []secret.Webhook, rotated *Rotated) []ports.Resealed {
	var list []ports.Resealed

	for _, one := range stored {
		sealed, done, err := uc.keys.Reseal(one.Sealed, one.Place())

		switch {
		case err != nil:
			rotated.Left = append(rotated.Left, Unreadable{one.ID, one.Hint, err})
		case done:
			rotated.Already++
		default:
			list = append(list, ports.Resealed{ID: one.ID, Before: one.Sealed, Anew: sealed})
		}
	}

	return list
}
