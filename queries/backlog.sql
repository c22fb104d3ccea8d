-- name: GetBacklog :one
-- What is not settled. Each part is read from a partial index that is empty when all is well.
SELECT c.pending, c.needs_attention, c.oldest_seconds, e.parked, e.oldest_parked_seconds
FROM (
    SELECT count(*) FILTER (WHERE state = 'pending')                                     AS pending,
           count(*) FILTER (WHERE state = 'needs_attention')                             AS needs_attention,
           COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float8              AS oldest_seconds
    FROM (
        SELECT state, created_at FROM payment_requests WHERE state = 'pending'
        UNION ALL
        SELECT state, created_at FROM payment_requests WHERE state = 'needs_attention'
    ) AS unfinished
) AS c, (
    SELECT count(*)                                                            AS parked,
           COALESCE(EXTRACT(EPOCH FROM now() - min(received_at)), 0)::float8   AS oldest_parked_seconds
    FROM stripe_events
    WHERE outcome = 'parked'
) AS e;
