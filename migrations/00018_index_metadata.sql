-- +goose Up

-- The metadata by which payments are found: of each payment the entries whose names the
-- configuration lists. A row is written in the commit of its payment, or later by a job. A
-- row may be left of what a payment no longer has, so whoever reads one compares it with the
-- payment.
--
-- The index has everything that a page needs, in the order of pages. No column of it ever
-- changes, and payments gets no index more.
CREATE TABLE payment_metadata (
    tenant     INTEGER NOT NULL,
    name       VARCHAR(40) COLLATE "C" NOT NULL,
    value      VARCHAR(500) COLLATE "C" NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    payment_id UUID NOT NULL,

    PRIMARY KEY (tenant, name, value, created_at, payment_id)
);

COMMENT ON TABLE payment_metadata IS
    'By what metadata payments are found: the entries under the names of METADATA_INDEX.';
COMMENT ON COLUMN payment_metadata.created_at IS 'The payment''s.';

-- The names, and how far the payments have been looked at that were there before them.
CREATE TABLE metadata_index (
    name               VARCHAR(40) COLLATE "C" PRIMARY KEY,
    added_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    missed_at          TIMESTAMPTZ,
    through_created_at TIMESTAMPTZ NOT NULL DEFAULT '0001-01-01 00:00:00+00',
    through_id         UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    complete           BOOLEAN NOT NULL DEFAULT FALSE
);

COMMENT ON TABLE metadata_index IS 'The names of METADATA_INDEX, and how far older payments have been looked at.';
COMMENT ON COLUMN metadata_index.added_at IS 'Since when it is in the configuration. It begins anew after missed_at.';
COMMENT ON COLUMN metadata_index.missed_at IS
    'When a process was last running without the name, which writes payments without entries under it.';
COMMENT ON COLUMN metadata_index.through_created_at IS
    'Payments up to here, in the order of creation, have been looked at. With through_id.';
COMMENT ON COLUMN metadata_index.complete IS 'Every payment has its entry, unless missed_at is later than added_at.';

-- +goose Down
DROP TABLE metadata_index;
DROP TABLE payment_metadata;
