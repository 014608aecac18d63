-- What alerts measure. All but the last three are ranges of minutes; those that need no durations read `minutes_over`.

-- name: alert_scope
-- A part of other statements: of one task, of one queue, or of all but Holdfast's own, whose failing deliveries would be
-- an alert about themselves.
(%(task)s::text = '' OR u.task_id = %(task)s)
AND (%(queue)s::text = '' OR u.queue_id = (SELECT q.id FROM queues_queue q WHERE q.name = %(queue)s))
AND (%(task)s::text <> '' OR %(queue)s::text <> '' OR left(u.task_id, 9) <> 'holdfast.')

-- name: alert_ends
-- Runs that ended in each minute, and those of them that failed.
SELECT u.minute, sum(u.count)::bigint,
       coalesce(sum(u.count) FILTER (WHERE u.status = ANY(%(failed)s)), 0)::bigint
FROM {minutes_over} u
WHERE u.status = ANY(%(counted)s) AND {alert_scope}
GROUP BY u.minute;

-- name: alert_durations
-- Runs that ended in each minute by how long they took.
SELECT u.minute, u.bucket, sum(u.count)::bigint
FROM runs_rollup u
WHERE u.minute >= %(start)s AND u.minute < %(end)s AND u.kind = 'run' AND u.status = ANY(%(counted)s) AND {alert_scope}
GROUP BY u.minute, u.bucket;

-- name: alert_activity
-- Of each minute: whether a run was completed, the longest wait that ended with a start, and the longest attempt or run
-- of a failed one that ended.
SELECT u.minute, coalesce(bool_or(u.kind = 'run' AND u.status = 'completed'), false),
       max(u.longest) FILTER (WHERE u.kind = 'delay'), max(u.longest) FILTER (WHERE u.kind = 'attempt')
FROM {minutes_over} u
WHERE {alert_scope}
GROUP BY u.minute;

-- name: alert_waits
-- The longest wait that ended with a start in each minute: of each of these queues, and of all others ('').
SELECT u.minute, n.name, max(u.longest)
FROM {minutes_over} u
JOIN LATERAL (
    SELECT coalesce((SELECT q.name FROM queues_queue q WHERE q.id = u.queue_id AND q.name = ANY(%(names)s::text[])), '')
        AS name
) n ON true
WHERE {alert_scope}
GROUP BY u.minute, n.name;

-- name: alert_usage
-- What was used of a unit in each minute: task by task, as the index of usage rollups begins with the task.
SELECT u.minute, sum(u.amount)
FROM (SELECT t.id FROM runs_task t WHERE %(task)s::text = '' OR t.id = %(task)s LIMIT %(most)s) t
CROSS JOIN LATERAL (
    SELECT r.minute, r.amount FROM runs_usagerollup r
    WHERE r.task_id = t.id AND r.unit = %(unit)s AND r.minute >= %(start)s AND r.minute < %(end)s
) u
GROUP BY u.minute;

-- name: alert_unit_known
-- Whether anything was ever said to be used of a unit.
SELECT EXISTS (
    SELECT 1 FROM (SELECT t.id FROM runs_task t WHERE %(task)s::text = '' OR t.id = %(task)s LIMIT %(most)s) t
    WHERE EXISTS (SELECT 1 FROM runs_usagerollup r WHERE r.task_id = t.id AND r.unit = %(unit)s)
);

-- name: alert_since
-- A part of other statements: since when the oldest of these runs is at work or waits for a worker or for its next try.
SELECT min(coalesce(l.leased_at, e.ready_at, failed.at, r.started_at, r.created_at))
FROM found r
LEFT JOIN queues_lease l ON l.entry_id = r.id
LEFT JOIN queues_entry e ON e.entry_id = r.id
LEFT JOIN LATERAL (
    SELECT max(a.finished_at) AS at FROM runs_attempt a WHERE r.status = 'retrying' AND a.run_id = r.id
) failed ON true
WHERE r.status IN ('queued', 'running', 'retrying', 'cancelling')

-- name: alert_work_of_task
-- Looks at the newest runs: where older ones are stuck while these go on, some of these were completed.
WITH found AS MATERIALIZED (
    SELECT r.id, r.status, r.started_at, r.created_at FROM runs_run r
    WHERE r.task_id = %(task)s ORDER BY r.id DESC LIMIT %(most)s
) {alert_since};

-- name: alert_work_of_queue
WITH found AS MATERIALIZED (
    SELECT r.id, r.status, r.started_at, r.created_at FROM runs_run r
    WHERE r.queue_id = (SELECT q.id FROM queues_queue q WHERE q.name = %(queue)s) ORDER BY r.id DESC LIMIT %(most)s
) {alert_since};
