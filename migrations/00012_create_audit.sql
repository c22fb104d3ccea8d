-- +goose NO TRANSACTION
-- Each statement may run again. None reads a table while it holds a lock that requests
-- wait for.

-- +goose Up

-- What people decided, who did it and why, written in the commit of the change.
CREATE TABLE IF NOT EXISTS audit (
    id           UUID PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    actor        VARCHAR(255) NOT NULL CHECK (actor <> ''),
    on_behalf_of VARCHAR(255),
    action       VARCHAR(64) NOT NULL,
    object_type  VARCHAR(64) NOT NULL,
    object_id    VARCHAR(255) COLLATE "C" NOT NULL,
    reason       TEXT NOT NULL CHECK (reason <> ''),
    before       JSONB,
    after        JSONB,
    request_id   VARCHAR(128) COLLATE "C"
);

CREATE INDEX IF NOT EXISTS audit_object ON audit (object_id, at);

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % is refused', TG_OP;
END
$$;
-- +goose StatementEnd

CREATE OR REPLACE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- A person may dismiss a parked event. The audit keeps why it was parked.
ALTER TABLE stripe_events
    DROP CONSTRAINT IF EXISTS stripe_events_outcome_check,
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked', 'foreign', 'dismissed')) NOT VALID;

ALTER TABLE stripe_events VALIDATE CONSTRAINT stripe_events_outcome_check;

-- For lists that people read: the newest events, and all events of one intent.
CREATE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_received ON stripe_events (received_at);
CREATE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_object ON stripe_events (object_id);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_object;
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_received;

ALTER TABLE stripe_events DROP CONSTRAINT IF EXISTS stripe_events_outcome_check;

-- The nearest of the old outcomes: stored, and never processed again.
UPDATE stripe_events SET outcome = 'ignored' WHERE outcome = 'dismissed';

ALTER TABLE stripe_events
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked', 'foreign')) NOT VALID;

ALTER TABLE stripe_events VALIDATE CONSTRAINT stripe_events_outcome_check;

DROP TABLE IF EXISTS audit;
DROP FUNCTION IF EXISTS audit_is_append_only();
