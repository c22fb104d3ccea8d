-- +goose Up

-- Disputes, each as Stripe said last. A row is written in the commit of its payment's sums, and
-- only under the payment's lock. There are few, so that indexes on what changes cost little.
CREATE TABLE disputes (
    id                  UUID PRIMARY KEY,
    tenant              INTEGER NOT NULL,
    payment_id          UUID NOT NULL,
    payment_created_at  TIMESTAMPTZ NOT NULL,
    stripe_dispute_id   VARCHAR(255) COLLATE "C" NOT NULL,
    amount              DECIMAL(19, 4) NOT NULL CHECK (amount >= 0),
    currency            VARCHAR(3) NOT NULL,
    kind                VARCHAR(10) NOT NULL CHECK (kind IN ('inquiry', 'chargeback')),
    status              VARCHAR(40) COLLATE "C" NOT NULL,
    reason              VARCHAR(40) COLLATE "C" NOT NULL,
    network_reason_code VARCHAR(40) NOT NULL,
    evidence_due_by     TIMESTAMPTZ,
    submissions         INTEGER NOT NULL,
    counted             DECIMAL(19, 4) NOT NULL CHECK (counted >= 0),
    counted_currency    VARCHAR(3) NOT NULL,
    balance             JSONB NOT NULL,
    version             BIGINT NOT NULL,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL
);

CREATE UNIQUE INDEX disputes_stripe_id ON disputes (stripe_dispute_id);
CREATE INDEX disputes_payment ON disputes (payment_id, created_at);
-- The lists of a tenant: newest first, and by deadline.
CREATE INDEX disputes_created ON disputes (tenant, created_at, id);
CREATE INDEX disputes_due ON disputes (tenant, evidence_due_by, id) WHERE evidence_due_by IS NOT NULL;
-- Those that are not decided, for the gauges and for reconciliation.
CREATE INDEX disputes_open ON disputes (id) WHERE status NOT IN ('won', 'lost', 'warning_closed');
-- The payments that are disputed, in the order of their lists.
CREATE INDEX disputes_payments ON disputes (tenant, payment_created_at, payment_id);

-- The same for refunds, and their list.
ALTER TABLE refunds ADD COLUMN payment_created_at TIMESTAMPTZ;
UPDATE refunds r SET payment_created_at = p.created_at FROM payments p WHERE p.id = r.payment_id;
ALTER TABLE refunds ALTER COLUMN payment_created_at SET NOT NULL;
CREATE INDEX refunds_tenant ON refunds (tenant, created_at, id);
CREATE INDEX refunds_payments ON refunds (tenant, payment_created_at, payment_id);

COMMENT ON COLUMN refunds.payment_created_at IS 'The payment''s created_at, which never changes.';
COMMENT ON TABLE disputes IS 'Disputes of payments, as Stripe said last.';
COMMENT ON COLUMN disputes.id IS 'Made of the installation and stripe_dispute_id, so that it is the same after a loss.';
COMMENT ON COLUMN disputes.payment_created_at IS 'The payment''s created_at, which never changes.';
COMMENT ON COLUMN disputes.amount IS 'What is disputed. It may differ from what was paid, also in its currency.';
COMMENT ON COLUMN disputes.kind IS 'inquiry: the bank only asks. chargeback: it takes the money.';
COMMENT ON COLUMN disputes.status IS 'Stripe''s word, also one that this release does not know.';
COMMENT ON COLUMN disputes.submissions IS 'How often evidence was given to the bank.';
COMMENT ON COLUMN disputes.counted IS 'How much of the payment it takes away, in the payment''s currency.';
COMMENT ON COLUMN disputes.balance IS
    'What it has moved on the balance at Stripe: [{amount, fee, currency, at}] in minor units, oldest first.';
COMMENT ON COLUMN disputes.version IS 'Grows with each change.';
COMMENT ON COLUMN disputes.created_at IS 'When it came about at Stripe.';

-- +goose Down
DROP INDEX refunds_tenant, refunds_payments;
ALTER TABLE refunds DROP COLUMN payment_created_at;
DROP TABLE disputes;
