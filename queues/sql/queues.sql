-- name: declare_queue
-- A queue as code declares it. A person's edit of a limit outlives later declarations. A row when anything is new.
INSERT INTO queues_queue AS q (
    name, pool, concurrency_limit, declared_concurrency_limit, key_concurrency_limit, declared_key_concurrency_limit,
    rate_amount, rate_period, declared_rate_amount, declared_rate_period, created_at, updated_at
)
VALUES (%(name)s, %(pool)s, %(concurrency_limit)s, %(concurrency_limit)s, %(key_concurrency_limit)s,
        %(key_concurrency_limit)s, %(rate_amount)s, %(rate_period)s, %(rate_amount)s, %(rate_period)s, holdfast_now(),
        holdfast_now())
ON CONFLICT (name) DO UPDATE SET
    pool = excluded.pool,
    declared_concurrency_limit = excluded.declared_concurrency_limit,
    concurrency_limit = CASE WHEN q.limit_edited THEN q.concurrency_limit ELSE excluded.concurrency_limit END,
    declared_key_concurrency_limit = excluded.declared_key_concurrency_limit,
    key_concurrency_limit = CASE WHEN q.key_limit_edited THEN q.key_concurrency_limit
                                 ELSE excluded.key_concurrency_limit END,
    declared_rate_amount = excluded.declared_rate_amount,
    declared_rate_period = excluded.declared_rate_period,
    rate_amount = CASE WHEN q.rate_edited THEN q.rate_amount ELSE excluded.rate_amount END,
    rate_period = CASE WHEN q.rate_edited THEN q.rate_period ELSE excluded.rate_period END,
    updated_at = excluded.updated_at
WHERE (q.pool, q.declared_concurrency_limit, q.declared_key_concurrency_limit, q.declared_rate_amount,
       q.declared_rate_period)
      IS DISTINCT FROM (excluded.pool, excluded.declared_concurrency_limit, excluded.declared_key_concurrency_limit,
                        excluded.declared_rate_amount, excluded.declared_rate_period)
RETURNING q.id;
