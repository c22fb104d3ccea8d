-- +goose NO TRANSACTION

-- +goose Up

-- Parked events in the order of their arrival: they are read in slices, and the oldest
-- one tells how long an event has waited.
--
-- The predicate is "has a reason", which means the same as outcome = 'parked'. With the
-- latter the planner would use this index, which is mostly empty, also to find the
-- parked events of one intent, and would read all of it when it is not empty.
--
-- An interrupted migration may have left an unfinished index, so that is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked_by_time;
CREATE INDEX CONCURRENTLY stripe_events_parked_by_time ON stripe_events (received_at, id) WHERE parked_reason IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked_by_time;
