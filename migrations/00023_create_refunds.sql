-- +goose NO TRANSACTION
-- Refunds, and what they and disputes take of a payment. Each statement may run again. None
-- reads a table while it holds a lock that requests wait for, and no row is rewritten.

-- +goose Up

CREATE TABLE IF NOT EXISTS refunds (
    id               UUID PRIMARY KEY,
    tenant           INTEGER NOT NULL,
    payment_id       UUID NOT NULL,
    stripe_refund_id VARCHAR(255) COLLATE "C",
    idempotency_key  VARCHAR(255) COLLATE "C",
    amount           DECIMAL(19, 4) NOT NULL CHECK (amount > 0),
    currency         VARCHAR(3) NOT NULL,
    status           VARCHAR(20) NOT NULL
        CHECK (status IN ('pending', 'requires_action', 'succeeded', 'failed', 'cancelled')),
    reason           VARCHAR(40),
    failure_reason   VARCHAR(60),
    origin           VARCHAR(10) NOT NULL CHECK (origin IN ('api', 'console', 'stripe')),
    reference_type   VARCHAR(40),
    reference        VARCHAR(255),
    metadata         JSONB,
    version          BIGINT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,

    CONSTRAINT refunds_only_ours_are_unmade CHECK (stripe_refund_id IS NOT NULL OR origin <> 'stripe' AND status = 'pending')
);

CREATE UNIQUE INDEX IF NOT EXISTS refunds_stripe_id ON refunds (stripe_refund_id) WHERE stripe_refund_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS refunds_payment ON refunds (payment_id, created_at, id);
CREATE INDEX IF NOT EXISTS refunds_created ON refunds (created_at, id);
-- Those whose money is still on its way, for the gauge of the oldest.
CREATE INDEX IF NOT EXISTS refunds_under_way ON refunds (created_at) WHERE status IN ('pending', 'requires_action');

ALTER TABLE payments
    ADD COLUMN IF NOT EXISTS amount_refund_pending DECIMAL(19, 4) NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS amount_refunded       DECIMAL(19, 4) NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS amount_disputed       DECIMAL(19, 4) NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS overdrawn             DECIMAL(19, 4) NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS dispute_status        VARCHAR(40),
    ADD COLUMN IF NOT EXISTS blocking_dispute      UUID;

-- The backstop: payment.Reserve decides. A payment from before amount_captured was kept has
-- no cap here until it is read again.
ALTER TABLE payments
    DROP CONSTRAINT IF EXISTS payments_refund_cap,
    ADD CONSTRAINT payments_refund_cap CHECK (
        amount_refund_pending >= 0 AND amount_refunded >= 0 AND amount_disputed >= 0 AND overdrawn >= 0
        AND amount_refund_pending + amount_refunded + amount_disputed <= amount_captured + overdrawn) NOT VALID;
ALTER TABLE payments VALIDATE CONSTRAINT payments_refund_cap;

COMMENT ON TABLE refunds IS
    'Refunds that Stripe has, and those that it was or will be asked for. A row and its payment''s sums change in one commit.';
COMMENT ON COLUMN refunds.id IS
    'Also operations.id of the operation that asked for it. Of one from elsewhere it is made of the installation and Stripe''s id.';
COMMENT ON COLUMN refunds.stripe_refund_id IS 'NULL: it is not known yet whether Stripe has made it.';
COMMENT ON COLUMN refunds.status IS
    'Ours for Stripe''s words. pending and requires_action reserve the amount; failed and cancelled give it back.';
COMMENT ON COLUMN refunds.origin IS 'api or console: asked for here. stripe: made in the Dashboard or by another program.';
COMMENT ON COLUMN refunds.reference IS 'The number by which the customer''s bank finds it.';
COMMENT ON COLUMN refunds.version IS 'Grows with each change.';
COMMENT ON COLUMN payments.amount_refund_pending IS 'The sum of its refunds that are pending or wait for the customer.';
COMMENT ON COLUMN payments.amount_refunded IS 'The sum of its refunds that have succeeded.';
COMMENT ON COLUMN payments.amount_disputed IS 'What its disputes count, in its own currency.';
COMMENT ON COLUMN payments.overdrawn IS
    'By how much refunds and disputes exceed what was captured. Only what was read from Stripe sets it.';
COMMENT ON COLUMN payments.dispute_status IS 'Stripe''s word for its dispute that counts most. NULL: it was never disputed.';
COMMENT ON COLUMN payments.blocking_dispute IS 'The dispute because of which nothing can be refunded now. NULL: none.';
COMMENT ON COLUMN operations.kind IS
    'What is done: create, confirm, capture, cancel, update or refund a payment, cancel_refund; create_customer, update_customer, '
    'delete_customer, create_setup, detach_method.';
COMMENT ON COLUMN operations.subject IS
    'The payment or customer on which it is done; of a refund its payment. NULL: it makes one.';

-- +goose Down

-- For development only. What the older release does not know is lost.
DELETE FROM operations WHERE kind IN ('refund', 'cancel_refund');
ALTER TABLE payments
    DROP CONSTRAINT IF EXISTS payments_refund_cap,
    DROP COLUMN IF EXISTS amount_refund_pending,
    DROP COLUMN IF EXISTS amount_refunded,
    DROP COLUMN IF EXISTS amount_disputed,
    DROP COLUMN IF EXISTS overdrawn,
    DROP COLUMN IF EXISTS dispute_status,
    DROP COLUMN IF EXISTS blocking_dispute;
DROP TABLE IF EXISTS refunds;
COMMENT ON COLUMN operations.kind IS
    'What is done: create, confirm, capture, cancel or update a payment; create_customer, update_customer, delete_customer, create_setup, '
    'detach_method.';
COMMENT ON COLUMN operations.subject IS 'The payment or customer on which it is done. NULL: it makes one.';
