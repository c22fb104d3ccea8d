-- What people read and decide with the commands for operations. operations.sql
-- explains state || ''.

-- name: ListUnfinishedOperations :many
-- Pending operations and those that need attention, oldest first.
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM (
    SELECT * FROM operations WHERE state = 'pending'
    UNION ALL
    SELECT * FROM operations WHERE state = 'needs_attention'
) AS operations
WHERE operations.state = ANY (@states::text[])
  AND (@tenant::integer = 0 OR operations.tenant = @tenant::integer)
ORDER BY operations.created_at, operations.id
LIMIT @max_rows;

-- name: ListOperationsOn :many
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM operations
WHERE operations.subject = @subject::uuid
ORDER BY operations.created_at DESC, operations.id DESC
LIMIT @max_rows;

-- name: ListFinishedOperations :many
-- Finished and rejected operations, newest first: ids begin with the time.
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM operations
WHERE state || '' NOT IN ('pending', 'needs_attention')
  AND state = ANY (@states::text[])
  AND (@tenant::integer = 0 OR tenant = @tenant::integer)
ORDER BY id DESC
LIMIT @max_rows;

-- name: CloseOperation :one
-- Finishes an operation by a person's decision. No row: it has left the state that the
-- decision was about, somebody works on it, or a payment exists.
UPDATE operations
SET state           = 'finished',
    response_status = @response_status::smallint,
    response_body   = @response_body::bytea,
    lease_token     = NULL,
    updated_at      = now()
WHERE operations.id = @id
  AND state || '' = @state::text
  AND leased_until <= now()
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @id)
RETURNING sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds;
