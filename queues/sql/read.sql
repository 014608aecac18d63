-- What pages and API read of queues: counts that stop at `most`, for one page of queues.

-- name: queue_flow
WITH page AS MATERIALIZED (
    SELECT q.id, q.name FROM queues_queue q
    WHERE q.name > %(after)s
      AND (%(name)s::text IS NULL OR q.name = %(name)s)
      AND (%(search)s::text IS NULL OR strpos(lower(q.name), lower(%(search)s)) > 0)
    ORDER BY q.name
    LIMIT %(limit)s
), delayed AS MATERIALIZED (
    -- Timers have no index by queue: one pass for the whole page, and not a longer one than `most_timers`.
    SELECT t.queue_id, count(*) AS count
    FROM (SELECT queue_id FROM queues_timer LIMIT %(most_timers)s) t
    GROUP BY t.queue_id
)
SELECT p.id, entries.count AS depth, leases.count AS running, least(coalesce(d.count, 0), %(most)s) AS scheduled,
       oldest.ready_at AS waiting_since
FROM page p
LEFT JOIN delayed d ON d.queue_id = p.id
CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT 1 FROM queues_entry e WHERE e.queue_id = p.id LIMIT %(most)s) e
) entries
CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = p.id LIMIT %(most)s) l
) leases
CROSS JOIN LATERAL (
    -- The index is ordered by lane, stage and priority first: one probe for each of them finds its oldest entry.
    SELECT min(head.ready_at) AS ready_at
    FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS lane (id)
    CROSS JOIN (VALUES (0::smallint), (1::smallint)) AS stage (id)
    CROSS JOIN LATERAL (
        WITH RECURSIVE best AS (
            (SELECT e.priority, e.ready_at FROM queues_entry e
             WHERE e.queue_id = p.id AND e.lane = lane.id AND e.stage = stage.id
             ORDER BY e.priority DESC, e.ready_at LIMIT 1)
            UNION ALL
            SELECT n.priority, n.ready_at
            FROM best b CROSS JOIN LATERAL (
                SELECT e.priority, e.ready_at FROM queues_entry e
                WHERE e.queue_id = p.id AND e.lane = lane.id AND e.stage = stage.id AND e.priority < b.priority
                ORDER BY e.priority DESC, e.ready_at LIMIT 1
            ) n
        )
        SELECT best.ready_at FROM best
    ) head
) oldest
ORDER BY p.name;
