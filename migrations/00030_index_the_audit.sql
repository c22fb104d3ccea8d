-- +goose NO TRANSACTION

-- +goose Up

-- The audit by time, of both tables that it is made of. No column of these indexes ever changes,
-- so that an operation's later updates stay on its page.
--
-- An interrupted migration may have left an unfinished index, so that is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS operations_created;
CREATE INDEX CONCURRENTLY operations_created ON operations (created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS audit_at;
CREATE INDEX CONCURRENTLY audit_at ON audit (at, id);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS audit_at;
DROP INDEX CONCURRENTLY IF EXISTS operations_created;
