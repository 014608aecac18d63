-- What pages read of workers.

-- name: workers_alive
-- Workers that have neither said goodbye nor been declared lost; `silent`: about to be.
SELECT w.id, w.name, w.pools::text, w.hostname, w.pid, w.coroutines, w.threads, w.processes, w.running, w.memory,
       w.started_at, w.heartbeat_at, w.draining_at,
       w.heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s) AS silent
FROM queues_worker w
WHERE w.stopped_at IS NULL AND w.lost_at IS NULL
ORDER BY w.name, w.id
LIMIT %(most)s;

-- name: queue_gates
-- What decides whether a queue's entries may start, but for the workers.
SELECT q.id, q.name, q.pool, q.concurrency_limit, q.key_concurrency_limit, q.paused_at IS NOT NULL AS paused,
       q.pause_reason,
       (SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = q.id
                              LIMIT coalesce(q.concurrency_limit, 0)) l) AS taken,
       q.rate_amount, q.rate_period, {started} AS started,
       {opens_at} AS opens_at,
       EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id AND e.home IS NOT NULL) AS has_homes
FROM queues_queue q
WHERE q.id = ANY(%(queues)s);

-- name: key_slots
-- How many slots these keys have taken, counted up to `most`.
SELECT k.queue_id, k.name,
       (SELECT count(*) FROM (SELECT 1 FROM queues_lease l WHERE l.queue_id = k.queue_id AND l.concurrency_key = k.name
                              LIMIT %(most)s) l) AS taken
FROM unnest(%(queues)s::bigint[], %(keys)s::varchar[]) AS k (queue_id, name);
