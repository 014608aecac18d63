-- Where runs are, and which do not get on.

-- name: want_stack
-- Of a run in a worker's hands. Who asks while another waits for the answer shares it.
INSERT INTO runs_stack AS s (run_id, worker_id, token, wanted, asked_at)
SELECT r.id, r.worker_id, r.lease_token, true, holdfast_now()
FROM runs_run r
WHERE r.id = ANY(%(runs)s::uuid[]) AND r.lease_token IS NOT NULL AND r.worker_id IS NOT NULL
ON CONFLICT (run_id) DO UPDATE SET
    asked_at = CASE WHEN s.wanted AND s.token = excluded.token THEN s.asked_at ELSE excluded.asked_at END,
    stack = CASE WHEN s.token = excluded.token THEN s.stack END,
    captured_at = CASE WHEN s.token = excluded.token THEN s.captured_at END,
    worker_id = excluded.worker_id, token = excluded.token, wanted = true
RETURNING run_id, token, asked_at;

-- name: stacks_wanted
SELECT s.run_id, s.token FROM runs_stack s
WHERE s.worker_id = %(worker)s AND s.wanted
ORDER BY s.asked_at
LIMIT %(limit)s;

-- name: give_stacks
-- Not of a lease that was asked of another worker meanwhile.
UPDATE runs_stack s
SET stack = n.stack::jsonb, captured_at = holdfast_now(), wanted = false
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(stacks)s::text[]) AS n (run_id, token, stack)
WHERE s.run_id = ANY(%(ids)s::uuid[]) AND s.run_id = n.run_id AND s.token = n.token AND s.worker_id = %(worker)s;

-- name: forget_stacks
-- Of runs that have left the worker that was asked. The table is small: only what was asked about is in it.
DELETE FROM runs_stack s
WHERE s.run_id IN (
    SELECT o.run_id FROM runs_stack o
    WHERE NOT EXISTS (SELECT 1 FROM runs_run r WHERE r.id = o.run_id AND r.lease_token = o.token)
    LIMIT %(limit)s
);

-- name: held_by
-- What a worker has in its hands, the longest first. There are no more leases than slots of all workers.
SELECT l.entry_id, l.leased_at FROM queues_lease l
WHERE l.worker_id = %(worker)s
ORDER BY l.leased_at, l.entry_id
LIMIT %(limit)s;

-- name: this_hour
SELECT date_trunc('hour', holdfast_now());

-- name: usual_of_hour
-- How long steps and attempts took that completed in an hour. The index of rollups begins with the minute and the kind.
SELECT u.task_id, u.kind, u.name, u.bucket, sum(u.count)::bigint AS count
FROM runs_rollup u
WHERE u.minute >= %(hour)s AND u.minute < %(hour)s + interval '1 hour' AND u.kind IN ('step', 'attempt')
  AND u.status = 'completed'
GROUP BY u.task_id, u.kind, u.name, u.bucket;

-- name: leased_for
-- Runs that have been in somebody's hands for so long, a page at a time, by the primary key.
SELECT l.entry_id FROM queues_lease l
WHERE l.entry_id > %(after)s AND l.leased_at < holdfast_now() - make_interval(secs => %(seconds)s)
ORDER BY l.entry_id
LIMIT %(limit)s;

-- name: news
-- When something new came last of each of these runs, as far as it is in somebody's hands. Each place is asked by an
-- index that begins with the run, and gives one row; a stream has its last chunk at the end of its part of the index.
SELECT n.id, n.token, n.task_id, n.since, extract(epoch FROM holdfast_now() - n.since)::float8 AS silence,
       coalesce(n.beat < holdfast_now() - make_interval(secs => %(timeout)s), false) AS lost
FROM (
    SELECT r.id, r.lease_token AS token, r.task_id,
           (SELECT w.heartbeat_at FROM queues_worker w WHERE w.id = r.worker_id) AS beat,
           greatest(
               r.started_at,
               (SELECT l.leased_at FROM queues_lease l WHERE l.entry_id = r.id),
               (SELECT s.finished_at FROM runs_snapshot s WHERE s.run_id = r.id ORDER BY s.sequence DESC LIMIT 1),
               (SELECT l.at FROM runs_logline l WHERE l.run_id = r.id ORDER BY l.sequence DESC LIMIT 1),
               (SELECT max(b.at) FROM runs_heartbeat b WHERE b.run_id = r.id),
               (SELECT p.at FROM runs_progress p WHERE p.run_id = r.id),
               (WITH RECURSIVE streams AS (
                    (SELECT c.stream, c.at, 1 AS number FROM runs_chunk c
                     WHERE c.run_id = r.id ORDER BY c.stream DESC, c.sequence DESC LIMIT 1)
                    UNION ALL
                    SELECT c.* FROM streams before CROSS JOIN LATERAL (
                        SELECT c.stream, c.at, before.number + 1 AS number FROM runs_chunk c
                        WHERE c.run_id = r.id AND c.stream < before.stream AND before.number < %(streams)s
                        ORDER BY c.stream DESC, c.sequence DESC LIMIT 1) c
                ) SELECT max(streams.at) FROM streams)
           ) AS since
    FROM runs_run r
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.lease_token IS NOT NULL
) n;

-- name: stacks_said
-- What workers have said of these runs: which steps are at work there, and when that was.
SELECT s.run_id, s.token, s.captured_at,
       ARRAY(SELECT jsonb_array_elements_text(coalesce(s.stack -> 'names', '[]'))), coalesce((s.stack ->> 'waits')::boolean, false),
       coalesce(extract(epoch FROM holdfast_now() - s.captured_at), 0)::float8
FROM runs_stack s
WHERE s.run_id = ANY(%(ids)s::uuid[]);

-- name: stuck_runs
SELECT s.run_id, s.token, s.why = 'lost_heartbeat', s.step, s.since, s.usual FROM runs_stuck s LIMIT %(limit)s;

-- name: call_stuck
INSERT INTO runs_stuck AS s (run_id, token, why, step, since, usual, found_at)
SELECT n.run_id, n.token, CASE WHEN n.lost THEN 'lost_heartbeat' ELSE 'nothing_new' END, n.step, n.since, n.usual,
       holdfast_now()
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(losts)s::boolean[], %(steps)s::text[], %(sinces)s::timestamptz[],
            %(usuals)s::float8[]) AS n (run_id, token, lost, step, since, usual)
ON CONFLICT (run_id) DO UPDATE
SET token = excluded.token, why = excluded.why, step = excluded.step, since = excluded.since, usual = excluded.usual,
    found_at = excluded.found_at;

-- name: not_stuck
DELETE FROM runs_stuck s WHERE s.run_id = ANY(%(ids)s::uuid[]);

-- name: stuck_of
-- Those of some runs that do not get on now: a worker's silence is seen as it is, the rest as the scheduler found it.
SELECT r.id, s.step, coalesce(s.since, w.heartbeat_at), s.usual, w.name,
       w.heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s) AS lost, w.heartbeat_at,
       holdfast_now()
FROM runs_run r
LEFT JOIN runs_stuck s ON s.run_id = r.id AND s.token = r.lease_token
LEFT JOIN queues_worker w ON w.id = r.worker_id
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.lease_token IS NOT NULL
  AND (s.why = 'nothing_new' OR w.heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s));

-- name: stuck_longest
-- For the page Now: the longest, and how many there are; the table holds what is stuck now and nothing else.
SELECT s.run_id, r.task_id, s.step, s.since, s.usual, w.name, s.why = 'lost_heartbeat' AS lost, w.heartbeat_at,
       holdfast_now(),
       (SELECT k.stack::text FROM runs_stack k WHERE k.run_id = s.run_id AND k.token = s.token) AS stack,
       count(*) OVER () AS count
FROM runs_stuck s
JOIN runs_run r ON r.id = s.run_id AND r.lease_token = s.token
LEFT JOIN queues_worker w ON w.id = r.worker_id
ORDER BY s.since, s.run_id
LIMIT %(limit)s;
