package tenants

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

const (
	// MaxOverlap is the longest time that an old key works beside the new one.
	MaxOverlap = 30 * 24 * time.Hour
	// UsualOverlap is it if nobody says.
	UsualOverlap = 24 * time.Hour

	maxReason = 1000

	// What entries of the audit are about.
	objectKey, objectTenant = "api_key", "tenant"
)

// By is who changes keys, and why.
type By struct {
	Tenant operation.Tenant
	// Actor is a person, as cli:user@host, or a key.
	Actor ports.Actor
	// May are the scopes that the actor has itself, and so may give.
	May tenant.Scopes
	// Reason may be empty.
	Reason    string
	RequestID string
}

// entry is the change's entry in the audit. A reason that cannot be kept is fault.Invalid.
func (by By) entry(
	action ports.AuditAction, objectType, objectID string, after map[string]any,
) (ports.AuditEntry, error) {
	reason := strings.TrimSpace(by.Reason)
	if utf8.RuneCountInString(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return ports.AuditEntry{}, fault.Newf(fault.Invalid, "reason must be one line of at most %d characters", maxReason)
	}

	id, err := newID()

	return ports.AuditEntry{
		ID: id, Tenant: by.Tenant, Actor: by.Actor.Name, OnBehalfOf: by.Actor.OnBehalfOf,
		Action: action, ObjectType: objectType, ObjectID: objectID, Reason: reason, After: after,
		RequestID: by.RequestID,
	}, err
}

func newID() (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return id, nil
}

// mayGive: nobody can make a key that may do more than the actor.
func (by By) mayGive(scopes tenant.Scopes) error {
	missing := scopes.Beyond(by.May)
	if missing == "" {
		return nil
	}

	f := fault.Newf(fault.InsufficientScope, "Your key does not have the scope %s, so it cannot give it to another key.", missing)
	f.RequiredScope = string(missing)

	return f
}

// Made is a new key with its secret, which nobody can read again.
type Made struct {
	tenant.Key

	Secret tenant.Secret
}

// Observer is told what was decided about keys.
type Observer interface {
	// KeyChanged: a key was made, rolled or revoked, as the audit says.
	KeyChanged(ctx context.Context, entry ports.AuditEntry)
}

// Keys makes, lists, rolls and revokes keys.
type Keys struct {
	store    ports.APIKeys
	tenants  ports.Tenants
	mode     binding.Mode
	observer Observer
	spans    ports.Spans
}

// NewKeys returns the use cases for keys of one mode.
func NewKeys(store ports.APIKeys, tenants ports.Tenants, mode binding.Mode, observer Observer, spans ports.Spans) *Keys {
	return &Keys{store: store, tenants: tenants, mode: mode, observer: observer, spans: spans}
}

// Order is what a new key is to be.
type Order struct {
	Name string
	// Scopes are names of scopes and presets.
	Scopes []string
	// ExpiresAt is zero for a key that does not expire.
	ExpiresAt time.Time
}

// Create makes a key. If its answer is lost, the key is there and nobody has its secret:
// revoke it, and make another. Wrong values are fault.Invalid; a scope that the actor does not
// have is fault.InsufficientScope.
func (uc *Keys) Create(ctx context.Context, by By, order Order) (Made, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreateAPIKey", func(ctx context.Context) (Made, error) {
		if err := tenant.CheckName(order.Name); err != nil {
			return Made{}, err
		}

		scopes, err := tenant.ParseScopes(order.Scopes...)
		if err != nil {
			return Made{}, err
		}

		if err := by.mayGive(scopes); err != nil {
			return Made{}, err
		}

		if owner, err := uc.tenants.Tenant(ctx, by.Tenant); err != nil {
			return Made{}, err
		} else if !owner.DisabledAt.IsZero() {
			return Made{}, fault.Newf(fault.Invalid, "The tenant %s is disabled: its keys do not work.", owner.Name)
		}

		key := tenant.Key{Tenant: by.Tenant, Name: order.Name, Scopes: scopes, ExpiresAt: order.ExpiresAt}

		if !key.ExpiresAt.IsZero() {
			key.Lifetime = time.Until(key.ExpiresAt).Round(time.Second)
			if key.Lifetime < time.Second {
				return Made{}, fault.New(fault.Invalid, "expires_at is in the past")
			}
		}

		made, err := uc.draw(key)
		if err != nil {
			return Made{}, err
		}

		entry, err := by.entry(ports.AuditKeyCreated, objectKey, made.ID.String(), describe(made.Key))
		if err != nil {
			return Made{}, err
		}

		if made.Key, err = uc.store.CreateAPIKey(ctx, made.Key, entry); err == nil {
			uc.observer.KeyChanged(ctx, entry)
		}

		return made, err
	})
}

// draw gives a key its id and its secret.
func (uc *Keys) draw(key tenant.Key) (Made, error) {
	secret := tenant.NewSecret(uc.mode)

	var err error

	key.ID, err = newID()
	key.Mode, key.Prefix, key.Sum = uc.mode, secret.Prefix(), secret.Sum()

	return Made{Key: key, Secret: secret}, err
}

// describe is a key in the audit.
func describe(key tenant.Key) map[string]any {
	described := map[string]any{"name": key.Name, "prefix": key.Prefix, "mode": key.Mode, "scopes": key.Scopes}
	if !key.ExpiresAt.IsZero() {
		described["expires_at"] = key.ExpiresAt.UTC()
	}

	return described
}

// Roll makes a key that may do the same as old, which works on for the time overlap. A key that
// expires is followed by one that lives as long. If old does not work any more, the error is
// fault.Invalid. It may be repeated if its answer is lost: that makes another key.
func (uc *Keys) Roll(ctx context.Context, by By, old uuid.UUID, overlap time.Duration) (Made, error) {
	return ports.InSpan(ctx, uc.spans, "app.RollAPIKey", func(ctx context.Context) (Made, error) {
		if overlap < 0 || overlap > MaxOverlap {
			return Made{}, fault.Newf(fault.Invalid, "the overlap must be from 0 to %d days", MaxOverlap/(24*time.Hour))
		}

		before, err := uc.store.APIKey(ctx, by.Tenant, old)
		if err != nil {
			return Made{}, err
		}

		if err := by.mayGive(before.Scopes); err != nil {
			return Made{}, err
		}

		next := tenant.Key{Tenant: before.Tenant, Name: before.Name, Scopes: before.Scopes, Lifetime: before.Lifetime}
		if next.Lifetime > 0 {
			next.ExpiresAt = time.Now().Add(next.Lifetime)
		}

		made, err := uc.draw(next)
		if err != nil {
			return Made{}, err
		}

		entry, err := by.entry(ports.AuditKeyRolled, objectKey, old.String(), map[string]any{
			"next": made.ID.String(), "prefix": made.Prefix, "overlap_seconds": overlap.Seconds(),
		})
		if err != nil {
			return Made{}, err
		}

		entry.Before = describe(before)

		if made.Key, err = uc.store.RollAPIKey(ctx, old, overlap, made.Key, entry); err == nil {
			uc.observer.KeyChanged(ctx, entry)
		}

		return made, err
	})
}

// Revoke ends a key for ever. Repeating it is harmless.
func (uc *Keys) Revoke(ctx context.Context, by By, id uuid.UUID) (tenant.Key, error) {
	return ports.InSpan(ctx, uc.spans, "app.RevokeAPIKey", func(ctx context.Context) (tenant.Key, error) {
		before, err := uc.store.APIKey(ctx, by.Tenant, id)
		if err != nil || !before.RevokedAt.IsZero() {
			return before, err
		}

		entry, err := by.entry(ports.AuditKeyRevoked, objectKey, id.String(), nil)
		if err != nil {
			return before, err
		}

		entry.Before = describe(before)

		revoked, err := uc.store.RevokeAPIKey(ctx, by.Tenant, id, entry)
		if err == nil {
			uc.observer.KeyChanged(ctx, entry)
		}

		return revoked, err
	})
}

// Page is a part of a list.
type Page struct {
	Keys []tenant.Key
	More bool
}

// List returns up to limit keys before a position, newest first, also those that do not work
// any more.
func (uc *Keys) List(ctx context.Context, owner operation.Tenant, before ports.KeyPosition, limit int) (Page, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListAPIKeys", func(ctx context.Context) (Page, error) {
		found, err := uc.store.ListAPIKeys(ctx, owner, before, limit+1)
		if err != nil || len(found) <= limit {
			return Page{Keys: found}, err
		}

		return Page{Keys: found[:limit], More: true}, nil
	})
}

// Find returns a key by its prefix, or by the id.
func (uc *Keys) Find(ctx context.Context, owner operation.Tenant, name string) (tenant.Key, error) {
	if tenant.IsPrefix(name) {
		return uc.store.APIKeyByPrefix(ctx, owner, name)
	}

	id, err := uuid.Parse(name)
	if err != nil {
		return tenant.Key{}, fault.New(fault.Invalid,
			"A key is named by its id, a UUID, or by its beginning, such as mf_test_abcd1234.")
	}

	return uc.store.APIKey(ctx, owner, id)
}
