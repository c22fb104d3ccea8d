-- +goose Up

-- Which life of the database this is. It changes when another server takes over, after a
-- restore, and after a crash: whenever commits that clients were told of may be lost.
-- +goose StatementBegin
CREATE FUNCTION marketflow_incarnation() RETURNS TEXT LANGUAGE SQL STABLE AS $$
    SELECT to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' ||
           CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
$$;
-- +goose StatementEnd

-- The incarnation in which reconciliation has looked at everything up to the cursor. NULL:
-- in none yet.
ALTER TABLE reconciliation ADD COLUMN incarnation TEXT COLLATE "C";

COMMENT ON COLUMN reconciliation.incarnation IS
    'In which life of the database (marketflow_incarnation()) a comparison has ended. NULL: in none since it has this column.';

-- The incarnation in which the database was made: it has lost nothing while that goes on.
-- The server's start alone would not tell, because a standby may be older than the database.
ALTER TABLE installation ADD COLUMN incarnation TEXT COLLATE "C";

COMMENT ON COLUMN installation.incarnation IS
    'In which life of the database it was made. NULL: it was in use before it had this column.';

UPDATE installation SET incarnation = marketflow_incarnation() WHERE NOT EXISTS (SELECT FROM operations);

-- +goose Down
ALTER TABLE installation DROP COLUMN incarnation;
ALTER TABLE reconciliation DROP COLUMN incarnation;
DROP FUNCTION marketflow_incarnation();
