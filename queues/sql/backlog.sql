-- What waits for workers, and how busy they are: what `work --max` scales by, and /metrics tells.

-- name: backlog
-- Every queue of these pools (NULL: of all): entries that are due (`due`), those of them that a worker with room could
-- start now (`startable`), both counted up to `most`; leases; and for how many seconds the oldest one waits, of all and of
-- those whose key has a slot. What waits for a limit, a rate or the end of a pause is not startable: more workers would
-- change nothing about it.
WITH running AS MATERIALIZED (
    SELECT l.queue_id, count(*) AS count FROM queues_lease l GROUP BY l.queue_id
)
SELECT p.name, p.pool, p.concurrency_limit, p.paused, least(plain.due + keyed.due, %(most)s)::int AS due,
       CASE WHEN p.flows THEN
           greatest(0, least(
               plain.startable
                   + CASE WHEN turns.count = 0 THEN 0
                          ELSE least(keyed.startable, turns.count * p.key_concurrency_limit) END,
               p.concurrency_limit - coalesce(r.count, 0), p.left_of_rate, %(most)s))
       ELSE 0 END::int AS startable,
       coalesce(r.count, 0)::int AS running,
       coalesce(extract(epoch FROM holdfast_now() - oldest.ready_at), 0)::float8 AS oldest_wait,
       coalesce(extract(epoch FROM holdfast_now() - coalesce(oldest.open_at, oldest.ready_at)), 0)::float8 AS open_wait
FROM (
    SELECT q.*, {flows} AS flows, {drained_from} AS drained_from,
           q.paused_at IS NOT NULL AND coalesce(q.paused_until > holdfast_now(), true) AS paused,
           -- Units of a rate that counts tokens say nothing about how many runs these are.
           CASE WHEN q.rate_amount IS NULL THEN NULL WHEN q.rate_unit IS NULL THEN q.rate_amount - {started}
                WHEN {started} >= q.rate_amount THEN 0 END AS left_of_rate
    FROM queues_queue q
    WHERE %(pools)s::text[] IS NULL OR q.pool = ANY(%(pools)s)
) p
LEFT JOIN running r ON r.queue_id = p.id
CROSS JOIN LATERAL (
    SELECT count(*) AS due, count(*) FILTER (
        WHERE p.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < p.drained_from) AS startable
    FROM (SELECT e.entry_id FROM queues_entry e
          WHERE e.queue_id = p.id AND e.concurrency_key IS NULL LIMIT %(most)s) e
) plain
CROSS JOIN LATERAL (
    SELECT count(*) AS due, count(*) FILTER (
        WHERE p.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < p.drained_from) AS startable
    FROM (SELECT e.entry_id FROM queues_entry e
          WHERE e.queue_id = p.id AND e.concurrency_key IS NOT NULL LIMIT %(most)s) e
) keyed
CROSS JOIN LATERAL (
    -- Keys that have a slot and something to start in it, or of which that is to be found out.
    SELECT count(*) AS count
    FROM ((SELECT 1 FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS lane (id) CROSS JOIN LATERAL (
               SELECT 1 FROM queues_turn t
               WHERE t.queue_id = p.id AND t.lane = lane.id AND t.counts_from IS NOT NULL
               ORDER BY t.counts_from LIMIT %(most)s) t)
          UNION ALL
          (SELECT 1 FROM queues_note n WHERE n.queue_id = p.id LIMIT %(most)s)) t
) turns
CROSS JOIN LATERAL ({oldest}) oldest
ORDER BY p.name;

-- name: later
-- Entries of each queue that become ready later, or when they are woken: one pass, and not a longer one than `most`.
SELECT q.name, count(*) AS count
FROM (SELECT queue_id FROM queues_timer LIMIT %(most)s) t JOIN queues_queue q ON q.id = t.queue_id
GROUP BY q.name;

-- name: worker_counts
-- How many workers serve these pools, by what they are up to.
SELECT w.pools::text,
       CASE WHEN w.heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s) THEN 'silent'
            WHEN w.draining_at IS NOT NULL THEN 'draining' ELSE 'alive' END AS state,
       count(*)
FROM queues_worker w
WHERE w.stopped_at IS NULL AND w.lost_at IS NULL
GROUP BY 1, 2;

-- name: worker_loads
-- Processes of one host that are registered as workers: which share of its fullest lane's slots each has taken.
SELECT w.pid, coalesce(max(taken.count / greatest(1, CASE taken.lane WHEN 0 THEN w.coroutines WHEN 1 THEN w.threads
                                                       ELSE w.processes END)::float8), 0)::float8 AS load
FROM queues_worker w
LEFT JOIN LATERAL (
    SELECT l.lane, count(*) AS count FROM queues_lease l WHERE l.worker_id = w.id GROUP BY l.lane
) taken ON true
WHERE w.stopped_at IS NULL AND w.lost_at IS NULL AND w.hostname = %(host)s AND w.pid = ANY(%(pids)s::int[])
GROUP BY w.pid;

-- name: head_waits
-- Since when the oldest due entry of this queue waits (NULL: of each queue, those first that come first by name).
SELECT p.name, p.paused_at IS NOT NULL AND coalesce(p.paused_until > holdfast_now(), true) AS paused, oldest.ready_at
FROM (
    SELECT q.* FROM queues_queue q WHERE %(queue)s::text IS NULL OR q.name = %(queue)s ORDER BY q.name LIMIT %(most)s
) p
CROSS JOIN LATERAL ({oldest}) oldest;
