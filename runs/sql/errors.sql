-- Error groups: failed tries by fingerprint. They are written last in the transaction of the failure: whoever holds a
-- group's row commits at once, and takes several in the order of their fingerprints.

-- name: error_counts
INSERT INTO runs_errorcount AS c (fingerprint, hour, task_id, step, version, worker_id, count, ended)
SELECT e.fingerprint, date_trunc('hour', holdfast_now(), 'UTC'), e.task, e.step, e.version, %(worker)s, e.count, e.ended
FROM unnest(%(fingerprints)s::text[], %(tasks)s::text[], %(steps)s::text[], %(versions)s::text[], %(counts)s::bigint[],
            %(ends)s::bigint[]) AS e (fingerprint, task, step, version, count, ended)
ORDER BY e.fingerprint, e.task, e.step, e.version
ON CONFLICT (fingerprint, hour, task_id, step, version, worker_id)
DO UPDATE SET count = c.count + excluded.count, ended = c.ended + excluded.ended;

-- name: error_groups
-- A worker says this of a group every few seconds at most: its row is everybody's.
INSERT INTO runs_errorgroup AS g (fingerprint, type, message, tasks, first_seen, last_seen, example)
SELECT e.fingerprint, e.type, e.message, ARRAY(SELECT jsonb_array_elements_text(e.tasks::jsonb)), holdfast_now(),
       holdfast_now(), e.example
FROM unnest(%(fingerprints)s::text[], %(types)s::text[], %(messages)s::text[], %(tasks)s::text[],
            %(examples)s::uuid[]) AS e (fingerprint, type, message, tasks, example)
ORDER BY e.fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    last_seen = greatest(g.last_seen, excluded.last_seen), example = excluded.example,
    tasks = CASE WHEN g.tasks @> excluded.tasks THEN g.tasks
                 ELSE ARRAY(SELECT DISTINCT t FROM unnest(g.tasks || excluded.tasks) AS t ORDER BY t LIMIT 50) END;

-- name: error_runs
-- Runs to which somebody else than their worker has given this error, by what is counted.
SELECT r.task_id, r.version, count(*), count(*) FILTER (WHERE r.finished_at IS NOT NULL OR r.stopping IS NOT NULL),
       (array_agg(r.id ORDER BY r.id DESC))[1]
FROM runs_run r
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.error ->> 'fingerprint' = %(fingerprint)s
GROUP BY r.task_id, r.version;

-- name: merge_error_counts
-- Of hours that are past, one row for all workers.
WITH old AS (
    DELETE FROM runs_errorcount c WHERE c.id = ANY (ARRAY(
        SELECT n.id FROM runs_errorcount n
        WHERE n.worker_id <> 0 AND n.hour < holdfast_now() - make_interval(secs => %(age)s)
        ORDER BY n.hour LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING c.fingerprint, c.hour, c.task_id, c.step, c.version, c.count, c.ended
), merged AS (
    INSERT INTO runs_errorcount AS c (fingerprint, hour, task_id, step, version, worker_id, count, ended)
    SELECT o.fingerprint, o.hour, o.task_id, o.step, o.version, 0, sum(o.count), sum(o.ended)
    FROM old o GROUP BY o.fingerprint, o.hour, o.task_id, o.step, o.version
    ORDER BY o.fingerprint, o.hour, o.task_id, o.step, o.version
    ON CONFLICT (fingerprint, hour, task_id, step, version, worker_id)
    DO UPDATE SET count = c.count + excluded.count, ended = c.ended + excluded.ended
)
SELECT count(*) FROM old;

-- name: forget_error_counts
DELETE FROM runs_errorcount c WHERE c.id = ANY (ARRAY(
    SELECT n.id FROM runs_errorcount n
    WHERE n.worker_id = 0 AND n.hour < holdfast_now() - make_interval(secs => %(age)s) ORDER BY n.hour LIMIT %(limit)s));

-- name: forget_error_groups
DELETE FROM runs_errorgroup g WHERE g.fingerprint = ANY (ARRAY(
    SELECT n.fingerprint FROM runs_errorgroup n
    WHERE n.last_seen < holdfast_now() - make_interval(secs => %(age)s) ORDER BY n.last_seen LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED));

-- name: error_look
-- The groups that were seen since a moment, the latest first, each with what its state is judged by: a day of its counts,
-- or what came since somebody has judged it. (What is shown of the few that are listed is read by the next two.)
WITH looked AS (
    SELECT g.* FROM runs_errorgroup g
    WHERE g.last_seen >= %(seen_since)s
      AND (%(before_at)s::timestamptz IS NULL OR (g.last_seen, g.fingerprint) < (%(before_at)s, %(before_print)s::text))
      AND (%(task)s::text IS NULL OR g.tasks @> ARRAY[%(task)s::varchar])
      AND (%(fingerprint)s::text IS NULL OR g.fingerprint = %(fingerprint)s)
    ORDER BY g.last_seen DESC, g.fingerprint DESC
    LIMIT %(most)s
)
SELECT l.fingerprint, l.type, l.message, l.tasks, l.first_seen, l.last_seen, l.example, l.resolved_at, l.resolved_by,
       l.resolved_in, l.snoozed_at, l.snoozed_by, l.snoozed_until, l.snoozed_for, l.reason, c.lately, c.before,
       c.today, greatest(0, c.since - l.snoozed_base) AS since, c.relapsed
FROM looked l
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n.count) FILTER (WHERE n.hour >= %(lately)s), 0)::bigint AS lately,
           coalesce(sum(n.count) FILTER (WHERE n.hour >= %(baseline)s AND n.hour < %(lately)s), 0)::bigint AS before,
           coalesce(sum(n.count) FILTER (WHERE n.hour >= %(today)s), 0)::bigint AS today,
           coalesce(sum(n.count) FILTER (WHERE n.hour >= date_trunc('hour', l.snoozed_at, 'UTC')), 0)::bigint AS since,
           coalesce(bool_or(n.hour >= date_trunc('hour', l.resolved_at, 'UTC') AND n.version <> ALL(l.resolved_seen)),
                    false) AS relapsed
    FROM runs_errorcount n
    WHERE n.fingerprint = l.fingerprint
      AND n.hour >= least(%(baseline)s, %(today)s, date_trunc('hour', l.snoozed_at, 'UTC'),
                          date_trunc('hour', l.resolved_at, 'UTC'))
) c
ORDER BY l.last_seen DESC, l.fingerprint DESC;

-- name: of_task
-- A part of what reads counts.
(%(task)s::text IS NULL OR n.task_id = %(task)s)

-- name: error_bins
-- Failed tries, and runs that ended so, by bins of time.
SELECT n.fingerprint, date_bin(make_interval(hours => %(hours)s), n.hour, %(start)s) AS bin, sum(n.count)::bigint AS count,
       sum(n.ended)::bigint AS ended
FROM runs_errorcount n
WHERE n.fingerprint = ANY(%(fingerprints)s) AND n.hour >= %(start)s AND {of_task}
GROUP BY n.fingerprint, bin;

-- name: error_parts
-- Failed tries by task, step and version, the most of each group first.
SELECT p.* FROM (
    SELECT n.fingerprint, n.task_id, n.step, n.version, sum(n.count)::bigint AS count, sum(n.ended)::bigint AS ended,
           min(n.hour) AS first, max(n.hour) AS last,
           row_number() OVER (PARTITION BY n.fingerprint ORDER BY sum(n.count) DESC, max(n.hour) DESC) AS place
    FROM runs_errorcount n
    WHERE n.fingerprint = ANY(%(fingerprints)s) AND n.hour >= %(start)s AND {of_task}
    GROUP BY n.fingerprint, n.task_id, n.step, n.version
) p
WHERE p.place <= %(most)s
ORDER BY p.fingerprint, p.place;

-- name: error_open
-- Runs that are not over and whose last error it is, counted up to a bound. Its conditions are those of run_open_by_error.
SELECT f.fingerprint, o.count
FROM unnest(%(fingerprints)s::text[]) AS f (fingerprint)
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT 1 FROM runs_run r
        WHERE (r.error ->> 'fingerprint') = f.fingerprint AND r.error IS NOT NULL AND r.finished_at IS NULL
        LIMIT %(most)s
    ) found
) o;
