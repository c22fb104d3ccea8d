-- +goose Up

-- What this database belongs to, recorded at first start. NULL: not known yet. Only
-- `account adopt` overwrites a known value.
ALTER TABLE installation
    ADD COLUMN stripe_host       TEXT COLLATE "C",
    ADD COLUMN stripe_mode       TEXT COLLATE "C" CHECK (stripe_mode IN ('live', 'test')),
    ADD COLUMN stripe_account    TEXT COLLATE "C",
    -- Of the PostgreSQL server: a dump that is restored elsewhere has another.
    ADD COLUMN system_identifier TEXT COLLATE "C",
    ADD COLUMN database_name     TEXT COLLATE "C",
    ADD COLUMN bound_at          TIMESTAMPTZ,
    ADD COLUMN adopted_at        TIMESTAMPTZ,
    ADD COLUMN made_by_dev       BOOLEAN NOT NULL DEFAULT FALSE;

-- Each `account adopt`: who, why, and what was recorded before.
CREATE TABLE installation_adoptions (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor             TEXT NOT NULL,
    reason            TEXT NOT NULL,
    stripe_host       TEXT COLLATE "C",
    stripe_mode       TEXT COLLATE "C",
    stripe_account    TEXT COLLATE "C",
    system_identifier TEXT COLLATE "C",
    database_name     TEXT COLLATE "C"
);

-- Foreign events are of the other mode or of a connected account. Only their id, type
-- and time are stored. The next migration checks the existing rows, because the table
-- is locked in this one.
ALTER TABLE stripe_events
    DROP CONSTRAINT stripe_events_outcome_check,
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked', 'foreign')) NOT VALID;

-- +goose Down
UPDATE stripe_events SET outcome = 'ignored' WHERE outcome = 'foreign';
ALTER TABLE stripe_events
    DROP CONSTRAINT stripe_events_outcome_check,
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked'));

DROP TABLE installation_adoptions;

ALTER TABLE installation
    DROP COLUMN stripe_host,
    DROP COLUMN stripe_mode,
    DROP COLUMN stripe_account,
    DROP COLUMN system_identifier,
    DROP COLUMN database_name,
    DROP COLUMN bound_at,
    DROP COLUMN adopted_at,
    DROP COLUMN made_by_dev;
