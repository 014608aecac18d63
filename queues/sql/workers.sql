-- Workers: their registration, proof of life, and what is taken from the dead.

-- name: register
INSERT INTO queues_worker (name, pools, hostname, pid, version, coroutines, threads, processes, started_at,
                           heartbeat_at, server_started_at)
VALUES (%(name)s, %(pools)s, %(hostname)s, %(pid)s, %(version)s, %(coroutines)s, %(threads)s, %(processes)s,
        holdfast_now(), holdfast_now(), pg_postmaster_start_time())
RETURNING id;

-- name: hold
-- The session advisory lock that says "alive" for as long as this connection lives.
SELECT pg_try_advisory_lock(%(lock_class)s, %(worker)s::int) AS held, pg_postmaster_start_time() AS server_started_at;

-- name: beat
UPDATE queues_worker
SET heartbeat_at = holdfast_now(), running = %(running)s, memory = %(memory)s,
    server_started_at = pg_postmaster_start_time(),
    draining_at = CASE WHEN %(draining)s THEN coalesce(draining_at, holdfast_now()) END
WHERE id = %(worker)s AND lost_at IS NULL
RETURNING holdfast_now(), drain_asked_at IS NOT NULL;

-- name: ask_to_drain
-- It sees it with its next heartbeat.
UPDATE queues_worker SET drain_asked_at = coalesce(drain_asked_at, holdfast_now())
WHERE id = %(worker)s AND stopped_at IS NULL AND lost_at IS NULL
RETURNING new.name, new.drain_asked_at, old.drain_asked_at IS NULL;

-- name: begin_batch
-- Opens a group commit: fails with HF001 when the worker has been declared dead, and numbers the batch, so that a
-- commit whose acknowledgement was lost can be told from one that did not happen: HF002 when it is recorded already.
SELECT queues_begin_batch(%(worker)s, %(batch)s);

-- name: last_batch
SELECT batch FROM queues_worker WHERE id = %(worker)s AND lost_at IS NULL;

-- name: stop
UPDATE queues_worker SET stopped_at = holdfast_now() WHERE id = %(worker)s AND lost_at IS NULL;

-- name: returned
UPDATE queues_worker SET returned_at = holdfast_now() WHERE id = %(worker)s AND lost_at IS NOT NULL RETURNING id;

-- name: suspects
-- Workers that say they live; `silent` when their heartbeat is too old. A lock taken on an earlier start of this
-- PostgreSQL proves nothing, so `lock_tells` is false until the worker has locked again.
SELECT id, name, heartbeat_at < holdfast_now() - make_interval(secs => %(timeout)s) AS silent,
       server_started_at = pg_postmaster_start_time() AS lock_tells, extract(epoch FROM heartbeat_at)::float8
FROM queues_worker
WHERE stopped_at IS NULL AND lost_at IS NULL;

-- name: lock_is_free
SELECT pg_try_advisory_xact_lock(%(lock_class)s, %(worker)s::int);

-- name: declare_lost
-- From here on its writes and leases are refused. A worker in the middle of a transaction is passed over: either it
-- lives, or that transaction is ended in a moment, by PostgreSQL or by `end_frozen`. Waiting here would silence the
-- rescuer, too, and a heartbeat that waited behind the same transaction would then be overlooked.
WITH victim AS (
    SELECT id FROM queues_worker
    WHERE id = %(worker)s AND lost_at IS NULL AND stopped_at IS NULL
      AND (%(silent_for)s::float8 IS NULL OR heartbeat_at < holdfast_now() - make_interval(secs => %(silent_for)s))
    FOR UPDATE SKIP LOCKED
)
UPDATE queues_worker w SET lost_at = holdfast_now() FROM victim WHERE w.id = victim.id RETURNING w.id;

-- name: end_frozen
-- Sessions of ours that are in the middle of a transaction and have said nothing for a while: a process that was frozen
-- half-way through a pipeline. PostgreSQL's own timeout for idle transactions misses two of its states. Until the
-- pipeline is synchronised such a session counts as active. And a flush that follows the synchronisation, as psycopg
-- sends one, switches the timer off again, because it is a message, and does not start it anew, because it is not a
-- command.
SELECT count(pg_terminate_backend(a.pid))
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.application_name LIKE 'holdfast %%' AND a.application_name NOT LIKE 'holdfast step %%'
  AND (a.state = 'active' AND a.wait_event = 'ClientRead' OR a.state LIKE 'idle in transaction%%')
  AND a.state_change < clock_timestamp() - make_interval(secs => %(quiet)s);

-- name: fence
-- For a transaction that is not the writer's: holds the worker and one lease of its to the transaction's end. No row:
-- the worker was declared lost, or the entry is somebody else's by now. The worker first, as everybody takes the two.
WITH living AS MATERIALIZED (
    SELECT w.id FROM queues_worker w WHERE w.id = %(worker)s AND w.lost_at IS NULL FOR KEY SHARE
)
SELECT l.entry_id FROM living JOIN queues_lease l ON l.worker_id = living.id
WHERE l.entry_id = %(id)s AND l.token = %(token)s
FOR KEY SHARE OF l;

-- name: end_sessions
-- Sessions that work on a lost worker's steps: what they hold would be held until its process thaws.
SELECT count(pg_terminate_backend(a.pid))
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.application_name = 'holdfast step ' || %(worker)s;

-- name: seize
-- The leases of a worker that will not be back.
WITH gone AS (
    DELETE FROM queues_lease WHERE worker_id = %(worker)s
    RETURNING entry_id, token, queue_id, lane, priority, concurrency_key, units, leased_at
), {freed}
SELECT * FROM gone;

-- name: orphans
-- Workers that are gone but still hold leases: they said goodbye and died before they had handed everything over.
SELECT DISTINCT l.worker_id
FROM queues_lease l JOIN queues_worker w ON w.id = l.worker_id
WHERE w.stopped_at IS NOT NULL OR w.lost_at IS NOT NULL;

-- name: held
SELECT entry_id, token FROM queues_lease WHERE worker_id = %(worker)s;
