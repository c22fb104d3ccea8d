-- name: LockPaymentsByIntent :many
-- Waits for whoever has locked one of the payments. What never changes is joined.
SELECT p.id, p.stripe_payment_intent_id, p.status, p.amount, p.currency,
       COALESCE(r.origin_request_id, '')::text AS origin_request_id,
       COALESCE(r.origin_trace, '')::text      AS origin_trace
FROM payments p
LEFT JOIN payment_requests r ON r.payment_id = p.id
WHERE p.stripe_payment_intent_id = ANY (@intent_ids::text[])
FOR NO KEY UPDATE OF p;

-- name: LockFreePaymentsByIntent :many
-- LockPaymentsByIntent for those that nobody else has locked.
SELECT p.id, p.stripe_payment_intent_id, p.status, p.amount, p.currency,
       COALESCE(r.origin_request_id, '')::text AS origin_request_id,
       COALESCE(r.origin_trace, '')::text      AS origin_trace
FROM payments p
LEFT JOIN payment_requests r ON r.payment_id = p.id
WHERE p.stripe_payment_intent_id = ANY (@intent_ids::text[])
FOR NO KEY UPDATE OF p SKIP LOCKED;

-- name: ListEventOutcomes :many
SELECT id, outcome FROM stripe_events WHERE id = ANY (@ids::text[]);

-- name: GetNamedOperation :many
-- The operation that an event names whose intent has no payment. ended: it has a
-- payment, or never will have one.
SELECT (r.state IN ('completed', 'refused', 'rejected') OR p.id IS NOT NULL)::boolean AS ended,
       (r.state = 'pending' AND r.leased_until > now())::boolean                       AS in_hand,
       COALESCE(p.stripe_payment_intent_id, '')::text                                  AS intent_id,
       r.origin_request_id, r.origin_trace
FROM payment_requests r
LEFT JOIN payments p ON p.id = r.payment_id
WHERE r.payment_id = @payment_id;

-- name: InsertEvents :exec
-- One that is stored already fails the statement: what is written with it must not
-- be written twice.
INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at)
SELECT unnest(@ids::text[]), unnest(@types::text[]), unnest(@object_ids::text[]), unnest(@payloads::bytea[]),
       unnest(@outcomes::text[]), unnest(@parked_reasons::text[]), unnest(@created_ats::timestamptz[]);

-- name: UnparkEvent :execrows
-- No row: it is not parked any more.
UPDATE stripe_events
SET outcome = @outcome::text, parked_reason = sqlc.narg(parked_reason), processed_at = now()
WHERE id = @id AND outcome || '' = 'parked';

-- name: MovePayments :exec
UPDATE payments p
SET status = u.status, updated_at = clock_timestamp()
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@statuses::text[]) AS status) AS u
WHERE p.id = u.id;

-- name: InsertTransitions :exec
INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
SELECT u.payment_id, u.from_status, u.to_status, u.cause, clock_timestamp()
FROM (
    SELECT unnest(@payment_ids::uuid[]) AS payment_id, unnest(@from_statuses::text[]) AS from_status,
           unnest(@to_statuses::text[]) AS to_status, unnest(@causes::text[]) AS cause
) AS u;

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
-- If the same event is applied at the same time, one waits for the other and
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
