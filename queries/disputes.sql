-- Disputes. Each statement that writes is run under the lock of the payment.

-- name: GetDispute :one
SELECT * FROM disputes WHERE id = @id;

-- name: ListDisputesOfPayments :many
SELECT * FROM disputes WHERE payment_id = ANY (@payment_ids::uuid[]) ORDER BY payment_id, created_at, id;

-- name: ListDisputesByStripeID :many
SELECT * FROM disputes WHERE stripe_dispute_id = ANY (@stripe_ids::text[]);

-- name: InsertDispute :exec
INSERT INTO disputes (
    id, tenant, payment_id, payment_created_at, stripe_dispute_id, amount, currency, kind, status, reason,
    network_reason_code, evidence_due_by, submissions, counted, counted_currency, balance, version, created_at, updated_at
)
VALUES (
    @id, @tenant, @payment_id, @payment_created_at, @stripe_dispute_id, @amount, @currency, @kind, @status, @reason,
    @network_reason_code, sqlc.narg(evidence_due_by), @submissions, @counted, @counted_currency,
    sqlc.arg(balance)::text::jsonb, @version, @created_at, @updated_at
);

-- name: UpdateDispute :exec
-- Writes absolute values.
UPDATE disputes
SET amount = @amount, currency = @currency, kind = @kind, status = @status, reason = @reason,
    network_reason_code = @network_reason_code, evidence_due_by = sqlc.narg(evidence_due_by), submissions = @submissions,
    counted = @counted, counted_currency = @counted_currency, balance = sqlc.arg(balance)::text::jsonb,
    version = @version, updated_at = @updated_at
WHERE id = @id;

-- name: ListOpenDisputes :many
SELECT * FROM disputes
WHERE status NOT IN ('won', 'lost', 'warning_closed') AND id > @after_id::uuid
ORDER BY id
LIMIT @max_rows;

-- name: CountOpenDisputes :many
-- What is not decided, by the payments' currencies: what chargebacks have taken, and how many
-- disputes wait for an answer, by the time that is left.
SELECT open.counted_currency AS currency,
       COALESCE(sum(open.counted) FILTER (WHERE open.kind = 'chargeback'), 0)::numeric AS at_stake,
       count(*) FILTER (WHERE open.days_left < 0) AS overdue,
       count(*) FILTER (WHERE open.days_left >= 0 AND open.days_left < 1) AS within_one,
       count(*) FILTER (WHERE open.days_left >= 1 AND open.days_left < 3) AS within_three,
       count(*) FILTER (WHERE open.days_left >= 3 AND open.days_left < 7) AS within_seven,
       count(*) FILTER (WHERE open.days_left >= 7) AS later
FROM (
    SELECT d.counted_currency, d.counted, d.kind,
           CASE WHEN d.status IN ('needs_response', 'warning_needs_response')
                THEN EXTRACT(EPOCH FROM d.evidence_due_by - now()) / 86400 END AS days_left
    FROM disputes d
    WHERE d.status NOT IN ('won', 'lost', 'warning_closed')
) AS open
GROUP BY open.counted_currency
ORDER BY open.counted_currency;

-- How disputes are found. ports.Disputes has the contract. A filter that is not asked for has a
-- value that every dispute fits, so that each statement is one text. They look at all disputes
-- that the order's own column does not rule out: disputes are a small share of the payments.

-- name: ListDisputes :many
-- Newest first.
SELECT * FROM disputes
WHERE tenant = @tenant AND (created_at, id) < (@before_created_at::timestamptz, @before_id::uuid)
  AND created_at >= @from_created_at::timestamptz
  AND status = COALESCE(NULLIF(@status::text, ''), status)
  AND kind = COALESCE(NULLIF(@kind::text, ''), kind)
  AND COALESCE(evidence_due_by, @no_due::timestamptz) >= @due_from::timestamptz
  AND COALESCE(evidence_due_by, @no_due::timestamptz) < @due_before::timestamptz
ORDER BY created_at DESC, id DESC
LIMIT @max_rows;

-- name: ListDisputesByDue :many
-- The first deadline first. Those without one are not among them.
SELECT * FROM disputes
WHERE tenant = @tenant AND evidence_due_by IS NOT NULL
  AND (evidence_due_by, id) > (@after_due::timestamptz, @after_id::uuid)
  AND evidence_due_by >= @due_from::timestamptz AND evidence_due_by < @due_before::timestamptz
  AND created_at >= @from_created_at::timestamptz AND created_at < @before_created_at::timestamptz
  AND status = COALESCE(NULLIF(@status::text, ''), status)
  AND kind = COALESCE(NULLIF(@kind::text, ''), kind)
ORDER BY evidence_due_by, id
LIMIT @max_rows;

-- name: ListDisputedPayments :many
-- Where the next payments are that were ever disputed, newest first.
SELECT DISTINCT payment_created_at AS created_at, payment_id FROM disputes
WHERE tenant = @tenant
  AND (payment_created_at, payment_id) < (@before_created_at::timestamptz, @before_payment_id::uuid)
  AND payment_created_at >= @from_created_at::timestamptz
ORDER BY payment_created_at DESC, payment_id DESC
LIMIT @max_looked_at;
