-- r.state || '' is the state, written so that the planner cannot use the index of
-- pending operations for a statement that finds one operation by its payment. The
-- planner believes that index to be empty, as it is when all is well and mostly when
-- tables are analysed. But until the next vacuum it holds every operation of the last
-- minutes.

-- name: BeginOperationOrFind :many
-- BeginOperation for a key that may have been used.
--
-- One row: the operation that was written, taken over or found, as it is now.
-- No row: another transaction wrote the key after this statement's snapshot; run the
-- statement again.
WITH existing AS (
    SELECT r.*
    FROM payment_requests r
    WHERE r.idempotency_key = sqlc.narg(idempotency_key)
       OR r.payment_id = @payment_id
), inserted AS (
    INSERT INTO payment_requests (
        payment_id, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_params,
        lease_token, leased_until, retry_at, origin_request_id, origin_trace, created_at
    )
    SELECT
        @payment_id, sqlc.narg(idempotency_key), @fingerprint, @amount, @currency, sqlc.narg(metadata),
        @stripe_key, @stripe_params,
        @lease_token, now() + @lease::interval, now() + @lease::interval, @origin_request_id, @origin_trace,
        COALESCE(sqlc.narg(created_at)::timestamptz, now())
    WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT DO NOTHING
    RETURNING *
), taken_over AS (
    UPDATE payment_requests r
    SET lease_token  = @lease_token,
        leased_until = now() + @lease::interval,
        retry_at     = now() + @lease::interval,
        attempts     = r.attempts + 1,
        updated_at   = now()
    FROM existing
    WHERE r.payment_id = existing.payment_id
      AND r.state || '' = 'pending'
      AND r.leased_until <= now()
      AND r.fingerprint = @fingerprint
    RETURNING r.*
)
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM (
    SELECT * FROM inserted
    UNION ALL
    SELECT * FROM taken_over
    UNION ALL
    SELECT * FROM existing WHERE NOT EXISTS (SELECT FROM taken_over)
) AS payment_requests;

-- name: BeginOperation :many
-- The common case, a key that nobody has used, at a third of the cost. No row:
-- somebody has used it, and BeginOperationOrFind tells what exists.
INSERT INTO payment_requests (
    idempotency_key, payment_id, fingerprint, amount, currency, metadata, stripe_key, stripe_params,
    lease_token, leased_until, retry_at, origin_request_id, origin_trace, created_at
)
VALUES (
    sqlc.narg(idempotency_key), @payment_id, @fingerprint, @amount, @currency, sqlc.narg(metadata),
    @stripe_key, @stripe_params,
    @lease_token, now() + @lease::interval, now() + @lease::interval, @origin_request_id, @origin_trace,
    COALESCE(sqlc.narg(created_at)::timestamptz, now())
)
ON CONFLICT DO NOTHING
RETURNING created_at, EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds;

-- name: FindOperationByKey :one
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM payment_requests
WHERE idempotency_key = @idempotency_key::text;

-- name: FindOperationByPayment :one
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM payment_requests
WHERE payment_id = @payment_id;

-- name: TakeOperations :many
-- due is MATERIALIZED because the planner may run a subquery again for each row, and
-- then more than max_rows are taken.
WITH due AS MATERIALIZED (
    SELECT r.payment_id, r.retry_at
    FROM payment_requests r
    WHERE r.state = 'pending'
      AND r.retry_at <= now()
      AND r.leased_until <= now()
    ORDER BY r.retry_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE payment_requests r
    SET lease_token  = @lease_token,
        leased_until = now() + @lease::interval,
        retry_at     = now() + @lease::interval,
        attempts     = r.attempts + 1,
        updated_at   = now()
    FROM due
    WHERE r.payment_id = due.payment_id
    RETURNING r.*
)
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM taken AS payment_requests
JOIN due ON due.payment_id = payment_requests.payment_id
ORDER BY due.retry_at;

-- name: FinishOperationOrFind :one
-- FinishOperation for an operation in any state.
--
-- It writes the payment's row, its first transition and the frozen response in one
-- commit. A second completion changes nothing.
--
-- The operation is locked first, so that everything about one payment is written one
-- after the other. This statement's snapshot lacks what another transaction committed
-- meanwhile: if payment_exists and contradicts are both false, run the statement again.
-- No row: there is no such operation.
--
-- ON CONFLICT names no index. Otherwise, when two equal rows are inserted at once, the
-- second would fail on the intent's index instead of waiting at the primary key's.
WITH operation AS MATERIALIZED (
    SELECT r.*
    FROM payment_requests r
    WHERE r.payment_id = @payment_id
    FOR UPDATE
), created AS (
    INSERT INTO payments (
        id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
    )
    SELECT
        operation.payment_id, @intent_id, sqlc.narg(idempotency_key), @amount, @currency, @status, sqlc.narg(metadata),
        @created_at, clock_timestamp()
    FROM operation
    WHERE operation.state NOT IN ('refused', 'rejected')
    ON CONFLICT DO NOTHING
    RETURNING id
), history AS (
    INSERT INTO payment_transitions (payment_id, to_status, cause, at)
    SELECT created.id, @status, @cause, clock_timestamp() FROM created
), existing AS (
    SELECT created.id FROM created
    UNION ALL
    SELECT p.id FROM payments p
    WHERE p.id = @payment_id AND p.stripe_payment_intent_id = @intent_id
), frozen AS (
    UPDATE payment_requests r
    SET state           = 'completed',
        response_status = sqlc.narg(response_status),
        response_body   = sqlc.narg(response_body),
        lease_token     = NULL,
        last_error      = NULL,
        updated_at      = now()
    FROM operation
    WHERE r.payment_id = operation.payment_id
      AND operation.state IN ('pending', 'needs_attention')
      AND sqlc.narg(response_status)::smallint IS NOT NULL
      AND EXISTS (SELECT FROM existing)
    RETURNING r.*
)
SELECT sqlc.embed(payment_requests),
       EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds,
       EXISTS (SELECT FROM created)                                    AS created,
       EXISTS (SELECT FROM existing)                                   AS payment_exists,
       (payment_requests.state IN ('refused', 'rejected') OR EXISTS (
           SELECT FROM payments p
           WHERE (p.id = @payment_id
                  OR p.stripe_payment_intent_id = @intent_id
                  OR p.idempotency_key = sqlc.narg(idempotency_key))
             AND NOT (p.id = @payment_id AND p.stripe_payment_intent_id = @intent_id)
       ))::boolean                                                     AS contradicts,
       EXISTS (SELECT FROM stripe_events e WHERE e.object_id = @intent_id AND e.outcome = 'parked') AS parked
FROM (
    SELECT * FROM frozen
    UNION ALL
    SELECT * FROM operation WHERE NOT EXISTS (SELECT FROM frozen)
) AS payment_requests;

-- name: FinishOperation :many
-- The common case: a response, and a pending operation without a payment. No row: the
-- operation is not pending. If the payment or the intent exists, a unique index fails
-- the statement. In both cases FinishOperationOrFind tells what exists.
WITH frozen AS (
    UPDATE payment_requests r
    SET state           = 'completed',
        response_status = sqlc.narg(response_status),
        response_body   = sqlc.narg(response_body),
        lease_token     = NULL,
        last_error      = NULL,
        updated_at      = now()
    WHERE r.payment_id = @payment_id
      AND r.state || '' = 'pending'
    RETURNING r.*
), created AS (
    INSERT INTO payments (
        id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
    )
    SELECT
        frozen.payment_id, @intent_id, sqlc.narg(idempotency_key), @amount, @currency, @status, sqlc.narg(metadata),
        @created_at, clock_timestamp()
    FROM frozen
    RETURNING id
), history AS (
    INSERT INTO payment_transitions (payment_id, to_status, cause, at)
    SELECT created.id, @status, @cause, clock_timestamp() FROM created
)
SELECT sqlc.embed(payment_requests),
       EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8                              AS age_seconds,
       EXISTS (SELECT FROM stripe_events e WHERE e.object_id = @intent_id AND e.outcome = 'parked') AS parked
FROM frozen AS payment_requests;

-- name: LockOperation :one
-- The next statement of the transaction sees all that was written about the payment.
SELECT sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds
FROM payment_requests
WHERE payment_id = @payment_id
FOR UPDATE;

-- name: FinishRejectedOperation :one
-- Finishes an operation whose order was rejected. No row: a payment exists already.
UPDATE payment_requests
SET state           = 'refused',
    response_status = @response_status::smallint,
    response_body   = @response_body::bytea,
    lease_token     = NULL,
    updated_at      = now()
WHERE payment_id = @payment_id
  AND state || '' IN ('pending', 'needs_attention')
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @payment_id)
RETURNING sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds;

-- name: RejectOperation :one
-- Gives an operation back as rejected. No row: the caller does not hold its lease, or a
-- payment exists already.
UPDATE payment_requests
SET state        = 'rejected',
    lease_token  = NULL,
    leased_until = now(),
    attempts     = 0,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE payment_id = @payment_id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @payment_id)
RETURNING sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds;

-- name: ReopenOperation :one
-- Makes a rejected operation pending again. No row: it is not rejected. If the caller
-- has reopened it before, it only gets a new lease.
UPDATE payment_requests
SET state        = 'pending',
    lease_token  = @lease_token::uuid,
    leased_until = now() + @lease::interval,
    retry_at     = now() + @lease::interval,
    attempts     = CASE WHEN state || '' = 'rejected' THEN attempts + 1 ELSE attempts END,
    updated_at   = now()
WHERE payment_id = @payment_id
  AND (state || '' = 'rejected' OR state || '' = 'pending' AND lease_token = @lease_token::uuid)
RETURNING sqlc.embed(payment_requests), EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds;

-- name: ReleaseOperation :exec
UPDATE payment_requests
SET lease_token  = NULL,
    leased_until = now(),
    retry_at     = now() + @retry_in::interval,
    attempts     = CASE WHEN @sent::boolean THEN attempts ELSE attempts - 1 END,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE payment_id = @payment_id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid;

-- name: ExtendLease :exec
UPDATE payment_requests
SET leased_until = now() + @lease::interval,
    retry_at     = now() + @lease::interval
WHERE payment_id = @payment_id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid;

-- name: GiveUpOperation :exec
UPDATE payment_requests
SET state        = 'needs_attention',
    lease_token  = NULL,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE payment_id = @payment_id
  AND state || '' = 'pending';
