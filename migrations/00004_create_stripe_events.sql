-- +goose Up

-- The inbox: every Stripe event that was answered 200, and what it did.
CREATE TABLE stripe_events (
    id            VARCHAR(255) PRIMARY KEY,
    type          VARCHAR(255) NOT NULL,
    object_id     VARCHAR(255) NOT NULL,
    -- The body as Stripe signed it.
    payload       BYTEA NOT NULL,
    outcome       VARCHAR(20) NOT NULL CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked')),
    parked_reason VARCHAR(20)
        CHECK (parked_reason IN ('unknown_payment', 'contradiction')),
    created_at    TIMESTAMPTZ,
    received_at   TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    processed_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CHECK ((outcome = 'parked') = (parked_reason IS NOT NULL))
);

-- Empty when all is well.
CREATE INDEX stripe_events_parked ON stripe_events (object_id) WHERE outcome = 'parked';

-- +goose Down
DROP TABLE stripe_events;
