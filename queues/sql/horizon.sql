-- Which rows that are done with may not be cleared away yet.

-- name: horizon
-- Who writes in another database counts as well: what is under way there, our own snapshots take for not over.
-- Columns that are NULL: those of sessions of other users, which one may not see.
SELECT coalesce((SELECT t.n_dead_tup FROM pg_stat_user_tables t WHERE t.relid = 'queues_entry'::regclass), 0) AS dead,
       coalesce(h.holder, '') AS holder, h.since, coalesce(h.age, 0) AS age
FROM (VALUES (1)) AS one (row)
LEFT JOIN LATERAL (
    SELECT i.holder, i.since, i.age FROM (
        SELECT concat(CASE WHEN a.backend_type = 'walsender' THEN 'standby ' ELSE 'a transaction of ' END,
                      coalesce(nullif(a.application_name, ''), a.usename), ' (process ', a.pid, ')'),
               a.xact_start, greatest(age(a.backend_xmin), age(a.backend_xid))
        FROM pg_stat_activity a
        WHERE a.pid <> pg_backend_pid() AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
          AND (a.backend_xid IS NOT NULL
               OR a.backend_xmin IS NOT NULL AND (a.datname = current_database() OR a.backend_type = 'walsender'))
        UNION ALL
        SELECT 'prepared transaction ' || p.gid, p.prepared, age(p.transaction) FROM pg_prepared_xacts p
        UNION ALL
        SELECT 'replication slot ' || s.slot_name, NULL, age(s.xmin)
        FROM pg_replication_slots s WHERE s.xmin IS NOT NULL
    ) i (holder, since, age)
    ORDER BY i.age DESC, i.since LIMIT 1
) h ON true;
