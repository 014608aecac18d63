-- What the pages count and group. Charts and rates come from rollups; the rest looks at a bounded number of rows.

-- name: status_counts
-- The condition against 'completed' is what lets the partial index run_by_status serve a status that is a parameter.
SELECT s.status, n.count
FROM unnest(%(statuses)s::text[]) AS s (status)
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT 1 FROM runs_run r WHERE r.status = s.status AND r.status <> 'completed' LIMIT %(most)s
    ) found
) n;

-- name: ended_by_task
-- Runs that ended in the last hour, and in its last quarter.
SELECT u.task_id,
       sum(u.count)::bigint AS ended,
       coalesce(sum(u.count) FILTER (WHERE u.status = ANY(%(failed)s)), 0)::bigint AS failed,
       coalesce(sum(u.count) FILTER (WHERE u.minute >= recent.start), 0)::bigint AS ended_lately,
       coalesce(sum(u.count) FILTER (WHERE u.minute >= recent.start AND u.status = ANY(%(failed)s)), 0)::bigint
           AS failed_lately
FROM runs_rollup u
CROSS JOIN (SELECT holdfast_now() - interval '15 minutes' AS start) recent
WHERE u.kind = 'run' AND u.minute >= holdfast_now() - interval '60 minutes' AND u.status = ANY(%(counted)s)
GROUP BY u.task_id;

-- name: failing
-- What fails most: the latest failures of each status, those of the last hour grouped by task and fingerprint.
SELECT r.task_id, coalesce(r.error ->> 'fingerprint', '') AS fingerprint, count(*) AS runs,
       count(*) FILTER (WHERE r.status = 'retrying') AS retrying,
       (array_agg(r.error ->> 'type' ORDER BY r.id DESC))[1] AS type,
       left((array_agg(r.error ->> 'message' ORDER BY r.id DESC))[1], 300) AS message,
       (array_agg(r.id ORDER BY r.id DESC))[1] AS latest
FROM unnest(%(statuses)s::text[]) AS s (status)
CROSS JOIN LATERAL (
    SELECT r.id, r.task_id, r.status, r.error, r.finished_at FROM runs_run r
    WHERE r.status = s.status AND r.status <> 'completed'
    ORDER BY r.id DESC LIMIT %(most)s
) r
WHERE r.error IS NOT NULL AND (r.finished_at >= holdfast_now() - interval '60 minutes' OR r.status = 'retrying')
GROUP BY r.task_id, fingerprint
ORDER BY runs DESC, latest DESC
LIMIT %(groups)s;

-- name: rate_cells
-- By bins of time; how long the runs took does not matter here.
SELECT date_bin(make_interval(mins => %(minutes)s), u.minute, %(start)s) AS bin, u.status, 0 AS bucket,
       sum(u.count)::bigint AS count
FROM {rollups_over} u
WHERE u.status = ANY(%(counted)s) AND (%(task)s::text IS NULL OR u.task_id = %(task)s)
GROUP BY bin, u.status;

-- name: duration_cells
-- By how long the runs took; when does not matter here.
SELECT %(start)s::timestamptz AS minute, u.status, u.bucket, sum(u.count)::bigint AS count
FROM {rollups_over} u
WHERE u.status = ANY(%(counted)s) AND (%(task)s::text IS NULL OR u.task_id = %(task)s)
GROUP BY u.status, u.bucket;

-- name: task_stats
SELECT u.task_id, u.status, u.bucket, sum(u.count)::bigint AS count
FROM {rollups_over} u
WHERE u.status = ANY(%(counted)s) AND u.task_id = ANY(%(tasks)s)
GROUP BY u.task_id, u.status, u.bucket;

-- name: starts_lately
-- Starts of a queue in the last minutes, and the seconds of these that are over; counted by the minute.
SELECT coalesce(sum(u.count), 0)::bigint AS starts,
       greatest(1, extract(epoch FROM holdfast_now() - min(u.minute)))::float8 AS seconds
FROM runs_rollup u
WHERE u.kind = 'delay' AND u.queue_id = %(queue)s
  AND u.minute >= date_trunc('minute', holdfast_now()) - make_interval(mins => %(minutes)s);

-- name: arrivals
-- What came into a queue and has started, the latest first, as `queues.whatif.Arrival`. A run that is being worked on
-- has been so until now.
SELECT extract(epoch FROM r.created_at)::float8,
       greatest(0, CASE WHEN r.status IN ('running', 'cancelling') AND worked.seconds = 0
                        THEN extract(epoch FROM holdfast_now() - r.started_at) ELSE worked.seconds END)::float8,
       r.concurrency_key, r.priority, r.units
FROM runs_run r
CROSS JOIN LATERAL (SELECT coalesce(sum(a.active), 0) AS seconds FROM runs_attempt a WHERE a.run_id = r.id) AS worked
WHERE r.queue_id = %(queue)s AND r.id >= %(first)s AND r.started_at IS NOT NULL
ORDER BY r.id DESC
LIMIT %(limit)s;

-- name: ended_lately
-- Runs that ended in the last full minutes, by status.
SELECT u.status, sum(u.count)::bigint AS count
FROM runs_rollup u
WHERE u.kind = 'run' AND u.minute >= date_trunc('minute', holdfast_now()) - make_interval(mins => %(minutes)s)
  AND u.minute < date_trunc('minute', holdfast_now()) AND u.status = ANY(%(counted)s)
GROUP BY u.status;
