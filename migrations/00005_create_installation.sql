-- +goose Up

-- One row: this database's id, made once.
CREATE TABLE installation (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    singleton  BOOLEAN NOT NULL DEFAULT TRUE UNIQUE CHECK (singleton),
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

INSERT INTO installation DEFAULT VALUES;

-- +goose Down
DROP TABLE installation;
