-- +goose NO TRANSACTION

-- +goose Up

-- One operation on a dispute at a time. Its subject is the payment. Empty when all is well.
--
-- An interrupted migration may have left an unfinished index, so that is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS operations_on_dispute_one_at_a_time;
CREATE UNIQUE INDEX CONCURRENTLY operations_on_dispute_one_at_a_time ON operations (subject, (options ->> 'dispute_id'))
    WHERE kind IN ('submit_evidence', 'accept_dispute') AND state IN ('pending', 'needs_attention');

COMMENT ON COLUMN operations.kind IS
    'What is done: create, confirm, capture, cancel, update or refund a payment, cancel_refund; submit_evidence, accept_dispute; '
    'create_customer, update_customer, delete_customer, create_setup, detach_method.';

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS operations_on_dispute_one_at_a_time;
COMMENT ON COLUMN operations.kind IS
    'What is done: create, confirm, capture, cancel, update or refund a payment, cancel_refund; create_customer, update_customer, '
    'delete_customer, create_setup, detach_method.';
