-- +goose NO TRANSACTION

-- +goose Up

-- Payments of which more was taken than was captured, for the alert. Empty when all is well.
-- What it looks at changes only with that, so that it costs no other update of a payment.
--
-- An interrupted migration may have left an unfinished index, so that is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS payments_overdrawn;
CREATE INDEX CONCURRENTLY payments_overdrawn ON payments (id) WHERE overdrawn > 0;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS payments_overdrawn;
