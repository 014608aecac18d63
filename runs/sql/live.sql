-- What an open page of a run reads, by cursor: rows it has are not read again. All by primary key.

-- name: live_run
SELECT r.status, r.attempt, r.failures, r.max_attempts, r.next_at, r.created_at, r.started_at, r.finished_at,
       r.error ->> 'type' AS error_type, left(r.error ->> 'message', 500) AS error_message,
       r.worker_id IS NOT NULL AND r.status = 'running' AS held, r.waiting_for ->> 'what' AS waits_for,
       CASE WHEN r.status = 'waiting' THEN (
           SELECT min(w.created_at) FROM runs_wait w WHERE w.run_id = r.id AND w.resolved_at IS NULL
       ) END AS waits_since,
       -- Changes with what the run and those who share its budgets have used.
       concat((SELECT sum(u.amount) FROM runs_usage u WHERE u.run_id = r.id),
              (SELECT string_agg(concat('/', b.spent, '/', b.amount), '') FROM runs_budget b
               WHERE b.run_id = ANY(r.accounts))) AS spending,
       (SELECT concat(p.value, '/', p.words, md5(p.metadata::text)) FROM runs_progress p WHERE p.run_id = r.id) AS progress,
       (SELECT concat(s.why, s.since) FROM runs_stuck s WHERE s.run_id = r.id AND s.token = r.lease_token) AS stuck
FROM runs_run r WHERE r.id = %(run)s;

-- name: live_attempts
-- The latest ones: an older attempt does not change any more.
SELECT a.number, a.status, a.started_at, a.finished_at, w.name AS worker, left(a.error ->> 'message', 500) AS error,
       a.overlap_at
FROM runs_attempt a LEFT JOIN queues_worker w ON w.id = a.worker_id
WHERE a.run_id = %(run)s AND a.number >= %(attempt)s
ORDER BY a.number
LIMIT %(limit)s;

-- name: live_snapshots
SELECT s.sequence, s.kind, s.name, s.key, s.attempt, s.started_at, s.finished_at,
       left(s.error ->> 'message', 500) AS error
FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence > %(after)s
ORDER BY s.sequence
LIMIT %(limit)s;

-- name: live_snapshots_late
-- Snapshots that were passed over: a step's own transaction and the group commit number them from one count, and what
-- has the lower number may be committed a moment later.
SELECT s.sequence, s.kind, s.name, s.key, s.attempt, s.started_at, s.finished_at,
       left(s.error ->> 'message', 500) AS error
FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence = ANY(%(missing)s)
ORDER BY s.sequence;

-- name: live_snapshot_tail
-- Where the last snapshots begin; no row when there are fewer.
SELECT s.sequence FROM runs_snapshot s
WHERE s.run_id = %(run)s
ORDER BY s.sequence DESC
OFFSET %(limit)s LIMIT 1;

-- name: live_snapshot_ends
SELECT (SELECT s.sequence FROM runs_snapshot s WHERE s.run_id = %(run)s ORDER BY s.sequence LIMIT 1) AS first,
       (SELECT s.sequence FROM runs_snapshot s WHERE s.run_id = %(run)s ORDER BY s.sequence DESC LIMIT 1) AS last;

-- name: live_snapshot_groups
-- Groups of consecutive snapshots, of one attempt each. Reads the run's rows once, without what they hold.
SELECT min(s.sequence) AS first, max(s.sequence) AS last, s.attempt, count(*) AS count,
       count(*) FILTER (WHERE s.kind = 'step') AS steps,
       count(*) FILTER (WHERE s.kind = 'failure') AS failed,
       count(*) FILTER (WHERE s.kind = 'wait') AS waits,
       min(s.started_at) AS "from", max(s.finished_at) AS "to"
FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence BETWEEN %(begin)s AND %(last)s
GROUP BY (s.sequence - %(begin)s) / %(size)s, s.attempt
ORDER BY 1;

-- name: live_failures
SELECT s.sequence FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence BETWEEN %(begin)s AND %(last)s AND s.kind = 'failure'
ORDER BY s.sequence
LIMIT %(limit)s;

-- name: live_long_waits
SELECT s.started_at, s.finished_at FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence BETWEEN %(begin)s AND %(last)s AND s.kind = 'wait'
ORDER BY s.finished_at - s.started_at DESC
LIMIT %(limit)s;

-- name: live_logs
-- A message is cut here and not by whoever reads it: a batch of the longest ones would be megabytes.
SELECT l.sequence, l.at, l.level, left(l.message, %(most)s) AS message, length(l.message) AS length, l.fields, l.attempt, l.step
FROM runs_logline l
WHERE l.run_id = %(run)s AND l.sequence > %(after)s
ORDER BY l.sequence
LIMIT %(limit)s;

-- name: live_log_tail
-- Where the last lines begin; no row when there are fewer.
SELECT l.sequence FROM runs_logline l
WHERE l.run_id = %(run)s
ORDER BY l.sequence DESC
OFFSET %(limit)s LIMIT 1;

-- name: live_pulse
-- Changes when lists may have: cheap enough to be asked every two seconds by every page.
SELECT (SELECT r.id FROM runs_run r ORDER BY r.id DESC LIMIT 1) AS newest,
       (SELECT max(q.updated_at) FROM queues_queue q) AS queues,
       (SELECT count(*) FROM queues_worker w WHERE w.stopped_at IS NULL AND w.lost_at IS NULL) AS workers,
       (SELECT sum(w.running) FROM queues_worker w WHERE w.stopped_at IS NULL AND w.lost_at IS NULL) AS running;
