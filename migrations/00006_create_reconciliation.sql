-- +goose Up

-- How far reconciliation with Stripe has come.
CREATE TABLE reconciliation (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    through   TIMESTAMPTZ NOT NULL
);

-- +goose Down
DROP TABLE reconciliation;
