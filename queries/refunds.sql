-- Refunds. A refund and its payment's sums change in one transaction, which has locked the
-- payment. Values are absolute.

-- name: GetRefund :one
SELECT * FROM refunds WHERE id = @id;

-- name: ListRefundsOf :many
-- All refunds of these payments, each payment's in the order of their creation.
SELECT * FROM refunds WHERE payment_id = ANY (@payment_ids::uuid[]) ORDER BY payment_id, created_at, id;

-- name: ListRefundsByStripeID :many
SELECT * FROM refunds WHERE stripe_refund_id = ANY (@stripe_ids::text[]);

-- name: InsertRefunds :exec
-- One that is there already fails the statement: what is written with it must not be written
-- twice.
INSERT INTO refunds (
    id, tenant, payment_id, stripe_refund_id, idempotency_key, amount, currency, status, reason, failure_reason, origin,
    reference_type, reference, metadata, version, created_at, updated_at, payment_created_at
)
SELECT unnest(@ids::uuid[]), unnest(@tenants::integer[]), unnest(@payment_ids::uuid[]), NULLIF(unnest(@stripe_ids::text[]), ''),
       NULLIF(unnest(@idempotency_keys::text[]), ''), unnest(@amounts::numeric[]), unnest(@currencies::text[]),
       unnest(@statuses::text[]), NULLIF(unnest(@reasons::text[]), ''), NULLIF(unnest(@failure_reasons::text[]), ''),
       unnest(@origins::text[]), NULLIF(unnest(@reference_types::text[]), ''), NULLIF(unnest(@refs::text[]), ''),
       NULLIF(unnest(@metadata::text[]), '')::jsonb, unnest(@versions::bigint[]), unnest(@created_ats::timestamptz[]),
       unnest(@updated_ats::timestamptz[]), unnest(@payment_created_ats::timestamptz[]);

-- name: UpdateRefunds :exec
UPDATE refunds r
SET stripe_refund_id = NULLIF(u.stripe_id, ''), idempotency_key = NULLIF(u.idempotency_key, ''), amount = u.amount,
    status = u.status, reason = NULLIF(u.reason, ''), failure_reason = NULLIF(u.failure_reason, ''), origin = u.origin,
    reference_type = NULLIF(u.reference_type, ''), reference = NULLIF(u.ref, ''),
    metadata = NULLIF(u.metadata, '')::jsonb, version = u.version, updated_at = u.updated_at
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@stripe_ids::text[]) AS stripe_id,
           unnest(@idempotency_keys::text[]) AS idempotency_key, unnest(@amounts::numeric[]) AS amount,
           unnest(@statuses::text[]) AS status, unnest(@reasons::text[]) AS reason,
           unnest(@failure_reasons::text[]) AS failure_reason, unnest(@origins::text[]) AS origin,
           unnest(@reference_types::text[]) AS reference_type, unnest(@refs::text[]) AS ref,
           unnest(@metadata::text[]) AS metadata, unnest(@versions::bigint[]) AS version,
           unnest(@updated_ats::timestamptz[]) AS updated_at
) AS u
WHERE r.id = u.id;

-- name: DeleteRefunds :exec
-- Of refunds that were asked for, and that Stripe never made.
DELETE FROM refunds WHERE id = ANY (@ids::uuid[]) AND stripe_refund_id IS NULL;

-- name: LockPayments :many
-- Waits for whoever has locked one of them.
SELECT payments.*, clock_timestamp()::timestamptz AS now FROM payments
WHERE id = ANY (@ids::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- name: LockFreePayments :many
-- LockPayments for those that nobody else has locked.
SELECT payments.*, clock_timestamp()::timestamptz AS now FROM payments
WHERE id = ANY (@ids::uuid[])
FOR NO KEY UPDATE SKIP LOCKED;

-- name: SeePayments :many
SELECT payments.*, clock_timestamp()::timestamptz AS now FROM payments WHERE id = ANY (@ids::uuid[]);

-- name: RequireUnchanged :many
-- Locks payments. Fails, and with it the transaction, unless all of them still have these versions
-- and nobody else has locked one.
SELECT (1 / (count(*) = @expected::bigint)::integer)::integer AS unchanged
FROM (
    SELECT p.id
    FROM payments p
    JOIN (SELECT unnest(@ids::uuid[]) AS id, unnest(@versions::bigint[]) AS version) AS seen
      ON seen.id = p.id AND seen.version = p.version
    FOR NO KEY UPDATE OF p SKIP LOCKED
) AS locked;

-- name: RequireFinished :many
-- Fails, and with it the transaction, unless this transaction has finished all of these operations.
SELECT (1 / (count(*) = @expected::bigint)::integer)::integer AS finished FROM operations
WHERE id = ANY (@ids::uuid[]) AND state || '' = 'finished' AND updated_at = now();

-- name: ListOperationsLike :many
-- Which of these operations are written. The id of one with a key is made of the key.
SELECT id FROM operations WHERE id = ANY (@ids::uuid[]);

-- name: RequireOperations :many
-- Fails, and with it the transaction, unless this transaction has written all of these
-- operations. Nobody else knows their tokens.
SELECT (1 / (count(*) = @written::bigint)::integer)::integer AS written FROM operations
WHERE id = ANY (@ids::uuid[]) AND lease_token = ANY (@lease_tokens::uuid[]);

-- name: ListRefundsMade :many
-- Those that Stripe has made, created within a time.
SELECT * FROM refunds
WHERE created_at >= @from_created_at::timestamptz AND created_at <= @to_created_at::timestamptz
  AND stripe_refund_id IS NOT NULL
ORDER BY created_at, id
LIMIT @max_rows;

-- name: ListOverdrawn :many
SELECT * FROM payments WHERE overdrawn > 0 ORDER BY id LIMIT @max_rows;

-- name: ListRefunds :many
-- Those that fit among the next refunds in the order of their creation, newest first. The last
-- refund that was looked at is always among the rows, because the next page begins after it.
-- looked_at is less than max_looked_at only if there are no more (see ListPayments).
WITH slice AS MATERIALIZED (
    SELECT * FROM refunds
    WHERE tenant = @tenant AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
      AND created_at >= @from_created_at::timestamptz
    ORDER BY created_at DESC, id DESC
    LIMIT @max_looked_at
)
SELECT sqlc.embed(refunds), fitting.fits, (SELECT count(*) FROM slice) AS looked_at
FROM slice AS refunds
CROSS JOIN LATERAL (
    SELECT (status = COALESCE(NULLIF(@status::text, ''), status)
            AND COALESCE(reason, '') = COALESCE(NULLIF(@reason::text, ''), reason, '')
            AND origin = COALESCE(NULLIF(@origin::text, ''), origin)
            AND currency = COALESCE(NULLIF(@currency::text, ''), currency)
            AND amount >= @amount_from::numeric AND amount <= @amount_to::numeric)::boolean AS fits
) AS fitting
WHERE fitting.fits
   OR id = (SELECT s.id FROM slice s ORDER BY s.created_at, s.id LIMIT 1)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListRefundedPayments :many
-- Where the next payments are of which a refund was asked for, newest first.
SELECT DISTINCT payment_created_at AS created_at, payment_id FROM refunds
WHERE tenant = @tenant
  AND (payment_created_at, payment_id) < (@before_created_at::timestamptz, @before_payment_id::uuid)
  AND payment_created_at >= @from_created_at::timestamptz
ORDER BY payment_created_at DESC, payment_id DESC
LIMIT @max_looked_at;
