-- name: InsertAudit :exec
INSERT INTO audit (id, actor, on_behalf_of, action, object_type, object_id, reason, before, after, request_id, tenant)
VALUES (@id, @actor, sqlc.narg(on_behalf_of), @action, @object_type, @object_id, @reason, sqlc.narg(before)::text::jsonb,
        sqlc.narg(after)::text::jsonb, sqlc.narg(request_id), sqlc.narg(tenant));

-- name: HasAudit :one
-- Whether this decision was written before, by an attempt whose answer was lost.
SELECT EXISTS (SELECT FROM audit WHERE id = @id);

-- name: ListAudit :many
-- Decisions about the given objects, newest first. The time is an expression, so that the planner
-- cannot walk through all decisions by their time until it has found as many.
SELECT * FROM audit
WHERE object_id = ANY (@object_ids::text[])
ORDER BY at + interval '0' DESC, id DESC
LIMIT @max_rows;

-- name: ListAuditEntries :many
-- What people and keys changed, newest first. It is planned for its arguments.
SELECT * FROM audit
WHERE (at, id) < (@before_at::timestamptz, @before_id::uuid) AND at >= @from_at::timestamptz
  AND (@tenant::integer = 0 OR COALESCE(tenant, 1) = @tenant::integer)
  AND (@object_id::text = '' OR object_id = @object_id::text)
  AND (@actor::text = '' OR actor = @actor::text)
  AND (@action::text = '' OR action = @action::text)
ORDER BY at DESC, id DESC
LIMIT @max_rows;

-- name: ListAuditedOperations :many
-- What clients asked for, newest first, without what may hold a person's data. It is planned
-- for its arguments.
SELECT id, tenant, kind, COALESCE(subject, id)::uuid AS object_id, actor, on_behalf_of,
       COALESCE(reason, CASE WHEN kind IN ('cancel', 'refund') THEN options ->> 'reason' END, '')::text AS reason,
       origin_request_id, created_at, state, response_status, amount, currency, before, after
FROM operations
WHERE (created_at, id) < (@before_at::timestamptz, @before_id::uuid) AND created_at >= @from_at::timestamptz
  AND (@tenant::integer = 0 OR tenant = @tenant::integer)
  AND (NOT @of_object::boolean OR subject = @object_id::uuid OR id = @object_id::uuid)
  AND (@actor::text = '' OR actor = @actor::text)
  AND (@kind::text = '' OR kind = @kind::text)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: GetAuditedUntil :one
SELECT marketflow_audited_until()::timestamptz AS until;
