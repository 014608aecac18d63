-- How queues stood, minute by minute: what charts of depth and concurrency are drawn from.

-- name: sample
-- How all queues stand now, once a minute, whoever comes first; gives the seconds to the next one.
WITH written AS (
    INSERT INTO queues_sample (minute, queue_id, depth, running, concurrency_limit, paused)
    SELECT date_trunc('minute', holdfast_now()), q.id, b.due, b.running, b.concurrency_limit, b.paused
    FROM ({backlog}) b
    JOIN queues_queue q ON q.name = b.name
    WHERE NOT EXISTS (SELECT 1 FROM queues_sample s WHERE s.minute = date_trunc('minute', holdfast_now()))
    ON CONFLICT (minute, queue_id) DO NOTHING
)
SELECT (60 - extract(second FROM holdfast_now()))::float8;

-- name: forget_samples
DELETE FROM queues_sample s WHERE s.minute < holdfast_now() - make_interval(days => %(days)s);

-- name: sample_bins
-- The highest of each bin, of the queues that were fullest; `share` is the part of its slots that a queue used.
WITH found AS MATERIALIZED (
    SELECT s.queue_id, date_bin(make_interval(mins => %(minutes)s), s.minute, %(start)s) AS bin, max(s.depth) AS depth,
           max(s.running) AS running, max(s.concurrency_limit) AS concurrency_limit,
           max(s.running::float8 / s.concurrency_limit) AS share, bool_or(s.paused) AS paused
    FROM queues_sample s
    WHERE s.minute >= %(start)s AND s.minute < %(end)s
      AND (%(queue)s::text IS NULL OR s.queue_id = (SELECT q.id FROM queues_queue q WHERE q.name = %(queue)s))
    GROUP BY s.queue_id, bin
), top AS (
    SELECT f.queue_id FROM found f GROUP BY f.queue_id ORDER BY max(f.depth + f.running) DESC, f.queue_id LIMIT %(most)s
)
SELECT q.name, f.bin, f.depth, f.running, f.concurrency_limit, f.share, f.paused
FROM found f JOIN top USING (queue_id) JOIN queues_queue q ON q.id = f.queue_id
ORDER BY q.name, f.bin;
