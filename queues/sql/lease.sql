-- Statements here and in runs/sql run on connections that are told to look rows up by key (`holdfast.db.connect`):
-- the tables are empty one moment and hold a million rows the next, so a plan must not depend on their size.
--
-- Admission: which entries a worker may have now. Lock order everywhere: queue, entry or timer, lease, worker, run.

-- name: limited
-- A part of other statements: whether queue `q` has anything to count before a lease.
(q.concurrency_limit IS NOT NULL OR q.rate_amount IS NOT NULL)

-- name: flows
-- A part of other statements: whether anything of queue `q` may start. A queue that drains works off what was there.
(q.paused_at IS NULL OR q.drains OR coalesce(q.paused_until <= holdfast_now(), false))

-- name: drained_from
-- A part of other statements: since when what comes into queue `q` has to wait; NULL when nothing has.
CASE WHEN q.drains AND (q.paused_until IS NULL OR q.paused_until > holdfast_now()) THEN q.paused_at END

-- name: busy
-- A part of other statements, after WITH RECURSIVE: the queues with entries without a key. A skip scan: one index probe
-- for each of them, none for a queue that is idle.
busy (queue_id) AS (
    (SELECT e.queue_id FROM queues_entry e WHERE e.concurrency_key IS NULL ORDER BY e.queue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.queue_id FROM queues_entry e WHERE e.concurrency_key IS NULL AND e.queue_id > b.queue_id
            ORDER BY e.queue_id LIMIT 1)
    FROM busy b WHERE b.queue_id IS NOT NULL
), keyed (queue_id) AS (
    -- The same of queues in which keys wait for a turn.
    (SELECT t.queue_id FROM queues_turn t ORDER BY t.queue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.queue_id FROM queues_turn t WHERE t.queue_id > k.queue_id ORDER BY t.queue_id LIMIT 1)
    FROM keyed k WHERE k.queue_id IS NOT NULL
), noted (queue_id) AS (
    -- And of those in which a key's turn is to be set.
    (SELECT n.queue_id FROM queues_note n ORDER BY n.queue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT n.queue_id FROM queues_note n WHERE n.queue_id > d.queue_id ORDER BY n.queue_id LIMIT 1)
    FROM noted d WHERE d.queue_id IS NOT NULL
)

-- name: peek
-- Is there anything at all, is any of it to be leased under its queue's lock, and has anything a home? One cheap look
-- before a transaction is opened: most wake-ups of a worker find that another one was quicker.
WITH RECURSIVE {busy}
SELECT found.any_plain OR found.any_keyed OR found.any_home,
       found.any_keyed OR found.any_home OR EXISTS (
           SELECT 1 FROM busy JOIN queues_queue q ON q.id = busy.queue_id
           WHERE q.pool = ANY(%(pools)s) AND {flows} AND {limited}),
       found.any_home
FROM (SELECT EXISTS (SELECT 1 FROM queues_entry e WHERE e.concurrency_key IS NULL) AS any_plain,
             EXISTS (SELECT 1 FROM queues_turn) OR EXISTS (SELECT 1 FROM queues_note) AS any_keyed,
             EXISTS (SELECT 1 FROM queues_home) AS any_home) found;

-- name: lock_queues
-- The queues with a limit, a rate, or keys that wait, locked in order of id; whether they have a rate, and whether turns
-- of their keys are to be set. The counting below is a statement of its own, so that its snapshot is younger than
-- these locks: counted before the lock, two workers could both see the last free slot.
WITH RECURSIVE {busy}
SELECT q.id, q.rate_amount IS NOT NULL OR q.key_rate_amount IS NOT NULL,
       q.id IN (SELECT queue_id FROM noted)
       OR EXISTS (SELECT 1 FROM queues_turn t WHERE t.queue_id = q.id AND t.opens_at <= holdfast_now())
FROM queues_queue q
WHERE q.id = ANY (ARRAY(SELECT queue_id FROM busy UNION SELECT queue_id FROM keyed UNION SELECT queue_id FROM noted
                        UNION SELECT e.queue_id FROM queues_entry e WHERE %(homes)s AND e.home = {here}))
  AND q.pool = ANY(%(pools)s) AND {flows}
  AND ({limited} OR q.id IN (SELECT queue_id FROM keyed) OR q.id IN (SELECT queue_id FROM noted)
       OR (%(homes)s AND EXISTS (SELECT 1 FROM queues_entry e WHERE e.home = {here} AND e.queue_id = q.id
                                   AND e.concurrency_key IS NOT NULL)))
ORDER BY q.id
FOR NO KEY UPDATE OF q;

-- name: lease
-- Moves up to `coroutines`, `threads` and `processes` entries of the worker's pools into its hands, the first in line
-- first, never more of a queue than its limit and its rate leave room for, nor of a key.
--
-- A flow is what has one place in line: the entries of a queue without a key, or a key whose turn it is. Each flow is
-- asked for twice its share of what may be taken, so that a thousand of them cost no more than one does; where that
-- leaves something out, `more` says so. `stale` are keys with a turn and nothing to show for it.
--
-- Queues share a lane by what they hold of it: the one that runs least starts next, and of two that run as many the one
-- with the first place in line. (`held` counts to a thousand; of queues that run more, place alone decides.)
WITH RECURSIVE {busy}, fence AS MATERIALIZED (
    SELECT w.id FROM queues_worker w
    WHERE w.id = %(worker)s AND w.lost_at IS NULL AND w.stopped_at IS NULL
    FOR KEY SHARE
), open AS MATERIALIZED (
    SELECT q.id, q.key_concurrency_limit AS key_limit, q.id = ANY(%(locked)s) AS locked, {drained_from} AS drained_from,
           q.rate_amount, q.rate_unit, q.rate_amount - {started} AS units_left,
           q.key_rate_amount, q.key_rate_unit, q.key_rate_period,
           least(%(coroutines)s::int + %(threads)s::int + %(processes)s::int,
                 q.concurrency_limit - (SELECT count(*) FROM queues_lease l WHERE l.queue_id = q.id)) AS room
    FROM queues_queue q
    WHERE q.id = ANY (ARRAY(SELECT queue_id FROM busy UNION SELECT unnest(%(locked)s::bigint[])))
      AND q.pool = ANY(%(pools)s) AND {flows}
      AND (NOT {limited} OR q.id = ANY(%(locked)s))
), flow AS MATERIALIZED (
    SELECT open.*, open.id AS queue_id, lane.id AS lane, lane.room AS lane_room, first.*
    FROM fence
    CROSS JOIN open
    CROSS JOIN (VALUES (0::smallint, %(coroutines)s::int), (1::smallint, %(threads)s::int),
                       (2::smallint, %(processes)s::int)) AS lane (id, room)
    CROSS JOIN LATERAL (
        (SELECT NULL::varchar AS key, e.counts_from, 1::smallint AS weight, 1::smallint AS "left", e.units AS head_units
         FROM queues_entry e
         WHERE e.queue_id = open.id AND e.concurrency_key IS NULL AND e.lane = lane.id AND e.stage = 0
           AND (open.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < open.drained_from)
         ORDER BY e.counts_from, e.entry_id LIMIT 1)
        UNION ALL
        (SELECT t.concurrency_key, t.counts_from, t.weight, t."left",
                CASE WHEN open.rate_unit IS NOT NULL THEN
                    (SELECT e.units FROM queues_entry e
                     WHERE e.queue_id = open.id AND e.concurrency_key = t.concurrency_key AND e.lane = lane.id
                       AND e.stage = 0
                       AND (open.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < open.drained_from)
                     ORDER BY e.counts_from, e.entry_id LIMIT 1) END
         FROM queues_turn t
         WHERE open.locked AND t.queue_id = open.id AND t.lane = lane.id AND t.counts_from IS NOT NULL
         ORDER BY t.counts_from LIMIT least(open.room, lane.room))
    ) first
    WHERE open.room > 0 AND lane.room > 0 AND (open.units_left IS NULL OR open.units_left > 0)
), shared AS MATERIALIZED (
    SELECT q.queue_id, q.lane,
           CASE WHEN q.others THEN
               (SELECT count(*) FROM (SELECT FROM queues_lease l WHERE l.queue_id = q.queue_id AND l.lane = q.lane
                                      LIMIT 1000) l)
               ELSE 0 END AS held
    FROM (SELECT DISTINCT flow.queue_id, flow.lane,
                 min(flow.queue_id) OVER of_lane < max(flow.queue_id) OVER of_lane AS others
          FROM flow WINDOW of_lane AS (PARTITION BY flow.lane)) q
), chosen AS MATERIALIZED (
    SELECT f.*, least(f.room, f.lane_room, f.key_room) AS most,
           least(f.room, f.lane_room, f.key_room,
                 f.weight * (2 * f.lane_room / count(*) OVER (PARTITION BY f.lane, f.key IS NULL) + 1)) AS share
    FROM (
        SELECT flow.*,
               row_number() OVER (PARTITION BY flow.lane ORDER BY flow.held + flow.nth_flow, flow.counts_from) AS place,
               CASE WHEN flow.key IS NOT NULL THEN
                   flow.key_limit - (SELECT count(*) FROM queues_lease l
                                     WHERE l.queue_id = flow.queue_id AND l.concurrency_key = flow.key) END AS key_room,
               CASE WHEN flow.key IS NOT NULL THEN
                   flow.key_rate_amount - (SELECT coalesce(sum(s.count), 0) FROM queues_start s
                                           WHERE s.queue_id = flow.queue_id AND s.concurrency_key = flow.key
                                             AND s.last_at > holdfast_now()
                                                             - make_interval(secs => flow.key_rate_period))
                   END AS key_units_left
        FROM (
            SELECT flow.*, shared.held,
                   row_number() OVER (PARTITION BY flow.lane, flow.queue_id ORDER BY flow.counts_from) AS nth_flow,
                   first_value(flow.head_units) OVER (PARTITION BY flow.queue_id ORDER BY flow.counts_from) AS next_units
            FROM flow JOIN shared ON shared.queue_id = flow.queue_id AND shared.lane = flow.lane
        ) flow
        -- A queue whose next run needs more units than are left would keep a place from the others and start nothing.
        WHERE flow.rate_unit IS NULL OR least(coalesce(flow.next_units, 0), flow.rate_amount) <= flow.units_left
    ) f
    WHERE f.place <= f.lane_room
), found AS MATERIALIZED (
    SELECT c.*, n.tid, n.entry_id, n.ready_at, n.priority, n.units, n.counts_from AS entry_counts_from
    FROM chosen c CROSS JOIN LATERAL (
        SELECT e.ctid AS tid, e.entry_id, e.ready_at, e.priority, e.units, e.counts_from FROM queues_entry e
        WHERE e.queue_id = c.queue_id AND e.concurrency_key IS NULL AND e.lane = c.lane AND e.stage = 0
          AND (c.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < c.drained_from)
        ORDER BY e.counts_from, e.entry_id
        LIMIT greatest(0, c.share)
        FOR UPDATE SKIP LOCKED
    ) n
    WHERE c.key IS NULL
    UNION ALL
    SELECT c.*, n.tid, n.entry_id, n.ready_at, n.priority, n.units, n.counts_from
    FROM chosen c CROSS JOIN LATERAL (
        SELECT e.ctid AS tid, e.entry_id, e.ready_at, e.priority, e.units, e.counts_from FROM queues_entry e
        WHERE e.queue_id = c.queue_id AND e.concurrency_key = c.key AND e.lane = c.lane AND e.stage = 0
          AND (c.drained_from IS NULL OR uuid_extract_timestamp(e.entry_id) < c.drained_from)
        ORDER BY e.counts_from, e.entry_id
        LIMIT greatest(0, c.share)
        FOR UPDATE SKIP LOCKED
    ) n
    WHERE c.key IS NOT NULL
), counted_off AS MATERIALIZED (
    SELECT f.*, row_number() OVER (PARTITION BY f.queue_id, f.lane, f.key ORDER BY f.entry_counts_from, f.entry_id) AS nth
    FROM found f
), line AS MATERIALIZED (
    -- A key has used up its turn when as many as its weight have started; from then on it counts from now, turn by turn.
    SELECT c.*, CASE WHEN c.key IS NULL THEN c.entry_counts_from
                     WHEN c.nth <= c."left" THEN c.counts_from
                     ELSE greatest(c.ready_at, holdfast_now()) - c.priority * interval '1 minute'
                          + (c.nth - c."left" + c.weight - 1) / c.weight * interval '1 microsecond' END AS place_at
    FROM counted_off c
), picked AS MATERIALIZED (
    -- A run that needs more units than are left is not passed by smaller ones: it would wait for ever.
    SELECT q.* FROM (
        SELECT k.*, row_number() OVER (PARTITION BY k.lane ORDER BY k.held + k.nth_start, k.place_at, k.entry_id) AS in_lane
        FROM (
            SELECT i.*, row_number() OVER of_queue AS in_queue,
                   row_number() OVER (PARTITION BY i.queue_id, i.lane ORDER BY i.place_at, i.entry_id) AS nth_start,
                   sum(CASE WHEN i.rate_unit IS NULL THEN 1 ELSE least(i.units, i.rate_amount) END) OVER of_queue AS units_in
            FROM (
                SELECT line.*, row_number() OVER of_key AS in_key,
                       sum(CASE WHEN line.key_rate_unit IS NULL THEN 1
                                ELSE least(line.units, line.key_rate_amount) END) OVER of_key AS key_units_in
                FROM line WINDOW of_key AS (PARTITION BY line.queue_id, line.key ORDER BY line.place_at, line.entry_id
                                            ROWS UNBOUNDED PRECEDING)
            ) i
            WHERE (i.key_room IS NULL OR i.in_key <= i.key_room)
              AND (i.key_units_left IS NULL OR i.key_units_in <= i.key_units_left)
            WINDOW of_queue AS (PARTITION BY i.queue_id ORDER BY i.place_at, i.entry_id ROWS UNBOUNDED PRECEDING)
        ) k
        WHERE k.in_queue <= k.room AND (k.units_left IS NULL OR k.units_in <= k.units_left)
    ) q
    WHERE q.in_lane <= q.lane_room
), taken AS (
    -- By place: the rows are locked. A join could be planned for an empty table and kept when it has filled.
    DELETE FROM queues_entry e
    WHERE e.ctid = ANY (ARRAY(SELECT p.tid FROM picked p))
    RETURNING e.entry_id, e.queue_id, e.lane, e.priority, e.concurrency_key, e.units, e.ready_at
), reckoned AS (
    -- The lease remembers what it counted: that is what its usage settles, though the rate be another one by then.
    SELECT t.*, q.rate_period, q.key_rate_period,
           CASE WHEN q.rate_amount IS NULL THEN NULL
                WHEN q.rate_unit IS NULL THEN 1
                ELSE least(t.units, q.rate_amount) END AS counted,
           CASE WHEN q.key_rate_amount IS NULL OR t.concurrency_key IS NULL THEN NULL
                WHEN q.key_rate_unit IS NULL THEN 1
                ELSE least(t.units, q.key_rate_amount) END AS key_counted
    FROM taken t JOIN queues_queue q ON q.id = t.queue_id
), counted AS (
    INSERT INTO queues_start AS s (queue_id, concurrency_key, slice, count, last_at)
    SELECT t.queue_id, r.key, floor(extract(epoch FROM holdfast_now()) * 60 / r.period), sum(r.counted), holdfast_now()
    FROM reckoned t
    CROSS JOIN LATERAL (VALUES ('', t.rate_period, t.counted), (t.concurrency_key, t.key_rate_period, t.key_counted))
                       AS r (key, period, counted)
    WHERE r.counted IS NOT NULL
    GROUP BY t.queue_id, r.key, r.period
    ON CONFLICT (queue_id, concurrency_key, slice) DO UPDATE SET count = s.count + excluded.count,
                                                                 last_at = excluded.last_at
), leased AS (
    INSERT INTO queues_lease (entry_id, queue_id, worker_id, token, lane, priority, concurrency_key, units, ready_at,
                              leased_at, counted, key_counted)
    SELECT t.entry_id, t.queue_id, %(worker)s, %(token)s::bigint + row_number() OVER (), t.lane, t.priority, t.concurrency_key,
           t.units, t.ready_at, (SELECT holdfast_now()), t.counted, t.key_counted
    FROM reckoned t
    RETURNING entry_id, token, queue_id, lane, extract(epoch FROM leased_at - ready_at)::float8 AS waited, concurrency_key
)
SELECT leased.*, aside.more, aside.stale::text
FROM (
    SELECT EXISTS (SELECT 1 FROM counted_off c WHERE c.nth = c.share AND c.share < c.most) AS more,
           (SELECT jsonb_agg(jsonb_build_array(c.queue_id, c.lane, c.key)) FROM chosen c
            WHERE c.key IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM found f
                              WHERE f.queue_id = c.queue_id AND f.lane = c.lane AND f.key = c.key)) AS stale
) aside LEFT JOIN leased ON true;

-- name: started
-- A part of other statements: how many of queue `q` started in the window of its rate.
(SELECT coalesce(sum(s.count), 0) FROM queues_start s
 WHERE s.queue_id = q.id AND s.concurrency_key = '' AND s.last_at > holdfast_now() - make_interval(secs => q.rate_period))

-- name: opens_at
-- A part of other statements: when the first of them leaves the window; NULL when none is in it.
(SELECT min(s.last_at) + make_interval(secs => q.rate_period) FROM queues_start s
 WHERE s.queue_id = q.id AND s.concurrency_key = '' AND s.last_at > holdfast_now() - make_interval(secs => q.rate_period))

-- name: next_opening
-- Seconds until a rate lets through what waits for it now; NULL when none does. Where units are counted, what waits may
-- need more of them than are left: whatever leaves the window may help it.
SELECT extract(epoch FROM least(
    (SELECT min({opens_at}) FROM queues_queue q
     WHERE q.id = ANY(%(queues)s) AND (q.rate_amount <= {started} OR q.rate_unit IS NOT NULL)
       AND (EXISTS (SELECT 1 FROM queues_entry e WHERE e.queue_id = q.id AND e.concurrency_key IS NULL)
            OR EXISTS (SELECT 1 FROM queues_turn t WHERE t.queue_id = q.id AND t.counts_from IS NOT NULL))),
    (SELECT min(o.opens_at) FROM unnest(%(queues)s::bigint[]) AS q (id) CROSS JOIN LATERAL (
         SELECT t.opens_at FROM queues_turn t WHERE t.queue_id = q.id AND t.opens_at IS NOT NULL
         ORDER BY t.opens_at LIMIT 1) o)
) - holdfast_now())::float8;

-- name: forget_starts
-- Slices that no window reaches any more.
DELETE FROM queues_start s USING queues_queue q
WHERE q.id = s.queue_id
  AND s.last_at < holdfast_now() - make_interval(secs => coalesce(greatest(q.rate_period, q.key_rate_period), 0) + 60);

-- name: pools_with_entries
-- The pools in which something may be leasable: for the sweeper, which finds work whose ticket was lost.
WITH RECURSIVE {busy}
SELECT DISTINCT q.pool
FROM queues_queue q
WHERE q.id = ANY (ARRAY(SELECT queue_id FROM busy UNION SELECT queue_id FROM keyed UNION SELECT queue_id FROM noted
                        UNION SELECT e.queue_id FROM queues_entry e WHERE e.home IS NOT NULL))
  AND {flows}
  AND (q.concurrency_limit IS NULL
       OR q.concurrency_limit > (SELECT count(*) FROM queues_lease l WHERE l.queue_id = q.id))
  AND (q.rate_amount IS NULL OR q.rate_amount > {started})
  AND (q.id IN (SELECT queue_id FROM busy) OR q.id IN (SELECT queue_id FROM noted)
       OR EXISTS (SELECT 1 FROM queues_turn t WHERE t.queue_id = q.id AND t.lane = ANY ('{0,1,2}')
                    AND t.counts_from IS NOT NULL)
       OR EXISTS (SELECT 1 FROM queues_turn t WHERE t.queue_id = q.id AND t.opens_at <= holdfast_now())
       OR EXISTS (SELECT 1 FROM queues_entry e WHERE e.home IS NOT NULL AND e.queue_id = q.id));
