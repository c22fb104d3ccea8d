-- r.state || '' is the state, written so that the planner cannot use the index of
-- pending operations for a statement that finds one operation by its payment. The
-- planner believes that index to be empty, as it is when all is well and mostly when
-- tables are analysed. But until the next vacuum it holds every operation of the last
-- minutes.

-- name: BeginOperations :many
-- Writes what nobody has written yet, as finished where there is an answer. An operation
-- without a row is not touched: its key has been used.
--
-- The INSERT waits only while another transaction writes one of the keys. Rows are
-- inserted in the order of their keys, so that two of these statements never wait for
-- each other.
--
-- The standing is read with what the statement saw: whatever reconciliation writes later, the
-- operation was not there.
--
-- With may_be_lost its commit does not wait for the disk or for a standby. That is set for
-- the statement's own transaction only.
WITH present AS MATERIALIZED (
    SELECT standing.incarnation, standing.reconciled, standing.behind_seconds,
           CASE WHEN @may_be_lost::boolean THEN set_config('synchronous_commit', 'off', TRUE) END AS waits
    FROM standing
)
INSERT INTO operations (
    id, tenant, kind, subject, idempotency_key, fingerprint, amount, currency, metadata, options, reason,
    stripe_key, stripe_path, stripe_params, lease_token, leased_until, retry_at, origin_request_id, origin_trace, created_at,
    actor, on_behalf_of, state, response_status, response_body, before
)
SELECT input.id, input.tenant, input.kind, NULLIF(input.subject, '00000000-0000-0000-0000-000000000000'),
       NULLIF(input.idempotency_key, ''), input.fingerprint, input.amount, NULLIF(input.currency, ''),
       NULLIF(input.metadata, '')::jsonb, NULLIF(input.options, '')::jsonb, NULLIF(input.reason, ''),
       input.stripe_key, input.stripe_path, input.stripe_params,
       NULLIF(input.lease_token, '00000000-0000-0000-0000-000000000000'), now() + input.lease, now() + input.lease,
       input.origin_request_id, input.origin_trace, COALESCE(NULLIF(input.created_at, '0001-01-01 00:00:00+00'), now()),
       input.actor, NULLIF(input.on_behalf_of, ''), CASE WHEN input.response_status = 0 THEN 'pending' ELSE 'finished' END, NULLIF(input.response_status, 0),
       input.response_body, NULLIF(input.before, '')::jsonb
FROM (
    SELECT unnest(@ids::uuid[])                 AS id,
           unnest(@tenants::integer[])          AS tenant,
           unnest(@kinds::text[])               AS kind,
           unnest(@subjects::uuid[])            AS subject,
           unnest(@idempotency_keys::text[])    AS idempotency_key,
           unnest(@fingerprints::bytea[])       AS fingerprint,
           unnest(@amounts::numeric[])          AS amount,
           unnest(@currencies::text[])          AS currency,
           unnest(@metadata::text[])            AS metadata,
           unnest(@options::text[])             AS options,
           unnest(@reasons::text[])             AS reason,
           unnest(@stripe_keys::text[])         AS stripe_key,
           unnest(@stripe_paths::text[])        AS stripe_path,
           unnest(@stripe_params::text[])       AS stripe_params,
           unnest(@lease_tokens::uuid[])        AS lease_token,
           unnest(@leases::interval[])          AS lease,
           unnest(@origin_request_ids::text[])  AS origin_request_id,
           unnest(@origin_traces::text[])       AS origin_trace,
           unnest(@created_ats::timestamptz[])  AS created_at,
           unnest(@actors::text[])              AS actor,
           unnest(@behalves::text[])            AS on_behalf_of,
           unnest(@response_statuses::smallint[]) AS response_status,
           unnest(@response_bodies::bytea[])    AS response_body,
           unnest(@befores::text[])             AS before
) AS input
ORDER BY input.idempotency_key, input.id
ON CONFLICT DO NOTHING
RETURNING id, created_at, EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds,
          (SELECT present.incarnation FROM present)::text AS incarnation,
          (SELECT present.reconciled FROM present)::boolean AS reconciled,
          (SELECT present.behind_seconds FROM present)::float8 AS behind_seconds;

-- name: CountInProgress :one
-- What is in the way of another operation on a payment and not finished, none or one: the
-- update of an update, the confirm, capture or cancel of these, the operation on a dispute of
-- another on it; of a customer, its change.
SELECT count(*) FROM operations
WHERE subject = @subject::uuid
  AND CASE WHEN @kind::text = 'update' THEN kind = 'update'
           WHEN @dispute_id::text <> '' THEN kind IN ('submit_evidence', 'accept_dispute') AND options ->> 'dispute_id' = @dispute_id
           ELSE kind IN ('confirm', 'capture', 'cancel', 'update_customer', 'delete_customer') END
  AND state IN ('pending', 'needs_attention');

-- name: FindOperation :many
-- The operation of a key or of an id.
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds,
       (operations.leased_until <= now())::boolean AS abandoned
FROM operations
WHERE (operations.idempotency_key = sqlc.narg(idempotency_key) AND operations.tenant = @tenant)
   OR operations.id = @id;

-- name: TakeOverOperation :many
-- No row: somebody else was faster.
WITH present AS MATERIALIZED (SELECT * FROM standing)
UPDATE operations
SET lease_token  = @lease_token::uuid,
    leased_until = now() + @lease::interval,
    retry_at     = now() + @lease::interval,
    attempts     = attempts + 1,
    updated_at   = now()
WHERE operations.id = @id
  AND state || '' = 'pending'
  AND leased_until <= now()
RETURNING sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds,
          (SELECT present.incarnation FROM present)::text AS incarnation,
          (SELECT present.reconciled FROM present)::boolean AS reconciled,
          (SELECT present.behind_seconds FROM present)::float8 AS behind_seconds,
          COALESCE((SELECT p.stripe_payment_intent_id FROM payments p WHERE p.id = operations.id), '')::text AS intent_id;

-- name: FindOperationsByKey :many
-- The operations of any of these tenants that have any of these keys.
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM operations
WHERE idempotency_key = ANY (@idempotency_keys::text[]) AND tenant = ANY (@tenants::integer[]);

-- name: FindOperationByID :one
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM operations
WHERE id = @id;

-- name: TakeOperations :many
-- due is MATERIALIZED because the planner may run a subquery again for each row, and
-- then more than max_rows are taken.
WITH present AS MATERIALIZED (SELECT * FROM standing), due AS MATERIALIZED (
    SELECT r.id, r.retry_at
    FROM operations r
    WHERE r.state = 'pending'
      AND r.retry_at <= now()
      AND r.leased_until <= now()
    ORDER BY r.retry_at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE operations r
    SET lease_token  = @lease_token,
        leased_until = now() + @lease::interval,
        retry_at     = now() + @lease::interval,
        attempts     = r.attempts + 1,
        updated_at   = now()
    FROM due
    WHERE r.id = due.id
    RETURNING r.*
)
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds,
       present.incarnation::text AS incarnation, present.reconciled::boolean AS reconciled,
       present.behind_seconds::float8 AS behind_seconds, COALESCE(p.stripe_payment_intent_id, '')::text AS intent_id
FROM taken AS operations
CROSS JOIN present
JOIN due ON due.id = operations.id
LEFT JOIN payments p ON p.id = operations.id
ORDER BY due.retry_at;

-- name: FinishOperations :many
-- Freezes the answers of operations that are not finished. It waits for nobody: an
-- operation without a row is locked by somebody else, or finished, or has its payment
-- already, unless also_existing says that this is right, or asked for something else
-- than the object was made for. One that was rejected was opened again since, and the
-- database has lost that.
WITH unfinished AS MATERIALIZED (
    SELECT r.id, input.response_status, input.response_body, input.after
    FROM (
        SELECT unnest(@ids::uuid[])                   AS id,
               unnest(@response_statuses::smallint[]) AS response_status,
               unnest(@response_bodies::bytea[])      AS response_body,
               unnest(@fingerprints::bytea[])         AS fingerprint,
               unnest(@afters::text[])                AS after
    ) AS input
    JOIN operations r ON r.id = input.id AND r.fingerprint = input.fingerprint
    LEFT JOIN payments p ON p.id = r.id
    WHERE r.state || '' IN ('pending', 'needs_attention', 'rejected')
      AND (p.id IS NULL OR @also_existing::boolean)
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE operations r
SET state           = 'finished',
    response_status = unfinished.response_status,
    response_body   = unfinished.response_body,
    after           = NULLIF(unfinished.after, '')::jsonb,
    lease_token     = NULL,
    last_error      = NULL,
    updated_at      = now()
FROM unfinished
WHERE r.id = unfinished.id
RETURNING r.*;

-- name: InsertPayments :many
-- Writes the payments of creates that have none: of those that are finished, or, with
-- open, of those that stay pending. A create that was finished well, or with a decline (402),
-- always has its payment, so one without has been finished by this transaction.
--
-- If the operations are not locked, another transaction may have written the payment of
-- one of them, with another intent, after FinishOperations had looked and before it got
-- the lock. That one is finished by this transaction, which is told by its time, and has a
-- payment: the insert fails, and with it all that was done.
INSERT INTO payments (
    id, tenant, stripe_payment_intent_id, idempotency_key, customer_id, amount, currency, status, metadata, intent_status,
    capture_method, amount_capturable, amount_captured, capture_before, declined, description, payment_method, decline,
    version, created_at, updated_at
)
SELECT input.id, r.tenant, input.intent_id, NULLIF(input.idempotency_key, ''),
       NULLIF(input.customer_id, '00000000-0000-0000-0000-000000000000'),
       input.amount, input.currency, input.status,
       NULLIF(input.metadata, '')::jsonb, NULLIF(input.intent_status, ''), input.capture_method, input.capturable,
       input.captured, NULLIF(input.capture_before, '0001-01-01 00:00:00+00'), input.declined,
       NULLIF(input.description, ''), NULLIF(input.payment_method, '')::jsonb, NULLIF(input.decline, '')::jsonb,
       input.version, input.created_at, clock_timestamp()
FROM (
    SELECT unnest(@ids::uuid[])                     AS id,
           unnest(@intent_ids::text[])              AS intent_id,
           unnest(@idempotency_keys::text[])        AS idempotency_key,
           unnest(@customer_ids::uuid[])            AS customer_id,
           unnest(@amounts::numeric[])              AS amount,
           unnest(@currencies::text[])              AS currency,
           unnest(@statuses::text[])                AS status,
           unnest(@metadata::text[])                AS metadata,
           unnest(@intent_statuses::text[])         AS intent_status,
           unnest(@capture_methods::text[])         AS capture_method,
           unnest(@capturables::numeric[])          AS capturable,
           unnest(@captureds::numeric[])            AS captured,
           unnest(@capture_befores::timestamptz[])  AS capture_before,
           unnest(@declineds::boolean[])            AS declined,
           unnest(@descriptions::text[])            AS description,
           unnest(@payment_methods::text[])         AS payment_method,
           unnest(@declines::text[])                AS decline,
           unnest(@versions::bigint[])              AS version,
           unnest(@created_ats::timestamptz[])      AS created_at
) AS input
JOIN operations r ON r.id = input.id
WHERE (r.state || '' = 'finished' AND (r.response_status < 400 OR r.response_status = 402) OR @open::boolean)
  AND (NOT EXISTS (SELECT FROM payments p WHERE p.id = input.id) OR r.updated_at = now() AND NOT @locked::boolean)
ORDER BY input.intent_id
RETURNING id;

-- name: InsertFirstTransitions :exec
-- The history of each payment that has none begins.
INSERT INTO payment_transitions (payment_id, to_status, cause, at)
SELECT p.id, p.status, input.cause, clock_timestamp()
FROM (SELECT unnest(@payment_ids::uuid[]) AS payment_id, unnest(@causes::text[]) AS cause) AS input
JOIN payments p ON p.id = input.payment_id
WHERE NOT EXISTS (SELECT FROM payment_transitions t WHERE t.payment_id = input.payment_id);

-- name: TakeOrder :exec
-- The provider's object was made for another request under the same key, which this
-- database has lost: that one counts, also if what this one asked for was refused.
UPDATE operations
SET fingerprint = @fingerprint, amount = @amount, currency = @currency, metadata = @metadata, options = @options,
    state           = CASE WHEN response_status IS NULL THEN state ELSE 'pending' END,
    response_status = NULL,
    response_body   = NULL
WHERE id = @id;

-- name: ListParkedObjects :many
-- Those of the objects of which events are parked.
SELECT DISTINCT object_id FROM stripe_events WHERE object_id = ANY (@object_ids::text[]) AND outcome = 'parked';

-- name: ListPaymentsLike :many
-- The payments that share an id, an intent or a tenant's key.
SELECT id, stripe_payment_intent_id
FROM payments
WHERE id = @id OR stripe_payment_intent_id = @intent_id
   OR idempotency_key = sqlc.narg(idempotency_key) AND tenant = @tenant;

-- name: LockOperations :many
SELECT * FROM operations WHERE id = @id FOR UPDATE;

-- name: LockFreeOperations :many
-- Those that are pending and that nobody else has locked.
SELECT * FROM operations WHERE id = ANY (@ids::uuid[]) AND state || '' = 'pending' FOR UPDATE SKIP LOCKED;

-- name: LockOperation :one
-- The next statement of the transaction sees all that was written about the payment.
SELECT sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds
FROM operations
WHERE operations.id = @id
FOR UPDATE;

-- name: FinishRejectedOperation :one
-- Finishes an operation whose order was rejected. No row: a payment exists already, or the
-- operation is another request's by now.
UPDATE operations
SET state           = 'finished',
    response_status = @response_status::smallint,
    response_body   = @response_body::bytea,
    lease_token     = NULL,
    updated_at      = now()
WHERE operations.id = @id
  AND fingerprint = @fingerprint
  AND state || '' IN ('pending', 'needs_attention')
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @id)
RETURNING sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds;

-- name: RejectOperation :one
-- Gives an operation back as rejected. No row: the caller does not hold its lease, or a
-- payment exists already.
UPDATE operations
SET state        = 'rejected',
    lease_token  = NULL,
    leased_until = now(),
    attempts     = 0,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE operations.id = @id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid
  AND NOT EXISTS (SELECT FROM payments p WHERE p.id = @id)
RETURNING sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds;

-- name: ReopenOperation :one
-- Makes a rejected operation pending again. No row: it is not rejected. If the caller
-- has reopened it before, it only gets a new lease.
WITH present AS MATERIALIZED (SELECT * FROM standing)
UPDATE operations
SET state        = 'pending',
    lease_token  = @lease_token::uuid,
    leased_until = now() + @lease::interval,
    retry_at     = now() + @lease::interval,
    attempts     = CASE WHEN state || '' = 'rejected' THEN attempts + 1 ELSE attempts END,
    updated_at   = now()
WHERE operations.id = @id
  AND (state || '' = 'rejected' OR state || '' = 'pending' AND lease_token = @lease_token::uuid)
RETURNING sqlc.embed(operations), EXTRACT(EPOCH FROM now() - operations.created_at)::float8 AS age_seconds,
          (SELECT present.incarnation FROM present)::text AS incarnation,
          (SELECT present.reconciled FROM present)::boolean AS reconciled,
          (SELECT present.behind_seconds FROM present)::float8 AS behind_seconds,
          COALESCE((SELECT p.stripe_payment_intent_id FROM payments p WHERE p.id = operations.id), '')::text AS intent_id;

-- name: ReleaseOperation :exec
UPDATE operations
SET lease_token  = NULL,
    leased_until = now(),
    retry_at     = now() + @retry_in::interval,
    attempts     = CASE WHEN @sent::boolean THEN attempts ELSE attempts - 1 END,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE operations.id = @id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid;

-- name: ExtendLease :exec
UPDATE operations
SET leased_until = now() + @lease::interval,
    retry_at     = now() + @lease::interval
WHERE operations.id = @id
  AND state || '' = 'pending'
  AND lease_token = @lease_token::uuid;

-- name: GiveUpOperation :exec
UPDATE operations
SET state        = 'needs_attention',
    lease_token  = NULL,
    last_error   = @last_error::text,
    updated_at   = now()
WHERE operations.id = @id
  AND state || '' = 'pending';
