-- name: GetBacklog :one
-- How much work is not finished. Each part is read from a partial index that is empty
-- when all is well. Counting stops at @most, because more would not tell a person
-- more. The oldest pending operation is the oldest of those counted. Operations that
-- need attention have no age: they have an alert of their own, and an old one must not
-- hide a pending one.
SELECT pending.operations                                                                             AS pending,
       attention.operations                                                                           AS needs_attention,
       COALESCE(EXTRACT(EPOCH FROM now() - pending.oldest), 0)::float8                            AS oldest_seconds,
       lapsing.payments                                                                           AS lapsing,
       overdrawn.payments                                                                         AS overdrawn,
       COALESCE(EXTRACT(EPOCH FROM now() - refunds.oldest), 0)::float8                            AS oldest_refund_seconds,
       parked.events                                                                              AS parked,
       COALESCE(EXTRACT(EPOCH FROM now() - parked.oldest), 0)::float8                             AS oldest_parked_seconds
FROM (
    SELECT count(*) AS operations, min(counted.created_at) AS oldest
    FROM (
        SELECT r.created_at FROM operations r WHERE r.state = 'pending' ORDER BY r.retry_at LIMIT @most
    ) AS counted
) AS pending, (
    SELECT count(*) AS operations
    FROM (
        SELECT r.created_at FROM operations r WHERE r.state = 'needs_attention' ORDER BY r.created_at LIMIT @most
    ) AS counted
) AS attention, (
    SELECT count(*) AS payments
    FROM (
        SELECT p.id FROM payments p
        WHERE p.capture_before < now() + @soon::interval
        ORDER BY p.capture_before
        LIMIT @most
    ) AS counted
) AS lapsing, (
    SELECT count(*) AS payments
    FROM (SELECT p.id FROM payments p WHERE p.overdrawn > 0 LIMIT @most) AS counted
) AS overdrawn, (
    SELECT min(counted.created_at) AS oldest
    FROM (
        SELECT f.created_at FROM refunds f WHERE f.status IN ('pending', 'requires_action') ORDER BY f.created_at LIMIT 1
    ) AS counted
) AS refunds, (
    SELECT count(*) AS events, min(counted.received_at) AS oldest
    FROM (
        SELECT e.received_at FROM stripe_events e WHERE e.parked_reason IS NOT NULL ORDER BY e.received_at LIMIT @most
    ) AS counted
) AS parked;

-- name: ListParkedEvents :many
-- The next parked events, newest first, and which of them are ready to be applied.
-- However many there are, it reads no more rows than it returns. "Parked" is written
-- as "has a reason", so that the index by time is used (migration 00011).
WITH slice AS MATERIALIZED (
    SELECT e.id, e.object_id, e.parked_reason, e.received_at
    FROM stripe_events e
    WHERE e.parked_reason IS NOT NULL
      AND (e.received_at, e.id) < (@before_received_at::timestamptz, @before_id::text)
    ORDER BY e.received_at DESC, e.id DESC
    LIMIT @max_rows
)
SELECT slice.id, slice.received_at,
       (slice.parked_reason = 'unknown_payment' AND p.id IS NOT NULL)::boolean AS ready
FROM slice
LEFT JOIN payments p ON p.stripe_payment_intent_id = slice.object_id
ORDER BY slice.received_at DESC, slice.id DESC;

-- name: ListReadyEventsOf :many
-- The parked events of an intent whose payment exists, except contradictions.
SELECT e.id, e.type, e.object_id, e.payload, e.outcome, e.parked_reason, e.created_at, e.received_at, e.processed_at
FROM stripe_events e
WHERE e.outcome = 'parked'
  AND e.parked_reason IS DISTINCT FROM 'contradiction'
  AND e.object_id = @object_id
  AND EXISTS (SELECT FROM payments p WHERE p.stripe_payment_intent_id = @object_id)
ORDER BY e.received_at
LIMIT @max_rows;
