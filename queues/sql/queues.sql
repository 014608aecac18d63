-- name: declare_queue
-- A queue as code declares it. A person's edit of the limit outlives later declarations.
INSERT INTO queues_queue (name, pool, concurrency_limit, declared_concurrency_limit, created_at, updated_at)
VALUES (%(name)s, %(pool)s, %(concurrency_limit)s, %(concurrency_limit)s, holdfast_now(), holdfast_now())
ON CONFLICT (name) DO UPDATE SET
    pool = excluded.pool,
    declared_concurrency_limit = excluded.declared_concurrency_limit,
    concurrency_limit = CASE WHEN queues_queue.limit_edited THEN queues_queue.concurrency_limit
                             ELSE excluded.concurrency_limit END,
    updated_at = excluded.updated_at
WHERE (queues_queue.pool, queues_queue.declared_concurrency_limit)
      IS DISTINCT FROM (excluded.pool, excluded.declared_concurrency_limit);
