-- +goose Up

-- Which process reconciles now. It is a lease, by the database's clock, so that a
-- process that dies does not block the others for longer.
CREATE TABLE reconciliation_lease (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    token     UUID NOT NULL,
    until     TIMESTAMPTZ NOT NULL
);

-- Where the search for open payments goes on, for each band of their age. No row: it
-- begins with the newest.
CREATE TABLE reconciliation_sweeps (
    band       SMALLINT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    payment_id UUID NOT NULL
);

-- +goose Down
DROP TABLE reconciliation_sweeps;
DROP TABLE reconciliation_lease;
