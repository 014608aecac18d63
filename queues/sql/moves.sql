-- How entries come into the flow, leave it, and wait for a time. See `lease.sql` for the order of locks.

-- name: place
-- A part of other statements: entries of their CTE `ready (entry_id, queue_id, lane, priority, concurrency_key, units,
-- ready_at)`. A point of priority counts as a minute of waiting, so nothing is overtaken for ever.
placed AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, concurrency_key, units, ready_at, counts_from)
    SELECT r.entry_id, r.queue_id, r.lane, r.priority, r.concurrency_key, r.units, r.ready_at,
           r.ready_at - r.priority * interval '1 minute'
    FROM ready r
    RETURNING queue_id, concurrency_key
)

-- name: add_incoming
-- A part of other statements: adds what their CTE `incoming (entry_id, queue_id, lane, priority, concurrency_key, units,
-- due_at)` holds; `due_at` NULL means now, infinity not before `wake`.
ready AS (
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, i.concurrency_key, i.units, holdfast_now() AS ready_at
    FROM incoming i WHERE i.due_at IS NULL
), {place}, {note}, timer AS (
    INSERT INTO queues_timer (entry_id, queue_id, lane, priority, concurrency_key, units, due_at)
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, i.concurrency_key, i.units, nullif(i.due_at, 'infinity')
    FROM incoming i WHERE i.due_at IS NOT NULL
)

-- name: add_ready
-- The same for those that may be leased at once, have no key and count as one unit; `incoming` has none of these.
placed AS (
    INSERT INTO queues_entry (entry_id, queue_id, lane, priority, ready_at, counts_from)
    SELECT i.entry_id, i.queue_id, i.lane, i.priority, holdfast_now(),
           holdfast_now() - i.priority * interval '1 minute'
    FROM incoming i
)

-- name: release
-- Gives leases back: `delays` NULL when the entry is done with, 0 when it may be leased again at once, otherwise the
-- seconds after which it may; infinity when only `wake` will make it so. A lease whose token is not the one given belongs to somebody else and stays.
WITH back AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(delays)s::float8[], %(used)s::jsonb[])
                  AS b (entry_id, token, delay, used)
), gone AS (
    DELETE FROM queues_lease l
    USING back b
    WHERE l.entry_id = ANY(%(ids)s::uuid[]) AND l.entry_id = b.entry_id AND l.token = b.token
    RETURNING l.entry_id, l.queue_id, l.lane, l.priority, l.concurrency_key, l.units, l.leased_at, l.counted, l.key_counted,
              b.delay, b.used
), {freed}, settled AS (
    -- What it counted in a rate with a unit is what it has used of it. The difference counts like the start did where it
    -- is less, and from now on where it is more. More than 1e15 are as many: sums of them still fit. What counted nothing, before there was a rate, has nothing to settle.
    INSERT INTO queues_start (queue_id, concurrency_key, count, last_at)
    SELECT g.queue_id, r.key, d.more, CASE WHEN d.more < 0 THEN g.leased_at ELSE holdfast_now() END
    FROM gone g JOIN queues_queue q ON q.id = g.queue_id
    CROSS JOIN LATERAL (VALUES ('', q.rate_unit, g.counted), (g.concurrency_key, q.key_rate_unit, g.key_counted))
                       AS r (key, unit, counted)
    CROSS JOIN LATERAL (SELECT least(ceil((g.used ->> r.unit)::numeric), 1e15)::bigint - r.counted AS more) d
    WHERE g.used IS NOT NULL AND r.key IS NOT NULL AND d.more <> 0
), incoming AS (
    -- Freed or not, a note is left in any queue: a limit per key that is being set just now would miss it.
    SELECT entry_id, queue_id, lane, priority, concurrency_key, units,
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
    RETURNING t.entry_id, t.queue_id, t.lane, t.priority, t.concurrency_key, t.units, t.due_at
), ready AS (
    SELECT entry_id, queue_id, lane, priority, concurrency_key, units, due_at AS ready_at FROM gone
), {place}, {note}
SELECT g.entry_id, q.pool, extract(epoch FROM holdfast_now() - g.due_at)::float8 AS late
FROM gone g JOIN queues_queue q ON q.id = g.queue_id;


-- name: next_due
SELECT extract(epoch FROM min(t.due_at) - holdfast_now())::float8 FROM queues_timer t;


-- name: wake
-- Timers of these entries are over now, whenever they would have been due.
WITH gone AS (
    DELETE FROM queues_timer t WHERE t.entry_id = ANY(%(ids)s::uuid[])
    RETURNING t.entry_id, t.queue_id, t.lane, t.priority, t.concurrency_key, t.units
), ready AS (
    SELECT entry_id, queue_id, lane, priority, concurrency_key, units, holdfast_now() AS ready_at FROM gone
), {place}, {note}
SELECT DISTINCT q.pool FROM gone g JOIN queues_queue q ON q.id = g.queue_id;


-- name: withdraw
-- Takes entries that nobody holds out of the flow. Those that a worker holds stay.
WITH gone AS (
    DELETE FROM queues_entry WHERE entry_id = ANY(%(ids)s::uuid[])
    RETURNING entry_id, queue_id, concurrency_key
), {freed}, timer AS (DELETE FROM queues_timer WHERE entry_id = ANY(%(ids)s::uuid[]) RETURNING entry_id)
SELECT entry_id FROM gone UNION ALL SELECT entry_id FROM timer;

-- name: postpone
-- A timer that was set for one time falls due at another.
UPDATE queues_timer SET due_at = %(due_at)s WHERE entry_id = %(id)s AND due_at = %(was)s RETURNING entry_id;
