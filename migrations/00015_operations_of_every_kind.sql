-- +goose NO TRANSACTION
-- What operations of every kind need of the tables. Each statement may run again. None
-- reads a table while it holds a lock that requests wait for, and no row is rewritten.

-- +goose Up

ALTER TABLE operations VALIDATE CONSTRAINT operations_state_check;
ALTER TABLE operations VALIDATE CONSTRAINT operations_finished_has_response;
ALTER TABLE operations VALIDATE CONSTRAINT operations_subject_check;

-- A key belongs to one operation of its tenant, whatever the kind.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS operations_key ON operations (idempotency_key, tenant);
ALTER TABLE operations DROP CONSTRAINT IF EXISTS payment_requests_idempotency_key_key;

-- One confirm, capture or cancel at a time for a payment.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS operations_one_at_a_time ON operations (subject)
    WHERE kind IN ('confirm', 'capture', 'cancel') AND state IN ('pending', 'needs_attention');
CREATE INDEX CONCURRENTLY IF NOT EXISTS operations_subject ON operations (subject) WHERE subject IS NOT NULL;

-- NULL in a new column of payments: the row is from before it.
ALTER TABLE payments
    ADD COLUMN IF NOT EXISTS tenant            INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS capture_method    VARCHAR(20) NOT NULL DEFAULT 'automatic',
    ADD COLUMN IF NOT EXISTS intent_status     VARCHAR(40),
    ADD COLUMN IF NOT EXISTS amount_capturable DECIMAL(19, 4),
    ADD COLUMN IF NOT EXISTS amount_captured   DECIMAL(19, 4),
    ADD COLUMN IF NOT EXISTS capture_before    TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS declined          BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS version           BIGINT NOT NULL DEFAULT 1;

ALTER INDEX IF EXISTS idx_payments_idempotency_key RENAME TO idx_payments_idempotency;
ALTER INDEX IF EXISTS idx_payments_stripe_payment_intent_id RENAME TO idx_payments_stripe_id;

ALTER TABLE stripe_events
    DROP CONSTRAINT IF EXISTS stripe_events_outcome_check,
    ADD CONSTRAINT stripe_events_outcome_check CHECK (
        outcome IN ('applied', 'stale', 'ignored', 'unhandled', 'hint', 'parked', 'foreign', 'dismissed')) NOT VALID;
ALTER TABLE stripe_events VALIDATE CONSTRAINT stripe_events_outcome_check;

-- Hints whose payment has not been read yet. Empty when all is well.
CREATE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_hints ON stripe_events (received_at, id) WHERE outcome = 'hint';

COMMENT ON TABLE operations IS
    'Each request to do something at Stripe, written before anything is sent. It is kept for ever.';
COMMENT ON COLUMN operations.id IS 'A create''s is also the id of its payment.';
COMMENT ON COLUMN operations.tenant IS 'Who asked for it. 1 is the default tenant.';
COMMENT ON COLUMN operations.kind IS 'What is done: create, capture or cancel.';
COMMENT ON COLUMN operations.subject IS 'The payment on which it is done. NULL: a create.';
COMMENT ON COLUMN operations.fingerprint IS
    'SHA-256 of what was asked for. A repeated key with another fingerprint is answered 422.';
COMMENT ON COLUMN operations.amount IS 'What was asked for, in major units. NULL: no amount was given.';
COMMENT ON COLUMN operations.options IS 'What else was asked for, by the names of the API. NULL: nothing.';
COMMENT ON COLUMN operations.actor IS 'Who asked. Empty: requests are not authenticated.';
COMMENT ON COLUMN operations.reason IS 'Why, in the words of whoever asked.';
COMMENT ON COLUMN operations.stripe_path IS 'The path of the call, which is a POST.';
COMMENT ON COLUMN operations.state IS
    'pending: not finished yet. finished: its answer is kept; completed and refused mean the same in older rows. '
    'rejected: Stripe''s API said no because of the deployment; the same request opens it again. '
    'needs_attention: a person has to decide.';
COMMENT ON TABLE payments IS
    'Payments, each written when its Stripe payment intent is known. Until then there is only its operation.';
COMMENT ON COLUMN payments.id IS 'Also operations.id of the operation that created it.';
COMMENT ON COLUMN payments.intent_status IS 'Stripe''s word, as last seen.';
COMMENT ON COLUMN payments.amount_capturable IS 'What is held and can be captured.';
COMMENT ON COLUMN payments.amount_captured IS 'What was received. NULL: all of amount if succeeded, else nothing.';
COMMENT ON COLUMN payments.capture_before IS 'When the hold lapses. NULL: there is no hold, or Stripe has not said it.';
COMMENT ON COLUMN payments.declined IS
    'An attempt to pay was declined once. From then on events that are not final only cause the intent to be read.';
COMMENT ON COLUMN payments.version IS 'Grows with each change, and with each event that says that there may be one.';
COMMENT ON COLUMN stripe_events.outcome IS
    'applied: it changed a payment. stale: the payment was there already, or further. ignored: it says nothing new about payments. '
    'unhandled: of a type that is not handled yet. hint: its payment is read from Stripe soon. parked: it waits, see parked_reason. '
    'foreign: not ours. dismissed: it was parked, and a person closed it.';

-- +goose Down

-- For development only.
DROP INDEX IF EXISTS stripe_events_hints;
ALTER TABLE stripe_events DROP CONSTRAINT IF EXISTS stripe_events_outcome_check;
UPDATE stripe_events SET outcome = 'ignored' WHERE outcome IN ('unhandled', 'hint');
ALTER TABLE stripe_events
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked', 'foreign', 'dismissed'));

ALTER INDEX idx_payments_idempotency RENAME TO idx_payments_idempotency_key;
ALTER INDEX idx_payments_stripe_id RENAME TO idx_payments_stripe_payment_intent_id;
ALTER TABLE payments
    DROP COLUMN tenant, DROP COLUMN capture_method, DROP COLUMN intent_status, DROP COLUMN amount_capturable,
    DROP COLUMN amount_captured, DROP COLUMN capture_before, DROP COLUMN declined, DROP COLUMN version;

ALTER TABLE operations ADD CONSTRAINT payment_requests_idempotency_key_key UNIQUE (idempotency_key);
DROP INDEX operations_one_at_a_time, operations_subject, operations_key;
