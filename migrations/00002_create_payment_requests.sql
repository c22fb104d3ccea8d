-- +goose Up

-- The operation: what was asked for, written before anything is sent to Stripe.
CREATE TABLE payment_requests (
    payment_id        UUID PRIMARY KEY,
    idempotency_key   VARCHAR(255),
    fingerprint       BYTEA NOT NULL CHECK (octet_length(fingerprint) = 32),
    amount            DECIMAL(19, 4) NOT NULL CHECK (amount > 0),
    currency          VARCHAR(3) NOT NULL,
    metadata          JSONB,

    -- Sent unchanged in every attempt: Stripe rejects a repeated key with other
    -- parameters.
    stripe_key        VARCHAR(255) NOT NULL,
    stripe_params     TEXT NOT NULL,

    state             VARCHAR(20) NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'completed', 'refused', 'needs_attention')),
    lease_token       UUID,
    leased_until      TIMESTAMPTZ NOT NULL,
    -- When recovery may try again; only read while pending.
    retry_at          TIMESTAMPTZ NOT NULL,
    attempts          INTEGER NOT NULL DEFAULT 1 CHECK (attempts >= 0),
    last_error        TEXT,

    -- The frozen answer: every repeated request gets the same bytes.
    response_status   SMALLINT,
    response_body     BYTEA,

    -- The HTTP request that asked for the payment, for the logs and traces of
    -- whatever finishes it.
    origin_request_id VARCHAR(128) NOT NULL DEFAULT '',
    origin_trace      VARCHAR(64) NOT NULL DEFAULT '',

    created_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CONSTRAINT payment_requests_idempotency_key_key UNIQUE (idempotency_key),
    CONSTRAINT payment_requests_finished_has_response
        CHECK ((state IN ('completed', 'refused')) = (response_status IS NOT NULL AND response_body IS NOT NULL))
);

-- What recovery looks for. Empty when all is well.
CREATE INDEX payment_requests_unfinished ON payment_requests (retry_at) WHERE state = 'pending';
CREATE INDEX payment_requests_needs_attention ON payment_requests (created_at) WHERE state = 'needs_attention';

-- +goose Down
DROP TABLE payment_requests;
