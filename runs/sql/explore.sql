-- What the page Explore counts: rollups by bins of time, with what somebody asks for. Each statement reads the rollups of
-- its time by the prefix of rollup_unique (minute, kind); the time is bounded (runs.explore.asked).

-- name: rollup_fits
(%(task)s::text IS NULL OR u.task_id = %(task)s)
  AND (%(queue)s::text IS NULL OR u.queue_id = (SELECT q.id FROM queues_queue q WHERE q.name = %(queue)s))
  AND (%(version)s::text IS NULL OR u.version = %(version)s)
  AND (%(worker)s::text IS NULL OR u.worker_id IN (SELECT w.id FROM queues_worker w WHERE w.name = %(worker)s));

-- name: explore_cells
-- By bin, status and duration.
SELECT date_bin(make_interval(mins => %(minutes)s), u.minute, %(start)s) AS bin, u.status, u.bucket,
       sum(u.count)::bigint AS count
FROM runs_rollup u
WHERE u.kind = %(kind)s AND u.minute >= %(start)s AND u.minute < %(end)s AND {rollup_fits}
GROUP BY bin, u.status, u.bucket;

-- name: explore_groups
-- The groups in which most runs ended, twice: by bin, and by duration; how many groups there are stands in each row.
WITH found AS MATERIALIZED (
    SELECT CASE %(by)s::text WHEN 'task' THEN u.task_id WHEN 'version' THEN u.version WHEN 'worker' THEN w.name
                             ELSE q.name END AS name,
           date_bin(make_interval(mins => %(minutes)s), u.minute, %(start)s) AS bin,
           u.status = ANY(%(failed)s) AS failed, u.bucket, sum(u.count) AS count
    FROM runs_rollup u
    LEFT JOIN queues_queue q ON q.id = u.queue_id
    LEFT JOIN queues_worker w ON w.id = u.worker_id
    WHERE u.kind = 'run' AND u.minute >= %(start)s AND u.minute < %(end)s AND u.status = ANY(%(counted)s)
      AND {rollup_fits}
    GROUP BY 1, 2, 3, 4
), top AS (
    SELECT f.name, count(*) OVER () AS groups FROM found f GROUP BY f.name ORDER BY sum(f.count) DESC, f.name
    LIMIT %(most)s
)
SELECT coalesce(f.name, '') AS name, t.groups, f.bin, f.failed, f.bucket, sum(f.count)::bigint AS count
FROM found f JOIN top t ON t.name IS NOT DISTINCT FROM f.name
GROUP BY GROUPING SETS ((f.name, t.groups, f.bin, f.failed), (f.name, t.groups, f.failed, f.bucket));
