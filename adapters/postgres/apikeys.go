package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

var _ ports.APIKeys = (*Store)(nil)

// askKeys bounds the questions for keys. They go to the background pool, so that they do not
// wait behind the requests that wait for their answer.
func (s *Store) askKeys() connections {
	keys := s.background
	keys.reads = limits{acquire: time.Second, whole: 2 * time.Second, stops: true}

	return keys
}

// KeysVersion implements ports.UsableKeys.
func (s *Store) KeysVersion(ctx context.Context) (uuid.UUID, error) {
	return query(ctx, s.askKeys(), "reading the version of the API keys",
		func(ctx context.Context, q *sqlc.Queries) (uuid.UUID, error) { return q.GetKeysVersion(ctx) })
}

// UsableAPIKeys implements ports.UsableKeys.
func (s *Store) UsableAPIKeys(ctx context.Context) ([]tenant.Key, error) {
	rows, err := query(ctx, s.askKeys(), "reading the API keys",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ApiKey, error) { return q.ListUsableKeys(ctx) })

	return mapped(rows, keyFromDB), err
}

// TouchAPIKeys implements ports.UsableKeys.
func (s *Store) TouchAPIKeys(ctx context.Context, used map[uuid.UUID]time.Time) error {
	ids, times := inOneOrder(used)

	return s.background.exec(ctx, "recording the use of API keys", func(ctx context.Context, q *sqlc.Queries) error {
		return q.TouchKeys(ctx, sqlc.TouchKeysParams{Ids: ids, UsedAt: times})
	})
}

// inOneOrder lists what was used, so that two processes do not wait for each other.
func inOneOrder(used map[uuid.UUID]time.Time) (ids []uuid.UUID, times []time.Time) {
	ids = slices.SortedFunc(maps.Keys(used), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })

	for _, id := range ids {
		times = append(times, used[id])
	}

	return ids, times
}

// APIKey implements ports.APIKeys.
func (s *Store) APIKey(ctx context.Context, owner operation.Tenant, id uuid.UUID) (tenant.Key, error) {
	row, err := query(ctx, s.hot, "reading an API key", func(ctx context.Context, q *sqlc.Queries) (sqlc.ApiKey, error) {
		return q.GetKey(ctx, sqlc.GetKeyParams{ID: id, Tenant: int32(owner)})
	})

	return keyFromDB(row), errNoKey(err)
}

// APIKeyByPrefix implements ports.APIKeys.
func (s *Store) APIKeyByPrefix(ctx context.Context, owner operation.Tenant, prefix string) (tenant.Key, error) {
	row, err := query(ctx, s.hot, "reading an API key", func(ctx context.Context, q *sqlc.Queries) (sqlc.ApiKey, error) {
		return q.GetKeyByPrefix(ctx, sqlc.GetKeyByPrefixParams{Prefix: prefix, Tenant: int32(owner)})
	})

	return keyFromDB(row), errNoKey(err)
}

// ListAPIKeys implements ports.APIKeys.
func (s *Store) ListAPIKeys(
	ctx context.Context, owner operation.Tenant, before ports.KeyPosition, limit int,
) ([]tenant.Key, error) {
	if before == (ports.KeyPosition{}) {
		before.CreatedAt = endOfTime
	}

	rows, err := query(ctx, s.background, "listing API keys",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ApiKey, error) {
			return q.ListKeys(ctx, sqlc.ListKeysParams{
				Tenant: int32(owner), BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID,
				MaxRows: int32(limit), //nolint:gosec // checked by the caller
			})
		})

	return mapped(rows, keyFromDB), err
}

// CreateAPIKey implements ports.APIKeys.
func (s *Store) CreateAPIKey(ctx context.Context, key tenant.Key, entry ports.AuditEntry) (tenant.Key, error) {
	return s.changeKeys(ctx, "creating an API key", key.Tenant, key.ID, entry,
		func(ctx context.Context, q *sqlc.Queries) (sqlc.ApiKey, error) { return insertKey(ctx, q, key) })
}

// RollAPIKey implements ports.APIKeys.
func (s *Store) RollAPIKey(
	ctx context.Context, old uuid.UUID, overlap time.Duration, key tenant.Key, entry ports.AuditEntry,
) (tenant.Key, error) {
	return s.changeKeys(ctx, "rolling an API key", key.Tenant, key.ID, entry,
		func(ctx context.Context, q *sqlc.Queries) (sqlc.ApiKey, error) {
			before, err := q.GetKey(ctx, sqlc.GetKeyParams{ID: old, Tenant: int32(key.Tenant)})
			if err != nil {
				return before, err
			}

			now, err := q.GetNow(ctx)
			if err != nil {
				return before, err
			}

			if !keyFromDB(before).Usable(now) {
				return before, fault.New(fault.Invalid, "This key is revoked or has expired; create a new one.")
			}

			made, err := insertKey(ctx, q, key)
			if err != nil {
				return made, err
			}

			return made, q.ExpireKey(ctx, sqlc.ExpireKeyParams{ID: old, Seconds: overlap.Seconds()})
		})
}

// RevokeAPIKey implements ports.APIKeys.
func (s *Store) RevokeAPIKey(
	ctx context.Context, owner operation.Tenant, id uuid.UUID, entry ports.AuditEntry,
) (tenant.Key, error) {
	return s.changeKeys(ctx, "revoking an API key", owner, id, entry,
		func(ctx context.Context, q *sqlc.Queries) (sqlc.ApiKey, error) {
			key, err := q.GetKey(ctx, sqlc.GetKeyParams{ID: id, Tenant: int32(owner)})

			switch {
			case err != nil:
				return key, err
			case key.RevokedAt != nil:
				return key, errUnchanged
			default:
				return q.RevokeKey(ctx, id)
			}
		})
}

// errUnchanged ends a change that changes nothing.
var errUnchanged = errors.New("nothing is to be changed")

// changeKeys makes one change after the other, with its entry in the audit. The change
// returns the key with that id.
func (s *Store) changeKeys(
	ctx context.Context, doing string, owner operation.Tenant, id uuid.UUID, entry ports.AuditEntry,
	change func(context.Context, *sqlc.Queries) (sqlc.ApiKey, error),
) (tenant.Key, error) {
	var row sqlc.ApiKey

	err := s.changeWithAudit(ctx, doing, entry,
		func(ctx context.Context, q *sqlc.Queries) (err error) {
			row, err = change(ctx, q)

			return err
		},
		func(ctx context.Context, q *sqlc.Queries) (err error) {
			row, err = q.GetKey(ctx, sqlc.GetKeyParams{ID: id, Tenant: int32(owner)})

			return err
		})

	return keyFromDB(row), errNoKey(err)
}

// changeWithAudit makes one change of keys, tenants or secrets after the other, with its entry in the
// audit. If the entry is there, the change was made, and done is called instead.
func (s *Store) changeWithAudit(
	ctx context.Context, doing string, entry ports.AuditEntry, change, done func(context.Context, *sqlc.Queries) error,
) error {
	return s.hot.inTransaction(ctx, doing, func(ctx context.Context, q *sqlc.Queries) error {
		if err := q.LockKeys(ctx); err != nil {
			return fmt.Errorf("locking the keys: %w", err)
		}

		was, err := q.HasAudit(ctx, entry.ID)
		if err != nil {
			return fmt.Errorf("reading the audit: %w", err)
		}

		if was {
			return done(ctx, q)
		}

		switch err := change(ctx, q); {
		case errors.Is(err, errUnchanged):
			return nil
		case err != nil:
			return err
		default:
			return writeAudit(ctx, q, entry)
		}
	})
}

func insertKey(ctx context.Context, q *sqlc.Queries, key tenant.Key) (sqlc.ApiKey, error) {
	usable, err := q.CountUsableKeys(ctx)

	switch {
	case err != nil:
		return sqlc.ApiKey{}, fmt.Errorf("counting the keys: %w", err)
	case usable >= ports.MaxUsableKeys:
		return sqlc.ApiKey{}, fault.Newf(fault.Invalid, "There are %d usable keys, which is the most; revoke some first.", usable)
	}

	row, err := q.InsertKey(ctx, sqlc.InsertKeyParams{
		ID: key.ID, Tenant: int32(key.Tenant), Name: key.Name, Prefix: key.Prefix, Mode: string(key.Mode),
		Scopes: key.Scopes.Strings(), Sha256: key.Sum[:], ExpiresAt: optional(key.ExpiresAt),
		Lifetime: optional(int64(key.Lifetime / time.Second)),
	})
	if err != nil {
		return row, fmt.Errorf("inserting key %s: %w", key.ID, err)
	}

	return row, nil
}

// errNoKey is err, or fault.NotFound where no row was found.
func errNoKey(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("API key")
	}

	return err
}

func keyFromDB(row sqlc.ApiKey) tenant.Key {
	key := tenant.Key{
		ID: row.ID, Tenant: operation.Tenant(row.Tenant), Name: row.Name, Prefix: row.Prefix, Mode: binding.Mode(row.Mode),
		CreatedAt: row.CreatedAt.UTC(), ExpiresAt: utc(row.ExpiresAt), LastUsedAt: utc(row.LastUsedAt), RevokedAt: utc(row.RevokedAt),
		Lifetime: time.Duration(deref(row.Lifetime)) * time.Second,
	}
	copy(key.Sum[:], row.Sha256)

	for _, scope := range row.Scopes {
		key.Scopes = append(key.Scopes, tenant.Scope(scope))
	}

	return key
}
