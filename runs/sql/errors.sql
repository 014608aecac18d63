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
