-- +goose NO TRANSACTION

-- +goose Up

-- Parked events in the order in which they came: they are gone through in
-- slices, and the oldest tells how long somebody has waited.
--
-- Parked is written as "has a reason", which is the same: with outcome = 'parked'
-- the planner would take this index, empty as it mostly is, for the look-up of an
-- intent's parked events, and go through all of it when it is not empty.
--
-- One that was left half built, by a migration that was interrupted, goes first.
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked_by_time;
CREATE INDEX CONCURRENTLY stripe_events_parked_by_time ON stripe_events (received_at, id) WHERE parked_reason IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS stripe_events_parked_by_time;
