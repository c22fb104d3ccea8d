-- name: GetReconciledThrough :one
-- Always one row, because it also tells the time by the database's clock.
SELECT now()::timestamptz AS now,
       COALESCE((SELECT r.through FROM reconciliation r), '0001-01-01 00:00:00+00')::timestamptz AS through;

-- name: StartReconciledThrough :execrows
-- Writes the first cursor. No row: the database has another incarnation by now.
INSERT INTO reconciliation (through)
SELECT @through::timestamptz WHERE marketflow_incarnation() = @incarnation::text
ON CONFLICT (singleton) DO NOTHING;

-- name: MoveReconciledThrough :execrows
-- No row: somebody else has moved it, or the database has another incarnation by now.
UPDATE reconciliation SET through = @through
WHERE through = @from_through AND marketflow_incarnation() = @current::text;

-- name: EndReconciliation :execrows
-- No row: the database has another incarnation by now.
UPDATE reconciliation
SET incarnation = @current::text,
    looked_at   = CASE WHEN incarnation = @current THEN looked_at ELSE now() END
WHERE singleton AND marketflow_incarnation() = @current;

-- name: GetStanding :one
SELECT incarnation::text AS incarnation, reconciled::boolean AS reconciled, behind_seconds::float8 AS behind_seconds
FROM standing;

-- name: HoldReconciliation :execrows
-- Takes the lease if nobody holds it, or extends the caller's own.
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
-- The open payments among the next ones of a band of creation times, newest first. The
-- last payment that was searched is always among the rows, open or not, because the
-- next page begins after it.
--
-- It searches all payments by creation time, a limited number at once. An index of the
-- open ones alone would cost two writes for every payment.
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
