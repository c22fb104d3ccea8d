-- +goose NO TRANSACTION

-- +goose Up

-- Holds in the order in which they lapse, for the alert that some soon will. Only payments
-- that are captured by hand are ever in it.
--
-- An interrupted migration may have left an unfinished index, so that is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS payments_holds;
CREATE INDEX CONCURRENTLY payments_holds ON payments (capture_before) WHERE capture_before IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS payments_holds;
