-- name: GetBinding :one
-- What this database belongs to, as recorded; empty where that is not known.
SELECT COALESCE(stripe_host, '')::text       AS stripe_host,
       COALESCE(stripe_mode, '')::text       AS stripe_mode,
       COALESCE(stripe_account, '')::text    AS stripe_account,
       COALESCE(system_identifier, '')::text AS system_identifier,
       COALESCE(database_name, '')::text     AS database_name
FROM installation
WHERE singleton;

-- name: Bind :execrows
-- Records what is not recorded yet. No row: a recorded value differs.
UPDATE installation
SET stripe_host       = COALESCE(stripe_host, NULLIF(@stripe_host::text, '')),
    stripe_mode       = COALESCE(stripe_mode, NULLIF(@stripe_mode::text, '')),
    stripe_account    = COALESCE(stripe_account, NULLIF(@stripe_account::text, '')),
    system_identifier = COALESCE(system_identifier, NULLIF(@system_identifier::text, '')),
    database_name     = COALESCE(database_name, NULLIF(@database_name::text, '')),
    bound_at          = COALESCE(bound_at, now())
WHERE singleton
  AND COALESCE(stripe_host = NULLIF(@stripe_host, ''), TRUE)
  AND COALESCE(stripe_mode = NULLIF(@stripe_mode, ''), TRUE)
  AND COALESCE(stripe_account = NULLIF(@stripe_account, ''), TRUE)
  AND COALESCE(system_identifier = NULLIF(@system_identifier, ''), TRUE)
  AND COALESCE(database_name = NULLIF(@database_name, ''), TRUE);

-- name: InsertAdoption :exec
-- Who adopts the database and why, with the binding until now.
INSERT INTO installation_adoptions (
    actor, reason, stripe_host, stripe_mode, stripe_account, system_identifier, database_name
)
SELECT @actor, @reason, stripe_host, stripe_mode, stripe_account, system_identifier, database_name
FROM installation
WHERE singleton;

-- name: ListAdoptions :many
SELECT at, actor, reason,
       COALESCE(stripe_host, '')::text       AS stripe_host,
       COALESCE(stripe_mode, '')::text       AS stripe_mode,
       COALESCE(stripe_account, '')::text    AS stripe_account,
       COALESCE(system_identifier, '')::text AS system_identifier,
       COALESCE(database_name, '')::text     AS database_name
FROM installation_adoptions
ORDER BY id;

-- name: Rebind :exec
UPDATE installation
SET stripe_host       = NULLIF(@stripe_host::text, ''),
    stripe_mode       = NULLIF(@stripe_mode::text, ''),
    stripe_account    = NULLIF(@stripe_account::text, ''),
    system_identifier = NULLIF(@system_identifier::text, ''),
    database_name     = NULLIF(@database_name::text, ''),
    bound_at          = now(),
    adopted_at        = now(),
    made_by_dev       = FALSE
WHERE singleton;

-- name: GiveUpOperations :execrows
-- Operations that were meant for another account need a person.
UPDATE operations
SET state       = 'needs_attention',
    lease_token = NULL,
    last_error  = @last_error::text,
    updated_at  = now()
WHERE state = 'pending';

-- name: ListNewestIntents :many
-- The newest payments since the last adoption.
SELECT p.stripe_payment_intent_id
FROM payments p
WHERE p.created_at > (SELECT COALESCE(i.adopted_at, '-infinity') FROM installation i WHERE i.singleton)
ORDER BY p.created_at DESC
LIMIT @max_rows;

-- name: MarkMadeByDev :exec
UPDATE installation SET made_by_dev = TRUE, stripe_host = NULLIF(@stripe_host::text, '') WHERE singleton;

-- name: GetMadeByDev :one
SELECT made_by_dev, (bound_at IS NOT NULL)::boolean AS bound FROM installation WHERE singleton;

-- name: CountRelations :one
-- How many tables, indexes, views and so on exist, in any schema, whoever made them.
SELECT count(*)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\_toast%'
  AND n.nspname NOT LIKE 'pg\_temp%'
  AND NOT EXISTS ( -- not those of an extension
      SELECT FROM pg_catalog.pg_depend e WHERE e.objid = c.oid AND e.deptype = 'e'
  );

-- name: GetDatabaseName :one
SELECT current_database()::text AS name;

-- name: GetSystemIdentifier :one
SELECT system_identifier::text AS system_identifier FROM pg_control_system();

-- name: GetServerSettings :one
-- The settings that our connections get from the server, the database and the role.
SELECT current_setting('synchronous_commit')::text                           AS synchronous_commit,
       current_setting('synchronous_standby_names')::text                    AS synchronous_standby_names,
       current_setting('fsync')::text                                        AS fsync,
       current_setting('full_page_writes')::text                             AS full_page_writes,
       COALESCE(d.datcollversion, '')::text                                  AS recorded_collation,
       COALESCE(pg_database_collation_actual_version(d.oid), '')::text       AS actual_collation
FROM pg_catalog.pg_database d
WHERE d.datname = current_database();

-- name: GetInstallationID :one
SELECT id FROM installation;

-- name: SetInstallationID :execrows
-- Only for a database in which nothing was ever asked for.
UPDATE installation SET id = @id
WHERE singleton AND id <> @id AND NOT EXISTS (SELECT FROM operations) AND NOT EXISTS (SELECT FROM payments);

-- name: ForgetReconciliation :exec
-- Nothing is known to be reconciled. Stripe lists events for 30 days.
INSERT INTO reconciliation (through, incarnation) VALUES (now() - interval '30 days', '')
ON CONFLICT (singleton) DO UPDATE SET through = EXCLUDED.through, incarnation = EXCLUDED.incarnation;
