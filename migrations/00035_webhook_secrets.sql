-- +goose Up

-- The secrets with which Stripe signs its events, sealed with SECRETS_KEY. They may stand in the
-- environment instead.
CREATE TABLE webhook_secrets (
    id           UUID PRIMARY KEY,
    hint         VARCHAR(4) NOT NULL,
    sealed       BYTEA NOT NULL CHECK (octet_length(sealed) BETWEEN 36 AND 1024),
    created_by   VARCHAR(255) NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    expires_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ
);

COMMENT ON TABLE webhook_secrets IS 'Signing secrets of Stripe''s webhooks, sealed. Rows go when a secret is removed; the audit stays.';
COMMENT ON COLUMN webhook_secrets.hint IS 'The last characters of the secret.';
COMMENT ON COLUMN webhook_secrets.sealed IS
    'A version, the id of the key of SECRETS_KEY, a nonce and the secret under AES-256-GCM, bound to this table and id.';
COMMENT ON COLUMN webhook_secrets.created_by IS 'Who added it.';
COMMENT ON COLUMN webhook_secrets.expires_at IS 'NULL: it works until it is removed.';
COMMENT ON COLUMN webhook_secrets.last_used_at IS 'Written at most once a minute. NULL: never used.';

-- Processes learn of a change as they do of API keys.
CREATE TRIGGER webhook_secrets_changed
    AFTER INSERT OR DELETE OR TRUNCATE
       OR UPDATE OF id, hint, sealed, created_by, created_at, expires_at ON webhook_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION api_keys_have_changed();

COMMENT ON TABLE api_keys_version IS
    'Changes with every change of api_keys, tenants and webhook_secrets, but not with last_used_at.';

-- +goose Down
DROP TABLE webhook_secrets;

COMMENT ON TABLE api_keys_version IS 'Changes with every change of api_keys, but not with last_used_at.';
