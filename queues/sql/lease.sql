-- Statements here and in runs/sql run on connections that are told to look rows up by key (`holdfast.db.connect`):
-- the tables are empty one moment and hold a million rows the next, so a plan must not depend on their size.
--
-- Admission: which entries a worker may have now. Lock order everywhere: queue, entry or timer, lease, worker, run.

-- name: limited
-- A part of other statements: whether queue `q` has anything to count before a lease.
(q.concurrency_limit IS NOT NULL OR q.key_concurrency_limit IS NOT NULL OR q.rate_amount IS NOT NULL)

-- name: peek
-- Is there anything at all, is any of it in a queue with a limit or a rate, and has anything a home? One cheap look
-- before a transaction is opened: most wake-ups of a worker find that another one was quicker.
SELECT EXISTS (SELECT 1 FROM queues_entry), EXISTS (
    SELECT 1 FROM queues_queue q
    WHERE q.pool = ANY(%(pools)s) AND q.paused_at IS NULL
      AND {limited}
      AND EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id)), EXISTS (SELECT 1 FROM queues_home);

-- name: lock_limited
-- The queues with a limit or a rate, locked in order of id, and whether keys and a rate are to be looked at. The counting
-- below is a statement of its own, so that its snapshot is younger than these locks: counted before the lock, two
-- workers could both see the last free slot.
SELECT q.id, q.key_concurrency_limit IS NOT NULL, q.rate_amount IS NOT NULL
FROM queues_queue q
WHERE q.pool = ANY(%(pools)s) AND q.paused_at IS NULL
  AND {limited}
  AND EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id)
ORDER BY q.id
FOR NO KEY UPDATE OF q;

-- name: unhold
-- What is held of keys that gave slots back is ready again, as many as fit now. An entry that somebody else has locked
-- may yet be theirs or not: its key's note stays for the next lease.
WITH note AS (
    DELETE FROM queues_freed f WHERE f.queue_id = ANY(%(queues)s) RETURNING f.queue_id, f.concurrency_key
), key AS MATERIALIZED (
    SELECT n.queue_id, n.concurrency_key AS name,
           greatest(0, q.key_concurrency_limit - (SELECT count(*) FROM queues_lease l
                                                  WHERE l.queue_id = n.queue_id
                                                    AND l.concurrency_key = n.concurrency_key)) AS room
    FROM (SELECT DISTINCT * FROM note) n JOIN queues_queue q ON q.id = n.queue_id
), next AS MATERIALIZED (
    SELECT key.queue_id, key.name, key.room, e.tid
    FROM key CROSS JOIN LATERAL (
        SELECT h.ctid AS tid FROM queues_entry h
        WHERE h.queue_id = key.queue_id AND h.concurrency_key = key.name AND h.stage = 1
        ORDER BY h.priority DESC, h.ready_at, h.entry_id
        LIMIT key.room
        FOR UPDATE SKIP LOCKED
    ) e
), again AS (
    INSERT INTO queues_freed (queue_id, concurrency_key)
    SELECT key.queue_id, key.name FROM key
    WHERE (SELECT count(*) FROM next n WHERE n.queue_id = key.queue_id AND n.name = key.name) < key.room
      AND EXISTS (SELECT 1 FROM queues_entry h
                  WHERE h.queue_id = key.queue_id AND h.concurrency_key = key.name AND h.stage = 1
                    AND h.ctid <> ALL (ARRAY(SELECT n.tid FROM next n)))
)
UPDATE queues_entry e SET stage = 0 WHERE e.ctid = ANY (ARRAY(SELECT n.tid FROM next n));

-- name: unhold_all
UPDATE queues_entry SET stage = 0 WHERE queue_id = %(queue)s AND stage = 1;

-- name: lease
-- Moves up to `coroutines`, `threads` and `processes` entries of the worker's pools into its hands, best priority first,
-- never more of a queue than its limit and its rate leave room for, nor of a key. What is found of a key without a slot
-- is held: the first row says how many, so that a worker that got none of them looks again.
WITH RECURSIVE busy (queue_id) AS (
    -- A skip scan: one index probe for each queue that has entries, none for a queue that is idle.
    (SELECT e.queue_id FROM queues_entry e ORDER BY e.queue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.queue_id FROM queues_entry e WHERE e.queue_id > b.queue_id ORDER BY e.queue_id LIMIT 1)
    FROM busy b WHERE b.queue_id IS NOT NULL
), fence AS MATERIALIZED (
    SELECT w.id FROM queues_worker w
    WHERE w.id = %(worker)s AND w.lost_at IS NULL AND w.stopped_at IS NULL
    FOR KEY SHARE
), open AS MATERIALIZED (
    SELECT q.id, q.key_concurrency_limit AS key_limit,
           least(%(coroutines)s::int + %(threads)s::int + %(processes)s::int,
                 q.concurrency_limit - (SELECT count(*) FROM queues_lease l WHERE l.queue_id = q.id),
                 q.rate_amount - {started}) AS room
    FROM busy JOIN queues_queue q ON q.id = busy.queue_id
    WHERE q.pool = ANY(%(pools)s) AND q.paused_at IS NULL
      AND (NOT {limited} OR q.id = ANY(%(locked)s))
), best AS MATERIALIZED (
    SELECT e.*, open.room, open.key_limit, lane.room AS lane_room
    FROM fence
    CROSS JOIN open
    CROSS JOIN (VALUES (0::smallint, %(coroutines)s::int), (1::smallint, %(threads)s::int),
                       (2::smallint, %(processes)s::int)) AS lane (id, room)
    CROSS JOIN LATERAL (
        SELECT n.ctid AS tid, n.entry_id, n.queue_id, n.lane, n.priority, n.concurrency_key, n.ready_at
        FROM queues_entry n
        WHERE n.queue_id = open.id AND n.lane = lane.id AND n.stage = 0
        ORDER BY n.priority DESC, n.ready_at, n.entry_id
        LIMIT greatest(0, least(open.room, lane.room))
        FOR UPDATE SKIP LOCKED
    ) e
), full_key AS MATERIALIZED (
    SELECT k.tid FROM (
        SELECT b.tid, b.queue_id, b.concurrency_key, b.key_limit,
               row_number() OVER (PARTITION BY b.queue_id, b.concurrency_key
                                  ORDER BY b.priority DESC, b.ready_at, b.entry_id) AS in_key
        FROM best b WHERE b.key_limit IS NOT NULL AND b.concurrency_key IS NOT NULL
    ) k
    WHERE k.in_key > k.key_limit - (SELECT count(*) FROM queues_lease l
                                    WHERE l.queue_id = k.queue_id AND l.concurrency_key = k.concurrency_key)
), picked AS (
    SELECT b.tid, b.room, b.lane_room,
           row_number() OVER (PARTITION BY b.queue_id ORDER BY b.priority DESC, b.ready_at, b.entry_id) AS in_queue,
           row_number() OVER (PARTITION BY b.lane ORDER BY b.priority DESC, b.ready_at, b.entry_id) AS in_lane
    FROM best b WHERE b.tid <> ALL (ARRAY(SELECT f.tid FROM full_key f))
), held AS (
    UPDATE queues_entry e SET stage = 1 WHERE e.ctid = ANY (ARRAY(SELECT f.tid FROM full_key f))
    RETURNING e.entry_id
), taken AS (
    -- By place: the rows are locked. A join could be planned for an empty table and kept when it has filled.
    DELETE FROM queues_entry e
    WHERE e.ctid = ANY (ARRAY(SELECT p.tid FROM picked p WHERE p.in_queue <= p.room AND p.in_lane <= p.lane_room))
    RETURNING e.entry_id, e.queue_id, e.lane, e.priority, e.concurrency_key, e.ready_at
), counted AS (
    INSERT INTO queues_start AS s (queue_id, slice, count, last_at)
    SELECT t.queue_id, floor(extract(epoch FROM holdfast_now()) * 60 / q.rate_period), count(*), holdfast_now()
    FROM taken t JOIN queues_queue q ON q.id = t.queue_id
    WHERE q.rate_amount IS NOT NULL
    GROUP BY t.queue_id, q.rate_period
    ON CONFLICT (queue_id, slice) DO UPDATE SET count = s.count + excluded.count, last_at = excluded.last_at
), leased AS (
    INSERT INTO queues_lease (entry_id, queue_id, worker_id, token, lane, priority, concurrency_key, ready_at, leased_at)
    SELECT t.entry_id, t.queue_id, %(worker)s, nextval('queues_lease_token'), t.lane, t.priority, t.concurrency_key,
           t.ready_at, (SELECT holdfast_now())
    FROM taken t
    RETURNING entry_id, token, queue_id, lane, extract(epoch FROM leased_at - ready_at)::float8 AS waited
)
SELECT leased.*, aside.count FROM (SELECT count(*) FROM held) aside LEFT JOIN leased ON true;

-- name: started
-- A part of other statements: how many of queue `q` started in the window of its rate.
(SELECT coalesce(sum(s.count), 0) FROM queues_start s
 WHERE s.queue_id = q.id AND s.last_at > holdfast_now() - make_interval(secs => q.rate_period))

-- name: opens_at
-- A part of other statements: when the first of them leaves the window; NULL when none is in it.
(SELECT min(s.last_at) + make_interval(secs => q.rate_period) FROM queues_start s
 WHERE s.queue_id = q.id AND s.last_at > holdfast_now() - make_interval(secs => q.rate_period))

-- name: next_opening
-- Seconds until a rate lets through what waits for it now; NULL when none does.
SELECT extract(epoch FROM min({opens_at}) - holdfast_now())::float8
FROM queues_queue q
WHERE q.pool = ANY(%(pools)s) AND q.paused_at IS NULL AND q.rate_amount <= {started}
  AND EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id);

-- name: forget_freed
-- Notes about queues without a limit per key: nobody takes those.
DELETE FROM queues_freed f USING queues_queue q WHERE q.id = f.queue_id AND q.key_concurrency_limit IS NULL;

-- name: forget_starts
-- Slices that no window reaches any more.
DELETE FROM queues_start s USING queues_queue q
WHERE q.id = s.queue_id AND s.last_at < holdfast_now() - make_interval(secs => coalesce(q.rate_period, 0) + 60);

-- name: add_incoming
-- A part of other statements: adds what their CTE `incoming (entry_id, queue_id, lane, priority, concurrency_key,
-- due_at)` holds; `due_at` NULL means now, infinity not before `wake`.
entry AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, ready_at)
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, i.concurrency_key, holdfast_now()
    FROM incoming i WHERE i.due_at IS NULL
), timer AS (
    INSERT INTO queues_timer (entry_id, queue_id, lane, priority, concurrency_key, due_at)
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, i.concurrency_key, nullif(i.due_at, 'infinity')
    FROM incoming i WHERE i.due_at IS NOT NULL
)

-- name: add_ready
-- The same for those that may be leased at once; `incoming` has no `due_at`.
entry AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, ready_at)
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, i.concurrency_key, holdfast_now() FROM incoming i
)

-- name: release
-- Gives leases back: `delays` NULL when the entry is done with, 0 when it may be leased again at once, otherwise the
-- seconds after which it may; infinity when only `wake` will make it so. A lease whose token is not the one given belongs to somebody else and stays.
WITH back AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(delays)s::float8[]) AS b (entry_id, token, delay)
), gone AS (
    DELETE FROM queues_lease l
    USING back b
    WHERE l.entry_id = ANY(%(ids)s::uuid[]) AND l.entry_id = b.entry_id AND l.token = b.token
    RETURNING l.entry_id, l.queue_id, l.lane, l.priority, l.concurrency_key, b.delay
), freed AS (
    -- Whether or not the queue has a limit per key: one that is being set just now would miss a note that was left out.
    INSERT INTO queues_freed (queue_id, concurrency_key)
    SELECT DISTINCT queue_id, concurrency_key FROM gone WHERE concurrency_key IS NOT NULL
), incoming AS (
    SELECT entry_id, queue_id, lane, priority, concurrency_key,
           CASE WHEN delay = 'Infinity' THEN 'infinity'::timestamptz
                WHEN delay > 0 THEN holdfast_now() + make_interval(secs => delay) END AS due_at
    FROM gone WHERE delay IS NOT NULL
), {add_incoming}
SELECT entry_id FROM gone;

-- name: promote
-- Timers that are due become entries. They are ready since they fell due, not since somebody saw it: when nobody was
-- there, the delay figures and the queue's longest wait say so. `late` is in seconds.
WITH due AS (
    SELECT t.ctid AS tid FROM queues_timer t
    WHERE t.due_at <= holdfast_now()
    ORDER BY t.due_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM queues_timer t WHERE t.ctid = ANY (ARRAY(SELECT tid FROM due))
    RETURNING t.entry_id, t.queue_id, t.lane, t.priority, t.concurrency_key, t.due_at
), entry AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, ready_at)
    SELECT entry_id, queue_id, lane, priority, concurrency_key, due_at FROM gone
)
SELECT g.entry_id, q.pool, extract(epoch FROM holdfast_now() - g.due_at)::float8 AS late
FROM gone g JOIN queues_queue q ON q.id = g.queue_id;

-- name: next_due
SELECT extract(epoch FROM min(t.due_at) - holdfast_now())::float8 FROM queues_timer t;

-- name: wake
-- Timers of these entries are over now, whenever they would have been due.
WITH gone AS (
    DELETE FROM queues_timer t WHERE t.entry_id = ANY(%(ids)s::uuid[])
    RETURNING t.entry_id, t.queue_id, t.lane, t.priority, t.concurrency_key
), entry AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, ready_at)
    SELECT entry_id, queue_id, lane, priority, concurrency_key, holdfast_now() FROM gone
)
SELECT DISTINCT q.pool FROM gone g JOIN queues_queue q ON q.id = g.queue_id;

-- name: withdraw
-- Takes entries that nobody holds out of the flow. Those that a worker holds stay.
WITH entry AS (
    DELETE FROM queues_entry WHERE entry_id = ANY(%(ids)s::uuid[])
    RETURNING entry_id, queue_id, concurrency_key
), freed AS (
    -- It may have been the ready one for which others of its key are held.
    INSERT INTO queues_freed (queue_id, concurrency_key)
    SELECT DISTINCT queue_id, concurrency_key FROM entry WHERE concurrency_key IS NOT NULL
), timer AS (DELETE FROM queues_timer WHERE entry_id = ANY(%(ids)s::uuid[]) RETURNING entry_id)
SELECT entry_id FROM entry UNION ALL SELECT entry_id FROM timer;

-- name: pools_with_entries
-- The pools in which something may be leasable: for the sweeper, which finds work whose ticket was lost.
WITH RECURSIVE busy (queue_id) AS (
    (SELECT e.queue_id FROM queues_entry e ORDER BY e.queue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.queue_id FROM queues_entry e WHERE e.queue_id > b.queue_id ORDER BY e.queue_id LIMIT 1)
    FROM busy b WHERE b.queue_id IS NOT NULL
)
SELECT DISTINCT q.pool
FROM busy JOIN queues_queue q ON q.id = busy.queue_id
WHERE q.paused_at IS NULL
  AND (q.concurrency_limit IS NULL
       OR q.concurrency_limit > (SELECT count(*) FROM queues_lease l WHERE l.queue_id = q.id))
  AND (q.rate_amount IS NULL OR q.rate_amount > {started})
  AND (q.key_concurrency_limit IS NULL
       OR EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id AND e.lane = ANY ('{0,1,2}')
                    AND e.stage = ANY ('{0,2}'))
       OR EXISTS (SELECT 1 FROM queues_freed f WHERE f.queue_id = q.id));
