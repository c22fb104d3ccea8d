-- name: GetPayments :many
SELECT * FROM payments
WHERE id = ANY (@ids::uuid[]);

-- name: ListTransitions :many
-- Newest first. The limit is a subquery, so that the planner does not walk through the primary
-- key until it has found as many.
SELECT from_status, to_status, cause, at
FROM payment_transitions
WHERE payment_id = @payment_id
ORDER BY id DESC
LIMIT (SELECT @max_rows::integer);

-- name: LockPayment :many
-- Waits for whoever has locked the payment.
SELECT payments.*, clock_timestamp()::timestamptz AS now FROM payments
WHERE id = @id
FOR NO KEY UPDATE;
