-- name: GetPayments :many
SELECT * FROM payments
WHERE id = ANY (@ids::uuid[]);

-- name: ListTransitions :many
SELECT from_status, to_status, cause, at
FROM payment_transitions
WHERE payment_id = @payment_id
ORDER BY id;

-- name: LockPayment :many
-- Waits for whoever has locked the payment.
SELECT payments.*, clock_timestamp()::timestamptz AS now FROM payments
WHERE id = @id
FOR NO KEY UPDATE;
