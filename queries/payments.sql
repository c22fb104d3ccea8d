-- name: GetPayment :one
SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
FROM payments
WHERE id = @id;

-- name: ListTransitions :many
SELECT from_status, to_status, cause, at
FROM payment_transitions
WHERE payment_id = @payment_id
ORDER BY id;

-- name: ListUnsettledPayments :many
-- Payments that are not final and older than a while, in a stable order to page through.
SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
FROM payments
WHERE status IN ('pending', 'failed')
  AND created_at < now() - @older_than::interval
  AND (created_at, id) > (@after_created_at::timestamptz, @after_id::uuid)
ORDER BY created_at, id
LIMIT @max_rows;

-- name: ListKnownIntents :many
-- Which of the given intents have a payment.
SELECT stripe_payment_intent_id
FROM payments
WHERE stripe_payment_intent_id = ANY (@intent_ids::text[]);
