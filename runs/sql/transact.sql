-- Transactions that belong to a step (`@step(transaction=True)`), and a person's decision about an unsafe one.

-- name: transaction_begin
-- The session is called after its worker until the transaction ends: whoever declares that worker lost ends it, so that
-- the rows that the step has locked do not stay locked for as long as its process is frozen.
SELECT set_config('application_name', 'holdfast step ' || %(worker)s, true);

-- name: transaction_seal
-- Before it takes the locks on the worker's row and the lease: a process that is frozen between them and its COMMIT is
-- cut off. The id tells, when the answer to the COMMIT is lost, what became of it.
SELECT set_config('idle_in_transaction_session_timeout', %(quiet)s, true), pg_current_xact_id()::text;

-- name: transaction_status
SELECT pg_xact_status(%(xid)s::text::xid8);

-- name: snapshot_is_stored
SELECT EXISTS (
    SELECT 1 FROM runs_snapshot s
    WHERE s.run_id = %(run)s AND s.sequence = %(sequence)s AND s.key = %(key)s AND s.attempt = %(attempt)s
      AND s.kind = 'step');

-- name: lock_unknown
-- A run of which a step's outcome is unknown, for the one person who decides.
SELECT r.attempt, r.error ->> 'step', r.status FROM runs_run r WHERE r.id = %(id)s FOR NO KEY UPDATE;

-- name: open_intent
-- The unsafe step that was begun and of which nothing is known since: the one asked for, otherwise the first.
SELECT i.name, i.key, i.input::text
FROM runs_snapshot i
WHERE i.run_id = %(id)s AND i.kind = 'intent' AND NOT EXISTS (
    SELECT 1 FROM runs_snapshot s
    WHERE s.run_id = %(id)s AND s.key = i.key AND s.sequence > i.sequence
      AND s.kind IN ('step', 'cleared', 'failure'))
ORDER BY i.key = %(key)s DESC, i.sequence
LIMIT 1;

-- name: last_sequence
SELECT coalesce(max(s.sequence), 0) FROM runs_snapshot s WHERE s.run_id = %(id)s;

-- name: give_up
WITH moved AS (
    UPDATE runs_run r SET status = 'failed', finished_at = holdfast_now() WHERE r.id = %(id)s AND r.status = 'unknown'
    RETURNING r.id, r.status, r.finished_at
), {told}
SELECT m.id FROM moved m;
