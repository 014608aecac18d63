-- name: declare_queue
-- A queue as code declares it. A person's edit of a setting outlives later declarations. A row when anything is new.
INSERT INTO queues_queue AS q (
    name, pool, declared, concurrency_limit, key_concurrency_limit, key_weights, rate_amount, rate_period, rate_unit,
    key_rate_amount, key_rate_period, key_rate_unit, created_at, updated_at
)
VALUES (%(name)s, %(pool)s, %(declared)s::jsonb, %(concurrency_limit)s, %(key_concurrency_limit)s, %(key_weights)s::jsonb,
        %(rate_amount)s, %(rate_period)s, %(rate_unit)s, %(key_rate_amount)s, %(key_rate_period)s, %(key_rate_unit)s,
        holdfast_now(), holdfast_now())
ON CONFLICT (name) DO UPDATE SET
    pool = excluded.pool,
    declared = excluded.declared,
    concurrency_limit = CASE WHEN q.edited ? 'concurrency_limit' THEN q.concurrency_limit
                             ELSE excluded.concurrency_limit END,
    key_concurrency_limit = CASE WHEN q.edited ? 'key_concurrency_limit' THEN q.key_concurrency_limit
                                 ELSE excluded.key_concurrency_limit END,
    key_weights = CASE WHEN q.edited ? 'key_weights' THEN q.key_weights ELSE excluded.key_weights END,
    rate_amount = CASE WHEN q.edited ? 'rate' THEN q.rate_amount ELSE excluded.rate_amount END,
    rate_period = CASE WHEN q.edited ? 'rate' THEN q.rate_period ELSE excluded.rate_period END,
    rate_unit = CASE WHEN q.edited ? 'rate' THEN q.rate_unit ELSE excluded.rate_unit END,
    key_rate_amount = CASE WHEN q.edited ? 'key_rate' THEN q.key_rate_amount ELSE excluded.key_rate_amount END,
    key_rate_period = CASE WHEN q.edited ? 'key_rate' THEN q.key_rate_period ELSE excluded.key_rate_period END,
    key_rate_unit = CASE WHEN q.edited ? 'key_rate' THEN q.key_rate_unit ELSE excluded.key_rate_unit END,
    updated_at = excluded.updated_at
WHERE (q.pool, q.declared) IS DISTINCT FROM (excluded.pool, excluded.declared)
RETURNING q.id;

-- name: pauses_over
SELECT q.name FROM queues_queue q WHERE q.paused_until <= holdfast_now();

-- name: name_queue
-- A queue that is named and not declared: a row for it, unless it has one.
INSERT INTO queues_queue (name, pool, created_at, updated_at)
VALUES (%(name)s, 'default', holdfast_now(), holdfast_now())
ON CONFLICT (name) DO NOTHING;
