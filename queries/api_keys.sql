-- name: GetKeysVersion :one
SELECT version FROM api_keys_version;

-- name: ListUsableKeys :many
-- A key of a disabled tenant does not work.
SELECT * FROM api_keys k
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND NOT EXISTS (SELECT FROM tenants t WHERE t.id = k.tenant AND t.disabled_at IS NOT NULL);

-- name: LockKeys :exec
-- Whoever changes keys waits for those who do, until the transaction ends.
SELECT version FROM api_keys_version FOR UPDATE;

-- name: CountUsableKeys :one
SELECT count(*) FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: InsertKey :one
INSERT INTO api_keys (id, tenant, name, prefix, mode, scopes, sha256, expires_at, lifetime)
VALUES (@id, @tenant, @name, @prefix, @mode, @scopes, @sha256, sqlc.narg(expires_at), sqlc.narg(lifetime))
RETURNING *;

-- name: GetKey :one
SELECT * FROM api_keys WHERE id = @id AND tenant = @tenant;

-- name: GetKeyByPrefix :one
SELECT * FROM api_keys WHERE prefix = @prefix AND tenant = @tenant;

-- name: ExpireKey :exec
UPDATE api_keys
SET expires_at = LEAST(expires_at, clock_timestamp() + make_interval(secs => @seconds::float8))
WHERE id = @id;

-- name: RevokeKey :one
UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = @id RETURNING *;

-- name: ListKeys :many
SELECT * FROM api_keys
WHERE tenant = @tenant AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: TouchKeys :exec
-- Several processes may report the same key: one of them writes, once a minute.
UPDATE api_keys k SET last_used_at = u.at
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@used_at::timestamptz[]) AS at) u
WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at <= u.at - interval '1 minute');
