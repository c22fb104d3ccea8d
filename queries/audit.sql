-- name: InsertAudit :exec
INSERT INTO audit (id, actor, on_behalf_of, action, object_type, object_id, reason, before, after, request_id)
VALUES (@id, @actor, sqlc.narg(on_behalf_of), @action, @object_type, @object_id, @reason, sqlc.narg(before)::text::jsonb,
        sqlc.narg(after)::text::jsonb, sqlc.narg(request_id));

-- name: HasAudit :one
-- Whether this decision was written before, by an attempt whose answer was lost.
SELECT EXISTS (SELECT FROM audit WHERE id = @id);

-- name: ListAudit :many
-- Decisions about the given objects, newest first.
SELECT * FROM audit
WHERE object_id = ANY (@object_ids::text[])
ORDER BY at DESC, id DESC
LIMIT @max_rows;
