-- name: GetReconciledThrough :one
SELECT through FROM reconciliation;

-- name: SetReconciledThrough :exec
-- It never moves back: of two runs the one that came further counts.
INSERT INTO reconciliation (through) VALUES (@through)
ON CONFLICT (singleton) DO UPDATE SET through = GREATEST(reconciliation.through, EXCLUDED.through);

-- name: ListUnknownEvents :many
-- Which of the given events are not in the inbox.
SELECT given.id::text AS id
FROM unnest(@ids::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM stripe_events e WHERE e.id = given.id);

-- name: ListPaymentsByIntent :many
SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
FROM payments
WHERE stripe_payment_intent_id = ANY (@intent_ids::text[]);

-- name: ListUnsettledPayments :many
-- Payments that are not final, created before a time, in a stable order to page through.
SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
FROM payments
WHERE status IN ('pending', 'failed')
  AND created_at < @before::timestamptz
  AND (created_at, id) > (@after_created_at::timestamptz, @after_id::uuid)
ORDER BY created_at, id
LIMIT @max_rows;

-- name: AdvancePayment :one
-- Moves a payment on without an event, by the same compare-and-set. No row
-- comes back where it may not move.
WITH target AS MATERIALIZED (
    SELECT p.id, p.status
    FROM payments p
    WHERE p.id = @id
    FOR UPDATE
), moved AS (
    UPDATE payments p
    SET status = @to_status, updated_at = clock_timestamp()
    FROM target
    WHERE p.id = target.id
      AND target.status = ANY (@from_statuses::text[])
    RETURNING p.id, target.status AS from_status
), history AS (
    INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
    SELECT moved.id, moved.from_status, @to_status, @cause, clock_timestamp() FROM moved
)
SELECT moved.from_status FROM moved;
