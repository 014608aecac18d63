-- name: declare_queue
-- A queue as code declares it. A person's edit of a limit outlives later declarations.
INSERT INTO queues_queue (name, pool, concurrency_limit, declared_concurrency_limit, rate_amount, rate_period,
                          declared_rate_amount, declared_rate_period, created_at, updated_at)
VALUES (%(name)s, %(pool)s, %(concurrency_limit)s, %(concurrency_limit)s, %(rate_amount)s, %(rate_period)s,
        %(rate_amount)s, %(rate_period)s, holdfast_now(), holdfast_now())
ON CONFLICT (name) DO UPDATE SET
    pool = excluded.pool,
    declared_concurrency_limit = excluded.declared_concurrency_limit,
    concurrency_limit = CASE WHEN queues_queue.limit_edited THEN queues_queue.concurrency_limit
                             ELSE excluded.concurrency_limit END,
    declared_rate_amount = excluded.declared_rate_amount,
    declared_rate_period = excluded.declared_rate_period,
    rate_amount = CASE WHEN queues_queue.rate_edited THEN queues_queue.rate_amount ELSE excluded.rate_amount END,
    rate_period = CASE WHEN queues_queue.rate_edited THEN queues_queue.rate_period ELSE excluded.rate_period END,
    updated_at = excluded.updated_at
WHERE (queues_queue.pool, queues_queue.declared_concurrency_limit, queues_queue.declared_rate_amount,
       queues_queue.declared_rate_period)
      IS DISTINCT FROM (excluded.pool, excluded.declared_concurrency_limit, excluded.declared_rate_amount,
                        excluded.declared_rate_period);
