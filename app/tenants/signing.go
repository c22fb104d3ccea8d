package tenants

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/ports"
)

// SigningSecrets knows the stored secrets with which the provider signs its events. It has them
// in its memory, so that an event costs no statement.
type SigningSecrets struct {
	store   ports.KnownWebhookSecrets
	keys    secret.Keys
	secrets current[knownSecrets]
}

// knownSecrets are all stored secrets at a time.
type knownSecrets struct {
	opened     []openedSecret
	unreadable []Unreadable
}

// Unreadable is a stored secret that cannot be opened, so that events are not compared with it.
type Unreadable struct {
	ID   uuid.UUID
	Hint string
	Err  error
}

type openedSecret struct {
	secret.Webhook

	bytes []byte
	uses  *uses
}

// NewSigningSecrets returns the use case. keys open what is stored.
func NewSigningSecrets(store ports.KnownWebhookSecrets, keys secret.Keys) *SigningSecrets {
	uc := &SigningSecrets{store: store, keys: keys}
	uc.secrets.version, uc.secrets.read = store.KeysVersion, uc.read

	return uc
}

// Try calls signed with each secret that may be used, until it says yes, and tells whether it
// did. It asks nobody. If it is not known any more which secrets are stored, because the
// database does not say, and there were some, it is fault.Unavailable.
func (uc *SigningSecrets) Try(signed func(secret []byte) bool) (bool, error) {
	now := time.Now()

	known, fresh := uc.secrets.latest(now)

	switch {
	case known == nil || len(known.opened) == 0:
		return false, nil
	case !fresh:
		return false, fault.New(fault.Unavailable, "It is not known which signing secrets are stored. Try again.").
			After(RefreshEvery)
	}

	for _, one := range known.opened {
		if one.Usable(now) && signed(one.bytes) {
			one.uses.note(now)

			return true, nil
		}
	}

	return false, nil
}

// Refresh reads the secrets if they have changed.
func (uc *SigningSecrets) Refresh(ctx context.Context) error {
	_, err := uc.secrets.since(ctx, time.Now())

	return err
}

// AnyUsable tells whether events may be signed with a stored secret.
func (uc *SigningSecrets) AnyUsable(ctx context.Context) (bool, error) {
	known, err := uc.secrets.since(ctx, time.Now())
	if err != nil {
		return false, err
	}

	for _, one := range known.opened {
		if one.Usable(time.Now()) {
			return true, nil
		}
	}

	return false, nil
}

// Unreadable lists the stored secrets that cannot be opened, as last read. One that expired does
// not matter any more.
func (uc *SigningSecrets) Unreadable() []Unreadable {
	if known, _ := uc.secrets.latest(time.Now()); known != nil {
		return known.unreadable
	}

	return nil
}

// read opens what is stored. A secret that was opened before stays open: when somebody else has
// sealed it anew with a key that this process does not have, it is still the same secret. It is
// unreadable all the same, because this process would not know it after a restart.
func (uc *SigningSecrets) read(ctx context.Context, before *knownSecrets) (*knownSecrets, error) {
	list, err := uc.store.WebhookSecrets(ctx)
	if err != nil {
		return nil, err
	}

	now := &knownSecrets{}

	for _, one := range list {
		if !one.Usable(time.Now()) {
			continue
		}

		opened := openedSecret{Webhook: one, uses: new(uses)}
		if known, was := before.find(one.ID); was {
			opened.bytes, opened.uses = known.bytes, known.uses
		}

		switch bytes, err := uc.keys.Open(one.Sealed, one.Place()); {
		case err == nil:
			opened.bytes = bytes
		case errors.Is(err, secret.ErrOtherKey):
			now.unreadable = append(now.unreadable, Unreadable{one.ID, one.Hint, err})
		default:
			// Somebody has changed it: it does not count any more.
			now.unreadable = append(now.unreadable, Unreadable{one.ID, one.Hint, err})
			opened.bytes = nil
		}

		if len(opened.bytes) > 0 { // anybody could sign with an empty one
			now.opened = append(now.opened, opened)
		}
	}

	return now, nil
}

func (k *knownSecrets) find(id uuid.UUID) (openedSecret, bool) {
	if k != nil {
		for _, one := range k.opened {
			if one.ID == id {
				return one, true
			}
		}
	}

	return openedSecret{}, false
}

// RecordUses records when the secrets were last used. Call it once a minute.
func (uc *SigningSecrets) RecordUses(ctx context.Context) error {
	each := map[uuid.UUID]*uses{}

	if known, _ := uc.secrets.latest(time.Now()); known != nil {
		for _, one := range known.opened {
			each[one.ID] = one.uses
		}
	}

	return record(each, nil, func(used map[uuid.UUID]time.Time) error { return uc.store.TouchWebhookSecrets(ctx, used) })
}
