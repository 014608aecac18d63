-- The frozen scope of a bulk job, and what became of it.

-- name: freeze_bulk
-- One row for each id, in this order, with the fingerprint of the error that its run has now.
INSERT INTO runs_bulkitem (job_id, position, run_id, fingerprint, outcome, why)
SELECT %(job)s, f.position - 1, f.id, left(coalesce(r.error ->> 'fingerprint', ''), 64), '', ''
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS f (id, position)
LEFT JOIN runs_run r ON r.id = f.id;

-- name: settle_bulk
-- What became of some of its runs. The job's row is taken last.
WITH settled AS (
    UPDATE runs_bulkitem b SET outcome = s.outcome, why = s.why, became = s.became
    FROM unnest(%(positions)s::int[], %(outcomes)s::text[], %(whys)s::text[], %(became)s::uuid[])
        AS s (position, outcome, why, became)
    WHERE b.job_id = %(job)s AND b.position = ANY(%(positions)s::int[]) AND b.position = s.position
    RETURNING b.outcome
)
UPDATE runs_bulkjob j
SET done = j.done + c.done, skipped = j.skipped + c.skipped, failed = j.failed + c.failed
FROM (
    SELECT count(*) FILTER (WHERE s.outcome = 'done') AS done, count(*) FILTER (WHERE s.outcome = 'skipped') AS skipped,
           count(*) FILTER (WHERE s.outcome = 'failed') AS failed
    FROM settled s
) c
WHERE j.id = %(job)s;
