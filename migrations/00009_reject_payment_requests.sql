-- +goose NO TRANSACTION

-- +goose Up

-- The new state rejected: Stripe did not accept the request because of how the service
-- is set up there. There is no payment and no frozen answer, and the same request opens
-- the operation again. The previous release answers 409 for such an operation.
--
-- There is no transaction, and each statement may be repeated. The first holds its lock
-- only for a moment, because it checks no rows. The second blocks neither reads nor
-- writes.
ALTER TABLE payment_requests
    DROP CONSTRAINT IF EXISTS payment_requests_state_check,
    ADD CONSTRAINT payment_requests_state_check
        CHECK (state IN ('pending', 'completed', 'refused', 'rejected', 'needs_attention')) NOT VALID;

ALTER TABLE payment_requests VALIDATE CONSTRAINT payment_requests_state_check;

-- +goose Down

-- The previous release would never open a rejected operation again.
UPDATE payment_requests SET state = 'needs_attention' WHERE state = 'rejected';

ALTER TABLE payment_requests
    DROP CONSTRAINT IF EXISTS payment_requests_state_check,
    ADD CONSTRAINT payment_requests_state_check
        CHECK (state IN ('pending', 'completed', 'refused', 'needs_attention')) NOT VALID;

ALTER TABLE payment_requests VALIDATE CONSTRAINT payment_requests_state_check;
