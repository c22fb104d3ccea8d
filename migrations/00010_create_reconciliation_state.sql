-- +goose Up

-- Who reconciles now. It is a lease, by the database's clock: a process that
-- dies holds nobody up for longer than that.
CREATE TABLE reconciliation_lease (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    token     UUID NOT NULL,
    until     TIMESTAMPTZ NOT NULL
);

-- Where the sweep of open payments goes on, for each band of their age. No row:
-- it begins with the newest.
CREATE TABLE reconciliation_sweeps (
    band       SMALLINT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    payment_id UUID NOT NULL
);

-- +goose Down
DROP TABLE reconciliation_sweeps;
DROP TABLE reconciliation_lease;
