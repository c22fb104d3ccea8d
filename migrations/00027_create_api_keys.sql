-- +goose Up

-- API keys. Of a key's secret there is only the SHA-256: it has 256 bits of chance.
CREATE TABLE api_keys (
    id           UUID PRIMARY KEY,
    tenant       INTEGER NOT NULL,
    name         VARCHAR(100) NOT NULL,
    prefix       VARCHAR(16) COLLATE "C" NOT NULL,
    mode         VARCHAR(4) NOT NULL CHECK (mode IN ('live', 'test')),
    scopes       TEXT[] NOT NULL CHECK (cardinality(scopes) > 0),
    sha256       BYTEA NOT NULL CHECK (octet_length(sha256) = 32),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    expires_at   TIMESTAMPTZ,
    lifetime     BIGINT CHECK (lifetime > 0),
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_created ON api_keys (created_at, id);

COMMENT ON TABLE api_keys IS 'API keys, without their secrets. Rows stay when a key is revoked.';
COMMENT ON COLUMN api_keys.name IS 'What the key is for, in a person''s words.';
COMMENT ON COLUMN api_keys.prefix IS 'The visible beginning of the key, such as mf_test_abcd1234.';
COMMENT ON COLUMN api_keys.mode IS 'As Stripe''s keys: a key of the other mode does not work.';
COMMENT ON COLUMN api_keys.sha256 IS 'SHA-256 of the whole key.';
COMMENT ON COLUMN api_keys.expires_at IS 'NULL: never. It becomes sooner when the key is rolled.';
COMMENT ON COLUMN api_keys.lifetime IS 'For how long it was made, in seconds; so is the key that follows. NULL: for ever.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Written at most once a minute. NULL: never used.';

-- Every process keeps all usable keys in memory and asks each second whether this version is
-- still the same. It is drawn, not counted: a restored database never has one that a process
-- has seen with other keys.
CREATE TABLE api_keys_version (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version   UUID NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO api_keys_version DEFAULT VALUES;

COMMENT ON TABLE api_keys_version IS 'Changes with every change of api_keys, but not with last_used_at.';

-- A trigger, so that no writer can forget it, not even a person with psql.
-- +goose StatementBegin
CREATE FUNCTION api_keys_have_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_keys_version SET version = gen_random_uuid();
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER api_keys_changed
    AFTER INSERT OR DELETE OR TRUNCATE
       OR UPDATE OF id, tenant, name, prefix, mode, scopes, sha256, created_at, expires_at, lifetime, revoked_at ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION api_keys_have_changed();

-- +goose Down
DROP TABLE api_keys;
DROP TABLE api_keys_version;
DROP FUNCTION api_keys_have_changed();
