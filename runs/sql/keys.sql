-- Keys under which several enqueues are one run.

-- name: claim_keys
-- Of each key, the run that has it, and the hash of that run's payload; the nil id when it is the caller's to use.
-- DO UPDATE waits for a caller in flight, so that of fifty at once one inserts and the others see its row. Keys are
-- claimed in one order, whatever the caller's: two batches never wait crosswise.
INSERT INTO runs_idempotencykey AS k (task_id, key, run_id, payload_hash, created_at, expires_at)
SELECT %(task)s, c.key, '00000000-0000-0000-0000-000000000000', c.hash, holdfast_now(),
       holdfast_now() + make_interval(secs => c.ttl)
FROM unnest(%(keys)s::varchar[], %(hashes)s::bytea[], %(ttls)s::float8[]) AS c (key, hash, ttl)
ORDER BY c.key
ON CONFLICT (task_id, key) DO UPDATE SET
    run_id = CASE WHEN k.expires_at <= holdfast_now() THEN excluded.run_id ELSE k.run_id END,
    payload_hash = CASE WHEN k.expires_at <= holdfast_now() THEN excluded.payload_hash ELSE k.payload_hash END,
    created_at = CASE WHEN k.expires_at <= holdfast_now() THEN excluded.created_at ELSE k.created_at END,
    expires_at = CASE WHEN k.expires_at <= holdfast_now() THEN excluded.expires_at ELSE k.expires_at END
RETURNING key, run_id, payload_hash;

-- name: settle_keys
-- The keys that were claimed belong to these runs.
UPDATE runs_idempotencykey k SET run_id = s.run_id
FROM unnest(%(keys)s::varchar[], %(runs)s::uuid[]) AS s (key, run_id)
WHERE k.task_id = %(task)s AND k.key = s.key;

-- name: release_keys
-- The keys that were claimed lead to no run.
DELETE FROM runs_idempotencykey k
WHERE k.task_id = %(task)s AND k.key = ANY(%(keys)s) AND k.run_id = '00000000-0000-0000-0000-000000000000';

-- name: claim_debounce
-- Locks the key until the transaction ends. `open`: it is not quiet yet, and a call now belongs to the run. Then
-- `joined` is when it is quiet after this call; otherwise `begun` is.
INSERT INTO runs_debouncekey AS d (task_id, key, run_id, began_at, quiet_at)
VALUES (%(task)s, %(key)s, '00000000-0000-0000-0000-000000000000', holdfast_now(), holdfast_now())
ON CONFLICT (task_id, key) DO UPDATE SET key = excluded.key
RETURNING d.run_id, d.quiet_at, holdfast_now() < d.quiet_at AS open,
          least(holdfast_now() + make_interval(secs => %(delay)s::float8),
                d.began_at + make_interval(secs => %(longest)s::float8)) AS joined,
          holdfast_now() + make_interval(secs => %(delay)s::float8) AS begun;

-- name: join_debounce
-- A call belongs to the run that is there.
UPDATE runs_debouncekey SET quiet_at = %(quiet_at)s WHERE task_id = %(task)s AND key = %(key)s;

-- name: begin_debounce
-- A call has begun another run.
UPDATE runs_debouncekey SET run_id = %(run_id)s, began_at = holdfast_now(), quiet_at = %(quiet_at)s
WHERE task_id = %(task)s AND key = %(key)s;

-- name: change_scheduled
-- A run whose timer was just moved is called with another payload, and its deadlines move along.
WITH changed AS (
    UPDATE runs_run r SET payload = %(payload)s::jsonb, next_at = %(due_at)s
    FROM runs_run before
    WHERE r.id = %(run_id)s AND before.id = r.id
    RETURNING r.id, r.next_at - before.next_at AS later
)
UPDATE runs_deadline d SET at = d.at + c.later FROM changed c WHERE d.run_id = c.id;

-- name: forget_keys
-- Keys that have expired, and calls that have long been quiet.
WITH idempotency AS (
    DELETE FROM runs_idempotencykey WHERE id IN (
        SELECT id FROM runs_idempotencykey WHERE expires_at < holdfast_now() LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING 1
), debounce AS (
    DELETE FROM runs_debouncekey WHERE id IN (
        SELECT id FROM runs_debouncekey WHERE quiet_at < holdfast_now() - interval '1 minute'
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING 1
)
SELECT (SELECT count(*) FROM idempotency) + (SELECT count(*) FROM debounce);
