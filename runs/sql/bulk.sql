-- The frozen scope of a bulk job.

-- name: freeze_bulk
-- One row for each id, in this order, with the fingerprint of the error that its run has now.
INSERT INTO runs_bulkitem (job_id, position, run_id, fingerprint, outcome, why)
SELECT %(job)s, f.position - 1, f.id, left(coalesce(r.error ->> 'fingerprint', ''), 64), '', ''
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS f (id, position)
LEFT JOIN runs_run r ON r.id = f.id;
