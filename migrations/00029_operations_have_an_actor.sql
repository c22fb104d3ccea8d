-- +goose Up

-- NULL: the installation's. Which tenant's an older entry is, is not known.
ALTER TABLE audit ADD COLUMN tenant INTEGER;

COMMENT ON COLUMN audit.tenant IS 'Whose it is. NULL: the installation''s.';

-- An operation is its own entry in the audit: who asked for it is written with it, and never
-- changes. The trigger only fires for statements that name these columns, and none does.
ALTER TABLE operations ADD COLUMN on_behalf_of VARCHAR(255);

COMMENT ON COLUMN operations.actor IS 'Who asked for it: an API key. Empty: it is not known, or the service itself.';
COMMENT ON COLUMN operations.on_behalf_of IS 'For whom, as X-Actor said. NULL: nobody was named.';

-- +goose StatementBegin
CREATE FUNCTION operations_keep_their_actor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'who asked for an operation is never changed';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER operations_keep_their_actor BEFORE UPDATE OF actor, on_behalf_of ON operations
    FOR EACH STATEMENT EXECUTE FUNCTION operations_keep_their_actor();

-- +goose Down
DROP TRIGGER operations_keep_their_actor ON operations;
DROP FUNCTION operations_keep_their_actor();
ALTER TABLE operations DROP COLUMN on_behalf_of;
ALTER TABLE audit DROP COLUMN tenant;
COMMENT ON COLUMN operations.actor IS 'Who asked. Empty: requests are not authenticated.';
