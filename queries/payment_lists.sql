-- How payments are found. ports.PaymentLists has the contract.
--
-- A filter that is not asked for has a value that every payment fits, so that each statement
-- is one text: an empty one becomes the column itself. No such condition could use an index.

-- name: ListPayments :many
-- Of the default tenant: those that fit among the next payments in the order of their creation, newest first. The
-- last payment that was looked at is always among the rows, because the next page begins
-- after it. looked_at is less than max_looked_at only if there are no more.
--
-- It looks at a limited number of payments, whether they fit or not. Indexes on what events
-- change would cost a write with every event (decision 23).
WITH slice AS MATERIALIZED (
    SELECT * FROM payments
    WHERE tenant = 1 AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
      AND created_at >= @from_created_at::timestamptz
    ORDER BY created_at DESC, id DESC
    LIMIT @max_looked_at
)
SELECT sqlc.embed(payments), fitting.fits, (SELECT count(*) FROM slice) AS looked_at
FROM slice AS payments
CROSS JOIN LATERAL (
    SELECT (status = COALESCE(NULLIF(@status::text, ''), status)
            AND COALESCE(intent_status, '') = COALESCE(NULLIF(@intent_status::text, ''), intent_status, '')
            AND currency = COALESCE(NULLIF(@currency::text, ''), currency)
            AND amount >= @amount_from::numeric AND amount <= @amount_to::numeric
            AND (NOT @refunded::boolean OR amount_refunded > 0) AND (NOT @disputed::boolean OR dispute_status IS NOT NULL)
            AND COALESCE(metadata, '{}') @> sqlc.arg(metadata)::text::jsonb)::boolean AS fits
) AS fitting
WHERE fitting.fits
   OR id = (SELECT s.id FROM slice s ORDER BY s.created_at, s.id LIMIT 1)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListPaymentsOfTenant :many
-- ListPayments for a tenant that was made: payments_tenant drives it, and has no entry of the default
-- tenant, so that whoever has only that one does not pay for it.
WITH slice AS MATERIALIZED (
    SELECT * FROM payments
    WHERE tenant = @tenant AND tenant <> 1 AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
      AND created_at >= @from_created_at::timestamptz
    ORDER BY created_at DESC, id DESC
    LIMIT @max_looked_at
)
SELECT sqlc.embed(payments), fitting.fits, (SELECT count(*) FROM slice) AS looked_at
FROM slice AS payments
CROSS JOIN LATERAL (
    SELECT (status = COALESCE(NULLIF(@status::text, ''), status)
            AND COALESCE(intent_status, '') = COALESCE(NULLIF(@intent_status::text, ''), intent_status, '')
            AND currency = COALESCE(NULLIF(@currency::text, ''), currency)
            AND amount >= @amount_from::numeric AND amount <= @amount_to::numeric
            AND (NOT @refunded::boolean OR amount_refunded > 0) AND (NOT @disputed::boolean OR dispute_status IS NOT NULL)
            AND COALESCE(metadata, '{}') @> sqlc.arg(metadata)::text::jsonb)::boolean AS fits
) AS fitting
WHERE fitting.fits
   OR id = (SELECT s.id FROM slice s ORDER BY s.created_at, s.id LIMIT 1)
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListPaymentsOf :many
-- Those of the given payments that fit, newest first.
SELECT * FROM payments
WHERE id = ANY (@ids::uuid[]) AND tenant = @tenant
  AND status = COALESCE(NULLIF(@status::text, ''), status)
  AND COALESCE(intent_status, '') = COALESCE(NULLIF(@intent_status::text, ''), intent_status, '')
  AND currency = COALESCE(NULLIF(@currency::text, ''), currency)
  AND amount >= @amount_from::numeric AND amount <= @amount_to::numeric
  AND (NOT @refunded::boolean OR amount_refunded > 0) AND (NOT @disputed::boolean OR dispute_status IS NOT NULL)
  AND COALESCE(metadata, '{}') @> sqlc.arg(metadata)::text::jsonb
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: FindPayments :many
-- Where the payments are that have one of the ids, intents or keys.
SELECT created_at, id AS payment_id FROM payments
WHERE id = ANY (@ids::uuid[]) OR stripe_payment_intent_id = ANY (@intent_ids::text[])
   OR idempotency_key = ANY (@idempotency_keys::text[])
ORDER BY created_at DESC, id DESC;

-- name: ListPaymentsWith :many
-- Where the next payments are that have had this metadata, newest first.
SELECT created_at, payment_id FROM payment_metadata
WHERE tenant = @tenant AND name = @name::text AND value = @value::text
  AND (created_at, payment_id) < (@before_created_at::timestamptz, @before_payment_id::uuid)
  AND created_at >= @from_created_at::timestamptz
ORDER BY created_at DESC, payment_id DESC
LIMIT @max_looked_at;

-- name: ListPaymentsOfCustomer :many
-- Where the next payments of a customer are, newest first.
SELECT created_at, id AS payment_id FROM payments
WHERE customer_id = @customer_id::uuid
  AND (created_at, id) < (@before_created_at::timestamptz, @before_payment_id::uuid)
  AND created_at >= @from_created_at::timestamptz
ORDER BY created_at DESC, id DESC
LIMIT @max_looked_at;

-- name: InsertMetadata :exec
-- Writes the entries of payments under the given names, as the payments are now.
INSERT INTO payment_metadata (tenant, name, value, created_at, payment_id)
SELECT p.tenant, given.name, p.metadata ->> given.name, p.created_at, p.id
FROM payments p
CROSS JOIN unnest(@names::text[]) AS given (name)
WHERE p.id = ANY (@payment_ids::uuid[])
  AND length(p.metadata ->> given.name) <= 500
ORDER BY p.id, given.name
ON CONFLICT DO NOTHING;

-- name: DeleteMetadata :exec
-- Deletes the entries that a payment has had.
DELETE FROM payment_metadata m
USING payments p, (SELECT unnest(@names::text[]) AS name, unnest(@values::text[]) AS value) AS given
WHERE p.id = @payment_id
  AND m.tenant = p.tenant AND m.name = given.name AND m.value = given.value
  AND m.created_at = p.created_at AND m.payment_id = p.id;

-- name: MissMetadataNames :exec
-- This process writes no entries under other names than these.
UPDATE metadata_index SET missed_at = clock_timestamp() WHERE name <> ALL (@names::text[]);

-- name: AddMetadataNames :exec
-- This process writes entries under these names. One that another process did not have since
-- it was added begins anew.
INSERT INTO metadata_index AS i (name)
SELECT given.name FROM unnest(@names::text[]) AS given (name) ORDER BY given.name
ON CONFLICT (name) DO UPDATE
    SET added_at = clock_timestamp(), through_created_at = DEFAULT, through_id = DEFAULT, complete = FALSE
    WHERE i.missed_at >= i.added_at;

-- name: GetMetadataNames :many
-- A handful of rows.
SELECT name, added_at, missed_at, through_created_at, through_id, complete FROM metadata_index ORDER BY name;

-- name: ForgetMetadata :execrows
-- Some entries under a name, of whichever tenant.
DELETE FROM payment_metadata m
USING (
    SELECT of_one.tenant, of_one.name, of_one.value, of_one.created_at, of_one.payment_id
    FROM tenants t
    CROSS JOIN LATERAL (
        SELECT e.tenant, e.name, e.value, e.created_at, e.payment_id FROM payment_metadata e
        WHERE e.tenant = t.id AND e.name = @name::text
        ORDER BY e.value, e.created_at, e.payment_id
        LIMIT @max_rows
    ) AS of_one
    LIMIT @max_rows
) AS gone
WHERE m.tenant = gone.tenant AND m.name = gone.name AND m.value = gone.value AND m.created_at = gone.created_at
  AND m.payment_id = gone.payment_id;

-- name: ForgetMetadataName :exec
DELETE FROM metadata_index WHERE name = @name;

-- name: HoldMetadataName :many
-- A name for which older payments are still to be looked at, and that nobody else holds. All
-- processes have had it for a while.
SELECT name, through_created_at, through_id FROM metadata_index
WHERE name = ANY (@names::text[])
  AND NOT complete
  AND GREATEST(added_at, missed_at) <= now() - @settles::interval
ORDER BY name
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: IndexMetadata :many
-- Writes the entries under a name of the next payments, oldest first. The row is the last
-- payment that was looked at, and how many were.
WITH slice AS MATERIALIZED (
    SELECT id, tenant, created_at, metadata ->> @name::text AS value FROM payments
    WHERE (created_at, id) > (@after_created_at::timestamptz, @after_id::uuid)
    ORDER BY created_at, id
    LIMIT @max_rows
), written AS (
    INSERT INTO payment_metadata (tenant, name, value, created_at, payment_id)
    SELECT s.tenant, @name::text, s.value, s.created_at, s.id FROM slice s
    WHERE length(s.value) <= 500
    ON CONFLICT DO NOTHING
)
SELECT s.created_at, s.id, (SELECT count(*) FROM slice) AS looked_at
FROM slice s
ORDER BY s.created_at DESC, s.id DESC
LIMIT 1;

-- name: MoveMetadataName :exec
UPDATE metadata_index
SET through_created_at = @through_created_at, through_id = @through_id, complete = @complete
WHERE name = @name;
