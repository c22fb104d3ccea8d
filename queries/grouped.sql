-- Requests that arrive together share one statement and one commit. Each statement
-- here does the common case of the statement with the singular name, for many
-- requests, and returns a row for each request that it did. A request without a row
-- was not touched: it goes alone. No statement here waits for a row that somebody
-- else has locked, so that one stuck request does not delay the others.

-- name: ApplyEvents :many
-- ApplyEvent for new events that are about no payment, or about one that exists and
-- does not contradict them. No two of them are about one payment.
--
-- If another transaction stores one of the events meanwhile, the INSERT waits for it,
-- then the whole statement fails and nothing is done. Rows are inserted in the order of
-- their ids, so that two of these statements never wait for each other.
WITH input AS MATERIALIZED (
    SELECT unnest(@ids::text[])                  AS id,
           unnest(@types::text[])                AS type,
           unnest(@object_ids::text[])           AS object_id,
           unnest(@are_intents::boolean[])            AS is_intent,
           unnest(@named_payment_ids::uuid[])  AS named_payment_id,
           unnest(@amounts::numeric[])           AS amount,
           unnest(@currencies::text[])           AS currency,
           unnest(@to_statuses::text[])          AS to_status,
           unnest(@from_statuses::text[])        AS from_statuses,
           unnest(@payloads::bytea[])            AS payload,
           unnest(@created_ats::timestamptz[])   AS created_at
), target AS MATERIALIZED (
    SELECT p.id, p.stripe_payment_intent_id, p.status, p.amount, p.currency
    FROM input
    JOIN payments p ON p.stripe_payment_intent_id = input.object_id
    WHERE input.is_intent
    FOR UPDATE OF p SKIP LOCKED
), ready AS MATERIALIZED (
    SELECT input.*, target.id AS payment_id, target.status AS from_status,
           target.amount AS payment_amount, target.currency AS payment_currency,
           COALESCE(target.status = ANY (input.from_statuses::text[]), FALSE) AS moves
    FROM input
    LEFT JOIN target ON target.stripe_payment_intent_id = input.object_id AND input.is_intent
    WHERE (target.id IS NOT NULL OR NOT input.is_intent)
      AND NOT COALESCE(target.amount <> input.amount, FALSE)
      AND NOT COALESCE(target.currency <> NULLIF(input.currency, ''), FALSE)
      AND NOT COALESCE(target.id <> NULLIF(input.named_payment_id, '00000000-0000-0000-0000-000000000000'), FALSE)
      AND NOT EXISTS (SELECT FROM stripe_events e WHERE e.id = input.id)
), stored AS (
    INSERT INTO stripe_events (id, type, object_id, payload, outcome, created_at)
    SELECT ready.id, ready.type, ready.object_id, ready.payload,
           CASE WHEN NOT ready.is_intent THEN 'ignored' WHEN ready.moves THEN 'applied' ELSE 'stale' END,
           NULLIF(ready.created_at, '0001-01-01 00:00:00+00')
    FROM ready
    ORDER BY ready.id
    RETURNING id, outcome
), moved AS (
    UPDATE payments p
    SET status = ready.to_status, updated_at = clock_timestamp()
    FROM ready
    WHERE p.id = ready.payment_id
      AND ready.moves
), history AS (
    INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
    SELECT ready.payment_id, ready.from_status, ready.to_status, ready.id, clock_timestamp()
    FROM ready
    WHERE ready.moves
)
SELECT stored.id,
       stored.outcome,
       COALESCE(ready.payment_id, '00000000-0000-0000-0000-000000000000')::uuid AS payment_id,
       (CASE WHEN ready.moves THEN ready.from_status ELSE '' END)::text         AS from_status,
       COALESCE(ready.payment_currency, '')::text                               AS currency,
       ready.payment_amount::numeric                                            AS amount,
       COALESCE(r.origin_request_id, '')::text                                  AS origin_request_id,
       COALESCE(r.origin_trace, '')::text                                       AS origin_trace
FROM stored
JOIN ready ON ready.id = stored.id
LEFT JOIN payment_requests r ON r.payment_id = ready.payment_id;

-- name: BeginOperations :many
-- BeginOperation for many operations.
--
-- The INSERT waits only while another transaction writes one of the keys. Rows are
-- inserted in the order of their keys, so that two of these statements never wait for
-- each other.
INSERT INTO payment_requests (
    payment_id, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_params,
    lease_token, leased_until, retry_at, origin_request_id, origin_trace
)
SELECT input.payment_id, NULLIF(input.idempotency_key, ''), input.fingerprint, input.amount, input.currency,
       NULLIF(input.metadata, '')::jsonb, input.stripe_key, input.stripe_params,
       NULLIF(input.lease_token, '00000000-0000-0000-0000-000000000000'), now() + input.lease, now() + input.lease,
       input.origin_request_id, input.origin_trace
FROM (
    SELECT unnest(@payment_ids::uuid[])         AS payment_id,
           unnest(@idempotency_keys::text[])    AS idempotency_key,
           unnest(@fingerprints::bytea[])       AS fingerprint,
           unnest(@amounts::numeric[])          AS amount,
           unnest(@currencies::text[])          AS currency,
           unnest(@metadata::text[])            AS metadata,
           unnest(@stripe_keys::text[])         AS stripe_key,
           unnest(@stripe_params::text[])       AS stripe_params,
           unnest(@lease_tokens::uuid[])        AS lease_token,
           unnest(@leases::interval[])          AS lease,
           unnest(@origin_request_ids::text[])  AS origin_request_id,
           unnest(@origin_traces::text[])       AS origin_trace
) AS input
ORDER BY input.idempotency_key, input.payment_id
ON CONFLICT DO NOTHING
RETURNING payment_id, created_at;

-- name: FinishOperations :many
-- FinishOperation for many operations.
--
-- If another transaction writes one of the payments or intents meanwhile, the whole
-- statement fails and nothing is done.
WITH input AS MATERIALIZED (
    SELECT unnest(@payment_ids::uuid[])          AS payment_id,
           unnest(@intent_ids::text[])           AS intent_id,
           unnest(@idempotency_keys::text[])     AS idempotency_key,
           unnest(@amounts::numeric[])           AS amount,
           unnest(@currencies::text[])           AS currency,
           unnest(@statuses::text[])             AS status,
           unnest(@metadata::text[])             AS metadata,
           unnest(@created_ats::timestamptz[])   AS created_at,
           unnest(@causes::text[])               AS cause,
           unnest(@response_statuses::smallint[]) AS response_status,
           unnest(@response_bodies::bytea[])     AS response_body
), operation AS MATERIALIZED (
    SELECT r.payment_id
    FROM input
    JOIN payment_requests r ON r.payment_id = input.payment_id
    WHERE r.state || '' = 'pending' -- see operations.sql
    FOR UPDATE OF r SKIP LOCKED
), created AS (
    INSERT INTO payments (
        id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at
    )
    SELECT input.payment_id, input.intent_id, NULLIF(input.idempotency_key, ''), input.amount, input.currency,
           input.status, NULLIF(input.metadata, '')::jsonb, input.created_at, clock_timestamp()
    FROM input
    JOIN operation ON operation.payment_id = input.payment_id
    WHERE NOT EXISTS (SELECT FROM payments p WHERE p.id = input.payment_id)
    ORDER BY input.intent_id
    RETURNING id
), history AS (
    INSERT INTO payment_transitions (payment_id, to_status, cause, at)
    SELECT input.payment_id, input.status, input.cause, clock_timestamp()
    FROM input
    JOIN created ON created.id = input.payment_id
), frozen AS (
    UPDATE payment_requests r
    SET state           = 'completed',
        response_status = input.response_status,
        response_body   = input.response_body,
        lease_token     = NULL,
        last_error      = NULL,
        updated_at      = now()
    FROM input
    JOIN created ON created.id = input.payment_id
    WHERE r.payment_id = input.payment_id
    RETURNING r.*
)
SELECT sqlc.embed(payment_requests),
       EXTRACT(EPOCH FROM now() - payment_requests.created_at)::float8 AS age_seconds,
       EXISTS (SELECT FROM stripe_events e WHERE e.object_id = input.intent_id AND e.outcome = 'parked') AS parked
FROM frozen AS payment_requests
JOIN input ON input.payment_id = payment_requests.payment_id;
