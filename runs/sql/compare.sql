-- Two runs side by side.

-- name: compared_steps
-- The first steps, waits and failed tries of a run, or of one attempt. What they brought is told by a digest, large
-- values by their size.
SELECT s.key, s.name, s.kind, extract(epoch FROM s.finished_at - s.started_at)::float8,
       CASE WHEN pg_column_size(s.output) <= 2000 THEN md5(s.output::text) ELSE pg_column_size(s.output)::text END
FROM runs_snapshot s
WHERE s.run_id = %(run)s AND s.kind IN ('step', 'wait', 'failure')
  AND (%(attempt)s::int IS NULL OR s.attempt = %(attempt)s)
ORDER BY s.sequence
LIMIT %(limit)s;
