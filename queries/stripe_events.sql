-- name: LockPaymentsByIntent :many
-- Waits for whoever has locked one of the payments. What never changes is joined.
SELECT p.id, p.tenant, p.stripe_payment_intent_id, p.amount, p.currency, p.status, p.intent_status, p.capture_method,
       p.amount_capturable, p.amount_captured, p.capture_before, p.declined, p.payment_method, p.decline, p.version,
       p.amount_refund_pending, p.amount_refunded, p.amount_disputed, p.overdrawn, p.dispute_status, p.blocking_dispute,
       clock_timestamp()::timestamptz AS now,
       COALESCE(r.origin_request_id, '')::text AS origin_request_id,
       COALESCE(r.origin_trace, '')::text      AS origin_trace
FROM payments p
LEFT JOIN operations r ON r.id = p.id
WHERE p.stripe_payment_intent_id = ANY (@intent_ids::text[])
FOR NO KEY UPDATE OF p;

-- name: LockFreePaymentsByIntent :many
-- LockPaymentsByIntent for those that nobody else has locked.
SELECT p.id, p.tenant, p.stripe_payment_intent_id, p.amount, p.currency, p.status, p.intent_status, p.capture_method,
       p.amount_capturable, p.amount_captured, p.capture_before, p.declined, p.payment_method, p.decline, p.version,
       p.amount_refund_pending, p.amount_refunded, p.amount_disputed, p.overdrawn, p.dispute_status, p.blocking_dispute,
       clock_timestamp()::timestamptz AS now,
       COALESCE(r.origin_request_id, '')::text AS origin_request_id,
       COALESCE(r.origin_trace, '')::text      AS origin_trace
FROM payments p
LEFT JOIN operations r ON r.id = p.id
WHERE p.stripe_payment_intent_id = ANY (@intent_ids::text[])
FOR NO KEY UPDATE OF p SKIP LOCKED;

-- name: ListEventOutcomes :many
SELECT id, outcome FROM stripe_events WHERE id = ANY (@ids::text[]);

-- name: GetNamedOperation :many
-- The create that an event names whose intent has no payment. ended: it has a payment,
-- or never will have one.
SELECT (r.state NOT IN ('pending', 'needs_attention') OR p.id IS NOT NULL)::boolean AS ended,
       (r.state = 'pending' AND r.leased_until > now())::boolean                    AS in_hand,
       COALESCE(p.stripe_payment_intent_id, '')::text                               AS intent_id,
       r.origin_request_id, r.origin_trace
FROM operations r
LEFT JOIN payments p ON p.id = r.id
WHERE r.id = @id AND r.kind = 'create';

-- name: InsertEvents :exec
-- One that is stored already fails the statement: what is written with it must not
-- be written twice.
INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at)
SELECT unnest(@ids::text[]), unnest(@types::text[]), unnest(@object_ids::text[]), unnest(@payloads::bytea[]),
       unnest(@outcomes::text[]), unnest(@parked_reasons::text[]), unnest(@created_ats::timestamptz[]);

-- name: ReprocessEvent :execrows
-- No row: it is neither parked nor unhandled any more. Of a foreign event only the id, the
-- type and the time are kept. An older release may have stored it under the id of another
-- object.
UPDATE stripe_events
SET outcome = @outcome::text, parked_reason = sqlc.narg(parked_reason), processed_at = now(),
    object_id = CASE WHEN @outcome::text = 'foreign' THEN '' ELSE COALESCE(NULLIF(@object_id::text, ''), object_id) END,
    payload = CASE WHEN @outcome::text = 'foreign' THEN ''::bytea ELSE payload END
WHERE id = @id AND outcome || '' IN ('parked', 'unhandled');

-- name: UpdatePayments :exec
-- Writes absolute values. The caller has locked the payments.
UPDATE payments p
SET status = u.status, amount = u.amount, intent_status = NULLIF(u.intent_status, ''), capture_method = u.capture_method,
    amount_capturable = u.capturable, amount_captured = u.captured,
    capture_before = NULLIF(u.capture_before, '0001-01-01 00:00:00+00'), declined = u.declined,
    payment_method = NULLIF(u.payment_method, '')::jsonb, decline = NULLIF(u.decline, '')::jsonb, version = u.version,
    updated_at = u.updated_at, amount_refund_pending = u.refund_pending, amount_refunded = u.refunded,
    amount_disputed = u.disputed, overdrawn = u.overdrawn, dispute_status = NULLIF(u.dispute_status, ''),
    blocking_dispute = NULLIF(u.blocking_dispute, '00000000-0000-0000-0000-000000000000')
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@statuses::text[]) AS status, unnest(@amounts::numeric[]) AS amount,
           unnest(@intent_statuses::text[]) AS intent_status, unnest(@capture_methods::text[]) AS capture_method,
           unnest(@capturables::numeric[]) AS capturable, unnest(@captureds::numeric[]) AS captured,
           unnest(@capture_befores::timestamptz[]) AS capture_before, unnest(@declineds::boolean[]) AS declined,
           unnest(@payment_methods::text[]) AS payment_method, unnest(@declines::text[]) AS decline,
           unnest(@versions::bigint[]) AS version, unnest(@updated_ats::timestamptz[]) AS updated_at,
           unnest(@refund_pendings::numeric[]) AS refund_pending, unnest(@refundeds::numeric[]) AS refunded,
           unnest(@disputeds::numeric[]) AS disputed, unnest(@overdrawns::numeric[]) AS overdrawn,
           unnest(@dispute_statuses::text[]) AS dispute_status, unnest(@blocking_disputes::uuid[]) AS blocking_dispute
) AS u
WHERE p.id = u.id;

-- name: UpdateDetails :exec
-- What only a client changes. The caller has locked the payment.
UPDATE payments SET metadata = sqlc.narg(metadata), description = sqlc.narg(description) WHERE id = @id;

-- name: InsertTransitions :exec
INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
SELECT u.payment_id, u.from_status, u.to_status, u.cause, clock_timestamp()
FROM (
    SELECT unnest(@payment_ids::uuid[]) AS payment_id, unnest(@from_statuses::text[]) AS from_status,
           unnest(@to_statuses::text[]) AS to_status, unnest(@causes::text[]) AS cause
) AS u
WHERE u.from_status <> u.to_status;

-- name: GetHeard :many
-- Stands for which events about a payment's refunds and disputes are stored. Whoever stores one has
-- locked the payment. Those of its intent are not among them: they change its version.
SELECT COALESCE(bit_xor(hashtextextended(id, 0)), 0)::bigint AS heard FROM stripe_events
WHERE object_id = @object_id AND type NOT LIKE 'payment\_intent.%';

-- name: ListHints :many
-- Events whose payment is still to be read, the longest waiting first. The limit is a
-- subquery, so that the planner cannot compare it with the few hints that it believes in,
-- and walks through their index instead of sorting all of them.
SELECT id, type, object_id, outcome, parked_reason, created_at, received_at, processed_at
FROM stripe_events
WHERE outcome = 'hint'
  AND (received_at, id) > (@after_received_at::timestamptz, @after_id::text)
ORDER BY received_at, id
LIMIT (SELECT @max_rows::integer);

-- name: ResolveHints :exec
-- The payment was read after these events were stored. If what was read contradicts what
-- we have, they are parked.
UPDATE stripe_events
SET outcome = @outcome::text, parked_reason = CASE WHEN @outcome::text = 'parked' THEN 'contradiction' END,
    processed_at = now()
WHERE object_id = @object_id AND outcome || '' = 'hint';

-- name: ListHintsAbout :many
-- More than that keep their turn.
SELECT id FROM stripe_events WHERE object_id = @object_id AND outcome || '' = 'hint' LIMIT 1000;

-- name: SettleHints :exec
-- What they are about was read after these were stored. What came later waits for its own read.
UPDATE stripe_events SET outcome = @outcome::text, processed_at = now()
WHERE id = ANY(@ids::text[]) AND outcome || '' = 'hint';

-- name: LetHintGo :exec
-- Our records say by now what it tells.
UPDATE stripe_events SET outcome = 'stale', processed_at = now() WHERE id = @id AND outcome || '' = 'hint';

-- name: DismissContradictions :exec
-- A person has accepted the provider's side. The reason is written so that the planner
-- cannot use the index of all parked events (migration 00011).
UPDATE stripe_events
SET outcome = 'dismissed', parked_reason = NULL, processed_at = now()
WHERE object_id = @object_id AND outcome = 'parked' AND COALESCE(parked_reason, '') = 'contradiction';

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

-- name: ListUnhandledEvents :many
-- Those of a type among the next events, oldest first. The last event that was searched is
-- always among the rows, because the next page begins after it. It searches all events by
-- time, a limited number at once: an index of the unhandled ones alone would cost a write
-- for each of them.
WITH slice AS MATERIALIZED (
    SELECT e.id, e.received_at, (e.type = @type::text AND e.outcome = 'unhandled')::boolean AS wanted
    FROM stripe_events e
    WHERE (e.received_at, e.id) > (@after_received_at::timestamptz, @after_id::text)
    ORDER BY e.received_at, e.id
    LIMIT @max_looked_at
)
SELECT slice.id, slice.received_at, slice.wanted
FROM slice
WHERE slice.wanted
   OR slice.id = (SELECT s.id FROM slice s ORDER BY s.received_at DESC, s.id DESC LIMIT 1)
ORDER BY slice.received_at, slice.id
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
