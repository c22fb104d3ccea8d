-- +goose Up

-- Which life of the database this is. It changes when another server takes over, after a
-- restore, and after a crash: whenever commits that clients were told of may be lost. If one
-- backend is killed, PostgreSQL recovers without a new postmaster, but its statistics begin
-- anew. It is not declared STABLE, because it reads the WAL's position: PostgreSQL would then
-- not put it in line, and a call would take 70 microseconds instead of 9.
-- +goose StatementBegin
CREATE FUNCTION marketflow_incarnation() RETURNS TEXT LANGUAGE SQL AS $$
    SELECT to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' ||
           COALESCE(to_char(pg_stat_get_bgwriter_stat_reset_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '') || '/' ||
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

-- When the first comparison of that incarnation had ended.
ALTER TABLE reconciliation ADD COLUMN looked_at TIMESTAMPTZ;

COMMENT ON COLUMN reconciliation.looked_at IS
    'When the first whole comparison in that incarnation had ended.';

-- Since when the ids of operations, and so Stripe's keys, are made of the clients' keys. A
-- retry of what was lost from before that has another key at Stripe.
ALTER TABLE installation ADD COLUMN keyed_since TIMESTAMPTZ;

COMMENT ON COLUMN installation.keyed_since IS
    'Since when Stripe''s keys are made of the clients'' keys. NULL: always.';

UPDATE installation SET keyed_since = now() WHERE EXISTS (SELECT FROM operations);

-- How far reconciliation has come. behind_seconds is how far back something may be missing
-- that this database should know. Nothing can be missing in the life in which it was made; nor
-- once a comparison has covered a day after the first whole one of its present life, because
-- by then everything that was under way when that life began has been seen. Otherwise the
-- cursor tells. Before there is one, nothing was sent before the database was made. A cursor
-- tells nothing (and the answer is a century) if a wrong clock has set it, while something with a
-- random key at Stripe may be missing, or if there is none and the database was in use before.
CREATE VIEW standing AS
WITH life AS MATERIALIZED (SELECT marketflow_incarnation() AS incarnation), known AS (
    SELECT i.incarnation AS made, i.keyed_since, r.incarnation AS looked, r.looked_at,
           COALESCE(r.through, CASE WHEN i.incarnation IS NOT NULL THEN i.created_at END) AS seen_until
    FROM installation i LEFT JOIN reconciliation r ON r.singleton
    WHERE i.singleton
)
SELECT life.incarnation,
       COALESCE(known.looked, known.made, '') = life.incarnation AS reconciled,
       (CASE
            WHEN known.looked IS NULL AND known.made = life.incarnation THEN 0
            WHEN known.seen_until IS NULL OR known.seen_until > now() + interval '15 minutes' THEN 3153600000
            WHEN known.looked = life.incarnation AND known.seen_until >= known.looked_at + interval '24 hours' THEN 0
            WHEN known.looked IS DISTINCT FROM life.incarnation AND known.seen_until < known.keyed_since THEN 3153600000
            ELSE EXTRACT(EPOCH FROM now() - known.seen_until)
        END)::float8 AS behind_seconds
FROM life, known;

COMMENT ON VIEW standing IS 'How far reconciliation has come in the database''s present life.';

-- +goose Down
DROP VIEW standing;
ALTER TABLE installation DROP COLUMN keyed_since;
ALTER TABLE reconciliation DROP COLUMN looked_at;
ALTER TABLE installation DROP COLUMN incarnation;
ALTER TABLE reconciliation DROP COLUMN incarnation;
DROP FUNCTION marketflow_incarnation();
