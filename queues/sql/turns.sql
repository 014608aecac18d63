-- Turns: how the keys of a queue share it, and how many slots each has. Whoever writes here has the queue's lock, but for
-- notes, which anybody adds with what they tell of.

-- name: note
-- A part of other statements: notes that something of these keys came; their CTE `placed` has the entries.
note AS (
    INSERT INTO queues_note (queue_id, concurrency_key)
    SELECT DISTINCT p.queue_id, p.concurrency_key FROM placed p WHERE p.concurrency_key IS NOT NULL
)

-- name: freed
-- A part of other statements: notes that these keys gave slots back; their CTE `gone` has the leases.
freed AS (
    INSERT INTO queues_note (queue_id, concurrency_key)
    SELECT DISTINCT g.queue_id, g.concurrency_key FROM gone g WHERE g.concurrency_key IS NOT NULL
)

-- name: set_turns
-- A part of the two that follow: sets the turns of the keys that their CTE `looked (queue_id, lane, name, served)` holds,
-- with how many of each a worker has just been given.
slots AS MATERIALIZED (
    SELECT k.queue_id, k.name, coalesce((q.key_weights ->> k.name)::int, 1) AS weight,
           q.key_rate_amount, q.key_rate_unit, {drained_from} AS drained_from, r.started, r.first_at + make_interval(secs => q.key_rate_period) AS opens_at,
           q.key_concurrency_limit IS NULL
           OR q.key_concurrency_limit > (SELECT count(*) FROM queues_lease l
                                         WHERE l.queue_id = k.queue_id AND l.concurrency_key = k.name) AS has_room
    FROM (SELECT DISTINCT queue_id, name FROM looked) k JOIN queues_queue q ON q.id = k.queue_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(s.count), 0) AS started, min(s.last_at) AS first_at FROM queues_start s
        WHERE q.key_rate_amount IS NOT NULL AND s.queue_id = k.queue_id AND s.concurrency_key = k.name
          AND s.last_at > holdfast_now() - make_interval(secs => q.key_rate_period)
    ) r
), head AS MATERIALIZED (
    SELECT k.queue_id, k.lane, k.name, k.served, e.ready_at, e.priority, e.units, t.tid, t.served_at, t."left"
    FROM looked k JOIN slots d ON d.queue_id = k.queue_id AND d.name = k.name
    LEFT JOIN LATERAL (
        SELECT n.ready_at, n.priority, n.units FROM queues_entry n
        WHERE n.queue_id = k.queue_id AND n.concurrency_key = k.name AND n.lane = k.lane AND n.stage = 0
          AND (d.drained_from IS NULL OR uuid_extract_timestamp(n.entry_id) < d.drained_from)
        ORDER BY n.counts_from, n.entry_id LIMIT 1
    ) e ON true
    LEFT JOIN LATERAL (
        SELECT s.ctid AS tid, s.served_at, s."left" FROM queues_turn s
        WHERE s.queue_id = k.queue_id AND s.lane = k.lane AND s.concurrency_key = k.name LIMIT 1
    ) t ON true
), over AS (
    DELETE FROM queues_turn t
    WHERE t.ctid = ANY (ARRAY(SELECT h.tid FROM head h WHERE h.ready_at IS NULL AND h.tid IS NOT NULL))
), reckoned AS (
    SELECT h.*, s.weight, s.has_room,
           -- The rate of its key holds it: until when.
           CASE WHEN s.key_rate_amount - s.started < CASE WHEN s.key_rate_unit IS NULL THEN 1
                                                          ELSE least(h.units, s.key_rate_amount) END
                THEN s.opens_at END AS opens_at,
           least(coalesce(h."left", s.weight), s.weight) - h.served AS rest
    FROM head h JOIN slots s ON s.queue_id = h.queue_id AND s.name = h.name
    WHERE h.ready_at IS NOT NULL
), turn AS (
    INSERT INTO queues_turn AS t (queue_id, lane, concurrency_key, counts_from, served_at, weight, "left", opens_at)
    SELECT n.queue_id, n.lane, n.name,
           CASE WHEN n.has_room AND n.opens_at IS NULL THEN greatest(n.ready_at, n.now_served_at) - n.priority * interval '1 minute' END,
           n.now_served_at, n.weight, n.now_left, n.opens_at
    FROM (
        SELECT r.*, CASE WHEN r.rest <= 0 THEN holdfast_now() ELSE r.served_at END AS now_served_at,
               CASE WHEN r.rest <= 0 THEN r.weight - (-r.rest %% r.weight) ELSE r.rest END AS now_left
        FROM reckoned r
    ) n
    ON CONFLICT (queue_id, lane, concurrency_key) DO UPDATE SET
        counts_from = excluded.counts_from, served_at = excluded.served_at, weight = excluded.weight,
        "left" = excluded."left", opens_at = excluded.opens_at
    WHERE (t.counts_from, t.served_at, t.weight, t."left", t.opens_at)
          IS DISTINCT FROM (excluded.counts_from, excluded.served_at, excluded.weight, excluded."left", excluded.opens_at)
)

-- name: take_notes
-- Sets the turns of keys of which notes tell, the oldest notes first, and of those that a rate holds no more. How many
-- notes, or such keys, that were.
WITH taken AS (
    DELETE FROM queues_note n
    WHERE n.ctid = ANY (ARRAY(
        SELECT m.tid FROM unnest(%(queues)s::bigint[]) AS q (id) CROSS JOIN LATERAL (
            SELECT o.ctid AS tid FROM queues_note o WHERE o.queue_id = q.id ORDER BY o.id LIMIT %(most)s
        ) m))
    RETURNING n.queue_id, n.concurrency_key
), opened AS MATERIALIZED (
    SELECT q.id AS queue_id, t.concurrency_key
    FROM unnest(%(queues)s::bigint[]) AS q (id) CROSS JOIN LATERAL (
        SELECT o.concurrency_key FROM queues_turn o WHERE o.queue_id = q.id AND o.opens_at <= holdfast_now()
        ORDER BY o.opens_at LIMIT %(most)s
    ) t
), looked AS MATERIALIZED (
    SELECT k.queue_id, lane.id AS lane, k.concurrency_key AS name, 0 AS served
    FROM (SELECT * FROM taken UNION SELECT * FROM opened) k CROSS JOIN (VALUES (0::smallint), (1::smallint), (2::smallint)) AS lane (id)
), {set_turns}
SELECT greatest((SELECT count(*) FROM taken), (SELECT count(*) FROM opened));

-- name: take_turns
-- Sets the turns of keys that were served, or have nothing any more.
WITH looked AS MATERIALIZED (
    SELECT * FROM unnest(%(queues)s::bigint[], %(lanes)s::smallint[], %(keys)s::varchar[], %(served)s::int[])
                  AS k (queue_id, lane, name, served)
), {set_turns}
SELECT count(*) FROM looked;

-- name: note_all_keys
-- All keys of a queue that wait are looked at anew: something that decides about them has changed.
INSERT INTO queues_note (queue_id, concurrency_key)
SELECT DISTINCT e.queue_id, e.concurrency_key FROM queues_entry e
WHERE e.queue_id = %(queue)s AND e.concurrency_key IS NOT NULL;
