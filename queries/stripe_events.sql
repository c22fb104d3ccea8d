-- name: ApplyEvent :one
-- Stores an event and applies it: one round trip, one commit.
--
-- target is locked first, so that its status is the latest committed one and
-- the history's from_status is true. A duplicate finds the event stored; one
-- that runs at the same time waits for the lock, finds the status moved, and
-- its INSERT meets the other's row: no row comes back from stored.
WITH target AS MATERIALIZED (
    SELECT p.id, p.status, p.amount, p.currency,
           COALESCE(p.amount <> sqlc.narg(amount)::numeric OR p.currency <> sqlc.narg(currency)::text, FALSE)
               OR COALESCE(p.id <> sqlc.narg(named_payment_id)::uuid, FALSE) AS contradicts
    FROM payments p
    WHERE @is_intent::boolean
      AND p.stripe_payment_intent_id = @object_id
    FOR UPDATE
), waiting AS MATERIALIZED (
    -- Locked, so that it is still parked when this commits: a person may be
    -- dismissing it. Written so that the primary key's index is read.
    SELECT e.id FROM stripe_events e
    WHERE e.id = @id AND e.outcome || '' = 'parked'
    FOR UPDATE
), seen AS (
    SELECT FROM stripe_events e
    WHERE e.id = @id AND NOT EXISTS (SELECT FROM waiting)
), operation AS (
    -- A finished one has a payment of another intent, or never will have any. An
    -- event that changes nothing leaves an operation alone that somebody works on.
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
INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at)
VALUES (@id, @type, @object_id, @payload, 'parked', @parked_reason::text, sqlc.narg(created_at))
ON CONFLICT (id) DO NOTHING;

-- name: KeepForeignEvent :execrows
-- Nothing of it but what tells that it has come.
INSERT INTO stripe_events (id, type, object_id, payload, outcome, created_at)
VALUES (@id, @type, '', '', 'foreign', sqlc.narg(created_at))
ON CONFLICT (id) DO UPDATE
    SET outcome = EXCLUDED.outcome, parked_reason = NULL, object_id = '', payload = '', processed_at = now()
    WHERE stripe_events.parked_reason IS NOT NULL;

-- name: GetEvent :one
SELECT * FROM stripe_events WHERE id = @id;

-- name: ListEvents :many
-- Without the bodies: a list of them would be large.
SELECT id, type, object_id, outcome, parked_reason, created_at, received_at, processed_at
FROM stripe_events
WHERE (sqlc.narg(outcome)::text IS NULL OR outcome = sqlc.narg(outcome))
  AND (sqlc.narg(type)::text IS NULL OR type = sqlc.narg(type))
ORDER BY received_at DESC
LIMIT @max_rows;

-- name: ListNewestParkedEvents :many
-- A parked event is one with a reason: so written, it is found by its time.
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
-- Where an Apply of it runs at the same time, one waits for the other and finds
-- that the event is not parked any more.
UPDATE stripe_events
SET outcome = 'dismissed', parked_reason = NULL, processed_at = now()
WHERE id = @id AND outcome || '' = 'parked';

-- name: ReopenEvent :execrows
-- Parked as one that has yet to be tried: why it stays so is found out then.
UPDATE stripe_events
SET outcome = 'parked', parked_reason = 'unknown_payment', processed_at = now()
WHERE id = @id AND outcome || '' = 'dismissed';
