-- +goose NO TRANSACTION
-- Customers, and operations on them. Each statement may run again. None reads a table while
-- it holds a lock that requests wait for, and no row is rewritten.

-- +goose Up

CREATE TABLE IF NOT EXISTS customers (
    id                 UUID PRIMARY KEY,
    tenant             INTEGER NOT NULL,
    stripe_customer_id VARCHAR(255) COLLATE "C" NOT NULL,
    reference          VARCHAR(255) COLLATE "C",
    email              TEXT COLLATE "C",
    name               TEXT,
    metadata           JSONB,
    deleted_at         TIMESTAMPTZ,
    version            BIGINT NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL,
    updated_at         TIMESTAMPTZ NOT NULL,

    CONSTRAINT customers_deleted_are_empty CHECK (
        deleted_at IS NULL OR COALESCE(reference, email, name, metadata::text) IS NULL)
);

CREATE UNIQUE INDEX IF NOT EXISTS customers_stripe_id ON customers (stripe_customer_id);
CREATE UNIQUE INDEX IF NOT EXISTS customers_reference ON customers (reference, tenant) WHERE reference IS NOT NULL;
-- The lists, newest first.
CREATE INDEX IF NOT EXISTS customers_created ON customers (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS customers_email ON customers (email, created_at, id) WHERE email IS NOT NULL;

-- What makes something has no subject yet.
ALTER TABLE operations
    DROP CONSTRAINT IF EXISTS operations_subject_check,
    ADD CONSTRAINT operations_subject_check
        CHECK ((kind IN ('create', 'create_customer')) = (subject IS NULL)) NOT VALID;
ALTER TABLE operations VALIDATE CONSTRAINT operations_subject_check;

-- One change of a customer at a time.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS operations_on_customer_one_at_a_time ON operations (subject)
    WHERE kind IN ('update_customer', 'delete_customer') AND state IN ('pending', 'needs_attention');

-- The references that unfinished operations want. Empty when all is well.
CREATE INDEX CONCURRENTLY IF NOT EXISTS operations_references ON operations ((options ->> 'reference'))
    WHERE kind IN ('create_customer', 'update_customer') AND state IN ('pending', 'needs_attention');

-- The payment methods that were detached.
CREATE INDEX CONCURRENTLY IF NOT EXISTS operations_detached ON operations (stripe_path) WHERE kind = 'detach_method';

ALTER TABLE payments ADD COLUMN IF NOT EXISTS customer_id UUID;
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_customer ON payments (customer_id, created_at, id)
    WHERE customer_id IS NOT NULL;

COMMENT ON TABLE customers IS
    'Customers, each written when its Stripe customer is known. Until then there is only its operation.';
COMMENT ON COLUMN customers.id IS 'Also operations.id of the operation that created it.';
COMMENT ON COLUMN customers.reference IS 'The client''s own id.';
COMMENT ON COLUMN customers.deleted_at IS
    'When it was deleted. The row stays without personal data, so that its payments go on pointing to it.';
COMMENT ON COLUMN customers.version IS 'Grows with each change.';
COMMENT ON COLUMN operations.kind IS
    'What is done: create, confirm, capture, cancel or update a payment; create_customer, update_customer, delete_customer, create_setup, '
    'detach_method.';
COMMENT ON COLUMN operations.subject IS 'The payment or customer on which it is done. NULL: it makes one.';
COMMENT ON COLUMN operations.stripe_path IS 'The path of the call, which is a POST unless another method stands before it.';
COMMENT ON COLUMN payments.customer_id IS 'Our customer. NULL: none.';

-- +goose Down

-- For development only. What the older release does not know is lost.
DROP INDEX IF EXISTS payments_customer;
ALTER TABLE payments DROP COLUMN IF EXISTS customer_id;
DROP INDEX IF EXISTS operations_detached;
DROP INDEX IF EXISTS operations_references;
DROP INDEX IF EXISTS operations_on_customer_one_at_a_time;
DELETE FROM operations
WHERE kind IN ('create_customer', 'update_customer', 'delete_customer', 'create_setup', 'detach_method');
ALTER TABLE operations
    DROP CONSTRAINT IF EXISTS operations_subject_check,
    ADD CONSTRAINT operations_subject_check CHECK ((kind = 'create') = (subject IS NULL));
DROP TABLE IF EXISTS customers;
COMMENT ON COLUMN operations.kind IS 'What is done: create, confirm, capture, cancel or update.';
COMMENT ON COLUMN operations.subject IS 'The payment on which it is done. NULL: a create.';
COMMENT ON COLUMN operations.stripe_path IS 'The path of the call, which is a POST.';
