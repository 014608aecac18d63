-- Homes: entries that are better leased by workers of one host, because something they need lies there (`Home`).
--
-- Any worker may lease any entry. One that has leased an entry whose home is another host puts it aside, as BOUND, in
-- the same transaction; workers of that host make it ready for themselves. So entries without a home cost nothing more.

-- name: here
-- A part of other statements: the worker's host.
(SELECT w.hostname FROM queues_worker w WHERE w.id = %(worker)s)

-- name: come_home
-- What was put aside for the worker's host is ready for the lease that follows in this transaction. Nobody else sees
-- that: `stay_home` ends it.
WITH placed AS (
    UPDATE queues_entry e SET stage = 0
    WHERE e.ctid = ANY (ARRAY(
        SELECT b.ctid FROM queues_entry b
        WHERE b.home = {here} AND b.stage = 2
        ORDER BY b.ready_at
        LIMIT %(most)s
        FOR UPDATE SKIP LOCKED))
    RETURNING e.queue_id, e.concurrency_key
), {note}
SELECT count(*) FROM placed;

-- name: stay_home
UPDATE queues_entry e SET stage = 2
WHERE e.home = {here} AND e.stage = 0;

-- name: set_aside
-- Of the leases that the worker was just given, those at home elsewhere are entries again.
WITH stranger AS (
    SELECT h.entry_id, h.hostname FROM queues_home h
    WHERE h.entry_id = ANY(%(ids)s::uuid[])
      AND h.hostname <> {here}
), gone AS (
    DELETE FROM queues_lease l USING stranger s
    WHERE l.entry_id = ANY(%(ids)s::uuid[]) AND l.entry_id = s.entry_id AND l.worker_id = %(worker)s
    RETURNING l.entry_id, l.queue_id, l.lane, l.priority, l.concurrency_key, l.units, l.ready_at, s.hostname
), {freed}
INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, units, ready_at, counts_from, stage, home)
SELECT entry_id, queue_id, lane, priority, concurrency_key, units, ready_at, ready_at - priority * interval '1 minute', 2,
       hostname
FROM gone
RETURNING entry_id;

-- name: settle
-- What these entries need lies on these hosts from now on.
INSERT INTO queues_home AS h (entry_id, hostname, pool)
SELECT n.entry_id, n.hostname, q.pool
FROM unnest(%(ids)s::uuid[], %(hosts)s::varchar[]) AS n (entry_id, hostname)
JOIN queues_lease l ON l.entry_id = n.entry_id
JOIN queues_queue q ON q.id = l.queue_id
WHERE l.entry_id = ANY(%(ids)s::uuid[])
ON CONFLICT (entry_id) DO UPDATE SET hostname = excluded.hostname, pool = excluded.pool
WHERE h.hostname <> excluded.hostname;

-- name: leave_homes
-- A host on which no worker of the pool has lived for a while is nobody's home any more.
WITH home AS MATERIALIZED (
    SELECT DISTINCT h.hostname, h.pool FROM queues_home h
), lost AS MATERIALIZED (
    SELECT home.hostname, home.pool FROM home
    WHERE NOT EXISTS (
        SELECT 1 FROM queues_worker w
        WHERE w.hostname = home.hostname AND w.pools ? home.pool
          AND ((w.stopped_at IS NULL AND w.lost_at IS NULL)
               OR greatest(w.stopped_at, w.lost_at) > holdfast_now() - make_interval(secs => %(grace)s)))
), gone AS (
    DELETE FROM queues_home h USING lost WHERE h.hostname = lost.hostname AND h.pool = lost.pool
), placed AS (
    UPDATE queues_entry e SET stage = 0, home = NULL
    FROM lost, queues_queue q
    WHERE e.home = lost.hostname AND e.stage = 2 AND q.id = e.queue_id AND q.pool = lost.pool
    RETURNING e.queue_id, e.concurrency_key
), {note}
SELECT hostname, pool FROM lost;

-- name: forget_homes
-- Of entries that are gone.
DELETE FROM queues_home h
WHERE NOT EXISTS (SELECT 1 FROM queues_entry e WHERE e.entry_id = h.entry_id)
  AND NOT EXISTS (SELECT 1 FROM queues_timer t WHERE t.entry_id = h.entry_id)
  AND NOT EXISTS (SELECT 1 FROM queues_lease l WHERE l.entry_id = h.entry_id);

-- name: homes
-- Where entries that were put aside are at home.
SELECT e.entry_id, e.home FROM queues_entry e WHERE e.entry_id = ANY(%(ids)s::uuid[]) AND e.home IS NOT NULL;
