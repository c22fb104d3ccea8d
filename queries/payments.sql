-- name: GetPayment :one
SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
FROM payments
WHERE id = @id;

-- name: ListTransitions :many
SELECT from_status, to_status, cause, at
FROM payment_transitions
WHERE payment_id = @payment_id
ORDER BY id;
