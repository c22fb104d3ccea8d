-- name: GetReconciledThrough :one
-- One row, also where there was no reconciliation yet: the database's clock is in it.
SELECT now()::timestamptz AS now,
       COALESCE((SELECT r.through FROM reconciliation r), '0001-01-01 00:00:00+00')::timestamptz AS through;

-- name: StartReconciledThrough :execrows
-- The first cursor there is.
INSERT INTO reconciliation (through) VALUES (@through)
ON CONFLICT (singleton) DO NOTHING;

-- name: MoveReconciledThrough :execrows
UPDATE reconciliation SET through = @through
WHERE through = @from_through;

-- name: HoldReconciliation :execrows
-- Takes the lease where nobody has it any more, and extends one's own.
INSERT INTO reconciliation_lease AS l (token, until) VALUES (@token, now() + @lease::interval)
ON CONFLICT (singleton) DO UPDATE SET token = EXCLUDED.token, until = EXCLUDED.until
WHERE l.token = EXCLUDED.token OR l.until <= now();

-- name: ReleaseReconciliation :exec
DELETE FROM reconciliation_lease WHERE token = @token;

-- name: GetSweep :one
SELECT created_at, payment_id FROM reconciliation_sweeps WHERE band = @band;

-- name: SetSweep :exec
INSERT INTO reconciliation_sweeps (band, created_at, payment_id) VALUES (@band, @created_at, @payment_id)
ON CONFLICT (band) DO UPDATE SET created_at = EXCLUDED.created_at, payment_id = EXCLUDED.payment_id;

-- name: EndSweep :exec
DELETE FROM reconciliation_sweeps WHERE band = @band;

-- name: ListUnknownEvents :many
-- Which of the given events are not in the inbox.
SELECT given.id::text AS id
FROM unnest(@ids::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM stripe_events e WHERE e.id = given.id);

-- name: ListPaymentsByIntent :many
SELECT * FROM payments
WHERE stripe_payment_intent_id = ANY (@intent_ids::text[]);

-- name: ListOpenPayments :many
-- The open ones among the next payments of a band of creation times, newest
-- first, and always the last one that was looked at, open or not: the next page
-- begins behind it.
--
-- It goes through all payments by their creation time, a bounded number at once.
-- An index of the open ones alone would have to be written twice for every payment.
WITH slice AS MATERIALIZED (
    SELECT * FROM payments
    WHERE (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
      AND created_at >= @from_created_at::timestamptz
    ORDER BY created_at DESC, id DESC
    LIMIT @max_looked_at
)
SELECT sqlc.embed(payments)
FROM slice AS payments
WHERE status IN ('pending', 'failed')
   OR id = (SELECT s.id FROM slice s ORDER BY s.created_at, s.id LIMIT 1)
ORDER BY created_at DESC, id DESC
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
