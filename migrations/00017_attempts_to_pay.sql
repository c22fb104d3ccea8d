-- +goose NO TRANSACTION
-- What is kept of a payment's attempts, and what a client may change of it. Each statement
-- may run again, and no row is rewritten.

-- +goose Up

-- NULL in a new column: nothing is known, or the row is from before it.
ALTER TABLE payments
    ADD COLUMN IF NOT EXISTS description    VARCHAR(1000),
    ADD COLUMN IF NOT EXISTS payment_method JSONB,
    ADD COLUMN IF NOT EXISTS decline        JSONB;

-- One update of a payment at a time, so that both sides get the changes in one order.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS operations_one_update ON operations (subject)
    WHERE kind = 'update' AND state IN ('pending', 'needs_attention');

COMMENT ON COLUMN payments.description IS 'What the client says that it is for.';
COMMENT ON COLUMN payments.payment_method IS
    'How the last attempt to pay was made, if Stripe has said it: type, and of a card brand, last4, exp_month and exp_year.';
COMMENT ON COLUMN payments.decline IS
    'Why the last attempt to pay was declined: code, decline_code and message. It counts while status is failed or cancelled.';
COMMENT ON COLUMN operations.kind IS 'What is done: create, confirm, capture, cancel or update.';
COMMENT ON COLUMN operations.options IS
    'What else was asked for, by the names of the API. NULL: nothing. intent_status and latest_charge of a confirm are '
    'not asked for: they say how the intent stood before it.';

-- +goose Down

DROP INDEX CONCURRENTLY IF EXISTS operations_one_update;
ALTER TABLE payments
    DROP COLUMN IF EXISTS description,
    DROP COLUMN IF EXISTS payment_method,
    DROP COLUMN IF EXISTS decline;
COMMENT ON COLUMN operations.kind IS 'What is done: create, capture or cancel.';
COMMENT ON COLUMN operations.options IS 'What else was asked for, by the names of the API. NULL: nothing.';
