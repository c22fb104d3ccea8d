-- name: GetCustomer :one
SELECT * FROM customers WHERE id = @id;

-- name: ListCustomersByStripeID :many
SELECT * FROM customers WHERE stripe_customer_id = ANY (@stripe_ids::text[]);

-- name: LockCustomer :many
-- Waits for whoever has locked the customer.
SELECT sqlc.embed(customers), clock_timestamp()::timestamptz AS now FROM customers
WHERE id = @id
FOR NO KEY UPDATE;

-- name: GetNow :one
SELECT clock_timestamp()::timestamptz AS now;

-- name: InsertCustomer :exec
INSERT INTO customers (
    id, tenant, stripe_customer_id, reference, email, name, metadata, deleted_at, version, created_at, updated_at
)
VALUES (@id, @tenant, @stripe_customer_id, sqlc.narg(reference), sqlc.narg(email), sqlc.narg(name),
        sqlc.narg(metadata)::text::jsonb, sqlc.narg(deleted_at), @version, @created_at, @updated_at);

-- name: UpdateCustomer :exec
-- Writes absolute values. The caller has locked the customer.
UPDATE customers
SET reference = sqlc.narg(reference), email = sqlc.narg(email), name = sqlc.narg(name),
    metadata = sqlc.narg(metadata)::text::jsonb, deleted_at = sqlc.narg(deleted_at), version = @version,
    updated_at = @updated_at
WHERE id = @id;

-- name: LockReference :exec
-- Whoever wants a reference waits for those who want the same, until the transaction ends.
-- What is checked then cannot change before it is written.
SELECT pg_advisory_xact_lock(hashtextextended('customer reference ' || @tenant::integer || ' ' || @reference::text, 0));

-- name: ListHoldersOfReference :many
-- The customers that have a reference, or for which an unfinished operation wants it.
SELECT c.id::uuid AS id FROM customers c WHERE c.reference = @reference::text AND c.tenant = @tenant
UNION ALL
SELECT COALESCE(o.subject, o.id)::uuid FROM operations o
WHERE o.options ->> 'reference' = @reference::text AND o.tenant = @tenant
  AND o.kind IN ('create_customer', 'update_customer') AND o.state IN ('pending', 'needs_attention');

-- name: GetDetached :one
-- The customer from whom a payment method was taken, or is being taken.
SELECT o.subject::uuid AS customer_id FROM operations o
WHERE o.stripe_path = @stripe_path AND o.tenant = @tenant AND o.kind = 'detach_method' AND COALESCE(o.response_status, 0) < 400
ORDER BY o.created_at
LIMIT 1;

-- name: ListCustomers :many
SELECT * FROM customers
WHERE deleted_at IS NULL AND tenant = @tenant
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
  AND created_at >= @from_created_at::timestamptz
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListCustomersByEmail :many
SELECT * FROM customers
WHERE email = @email::text AND tenant = @tenant
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
  AND created_at >= @from_created_at::timestamptz
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListCustomersByReference :many
-- One, or none.
SELECT * FROM customers
WHERE reference = @reference::text AND tenant = @tenant
  AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
  AND created_at >= @from_created_at::timestamptz
LIMIT 1;

-- name: CheckCustomerVersion :many
-- The version of a customer that is not deleted.
SELECT version FROM customers WHERE id = @id AND deleted_at IS NULL FOR SHARE;

-- name: SetCustomerOfPayment :exec
-- Finds the customer of a payment of which only Stripe's customer is known. Nothing else reads
-- it here: in InsertPayments it would spoil the plan.
UPDATE payments SET customer_id = c.id
FROM customers c
WHERE payments.id = @payment_id AND payments.customer_id IS NULL AND c.stripe_customer_id = @stripe_customer_id
  AND c.tenant = payments.tenant;

-- name: ListEventsThatMention :many
-- The next stored events, oldest first, and which of them hold a text. There is no index of
-- what bodies hold: somebody's erasure reads all of them, a limited number at once.
SELECT e.id, e.received_at, (position(@mention::bytea IN e.payload) > 0)::boolean AS mentions,
       (e.outcome = 'parked')::boolean AS parked
FROM stripe_events e
WHERE (e.received_at, e.id) > (@after_received_at::timestamptz, @after_id::text)
ORDER BY e.received_at, e.id
LIMIT @max_rows;

-- name: EraseEventBodies :execrows
UPDATE stripe_events SET payload = '' WHERE id = ANY (@ids::text[]) AND outcome || '' <> 'parked' AND payload <> '';

-- name: EraseCustomer :execrows
UPDATE customers
SET reference = NULL, email = NULL, name = NULL, metadata = NULL, deleted_at = COALESCE(deleted_at, now())
WHERE id = @id;

-- name: EraseOperationsOfCustomer :execrows
-- What was asked for, and the answers that show the customer. What is not finished still needs
-- its parameters.
UPDATE operations
SET metadata        = NULL,
    options         = CASE WHEN kind = 'detach_method' THEN options END,
    stripe_params   = '',
    last_error      = NULL,
    response_status = CASE WHEN kind IN ('create_customer', 'update_customer') AND response_body IS NOT NULL
                           THEN @response_status::smallint ELSE response_status END,
    response_body   = CASE WHEN kind IN ('create_customer', 'update_customer') AND response_body IS NOT NULL
                           THEN @response_body::bytea ELSE response_body END
WHERE (id = @customer_id::uuid OR subject = @customer_id)
  AND kind IN ('create_customer', 'update_customer', 'delete_customer', 'create_setup', 'detach_method')
  AND state || '' IN ('finished', 'rejected');

-- name: CountUnerasable :one
-- The operations on a customer that are not finished, and the evidence about its payments that may
-- still be sent: what was rejected because of the deployment may be for 23 hours.
SELECT (SELECT count(*) FROM operations
        WHERE (id = @customer_id::uuid OR subject = @customer_id) AND state || '' IN ('pending', 'needs_attention'))
     + (SELECT count(*) FROM payments p JOIN operations o ON o.subject = p.id
        WHERE p.customer_id = @customer_id AND o.kind = 'submit_evidence'
          AND (o.state || '' IN ('pending', 'needs_attention')
               OR o.state || '' = 'rejected' AND o.created_at > now() - interval '1 day'));

-- name: EraseEvidenceOfCustomer :execrows
-- What was said to banks about its payments. Stripe's refusal of it may quote it.
UPDATE operations o
SET options         = (SELECT jsonb_object_agg(kept.key, kept.value) FROM jsonb_each(o.options) AS kept
                       WHERE kept.key IN ('dispute_id', 'submit')),
    stripe_params   = regexp_replace(o.stripe_params, '(^|&)evidence%5B[^&]*', '', 'g'),
    last_error      = NULL,
    response_body   = CASE WHEN response_status = 422 THEN @response_body::bytea ELSE response_body END,
    response_status = CASE WHEN response_status = 422 THEN @response_status::smallint ELSE response_status END
FROM payments p
WHERE p.customer_id = @customer_id::uuid AND o.subject = p.id AND o.kind = 'submit_evidence'
  AND o.state || '' IN ('finished', 'rejected') AND o.stripe_params LIKE '%evidence\%5B%';

-- name: ListDisputeEventsOfCustomer :many
-- Stripe's events about disputes of its payments: they hold what was said to banks.
SELECT e.id, (e.outcome = 'parked')::boolean AS parked
FROM payments p JOIN stripe_events e ON e.object_id = p.stripe_payment_intent_id
WHERE p.customer_id = @customer_id::uuid AND e.type LIKE 'charge.dispute.%' AND e.payload <> ''
LIMIT @max_rows;

-- name: EraseReceiptsOfCustomer :execrows
-- The address to which the receipts of its payments went.
UPDATE operations o
SET options       = o.options - 'receipt_email',
    stripe_params = regexp_replace(o.stripe_params, '(^|&)receipt_email=[^&]*', '')
FROM payments p
WHERE p.customer_id = @customer_id::uuid AND o.id = p.id AND o.state || '' IN ('finished', 'rejected')
  AND o.stripe_params LIKE '%receipt_email=%';
