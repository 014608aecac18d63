-- Why an entry waits: its place in line, and who holds what it waits for. The same order as in `lease`.

-- name: place_in_line
-- Starts that come before an entry's, counted up to `most`. No row: it is in nobody's line (leased, or not due).
WITH me AS MATERIALIZED (
    SELECT e.* FROM queues_entry e WHERE e.entry_id = %(id)s
), own AS MATERIALIZED (
    -- Of its key, or without a key: those before it.
    SELECT count(*) AS before FROM (
        (SELECT 1 FROM me JOIN queues_entry o ON o.queue_id = me.queue_id AND o.concurrency_key IS NULL
             AND o.lane = me.lane AND o.stage = 0
         WHERE me.concurrency_key IS NULL AND (o.counts_from, o.entry_id) < (me.counts_from, me.entry_id)
         LIMIT %(most)s)
        UNION ALL
        (SELECT 1 FROM me JOIN queues_entry o ON o.queue_id = me.queue_id AND o.concurrency_key = me.concurrency_key
             AND o.lane = me.lane AND o.stage = 0
         WHERE (o.counts_from, o.entry_id) < (me.counts_from, me.entry_id)
         LIMIT %(most)s)
    ) o
), turn AS MATERIALIZED (
    -- When its turn comes, and how many turns of its key come before that.
    SELECT coalesce(t.counts_from, me.counts_from) AS counts_from,
           CASE WHEN me.concurrency_key IS NULL OR own.before < coalesce(t."left", 1) THEN 0
                ELSE (own.before - t."left") / t.weight + 1 END AS turns
    FROM me CROSS JOIN own
    LEFT JOIN queues_turn t ON t.queue_id = me.queue_id AND t.lane = me.lane AND t.concurrency_key = me.concurrency_key
), plain AS (
    -- Of those without a key, for one that has one: those that count from longer ago, or all, once its key was served.
    SELECT count(*) AS before FROM (
        SELECT 1 FROM me CROSS JOIN turn JOIN queues_entry o
            ON o.queue_id = me.queue_id AND o.concurrency_key IS NULL AND o.lane = me.lane AND o.stage = 0
        WHERE me.concurrency_key IS NOT NULL AND (turn.turns > 0 OR o.counts_from < turn.counts_from)
        LIMIT %(most)s
    ) o
), others AS (
    -- Of the other keys: as many turns as come before its own, each as long as something of the key is left.
    SELECT coalesce(sum(least(o.waiting, CASE WHEN o.is_before THEN o."left" ELSE 0 END + turn.turns * o.weight)), 0)
               AS before
    FROM turn CROSS JOIN LATERAL (
        SELECT t."left", t.weight, t.counts_from < turn.counts_from AS is_before,
               (SELECT count(*) FROM (
                    SELECT 1 FROM queues_entry w
                    WHERE w.queue_id = t.queue_id AND w.concurrency_key = t.concurrency_key AND w.lane = t.lane
                      AND w.stage = 0
                    LIMIT t."left" + turn.turns * t.weight) w) AS waiting
        FROM me JOIN queues_turn t ON t.queue_id = me.queue_id AND t.lane = me.lane
            AND t.concurrency_key IS DISTINCT FROM me.concurrency_key
        WHERE t.counts_from IS NOT NULL AND (turn.turns > 0 OR t.counts_from < turn.counts_from)
        ORDER BY t.counts_from
        LIMIT %(most)s
    ) o
)
SELECT own.before AS own, least(own.before + plain.before + others.before, %(most)s)::int AS ahead
FROM me, own, turn, plain, others;

-- name: holders
-- The entries that hold the slots of a queue, or of one key of it, the longest first; and how many there are, counted
-- up to `most`.
SELECT l.entry_id, l.leased_at,
       (SELECT count(*) FROM (SELECT 1 FROM queues_lease a
                              WHERE a.queue_id = %(queue)s AND (%(key)s::varchar IS NULL OR a.concurrency_key = %(key)s)
                              LIMIT %(most)s) a) AS all
FROM queues_lease l
WHERE l.queue_id = %(queue)s AND (%(key)s::varchar IS NULL OR l.concurrency_key = %(key)s)
ORDER BY l.leased_at, l.entry_id
LIMIT %(limit)s;
