-- +goose Up

-- This database's own name, made once: caches are bound to it, so that what was
-- cached for another database is never believed for this one.
CREATE TABLE installation (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    singleton  BOOLEAN NOT NULL DEFAULT TRUE UNIQUE CHECK (singleton),
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

INSERT INTO installation DEFAULT VALUES;

-- +goose Down
DROP TABLE installation;
