-- Circuit breakers: what calls have come to, and what that makes of a breaker. Whoever uses one says and asks this a few
-- times a second; nothing here is asked for a breaker that nobody uses.

-- name: declare_breaker
-- One that is only named leaves a row as it is.
INSERT INTO queues_breaker AS b (name, failure_rate, min_calls, "window", slow, slow_rate, cooldown, probes, retry_budget,
                                 since)
VALUES (%(name)s, %(failure_rate)s, %(min_calls)s, %(window)s, %(slow)s, %(slow_rate)s, %(cooldown)s, %(probes)s,
        %(retry_budget)s, holdfast_now())
ON CONFLICT (name) DO UPDATE SET
    failure_rate = excluded.failure_rate, min_calls = excluded.min_calls, "window" = excluded."window",
    slow = excluded.slow, slow_rate = excluded.slow_rate, cooldown = excluded.cooldown, probes = excluded.probes,
    retry_budget = excluded.retry_budget
WHERE NOT %(is_named)s
  AND (b.failure_rate, b.min_calls, b."window", b.slow, b.slow_rate, b.cooldown, b.probes, b.retry_budget)
      IS DISTINCT FROM (excluded.failure_rate, excluded.min_calls, excluded."window", excluded.slow, excluded.slow_rate,
                        excluded.cooldown, excluded.probes, excluded.retry_budget);

-- name: count_calls
-- What calls came to since a process last said so. A row for each process: two never wait for each other.
INSERT INTO queues_breakercount AS c (breaker_id, epoch, slice, source, calls, failures, slow, retries, at)
SELECT b.id, b.epoch, floor(extract(epoch FROM holdfast_now()) * 10 / b."window"), %(source)s, s.calls, s.failures, s.slow,
       s.retries, holdfast_now()
FROM unnest(%(names)s::varchar[], %(calls)s::int[], %(failures)s::int[], %(slow)s::int[], %(retries)s::int[])
     AS s (name, calls, failures, slow, retries)
JOIN queues_breaker b ON b.name = s.name
WHERE s.calls > 0
ON CONFLICT (breaker_id, epoch, slice, source) DO UPDATE SET
    calls = c.calls + excluded.calls, failures = c.failures + excluded.failures, slow = c.slow + excluded.slow,
    retries = c.retries + excluded.retries, at = excluded.at;

-- name: count_probes
-- What probes came to: one failure opens again, enough successes close. Probes of an earlier time count no more. All is
-- reckoned from the row itself: who had to wait for another process finds in it what that one has said.
UPDATE queues_breaker b SET
    probes_ok = b.probes_ok + s.ok,
    state = CASE WHEN s.failed THEN 'open' WHEN b.probes_ok + s.ok >= b.probes THEN 'closed' ELSE b.state END,
    since = CASE WHEN s.failed OR b.probes_ok + s.ok >= b.probes THEN holdfast_now() ELSE b.since END,
    until = CASE WHEN s.failed THEN holdfast_now() + make_interval(secs => b.cooldown)
                 WHEN b.probes_ok + s.ok < b.probes THEN b.until END,
    epoch = b.epoch + CASE WHEN s.failed OR b.probes_ok + s.ok >= b.probes THEN 1 ELSE 0 END
FROM (SELECT s.name, s.epoch, count(*) FILTER (WHERE NOT s.failed) AS ok, bool_or(s.failed) AS failed
      FROM unnest(%(names)s::varchar[], %(epochs)s::int[], %(failed)s::bool[]) AS s (name, epoch, failed)
      GROUP BY s.name, s.epoch) s
WHERE b.name = s.name AND b.epoch = s.epoch AND b.state = 'half_open';

-- name: turn_breakers
-- Closed ones open when their window says so, open ones are half open when their cooldown is over, and half open ones
-- whose probes have not come back are asked anew.
WITH seen AS MATERIALIZED (
    SELECT b.id, b.epoch,
           CASE WHEN b.state = 'closed' AND s.calls >= b.min_calls
                     AND (s.failures >= b.failure_rate * s.calls OR (b.slow IS NOT NULL AND s.slow >= b.slow_rate * s.calls))
                THEN 'open'
                WHEN b.state IN ('open', 'half_open') AND b.until <= holdfast_now() THEN 'half_open' END AS state
    FROM queues_breaker b
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.calls), 0) AS calls, coalesce(sum(c.failures), 0) AS failures, coalesce(sum(c.slow), 0) AS slow
        FROM queues_breakercount c
        WHERE c.breaker_id = b.id AND c.epoch = b.epoch AND c.at > holdfast_now() - make_interval(secs => b."window")
    ) s
    WHERE b.name = ANY(%(names)s::varchar[]) AND b.forced = ''
)
UPDATE queues_breaker b SET
    state = seen.state, since = holdfast_now(), epoch = b.epoch + 1, probes_begun = 0, probes_ok = 0,
    until = holdfast_now() + make_interval(secs => b.cooldown)
FROM seen
WHERE b.id = seen.id AND b.epoch = seen.epoch AND seen.state IS NOT NULL
RETURNING b.name, b.state;

-- name: breaker_states
-- `left` is in seconds. Retries and first calls are those of the window.
SELECT b.name, CASE WHEN b.forced <> '' THEN b.forced ELSE b.state END AS state,
       CASE WHEN b.forced = '' THEN greatest(0, extract(epoch FROM b.until - holdfast_now())) END::float8 AS left,
       s.calls - s.retries AS firsts, s.retries
FROM queues_breaker b
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.calls), 0)::int AS calls, coalesce(sum(c.retries), 0)::int AS retries
    FROM queues_breakercount c
    WHERE c.breaker_id = b.id AND c.at > holdfast_now() - make_interval(secs => b."window")
) s
WHERE b.name = ANY(%(names)s::varchar[]);

-- name: take_probe
UPDATE queues_breaker b SET probes_begun = b.probes_begun + 1
WHERE b.name = %(name)s AND b.forced = '' AND b.state = 'half_open' AND b.probes_begun < b.probes
RETURNING b.epoch;

-- name: forget_calls
DELETE FROM queues_breakercount c USING queues_breaker b
WHERE b.id = c.breaker_id AND c.at < holdfast_now() - make_interval(secs => b."window" + 60);

-- name: force_breaker
-- A person says how it stands; let go, it begins closed, with an empty window.
UPDATE queues_breaker SET
    forced = %(state)s::varchar, forced_by = %(by)s, forced_reason = CASE WHEN %(state)s::varchar = '' THEN '' ELSE %(reason)s END,
    state = CASE WHEN %(state)s::varchar = '' THEN 'closed' ELSE state END, since = holdfast_now(), until = NULL, epoch = epoch + 1
WHERE name = %(name)s;

-- name: breaker_windows
SELECT b.id, s.calls, s.failures, s.slow, s.retries
FROM queues_breaker b
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.calls), 0)::int AS calls, coalesce(sum(c.failures), 0)::int AS failures,
           coalesce(sum(c.slow), 0)::int AS slow, coalesce(sum(c.retries), 0)::int AS retries
    FROM queues_breakercount c
    WHERE c.breaker_id = b.id AND c.at > holdfast_now() - make_interval(secs => b."window")
) s
WHERE %(name)s::text IS NULL OR b.name = %(name)s
ORDER BY b.name
LIMIT %(most)s;
