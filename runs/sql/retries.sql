-- Runs that have failed and are not over: whether their attempts come to anything, and when the next one is.

-- name: struggling
-- Newest first, down the partial index run_struggling, whose size follows what fails now, not the history. Its included
-- columns answer the filters.
SELECT r.id FROM runs_run r
WHERE r.finished_at IS NULL AND (r.failures > 0 OR r.crashes > 0)
  AND (%(task)s::text IS NULL OR r.task_id = %(task)s)
  AND (%(queue)s::bigint IS NULL OR r.queue_id = %(queue)s)
  AND (%(before)s::uuid IS NULL OR r.id < %(before)s)
ORDER BY r.id DESC
LIMIT %(limit)s;

-- name: retry_facts
-- Of each of these runs: the numbers and fingerprints of its last attempts that have ended (the latest first), the new
-- things that each attempt has finished, the last of those, and what was used since. It looks at `attempts` attempts
-- and `window` snapshots of each.
--
-- New is what is there for the first time: a step, what a wait brought, or a state that no checkpoint before had. (Code
-- that is entered again saves its early states again. Large states are compared by their size.)
SELECT r.id, r.task_id, r.attempt, tried.numbers, tried.prints, made.steps, made.attempt, made.at, made.key, made.spent,
       r.error ->> 'type', left(r.error ->> 'message', 300)
FROM runs_run r
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.number ORDER BY a.number DESC), '{}') AS numbers,
           coalesce(array_agg(a.print ORDER BY a.number DESC), '{}') AS prints
    FROM (
        SELECT a.number, a.error ->> 'fingerprint' AS print FROM runs_attempt a
        WHERE a.run_id = r.id AND a.finished_at IS NOT NULL
        ORDER BY a.number DESC LIMIT %(attempts)s
    ) a
) tried
CROSS JOIN LATERAL (
    WITH recent AS MATERIALIZED (
        SELECT w.sequence, w.attempt, w.key, w.finished_at, w.usage,
               w.kind IN ('step', 'wait', 'checkpoint') AND w.key NOT LIKE 'hook:%%'
               AND row_number() OVER (PARTITION BY w.kind, w.print ORDER BY w.sequence) = 1 AS fresh
        FROM (
            SELECT s.sequence, s.attempt, s.kind, s.key, s.finished_at, s.usage,
                   CASE WHEN s.kind <> 'checkpoint' THEN s.key
                        WHEN pg_column_size(s.state) <= 2000 THEN md5(s.state::text)
                        ELSE pg_column_size(s.state)::text END AS print
            FROM runs_snapshot s WHERE s.run_id = r.id ORDER BY s.sequence DESC LIMIT %(window)s
        ) w
    ), latest AS (
        SELECT c.sequence, c.attempt, c.key, c.finished_at FROM recent c WHERE c.fresh ORDER BY c.sequence DESC LIMIT 1
    ), spent AS (
        SELECT u.unit, u.amount FROM runs_usage u
        WHERE u.run_id = r.id AND u.attempt > coalesce((SELECT l.attempt FROM latest l), 0)
        UNION ALL
        SELECT e.key, e.value::numeric
        FROM recent c JOIN latest l ON c.sequence > l.sequence AND c.attempt = l.attempt
        CROSS JOIN LATERAL jsonb_each_text(c.usage) e
    )
    SELECT (SELECT jsonb_object_agg(f.attempt, f.steps)
            FROM (SELECT c.attempt, count(*) AS steps FROM recent c WHERE c.fresh GROUP BY c.attempt) f) AS steps,
           l.attempt, l.finished_at AS at, l.key,
           (SELECT jsonb_object_agg(t.unit, t.amount::text)
            FROM (SELECT s.unit, sum(s.amount) AS amount FROM spent s GROUP BY s.unit) t) AS spent
    FROM (VALUES (1)) one LEFT JOIN latest l ON true
) made
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.finished_at IS NULL
ORDER BY r.id DESC;

-- name: postpone_retries
-- The next attempts of runs are later. Call it after their entries were withdrawn (lock order). No row: a run waits for
-- none, or for a later one.
WITH moved AS (
    UPDATE runs_run r SET next_at = holdfast_now() + make_interval(secs => %(delay)s)
    WHERE r.id = ANY(%(ids)s::uuid[]) AND {can_be_postponed}
    RETURNING r.id, r.task_id, r.queue_id, r.priority, r.concurrency_key, r.units, r.next_at, old.next_at AS was
), incoming AS (
    SELECT m.id AS entry_id, m.queue_id, t.lane, m.priority, m.concurrency_key, m.units, m.next_at AS due_at
    FROM moved m JOIN runs_task t ON t.id = m.task_id
), {add_incoming}
SELECT m.id, m.was, m.next_at FROM moved m;

-- name: postponable
SELECT r.id FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND {can_be_postponed};

-- name: can_be_postponed
-- A part of the two before.
r.status = 'retrying' AND r.lease_token IS NULL
AND (r.next_at IS NULL OR r.next_at < holdfast_now() + make_interval(secs => %(delay)s))

-- name: hurry_retry
-- The next attempt of a run may begin now. Call it after its timer was ended (lock order).
UPDATE runs_run r SET next_at = holdfast_now()
WHERE r.id = %(id)s AND r.status = 'retrying' AND r.lease_token IS NULL
RETURNING old.next_at;
