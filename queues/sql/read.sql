-- What pages and API read of queues: counts that stop at `most`, for one page of queues.

-- name: oldest
-- A part of other statements: since when the oldest entry of queue `p` waits, of the hundred that are first in line, of
-- each lane, and of the hundred keys that are next; and the same without keys that have no slot.
SELECT min(head.ready_at) AS ready_at, min(head.ready_at) FILTER (WHERE head.has_slot) AS open_at
FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS lane (id)
CROSS JOIN LATERAL (
    (SELECT e.ready_at, true AS has_slot FROM queues_entry e
     WHERE e.queue_id = p.id AND e.concurrency_key IS NULL AND e.lane = lane.id AND e.stage = 0
     ORDER BY e.counts_from, e.entry_id LIMIT 100)
    UNION ALL
    (SELECT e.ready_at, t.counts_from IS NOT NULL
     FROM (SELECT t.concurrency_key, t.counts_from FROM queues_turn t WHERE t.queue_id = p.id AND t.lane = lane.id
           ORDER BY t.counts_from LIMIT 100) t
     CROSS JOIN LATERAL (
         SELECT n.ready_at FROM queues_entry n
         WHERE n.queue_id = p.id AND n.concurrency_key = t.concurrency_key AND n.lane = lane.id AND n.stage = 0
         ORDER BY n.counts_from, n.entry_id LIMIT 1
     ) e)
) head

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
    SELECT count(*) FROM (
        (SELECT 1 FROM queues_entry e WHERE e.queue_id = p.id AND e.concurrency_key IS NULL LIMIT %(most)s)
        UNION ALL
        (SELECT 1 FROM queues_entry e WHERE e.queue_id = p.id AND e.concurrency_key IS NOT NULL LIMIT %(most)s)
        LIMIT %(most)s
    ) e
) entries
CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = p.id LIMIT %(most)s) l
) leases
CROSS JOIN LATERAL ({oldest}) oldest
ORDER BY p.name;
