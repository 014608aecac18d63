-- Updates: requests to a run that it answers, or refuses.
--
-- Whoever sends, gives out or answers one holds the lock of the run's waits (see `waits.sql`). The end of a run does not
-- take that lock; so a sender looks, as its last statement, whether the run is still there, and locks its row: a run
-- that ends later finds the update and settles it as abandoned, one that ended before is seen to be over.

-- name: add_update
-- No row: there is one of this key.
INSERT INTO runs_update (id, run_id, name, payload, key, sent_at, sent_by)
VALUES (uuidv7(), %(run)s, %(name)s, %(payload)s::jsonb, %(key)s, holdfast_now(), %(by)s)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: update_of_key
SELECT u.id, u.payload = %(payload)s::jsonb
FROM runs_update u WHERE u.run_id = %(run)s AND u.name = %(name)s AND u.key = %(key)s;

-- name: asked_for
-- The wait that will take the next update of this name.
SELECT w.detail::text
FROM runs_wait w
WHERE w.run_id = %(run)s AND w.kind = 'update' AND w.name = %(name)s AND w.resolved_at IS NULL
  AND (w.due_at IS NULL OR w.due_at > holdfast_now())
ORDER BY w.sequence LIMIT 1;

-- name: match_updates
-- The oldest updates that nobody has taken go to the oldest open waits of their name, as signals do.
WITH open AS (
    SELECT w.id, w.run_id, w.name, w.key,
           row_number() OVER (PARTITION BY w.run_id, w.name ORDER BY w.sequence) AS place
    FROM runs_wait w
    WHERE w.run_id = ANY(%(runs)s::uuid[]) AND w.kind = 'update' AND w.resolved_at IS NULL
      AND (w.due_at IS NULL OR w.due_at > holdfast_now())
), mail AS (
    SELECT u.id, u.run_id, u.name, u.payload, u.sent_by,
           row_number() OVER (PARTITION BY u.run_id, u.name ORDER BY u.sent_at, u.id) AS place
    FROM runs_update u
    WHERE u.run_id = ANY(%(runs)s::uuid[]) AND u.wait_id IS NULL AND u.outcome IS NULL
), pair AS (
    SELECT o.id AS wait_id, o.key, m.id AS update_id, m.payload, m.sent_by
    FROM open o JOIN mail m USING (run_id, name, place)
), taken AS (
    UPDATE runs_update u SET wait_id = p.wait_id FROM pair p
    WHERE u.id = p.update_id AND u.run_id = ANY(%(runs)s::uuid[]) AND u.outcome IS NULL
)
UPDATE runs_wait w
SET resolved_at = holdfast_now(), outcome = 'completed', resolved_by = p.sent_by,
    output = jsonb_build_object('update', p.update_id, 'wait', p.key, 'value', p.payload, 'by', p.sent_by)
FROM pair p WHERE w.id = p.wait_id AND w.run_id = ANY(%(runs)s::uuid[])
RETURNING w.run_id;

-- name: run_is_over
SELECT r.status, r.finished_at IS NOT NULL FROM runs_run r WHERE r.id = %(run)s FOR SHARE;

-- name: answer_updates
-- One that was abandoned when its run failed is answered all the same, when a person's retry leads the run so far.
UPDATE runs_update u
SET outcome = a.outcome, reply = a.reply::jsonb, reason = a.reason, answered_at = holdfast_now()
FROM unnest(%(run_ids)s::uuid[], %(ids)s::uuid[], %(outcomes)s::text[], %(replies)s::text[], %(reasons)s::text[])
     AS a (run_id, id, outcome, reply, reason)
WHERE u.id = ANY(%(ids)s::uuid[]) AND u.id = a.id AND u.run_id = a.run_id
  AND (u.outcome IS NULL OR u.outcome = 'abandoned');

-- name: ask_on
-- Waits whose update did not fit are open again, unless they have taken another one since.
UPDATE runs_wait w
SET resolved_at = NULL, outcome = NULL, output = NULL, resolved_by = ''
FROM unnest(%(waits)s::uuid[], %(ids)s::uuid[]) AS a (wait_id, id)
WHERE w.id = ANY(%(waits)s::uuid[]) AND w.id = a.wait_id AND w.outcome = 'completed' AND w.output ->> 'update' = a.id::text;

-- name: abandon_updates
-- Nobody answers any more. What a sender holds at this moment is its own: it will see that the run is over.
UPDATE runs_update u SET outcome = 'abandoned', answered_at = holdfast_now()
WHERE u.id = ANY (ARRAY(
    SELECT o.id FROM runs_update o
    WHERE o.run_id = ANY(%(runs)s::uuid[]) AND o.outcome IS NULL
      AND (SELECT r.finished_at FROM runs_run r WHERE r.id = o.run_id) IS NOT NULL
    FOR UPDATE OF o SKIP LOCKED
));
