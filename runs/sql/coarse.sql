-- Sums of rollups over longer bins (CoarseRollup), which the scheduler makes once a bin is over; and how both are read.

-- name: coarse_claim
-- Until when there are sums of a size. One scheduler at a time; another one gets no row.
SELECT m.until FROM runs_coarsemark m WHERE m.size = %(size)s FOR UPDATE SKIP LOCKED;

-- name: coarse_begin
INSERT INTO runs_coarsemark (size, until) SELECT s, 'epoch' FROM unnest(%(sizes)s::int[]) AS s (s)
ON CONFLICT (size) DO NOTHING;

-- name: coarse_next
-- The first bin with rollups that has no sums yet, and whether it has been over for so many seconds.
SELECT b.at, b.at + make_interval(mins => %(size)s, secs => %(age)s) <= holdfast_now()
FROM (
    SELECT date_bin(make_interval(mins => %(size)s), u.minute, 'epoch') AS at
    FROM runs_rollup u WHERE u.minute >= %(until)s ORDER BY u.minute LIMIT 1
) b;

-- name: coarse_sum
WITH marked AS (
    UPDATE runs_coarsemark m SET until = %(at)s + make_interval(mins => %(size)s) WHERE m.size = %(size)s
)
INSERT INTO runs_coarserollup (size, kind, at, task_id, queue_id, version, status, bucket, worker_id, count)
SELECT %(size)s, u.kind, %(at)s, u.task_id, u.queue_id, u.version, u.status, u.bucket, u.worker_id, sum(u.count)
FROM runs_rollup u
WHERE u.minute >= %(at)s AND u.minute < %(at)s + make_interval(mins => %(size)s) AND u.kind IN ('run', 'delay')
GROUP BY u.kind, u.task_id, u.queue_id, u.version, u.status, u.bucket, u.worker_id
ORDER BY u.kind, u.task_id, u.queue_id, u.version, u.status, u.bucket, u.worker_id;

-- name: minute_sum
-- The minutes of a bin, with its sums of the smallest size.
INSERT INTO runs_minutesum (kind, minute, task_id, queue_id, status, count, longest)
SELECT u.kind, u.minute, u.task_id, u.queue_id, u.status, sum(u.count), max(u.bucket)
FROM runs_rollup u
WHERE u.minute >= %(at)s AND u.minute < %(at)s + make_interval(mins => %(size)s)
  AND u.kind IN ('run', 'attempt', 'delay')
GROUP BY u.kind, u.minute, u.task_id, u.queue_id, u.status
ORDER BY u.kind, u.minute, u.task_id, u.queue_id, u.status;

-- name: minute_forget
-- Call it when the sums of the smallest size are forgotten.
DELETE FROM runs_minutesum s
WHERE s.kind IN ('run', 'attempt', 'delay')
  AND s.minute >= (SELECT m.until FROM runs_coarsemark m WHERE m.size = %(size)s);

-- name: minutes_over
-- Minutes of some kinds, a part of other statements: sums of minutes as far as there are any, and rollups themselves from
-- then on. Each part is a range of an index: minute_sum_unique, rollup_unique. `longest` is a bucket.
(
    SELECT s.minute, s.kind, s.task_id, s.queue_id, s.status, s.count, s.longest
    FROM runs_minutesum s
    WHERE s.kind = ANY(%(kinds)s) AND s.minute >= %(start)s AND s.minute < %(end)s
    UNION ALL
    SELECT r.minute, r.kind, r.task_id, r.queue_id, r.status, r.count, r.bucket
    FROM runs_rollup r
    WHERE r.kind = ANY(%(kinds)s) AND r.minute < %(end)s AND r.minute >= greatest(
        %(start)s, (SELECT coalesce(max(m.until), 'epoch') FROM runs_coarsemark m WHERE m.size = %(summed)s))
);

-- name: coarse_forget
-- Rollups of the past were changed: sums from then on are made anew.
WITH marked AS (
    UPDATE runs_coarsemark m SET until = least(m.until, date_bin(make_interval(mins => m.size), %(since)s, 'epoch'))
)
DELETE FROM runs_coarserollup c USING runs_coarsemark m
WHERE c.size = m.size AND c.kind IN ('run', 'delay')
  AND c.at >= date_bin(make_interval(mins => m.size), %(since)s, 'epoch');

-- name: rollups_over
-- Rollups of a kind and a time, a part of other statements: sums where there are any from %(first)s to %(last)s, which
-- begin bins, and minutes before, after, and where no sums have been made yet. Each part is a range of an index:
-- coarse_rollup_unique, rollup_unique. (runs.coarse says which size.)
(
    SELECT c.at AS minute, c.task_id, c.queue_id, c.worker_id, c.version, c.status, c.bucket, c.count
    FROM runs_coarserollup c
    WHERE c.size = %(size)s AND c.kind = %(kind)s AND c.at >= %(first)s
      AND c.at < (SELECT coalesce(max(least(m.until, %(last)s)), %(first)s) FROM runs_coarsemark m WHERE m.size = %(size)s)
    UNION ALL
    SELECT r.minute, r.task_id, r.queue_id, r.worker_id, r.version, r.status, r.bucket, r.count
    FROM runs_rollup r WHERE r.kind = %(kind)s AND r.minute >= %(start)s AND r.minute < %(first)s
    UNION ALL
    SELECT r.minute, r.task_id, r.queue_id, r.worker_id, r.version, r.status, r.bucket, r.count
    FROM runs_rollup r
    WHERE r.kind = %(kind)s AND r.minute < %(end)s AND r.minute >= (
        SELECT greatest(max(least(m.until, %(last)s)), %(first)s) FROM runs_coarsemark m WHERE m.size = %(size)s)
);
