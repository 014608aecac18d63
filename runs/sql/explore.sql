-- What the page Explore counts: rollups by bins of time, with what somebody asks for. The time is bounded
-- (runs.explore.asked), and sums are read where it is long (rollups_over).

-- name: rollup_fits
(%(task)s::text IS NULL OR u.task_id = %(task)s)
  AND (%(queue)s::text IS NULL OR u.queue_id = (SELECT q.id FROM queues_queue q WHERE q.name = %(queue)s))
  AND (%(version)s::text IS NULL OR u.version = %(version)s)
  AND (%(worker)s::text IS NULL OR u.worker_id IN (SELECT w.id FROM queues_worker w WHERE w.name = %(worker)s));

-- name: explore_cells
-- By bin, status and duration.
SELECT date_bin(make_interval(mins => %(minutes)s), u.minute, %(start)s) AS bin, u.status, u.bucket,
       sum(u.count)::bigint AS count
FROM {rollups_over} u
WHERE {rollup_fits}
GROUP BY bin, u.status, u.bucket;

-- name: explore_groups
-- The groups in which most runs ended, twice: by bin, and by duration; how many groups there are stands in each row.
WITH found AS MATERIALIZED (
    SELECT CASE %(by)s::text WHEN 'task' THEN u.task_id WHEN 'version' THEN u.version WHEN 'worker' THEN w.name
                             ELSE q.name END AS name,
           date_bin(make_interval(mins => %(minutes)s), u.minute, %(start)s) AS bin,
           u.status = ANY(%(failed)s) AS failed, u.bucket, sum(u.count) AS count
    FROM {rollups_over} u
    LEFT JOIN queues_queue q ON q.id = u.queue_id
    LEFT JOIN queues_worker w ON w.id = u.worker_id
    WHERE u.status = ANY(%(counted)s) AND {rollup_fits}
    GROUP BY 1, 2, 3, 4
), top AS (
    SELECT f.name, count(*) OVER () AS groups FROM found f GROUP BY f.name ORDER BY sum(f.count) DESC, f.name
    LIMIT %(most)s
)
SELECT coalesce(f.name, '') AS name, t.groups, f.bin, f.failed, f.bucket, sum(f.count)::bigint AS count
FROM found f JOIN top t ON t.name IS NOT DISTINCT FROM f.name
GROUP BY GROUPING SETS ((f.name, t.groups, f.bin, f.failed), (f.name, t.groups, f.failed, f.bucket));

-- name: explore_sample
-- Runs of slices of time: `take` of each that fit, among the `passed` that ended last in it. Each slice is a walk down
-- run_by_end. Of kind 0 are those that took from `over` to `under` seconds, of kind 1 the others, of kind 2 all.
slices AS (
    SELECT * FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(kinds)s::int[], %(passes)s::int[],
                         %(takes)s::int[]) AS s (start, "end", kind, passed, take)
), sample AS MATERIALIZED (
    SELECT s.kind = 0 AS inside, f.*
    FROM slices s
    CROSS JOIN LATERAL (
        SELECT u.* FROM (
            SELECT r.id, r.task_id, r.queue_id, r.worker_id, r.version, r.status, r.concurrency_key, r.tags, r.payload,
                   r.error, extract(epoch FROM r.finished_at - r.created_at)::float8 AS seconds
            FROM runs_run r
            WHERE r.finished_at >= s.start AND r.finished_at < s."end"
            ORDER BY r.finished_at DESC LIMIT s.passed
        ) u
        WHERE u.status = ANY(%(counted)s) AND {rollup_fits}
          AND CASE s.kind WHEN 2 THEN true
                          ELSE (s.kind = 0) = (u.seconds >= %(over)s AND (%(under)s::float8 IS NULL OR u.seconds < %(under)s))
              END
        LIMIT s.take
    ) f
);

-- name: explore_differences
-- What the runs of the sample have, counted inside of the box and outside; the first row counts the runs themselves.
-- Payloads are looked at one key deep, for scalars that are not long; a payload that is large itself is not unpacked.
WITH {explore_sample}, facts AS (
    SELECT s.inside, 'task' AS field, '' AS path, s.task_id AS value FROM sample s
    UNION ALL SELECT s.inside, 'queue', '', q.name FROM sample s JOIN queues_queue q ON q.id = s.queue_id
    UNION ALL SELECT s.inside, 'version', '', s.version FROM sample s WHERE s.version <> ''
    UNION ALL SELECT s.inside, 'worker', '', w.name FROM sample s JOIN queues_worker w ON w.id = s.worker_id
    UNION ALL SELECT s.inside, 'key', '', s.concurrency_key FROM sample s WHERE s.concurrency_key IS NOT NULL
    UNION ALL SELECT s.inside, 'error', '', s.error ->> 'fingerprint' FROM sample s
              WHERE s.status <> 'completed' AND s.error ->> 'fingerprint' <> ''
    UNION ALL SELECT s.inside, 'tag', '', t.tag FROM sample s CROSS JOIN LATERAL unnest(s.tags) AS t (tag)
    UNION ALL SELECT s.inside, 'payload', e.key, e.value::text
              FROM sample s
              CROSS JOIN LATERAL jsonb_each(CASE WHEN jsonb_typeof(s.payload) = 'object' THEN s.payload END) e
              WHERE pg_column_size(s.payload) <= %(payload)s AND jsonb_typeof(e.value) IN ('string', 'number', 'boolean')
                AND length(e.key) <= %(text)s AND length(e.value::text) <= %(text)s
)
SELECT '' AS field, '' AS path, '' AS value,
       count(*) FILTER (WHERE s.inside) AS inside, count(*) FILTER (WHERE NOT s.inside) AS outside
FROM sample s
UNION ALL
SELECT * FROM (
    SELECT f.field, f.path, f.value, count(*) FILTER (WHERE f.inside) AS inside, count(*) FILTER (WHERE NOT f.inside)
    FROM facts f GROUP BY f.field, f.path, f.value
    HAVING count(*) FILTER (WHERE f.inside) >= %(least)s
    ORDER BY inside DESC LIMIT %(most)s
) counted;

-- name: explore_tags
-- The tags of the runs of the sample, one row each: whether the run failed, and its seconds.
WITH {explore_sample}
SELECT (SELECT count(*) FROM sample) AS runs, t.tag, s.status = ANY(%(failed)s) AS failed, s.seconds
FROM sample s CROSS JOIN LATERAL unnest(s.tags) AS t (tag)
LIMIT %(most)s;
