-- Runs come into being.

-- name: enqueue_one
-- A run that may start at once, of one unit, with neither key nor deadline nor budget, as most are. Every part of a
-- statement costs something, whether it has rows or not: this does the same as `enqueue` in much less time.
WITH incoming AS (
    SELECT uuidv7() AS entry_id, q.id AS queue_id, q.pool, %(lane)s::smallint AS lane,
           %(priority)s::smallint AS priority
    FROM queues_queue q WHERE q.name = %(queue)s
), {add_ready}
INSERT INTO runs_run (id, task_id, queue_id, status, payload, max_attempts, priority, units, tags, idempotency_key,
                      trace_id, parent_id, parent_wait, accounts, created_at)
SELECT i.entry_id, %(task)s, i.queue_id, 'queued', %(payload)s::jsonb, %(max_attempts)s, i.priority, 1,
       %(tags)s::varchar[], %(key)s, coalesce(%(trace_id)s, replace(i.entry_id::text, '-', '')), %(parent_id)s::uuid,
       %(parent_wait)s, %(accounts)s::uuid[], holdfast_now()
FROM incoming i
RETURNING id, (SELECT pool FROM incoming);

-- name: enqueue
-- Runs of one kind, one for each payload, in the order given: each with an entry or a timer, its deadlines and its
-- budget. The id is a UUIDv7 of the database's clock, and the trace id is the run's own unless an enqueuing run hands
-- its down.
WITH queue AS (
    SELECT q.id, q.pool FROM queues_queue q WHERE q.name = %(queue)s
), new AS MATERIALIZED (
    SELECT uuidv7() AS id, p.ord, p.payload, p.key,
           CASE WHEN %(run_after)s::timestamptz > holdfast_now() THEN %(run_after)s::timestamptz
                WHEN %(delay)s::float8 > 0 THEN holdfast_now() + make_interval(secs => %(delay)s::float8) END AS due_at
    FROM unnest(%(payloads)s::text[], %(keys)s::varchar[]) WITH ORDINALITY AS p (payload, key, ord)
), incoming AS (
    SELECT n.id AS entry_id, q.id AS queue_id, %(lane)s::smallint AS lane, %(priority)s::smallint AS priority,
           %(concurrency_key)s::varchar AS concurrency_key, %(units)s::int AS units, n.due_at
    FROM new n CROSS JOIN queue q
), {add_incoming}, deadline AS (
    INSERT INTO runs_deadline (run_id, kind, at)
    SELECT n.id, d.kind, coalesce(n.due_at, holdfast_now()) + make_interval(secs => d.seconds)
    FROM new n CROSS JOIN (VALUES ('ttl', %(ttl)s::float8), ('timeout', %(timeout)s::float8)) AS d (kind, seconds)
    WHERE d.seconds IS NOT NULL AND EXISTS (SELECT 1 FROM queue)
), budget AS (
    INSERT INTO runs_budget (run_id, unit, amount)
    SELECT n.id, b.key, b.value::numeric
    FROM new n CROSS JOIN jsonb_each_text(%(budget)s::jsonb) AS b
    WHERE EXISTS (SELECT 1 FROM queue)
)
INSERT INTO runs_run (id, task_id, queue_id, status, payload, max_attempts, priority, concurrency_key, units, tags,
                      idempotency_key, trace_id, parent_id, parent_wait, next_at, accounts, created_at)
SELECT n.id, %(task)s, q.id, CASE WHEN n.due_at IS NULL THEN 'queued' ELSE 'scheduled' END, n.payload::jsonb,
       %(max_attempts)s, %(priority)s, %(concurrency_key)s, %(units)s, %(tags)s::varchar[], n.key,
       coalesce(%(trace_id)s, replace(n.id::text, '-', '')), %(parent_id)s::uuid, %(parent_wait)s, n.due_at,
       CASE WHEN %(budget)s::jsonb IS NOT NULL THEN n.id || %(accounts)s::uuid[] ELSE %(accounts)s::uuid[] END,
       holdfast_now()
FROM new n CROSS JOIN queue q
ORDER BY n.ord
RETURNING id, (SELECT pool FROM queue);

-- name: mark_replays
-- In the transaction that enqueued them.
UPDATE runs_run r SET replay_of = m.of
FROM unnest(%(ids)s::uuid[], %(ofs)s::uuid[]) AS m (id, of)
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = m.id;

-- name: register_task
INSERT INTO runs_task (id, module, doc, queue_id, lane, retry, max_duration, payload_schema, output_schema, version,
                       hooks, registered_at)
SELECT %(id)s, %(module)s, %(doc)s, q.id, %(lane)s, %(retry)s, %(max_duration)s, %(payload_schema)s, %(output_schema)s,
       %(version)s, %(hooks)s::varchar[], holdfast_now()
FROM queues_queue q WHERE q.name = %(queue)s
ON CONFLICT (id) DO UPDATE SET
    module = excluded.module, doc = excluded.doc, queue_id = excluded.queue_id, lane = excluded.lane, retry = excluded.retry,
    max_duration = excluded.max_duration, payload_schema = excluded.payload_schema,
    output_schema = excluded.output_schema, version = excluded.version, hooks = excluded.hooks,
    registered_at = excluded.registered_at
RETURNING old.version;
