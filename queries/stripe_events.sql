-- name: ApplyEvent :one
-- Stores an event and applies it, in one round trip and one commit.
--
-- The payment (target) is locked first, so that its status is the latest committed one
-- and the history's from_status is true. A later duplicate finds the event stored. A
-- duplicate that runs at the same time waits for the lock, then finds that the status
-- has changed and that the event's row exists: stored returns no row.
WITH target AS MATERIALIZED (
    SELECT p.id, p.status, p.amount, p.currency,
           COALESCE(p.amount <> sqlc.narg(amount)::numeric OR p.currency <> sqlc.narg(currency)::text, FALSE)
               OR COALESCE(p.id <> sqlc.narg(named_payment_id)::uuid, FALSE) AS contradicts
    FROM payments p
    WHERE @is_intent::boolean
      AND p.stripe_payment_intent_id = @object_id
    FOR UPDATE
), waiting AS MATERIALIZED (
    -- Locked, so that the event is still parked at the commit: a person may be
    -- dismissing it. outcome || '' makes the planner use the primary key.
    SELECT e.id FROM stripe_events e
    WHERE e.id = @id AND e.outcome || '' = 'parked'
    FOR UPDATE
), seen AS (
    SELECT FROM stripe_events e
    WHERE e.id = @id AND NOT EXISTS (SELECT FROM waiting)
), operation AS (
    -- A finished operation has a payment with another intent, or will never have one.
    -- An event that changes nothing leaves an operation alone that somebody works on.
    SELECT r.payment_id,
           r.state IN ('completed', 'refused', 'rejected')
               OR EXISTS (SELECT FROM payments p WHERE p.id = r.payment_id)                      AS finished,
           r.state = 'pending' AND @to_status::text = '' AND r.leased_until > now()              AS in_hand
    FROM payment_requests r
    WHERE r.payment_id = sqlc.narg(named_payment_id)::uuid
      AND @is_intent::boolean
      AND NOT EXISTS (SELECT FROM target)
), unfinished AS (
    SELECT operation.payment_id
    FROM operation
    WHERE NOT operation.finished
      AND NOT operation.in_hand
      AND NOT EXISTS (SELECT FROM seen)
), moved AS (
    UPDATE payments p
    SET status = @to_status, updated_at = clock_timestamp()
    FROM target
    WHERE p.id = target.id
      AND target.status = ANY (@from_statuses::text[])
      AND NOT target.contradicts
      AND NOT EXISTS (SELECT FROM seen)
    RETURNING p.id, target.status AS from_status
), history AS (
    INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
    SELECT moved.id, moved.from_status, @to_status, @id, clock_timestamp() FROM moved
), verdict AS (
    SELECT CASE
               WHEN NOT @is_intent::boolean THEN 'ignored'
               WHEN EXISTS (SELECT FROM target WHERE target.contradicts) THEN 'parked'
               WHEN EXISTS (SELECT FROM moved) THEN 'applied'
               WHEN EXISTS (SELECT FROM target) THEN 'stale'
               WHEN EXISTS (SELECT FROM operation WHERE operation.finished) THEN 'parked'
               WHEN @to_status::text <> '' THEN 'parked'
               WHEN EXISTS (SELECT FROM operation) THEN 'stale'
               ELSE 'ignored'
           END AS outcome,
           CASE
               WHEN EXISTS (SELECT FROM target WHERE target.contradicts) THEN 'contradiction'
               WHEN NOT @is_intent::boolean OR EXISTS (SELECT FROM target) THEN NULL
               WHEN EXISTS (SELECT FROM operation WHERE operation.finished) THEN 'contradiction'
               WHEN @to_status::text <> '' THEN 'unknown_payment'
           END AS reason
), stored AS (
    INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at)
    SELECT @id, @type, @object_id, @payload, verdict.outcome, verdict.reason, sqlc.narg(created_at)
    FROM verdict
    WHERE NOT EXISTS (SELECT FROM seen)
      AND NOT EXISTS (SELECT FROM unfinished)
    ON CONFLICT (id) DO UPDATE
        SET outcome = EXCLUDED.outcome, parked_reason = EXCLUDED.parked_reason, processed_at = now()
        WHERE stripe_events.outcome = 'parked'
    RETURNING outcome, parked_reason
)
SELECT (CASE
            WHEN EXISTS (SELECT FROM unfinished) THEN 'unfinished'
            ELSE COALESCE((SELECT stored.outcome FROM stored), 'duplicate')
        END)::text                                                    AS outcome,
       COALESCE((SELECT stored.parked_reason FROM stored), '')::text  AS parked_reason,
       COALESCE(target.id, '00000000-0000-0000-0000-000000000000')::uuid AS payment_id,
       COALESCE((SELECT moved.from_status FROM moved), '')::text      AS from_status,
       COALESCE(target.currency, '')::text                            AS currency,
       target.amount::numeric                                         AS amount,
       COALESCE(r.origin_request_id, '')::text                        AS origin_request_id,
       COALESCE(r.origin_trace, '')::text                             AS origin_trace
FROM verdict
LEFT JOIN target ON TRUE
LEFT JOIN payment_requests r ON r.payment_id = COALESCE(target.id, (SELECT operation.payment_id FROM operation));

-- name: ParkEvent :exec
-- Stores an event without applying it. One that is stored already stays as it is.
INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at)
VALUES (@id, @type, @object_id, @payload, 'parked', @parked_reason::text, sqlc.narg(created_at))
ON CONFLICT (id) DO NOTHING;

-- name: StoreForeignEvent :execrows
-- Stores only an event's id, type and time. One that was parked loses the rest.
INSERT INTO stripe_events (id, type, object_id, payload, outcome, created_at)
VALUES (@id, @type, '', '', 'foreign', sqlc.narg(created_at))
ON CONFLICT (id) DO UPDATE
    SET outcome = EXCLUDED.outcome, parked_reason = NULL, object_id = '', payload = '', processed_at = now()
    WHERE stripe_events.parked_reason IS NOT NULL;

-- name: GetEvent :one
SELECT * FROM stripe_events WHERE id = @id;

-- name: ListEvents :many
-- Without the bodies, which would make a large answer.
SELECT id, type, object_id, outcome, parked_reason, created_at, received_at, processed_at
FROM stripe_events
WHERE (sqlc.narg(outcome)::text IS NULL OR outcome = sqlc.narg(outcome))
  AND (sqlc.narg(type)::text IS NULL OR type = sqlc.narg(type))
ORDER BY received_at DESC
LIMIT @max_rows;

-- name: ListNewestParkedEvents :many
-- "Parked" is written as "has a reason", so that the index by time is used (migration
-- 00011).
SELECT id, type, object_id, outcome, parked_reason, created_at, received_at, processed_at
FROM stripe_events
WHERE parked_reason IS NOT NULL
  AND (sqlc.narg(type)::text IS NULL OR type = sqlc.narg(type))
ORDER BY received_at DESC, id DESC
LIMIT @max_rows;

-- name: ListEventsOfObject :many
SELECT id, type, object_id, outcome, parked_reason, created_at, received_at, processed_at
FROM stripe_events
WHERE object_id = @object_id
  AND (sqlc.narg(outcome)::text IS NULL OR outcome = sqlc.narg(outcome))
  AND (sqlc.narg(type)::text IS NULL OR type = sqlc.narg(type))
ORDER BY received_at DESC
LIMIT @max_rows;

-- name: DismissEvent :execrows
-- If ApplyEvent runs for the same event at the same time, one waits for the other and
-- finds that the event is no longer parked.
UPDATE stripe_events
SET outcome = 'dismissed', parked_reason = NULL, processed_at = now()
WHERE id = @id AND outcome || '' = 'parked';

-- name: ReopenEvent :execrows
-- Parks the event as if its payment were unknown. If it cannot be applied then, the
-- next attempt writes the real reason.
UPDATE stripe_events
SET outcome = 'parked', parked_reason = 'unknown_payment', processed_at = now()
WHERE id = @id AND outcome || '' = 'dismissed';
