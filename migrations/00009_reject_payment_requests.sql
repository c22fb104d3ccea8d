-- +goose NO TRANSACTION

-- +goose Up

-- A request that Stripe rejects because of how the service is set up there is
-- rejected: it has no payment and no frozen answer, and is opened again by whoever
-- repeats it. The release before finds such a one and answers 409.
--
-- Without a transaction, and each statement may be repeated: the first holds its lock
-- for a moment only, as nothing is checked, and the second stops neither reads nor
-- writes.
ALTER TABLE payment_requests
    DROP CONSTRAINT IF EXISTS payment_requests_state_check,
    ADD CONSTRAINT payment_requests_state_check
        CHECK (state IN ('pending', 'completed', 'refused', 'rejected', 'needs_attention')) NOT VALID;

ALTER TABLE payment_requests VALIDATE CONSTRAINT payment_requests_state_check;

-- +goose Down

-- The release before would never open a rejected request again.
UPDATE payment_requests SET state = 'needs_attention' WHERE state = 'rejected';

ALTER TABLE payment_requests
    DROP CONSTRAINT IF EXISTS payment_requests_state_check,
    ADD CONSTRAINT payment_requests_state_check
        CHECK (state IN ('pending', 'completed', 'refused', 'needs_attention')) NOT VALID;

ALTER TABLE payment_requests VALIDATE CONSTRAINT payment_requests_state_check;
