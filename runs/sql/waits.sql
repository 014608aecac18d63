-- Waits: what a run that has left its worker will be woken by.
--
-- Whoever opens, answers or gives up a wait that somebody else may answer, puts a run down for one, or ends a child that
-- a run waits for, holds the run's lock (`lock_waits`) to the end of the transaction. So an answer either finds the run
-- put down, and wakes it, or is found by the worker that is about to put it down. The lock is taken before all rows.
-- Sleeps need none: they end by the clock, for whoever looks.

-- name: lock_waits
-- A lock for many runs: one each would be more than the lock table of PostgreSQL holds.
SELECT pg_advisory_xact_lock(%(lock_class)s, h.key)
FROM (
    SELECT DISTINCT abs(hashtext(i.id::text) %% 512) AS key FROM unnest(%(ids)s::uuid[]) AS i (id) ORDER BY 1
) h;

-- name: parents
SELECT DISTINCT r.parent_id FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND r.parent_wait IS NOT NULL;

-- name: open_waits
INSERT INTO runs_wait (id, run_id, key, kind, name, sequence, detail, created_at, due_at)
SELECT w.id, w.run_id, w.key, w.kind, w.name, w.sequence, w.detail::jsonb, holdfast_now(),
       CASE WHEN w.until IS NOT NULL THEN to_timestamp(w.until)
            WHEN w.delay IS NOT NULL THEN holdfast_now() + make_interval(secs => w.delay) END
FROM unnest(
    %(ids)s::uuid[], %(run_ids)s::uuid[], %(keys)s::text[], %(kinds)s::text[], %(names)s::text[], %(sequences)s::int[],
    %(delays)s::float8[], %(untils)s::float8[], %(details)s::text[]
) AS w (id, run_id, key, kind, name, sequence, delay, until, detail)
ON CONFLICT DO NOTHING;

-- name: add_signal
INSERT INTO runs_signal (run_id, name, payload, sent_at, sent_by)
VALUES (%(run)s, %(name)s, %(payload)s::jsonb, holdfast_now(), %(by)s)
RETURNING id;

-- name: match_signals
-- The oldest unread signals answer the oldest open waits of their name. A wait whose time is over takes none.
WITH open AS (
    SELECT w.id, w.run_id, w.name, row_number() OVER (PARTITION BY w.run_id, w.name ORDER BY w.sequence) AS place
    FROM runs_wait w
    WHERE w.run_id = ANY(%(runs)s::uuid[]) AND w.kind = 'signal' AND w.resolved_at IS NULL
      AND (w.due_at IS NULL OR w.due_at > holdfast_now())
), mail AS (
    SELECT s.id, s.run_id, s.name, s.payload, s.sent_by,
           row_number() OVER (PARTITION BY s.run_id, s.name ORDER BY s.id) AS place
    FROM runs_signal s
    WHERE s.run_id = ANY(%(runs)s::uuid[]) AND s.wait_id IS NULL
), pair AS (
    SELECT o.id AS wait_id, m.id AS signal_id, m.payload, m.sent_by
    FROM open o JOIN mail m USING (run_id, name, place)
), taken AS (
    UPDATE runs_signal s SET wait_id = p.wait_id FROM pair p WHERE s.id = p.signal_id
)
UPDATE runs_wait w
SET resolved_at = holdfast_now(), outcome = 'completed', output = p.payload, resolved_by = p.sent_by
FROM pair p WHERE w.id = p.wait_id
RETURNING w.run_id;

-- name: answer_wait
-- Completes a token or an approval, or fails a token. No row: it is over already, or its time is.
UPDATE runs_wait w
SET resolved_at = holdfast_now(), outcome = %(outcome)s, output = %(output)s::jsonb, resolved_by = %(by)s
WHERE w.id = %(id)s AND w.resolved_at IS NULL AND (w.due_at IS NULL OR w.due_at > holdfast_now())
RETURNING w.run_id;

-- name: settle_due
-- Waits whose time is over, whoever looks first. A sleep has done what it was for.
UPDATE runs_wait w
SET resolved_at = w.due_at, outcome = CASE WHEN w.kind IN ('sleep', 'retry') THEN 'completed' ELSE 'timed_out' END
WHERE w.run_id = ANY(%(runs)s::uuid[]) AND w.resolved_at IS NULL AND w.due_at <= holdfast_now();

-- name: waits
SELECT w.run_id, w.id, w.key, w.kind, w.outcome, w.output::text, extract(epoch FROM w.created_at)::float8,
       extract(epoch FROM w.due_at)::float8, extract(epoch FROM w.resolved_at)::float8
FROM runs_wait w
WHERE w.run_id = ANY(%(runs)s::uuid[])
ORDER BY w.run_id, w.sequence;

-- name: answered
-- Of these waits, those that are over: their runs are not put down, but come back at once.
SELECT DISTINCT w.run_id FROM runs_wait w WHERE w.id = ANY(%(ids)s::uuid[]) AND w.resolved_at IS NOT NULL;

-- name: give_up_waits
-- The losers of a race, or what a run that is over waited for. A signal or an update that a loser had taken is unread
-- again.
WITH lost AS (
    UPDATE runs_wait w
    SET resolved_at = coalesce(w.resolved_at, holdfast_now()), outcome = 'cancelled'
    WHERE w.id = ANY(%(ids)s::uuid[])
    RETURNING w.id
), unread AS (
    UPDATE runs_update u SET wait_id = NULL FROM lost WHERE u.wait_id = lost.id AND u.outcome IS NULL
)
UPDATE runs_signal s SET wait_id = NULL FROM lost WHERE s.wait_id = lost.id;

-- name: close_waits
-- Runs that are over wait for nothing any more.
UPDATE runs_wait w SET resolved_at = holdfast_now(), outcome = 'cancelled'
WHERE w.run_id = ANY(%(runs)s::uuid[]) AND w.resolved_at IS NULL;

-- name: forget_closed
-- Before runs that are over are opened again: what was closed when one ended is asked as if for the first time, under
-- the same key, so that links which were given out hold again. Children that were awaited there were that wait's alone.
WITH closed AS (
    DELETE FROM runs_wait w USING runs_run r
    WHERE r.id = ANY(%(ids)s::uuid[]) AND w.run_id = ANY(%(ids)s::uuid[]) AND w.run_id = r.id AND {can_be_reopened}
      AND w.outcome = 'cancelled' AND w.resolved_at >= r.finished_at
    RETURNING w.run_id, w.key, w.kind
)
UPDATE runs_run c SET parent_wait = left(c.parent_wait, 240) || ' closed'
FROM closed
WHERE c.parent_id = ANY(%(ids)s::uuid[]) AND c.parent_id = closed.run_id AND c.parent_wait = closed.key
  AND closed.kind = 'children';

-- name: children_ended
-- After these runs became final: parents that waited for them and have no other unfinished one.
WITH parent AS (
    SELECT DISTINCT r.parent_id AS run_id, r.parent_wait AS key
    FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND r.parent_wait IS NOT NULL
)
UPDATE runs_wait w SET resolved_at = holdfast_now(), outcome = 'completed'
FROM parent p
WHERE w.run_id = p.run_id AND w.key = p.key AND w.resolved_at IS NULL
  AND NOT EXISTS (
      SELECT 1 FROM runs_run c WHERE c.parent_id = p.run_id AND c.parent_wait = p.key AND c.finished_at IS NULL)
RETURNING w.run_id;

-- name: children
-- What became of the runs that a wait is for, in the order in which they were enqueued.
SELECT c.id, c.status, c.output::text, c.error::text
FROM runs_run c
WHERE c.parent_id = %(run)s AND c.parent_wait = %(key)s
ORDER BY c.id;

-- name: waiting_runs
-- Of these runs, those that have been put down to wait.
SELECT r.id FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND r.status = 'waiting';
