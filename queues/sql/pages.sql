-- What pages read of workers.

-- name: workers_alive
-- Workers that have neither said goodbye nor been declared lost; `silent`: about to be.
SELECT w.id, w.name, w.pools::text, w.hostname, w.pid, w.coroutines, w.threads, w.processes, w.running, w.memory,
       w.started_at, w.heartbeat_at, coalesce(w.draining_at, w.drain_asked_at),
       w.heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s) AS silent
FROM queues_worker w
WHERE w.stopped_at IS NULL AND w.lost_at IS NULL
ORDER BY w.name, w.id
LIMIT %(most)s;

-- name: queue_gates
-- What decides whether a queue's entries may start, but for the workers.
SELECT q.id, q.name, q.pool, q.concurrency_limit, q.key_concurrency_limit, NOT {flows} AS paused,
       q.pause_reason, q.paused_until, {drained_from} AS drained_from,
       (SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = q.id
                              LIMIT coalesce(q.concurrency_limit, 0)) l) AS taken,
       q.rate_amount, q.rate_period, q.rate_unit, {started}::bigint AS started,
       {opens_at} AS opens_at, q.key_rate_amount, q.key_rate_period, q.key_rate_unit,
       EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id AND e.home IS NOT NULL) AS has_homes
FROM queues_queue q
WHERE q.id = ANY(%(queues)s);

-- name: key_gates
-- How many slots these keys have taken, counted up to the limit of a key, and what has started of each in its window.
SELECT q.id, k.name,
       (SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = q.id AND l.concurrency_key = k.name
                              LIMIT coalesce(q.key_concurrency_limit, 0)) l) AS taken,
       r.started, r.first_at + make_interval(secs => q.key_rate_period) AS opens_at
FROM unnest(%(queues)s::bigint[], %(keys)s::varchar[]) AS k (queue_id, name)
JOIN queues_queue q ON q.id = k.queue_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(s.count), 0)::bigint AS started, min(s.last_at) AS first_at FROM queues_start s
    WHERE q.key_rate_amount IS NOT NULL AND s.queue_id = q.id AND s.concurrency_key = k.name
      AND s.last_at > holdfast_now() - make_interval(secs => q.key_rate_period)
) r;
