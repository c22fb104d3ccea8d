-- One table of operations for every kind. payment_requests is renamed, so that the
-- statements of an older release fail: they would not know the new kinds. Therefore this
-- release is not rolled out beside the older one; docs/operations.md says how.
--
-- No row is rewritten or read. A constant default is not written into the existing rows:
-- all of them are creates of the one tenant.

-- +goose Up

ALTER TABLE payment_requests RENAME TO operations;
ALTER TABLE operations RENAME COLUMN payment_id TO id;
ALTER TABLE operations RENAME CONSTRAINT payment_requests_pkey TO operations_pkey;
ALTER INDEX payment_requests_unfinished RENAME TO operations_pending;
ALTER INDEX payment_requests_needs_attention RENAME TO operations_needs_attention;

ALTER TABLE operations
    ADD COLUMN tenant      INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN kind        VARCHAR(20) NOT NULL DEFAULT 'create',
    ADD COLUMN subject     UUID,
    ADD COLUMN options     JSONB,
    ADD COLUMN actor       VARCHAR(255) NOT NULL DEFAULT '',
    ADD COLUMN reason      TEXT,
    ADD COLUMN stripe_path TEXT COLLATE "C" NOT NULL DEFAULT '/v1/payment_intents',
    ALTER COLUMN amount DROP NOT NULL,
    ALTER COLUMN currency DROP NOT NULL,
    DROP CONSTRAINT payment_requests_state_check,
    DROP CONSTRAINT payment_requests_finished_has_response,
    ADD CONSTRAINT operations_state_check CHECK (
        state IN ('pending', 'finished', 'rejected', 'needs_attention', 'completed', 'refused')) NOT VALID,
    ADD CONSTRAINT operations_finished_has_response CHECK (
        (state IN ('finished', 'completed', 'refused')) = (response_status IS NOT NULL AND response_body IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT operations_subject_check CHECK ((kind = 'create') = (subject IS NULL)) NOT VALID;

ALTER TABLE operations ALTER COLUMN kind DROP DEFAULT, ALTER COLUMN stripe_path DROP DEFAULT;

-- +goose Down

-- For development only. What the older release does not know is lost.
DELETE FROM operations WHERE kind <> 'create';
ALTER TABLE operations DROP CONSTRAINT operations_state_check, DROP CONSTRAINT operations_finished_has_response;
UPDATE operations SET state = CASE WHEN EXISTS (SELECT FROM payments p WHERE p.id = operations.id) THEN 'completed' ELSE 'refused' END
WHERE state = 'finished';
ALTER TABLE operations
    DROP CONSTRAINT operations_subject_check,
    DROP COLUMN tenant, DROP COLUMN kind, DROP COLUMN subject, DROP COLUMN options, DROP COLUMN actor, DROP COLUMN reason,
    DROP COLUMN stripe_path,
    ALTER COLUMN amount SET NOT NULL,
    ALTER COLUMN currency SET NOT NULL,
    ADD CONSTRAINT payment_requests_state_check
        CHECK (state IN ('pending', 'completed', 'refused', 'rejected', 'needs_attention')),
    ADD CONSTRAINT payment_requests_finished_has_response
        CHECK ((state IN ('completed', 'refused')) = (response_status IS NOT NULL AND response_body IS NOT NULL));
ALTER INDEX operations_needs_attention RENAME TO payment_requests_needs_attention;
ALTER INDEX operations_pending RENAME TO payment_requests_unfinished;
ALTER TABLE operations RENAME CONSTRAINT operations_pkey TO payment_requests_pkey;
ALTER TABLE operations RENAME COLUMN id TO payment_id;
ALTER TABLE operations RENAME TO payment_requests;
