-- Forks: new runs that begin where another one was at a snapshot.

-- name: unanswered_intent
-- An unsafe step that was begun up to a snapshot, and of which nothing was known there.
SELECT s.key FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.sequence > %(past)s AND s.sequence <= %(upto)s AND s.kind = 'intent'
  AND NOT EXISTS (
      SELECT 1 FROM runs_snapshot a
      WHERE a.run_id = %(run)s AND a.sequence <= %(upto)s AND a.sequence > s.sequence AND a.key = s.key)
ORDER BY s.sequence LIMIT 1;

-- name: fork
-- In the transaction that enqueued the new run: it has the other one's history up to a snapshot, as if it had been its
-- own. Numbers begin anew after earlier rounds; attempts count up to 0, so that the new run's own come after them and
-- what happened in different ones stays apart. Hooks are the new run's to call, and what the steps used was not its
-- spending. `state`, where it is given, stands in place of the state that the last snapshot saved.
WITH kept AS (
    SELECT s.* FROM runs_snapshot s
    WHERE s.run_id = %(of)s AND s.sequence > %(past)s AND s.sequence <= %(upto)s AND s.key NOT LIKE 'hook:%%'
), last AS (
    SELECT coalesce(max(k.attempt), 0) AS attempt FROM kept k
), copied AS (
    INSERT INTO runs_snapshot (run_id, sequence, kind, name, key, attempt, input, output, state, error, started_at,
                               finished_at)
    SELECT %(new)s, k.sequence - %(past)s, k.kind, k.name, k.key, k.attempt - l.attempt, k.input, k.output,
           CASE WHEN k.sequence = %(upto)s AND k.kind = 'checkpoint' THEN coalesce(%(state)s::jsonb, k.state)
                ELSE k.state END,
           k.error, k.started_at, k.finished_at
    FROM kept k CROSS JOIN last l
)
UPDATE runs_run r
SET fork_of = o.id, fork_sequence = %(upto)s, round = o.round,
    version = coalesce(nullif(o.version, ''), %(version)s), accepted = o.accepted - %(past)s
FROM runs_run o
WHERE r.id = %(new)s AND o.id = %(of)s;
