-- +goose Up

-- Each payment's history: every change of its status, and what caused it.
CREATE TABLE payment_transitions (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id  UUID NOT NULL,
    from_status VARCHAR(50),
    to_status   VARCHAR(50) NOT NULL,
    cause       VARCHAR(300) NOT NULL,
    at          TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

CREATE INDEX payment_transitions_payment_id ON payment_transitions (payment_id);

-- +goose Down
DROP TABLE payment_transitions;
