-- +goose NO TRANSACTION
-- Who owns what, and that two tenants may use the same idempotency key.
--
-- payments_tenant has no entry of the default tenant: whoever has no other does not pay for it with
-- every event, and idx_payments_created_at finds what is the default one's.

-- +goose Up
CREATE TABLE IF NOT EXISTS tenants (
    id          INTEGER PRIMARY KEY CHECK (id > 0),
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    disabled_at TIMESTAMPTZ
);

COMMENT ON TABLE tenants IS 'Who owns API keys, payments and customers.';
COMMENT ON COLUMN tenants.id IS
    'Made of the name, so that a tenant that the database has lost and somebody makes again gets what is its own.';

-- Whether a key works depends on its tenant too.
CREATE OR REPLACE TRIGGER tenants_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants
    FOR EACH STATEMENT EXECUTE FUNCTION api_keys_have_changed();

INSERT INTO tenants (id, name) VALUES (1, 'default') ON CONFLICT DO NOTHING;

CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_tenant ON payments (tenant, created_at, id) WHERE tenant <> 1;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_key ON payments (idempotency_key, tenant);

-- The table is locked for a moment. Requests wait meanwhile, so the wait for the lock is short,
-- and the migrator tries again later.
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL lock_timeout = '250ms';
    ALTER TABLE payments DROP CONSTRAINT IF EXISTS payments_idempotency_key_key;
    ALTER TABLE payments ADD CONSTRAINT payments_idempotency_key_key UNIQUE USING INDEX payments_key;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- It fails if two tenants have used the same key.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_key ON payments (idempotency_key);
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL lock_timeout = '250ms';
    ALTER TABLE payments DROP CONSTRAINT IF EXISTS payments_idempotency_key_key;
    ALTER TABLE payments ADD CONSTRAINT payments_idempotency_key_key UNIQUE USING INDEX payments_key;
END
$$;
-- +goose StatementEnd
DROP INDEX CONCURRENTLY IF EXISTS payments_tenant;
DROP TABLE IF EXISTS tenants;
