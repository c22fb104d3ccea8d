-- +goose NO TRANSACTION
-- Every column in which a key or an id is looked up compares by bytes. A linguistic
-- collation sorts as the C library does. After an upgrade of that library an index may
-- not find what it holds, and a repeated key seems to be new.
--
-- No table is rewritten. ALTER COLUMN … TYPE keeps an index that already has the new
-- type's collation. So such indexes are built first, CONCURRENTLY, and then each table
-- is altered in a moment. An index with a predicate is never kept: it would be rebuilt
-- while the table is locked. So it is dropped before and built after.
--
-- The migration may run again after it failed half-way: a finished index is used, and
-- the migrator drops an unfinished one. If a build fails with "could not create unique
-- index", the collation has changed before and some keys exist twice already:
-- docs/operations.md, "Whose database".

-- +goose Up

ALTER TABLE stripe_events VALIDATE CONSTRAINT stripe_events_outcome_check;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_intent_by_bytes
    ON payments (stripe_payment_intent_id COLLATE "C");
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payments_key_by_bytes
    ON payments (idempotency_key COLLATE "C");
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS payment_requests_key_by_bytes
    ON payment_requests (idempotency_key COLLATE "C");
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_id_by_bytes
    ON stripe_events (id COLLATE "C");
-- Used for parked events while stripe_events_parked does not exist.
CREATE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_parked_meanwhile
    ON stripe_events (received_at) WHERE outcome = 'parked';

DROP INDEX CONCURRENTLY IF EXISTS idx_payments_idempotency_key;
DROP INDEX CONCURRENTLY IF EXISTS idx_payments_stripe_payment_intent_id;
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked;

-- Now the tables are locked, each for a moment. Requests wait meanwhile, so the wait
-- for a lock is short, and the migrator tries again later.
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL lock_timeout = '250ms';
    ALTER TABLE payments
        DROP CONSTRAINT payments_stripe_payment_intent_id_key,
        DROP CONSTRAINT payments_idempotency_key_key,
        ALTER COLUMN stripe_payment_intent_id TYPE VARCHAR(255) COLLATE "C",
        ALTER COLUMN idempotency_key TYPE VARCHAR(255) COLLATE "C";
    ALTER TABLE payments
        ADD CONSTRAINT payments_stripe_payment_intent_id_key UNIQUE USING INDEX payments_intent_by_bytes,
        ADD CONSTRAINT payments_idempotency_key_key UNIQUE USING INDEX payments_key_by_bytes;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL lock_timeout = '250ms';
    ALTER TABLE payment_requests
        DROP CONSTRAINT payment_requests_idempotency_key_key,
        ALTER COLUMN idempotency_key TYPE VARCHAR(255) COLLATE "C",
        ALTER COLUMN stripe_key TYPE VARCHAR(255) COLLATE "C";
    ALTER TABLE payment_requests
        ADD CONSTRAINT payment_requests_idempotency_key_key UNIQUE USING INDEX payment_requests_key_by_bytes;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL lock_timeout = '250ms';
    ALTER TABLE stripe_events
        DROP CONSTRAINT stripe_events_pkey,
        ALTER COLUMN id TYPE VARCHAR(255) COLLATE "C",
        ALTER COLUMN object_id TYPE VARCHAR(255) COLLATE "C";
    ALTER TABLE stripe_events
        ADD CONSTRAINT stripe_events_pkey PRIMARY KEY USING INDEX stripe_events_id_by_bytes;
END
$$;
-- +goose StatementEnd

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_payments_idempotency_key
    ON payments (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_payments_stripe_payment_intent_id
    ON payments (stripe_payment_intent_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS stripe_events_parked
    ON stripe_events (object_id) WHERE outcome = 'parked';
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked_meanwhile;

-- +goose Down
ALTER TABLE stripe_events
    DROP CONSTRAINT stripe_events_outcome_check,
    ADD CONSTRAINT stripe_events_outcome_check
        CHECK (outcome IN ('applied', 'stale', 'ignored', 'parked', 'foreign')) NOT VALID;

-- For development only: the indexes are rebuilt while the tables are locked.
ALTER TABLE payments
    ALTER COLUMN stripe_payment_intent_id TYPE VARCHAR(255) COLLATE "default",
    ALTER COLUMN idempotency_key TYPE VARCHAR(255) COLLATE "default";
ALTER TABLE payment_requests
    ALTER COLUMN idempotency_key TYPE VARCHAR(255) COLLATE "default",
    ALTER COLUMN stripe_key TYPE VARCHAR(255) COLLATE "default";
ALTER TABLE stripe_events
    ALTER COLUMN id TYPE VARCHAR(255) COLLATE "default",
    ALTER COLUMN object_id TYPE VARCHAR(255) COLLATE "default";
