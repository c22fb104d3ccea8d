-- name: ListWebhookSecrets :many
-- All of them: there are few.
SELECT * FROM webhook_secrets ORDER BY created_at DESC, id DESC;

-- name: GetWebhookSecret :one
SELECT * FROM webhook_secrets WHERE id = @id;

-- name: CountWebhookSecrets :one
SELECT count(*) FROM webhook_secrets;

-- name: InsertWebhookSecret :one
INSERT INTO webhook_secrets (id, hint, sealed, created_by, expires_at)
VALUES (@id, @hint, @sealed, @created_by, sqlc.narg(expires_at))
RETURNING *;

-- name: ExpireWebhookSecret :execrows
UPDATE webhook_secrets
SET expires_at = LEAST(expires_at, clock_timestamp() + make_interval(secs => @seconds::float8))
WHERE id = @id;

-- name: DeleteWebhookSecret :execrows
DELETE FROM webhook_secrets WHERE id = @id;

-- name: ResealWebhookSecret :execrows
-- Only if nobody has sealed it anew or removed it meanwhile.
UPDATE webhook_secrets SET sealed = @anew WHERE id = @id AND sealed = @before;

-- name: TouchWebhookSecrets :exec
-- Several processes may report the same secret: one of them writes, once a minute.
UPDATE webhook_secrets s SET last_used_at = u.at
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@used_at::timestamptz[]) AS at) u
WHERE s.id = u.id AND (s.last_used_at IS NULL OR s.last_used_at <= u.at - interval '1 minute');
