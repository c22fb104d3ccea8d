-- +goose Up

-- How the payment stood when an operation was asked for, and when it was done: what the audit
-- shows. A create has neither. They are written with the row's own INSERT and UPDATE, so no row is
-- written twice.
ALTER TABLE operations ADD COLUMN before JSONB, ADD COLUMN after JSONB;

COMMENT ON COLUMN operations.before IS 'The payment as it stood, without what may be a person''s. NULL: it is not known, or there was none.';
COMMENT ON COLUMN operations.after IS 'The payment as the operation has left it, in the same form. NULL: it changed nothing, or it is not known.';

-- An operation is its own entry in the audit. No statement of ours names these columns in an
-- UPDATE, so this never fires for them.
CREATE TRIGGER operations_keep_what_was_asked BEFORE UPDATE OF id, tenant, kind, subject, reason, before, origin_request_id ON operations
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TRIGGER operations_stay BEFORE DELETE OR TRUNCATE ON operations
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- A time before which no transaction that is under way can still write: an entry's time is never
-- before its transaction's begin. The second is for transactions that have just begun and are not
-- shown yet.
-- +goose StatementBegin
CREATE FUNCTION marketflow_audited_until() RETURNS TIMESTAMPTZ LANGUAGE SQL AS $$
    SELECT LEAST(clock_timestamp(), (
        SELECT min(xact_start) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    )) - interval '1 second'
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION marketflow_audited_until();
DROP TRIGGER operations_stay ON operations;
DROP TRIGGER operations_keep_what_was_asked ON operations;
ALTER TABLE operations DROP COLUMN before, DROP COLUMN after;
