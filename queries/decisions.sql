-- What people read and decide with the commands for operations. operations.sql
-- explains state || ''.

-- name: ListUnfinishedOperations :many
-- Pending operations and those that need attention, oldest first.
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM (
    SELECT * FROM payment_requests WHERE state = 'pending'
    UNION ALL
    SELECT * FROM payment_requests WHERE state = 'needs_attention'
) AS payment_requests
WHERE payment_requests.state = ANY (@states::text[])
ORDER BY payment_requests.created_at, payment_requests.payment_id
LIMIT @max_rows;

-- name: ListFinishedOperations :many
-- Finished and rejected operations, newest first: ids begin with the time.
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM payment_requests
WHERE state || '' NOT IN ('pending', 'needs_attention')
  AND state = ANY (@states::text[])
ORDER BY payment_id DESC
LIMIT @max_rows;

-- name: CloseOperation :one
-- Finishes an operation by a person's decision. No row: it has left the state that the
-- decision was about, somebody works on it, or a payment exists.
UPDATE payment_requests
SET state           = 'refused',
    response_status = @response_status::smallint,
    response_body   = @response_body::bytea,
    lease_token     = NULL,
    updated_at      = now()
WHERE payment_id = @payment_id
  AND state || '' = @state::text
  AND leased_until <= now()
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @payment_id)
RETURNING sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds;
