-- A run's transitions. Each compares the fencing token (there is one exactly while the run is leased) or the status
-- before it sets anything: no row, lost the race.

-- name: start
-- Leased runs begin, or go on: an attempt that is still open (after a wait or a handover) continues with its number.
WITH leased AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS l (id, token)
), begun AS (
    UPDATE runs_run r
    SET status = CASE WHEN r.stopping IS NULL THEN 'running' ELSE 'cancelling' END, lease_token = l.token, worker_id = %(worker)s, next_at = NULL, waiting_for = NULL,
        attempt = r.attempt + CASE
            WHEN r.stopping IS NOT NULL THEN 0  -- it is entered for its hook alone
            WHEN r.attempt > 0 AND EXISTS (
                SELECT 1 FROM runs_attempt a WHERE a.run_id = r.id AND a.finished_at IS NULL) THEN 0
            ELSE 1 END,
        started_at = coalesce(r.started_at, holdfast_now()),
        version = coalesce(%(versions)s::jsonb ->> r.task_id, r.version)
    FROM leased l
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = l.id AND r.finished_at IS NULL AND r.lease_token IS NULL
    RETURNING r.id, r.task_id, r.queue_id, r.payload, r.attempt, r.failures, r.max_attempts, r.tags, r.trace_id,
              r.lease_token, r.created_at, r.parent_wait, r.parent_id, r.accounts, r.stopping, r.ending, r.refused,
              r.accepted, r.round, r.past, old.version AS before,
              CASE WHEN old.waiting_for ? 'deferred' THEN old.waiting_for::text END AS deferred
), attempt AS (
    INSERT INTO runs_attempt AS a (run_id, number, status, worker_id, started_at)
    SELECT b.id, b.attempt, 'running', %(worker)s, holdfast_now() FROM begun b WHERE b.stopping IS NULL
    ON CONFLICT (run_id, number) DO UPDATE SET worker_id = excluded.worker_id
)
SELECT b.id, b.task_id, b.queue_id, b.payload::text, b.attempt, b.failures, b.max_attempts, b.tags, b.trace_id,
       b.lease_token, extract(epoch FROM b.created_at)::float8, CASE WHEN b.parent_wait IS NOT NULL THEN b.parent_id END,
       -- Only this statement's own snapshot can say so: an attempt that was open before it.
       (SELECT a.active FROM runs_attempt a WHERE a.run_id = b.id AND a.number = b.attempt) AS active,
       b.attempt > 1 AND EXISTS (
           SELECT 1 FROM runs_attempt a
           WHERE a.run_id = b.id AND a.number = b.attempt - 1 AND a.status = 'crashed') AS after_crash,
       b.accounts, b.stopping, b.ending::text, b.before, b.refused, b.accepted, b.deferred, b.round,
       b.past
FROM begun b;

-- name: history
-- Inputs are compared (see `runs/engine/history.py`), the long ones not.
SELECT s.run_id, s.sequence, s.kind, s.key, s.attempt, s.output::text, s.state::text, s.name,
       CASE WHEN s.kind = 'step' AND pg_column_size(s.input) <= 2000 THEN s.input::text END
FROM runs_snapshot s JOIN runs_run r ON r.id = s.run_id
WHERE s.run_id = ANY(%(ids)s) AND r.id = ANY(%(ids)s) AND s.sequence > r.past
ORDER BY s.run_id, s.sequence;

-- name: beats
SELECT b.run_id, b.key, b.details::text FROM runs_heartbeat b WHERE b.run_id = ANY(%(ids)s::uuid[]);

-- name: set_beats
-- A later attempt's word is not taken back by an earlier one's.
INSERT INTO runs_heartbeat AS b (run_id, key, attempt, details, at)
SELECT n.run_id, n.key, n.attempt, n.details::jsonb, to_timestamp(n.at)
FROM unnest(%(run_ids)s::uuid[], %(keys)s::varchar[], %(attempts)s::int[], %(details)s::text[], %(ats)s::float8[])
     AS n (run_id, key, attempt, details, at)
ON CONFLICT (run_id, key) DO UPDATE
SET attempt = excluded.attempt, details = excluded.details, at = excluded.at
WHERE b.attempt <= excluded.attempt;

-- name: end_beats
DELETE FROM runs_heartbeat b
USING unnest(%(run_ids)s::uuid[], %(keys)s::varchar[]) AS n (run_id, key)
WHERE b.run_id = ANY(%(run_ids)s::uuid[]) AND b.run_id = n.run_id AND b.key = n.key;

-- name: ran_out_at
-- An isolated run's attempts say at which limit they ran out of memory: that outlives whatever crashes. One that the
-- kernel killed (it has a signal) says nothing about the limit: the machine was too small.
SELECT max((a.error -> 'exit' ->> 'memory_limit')::bigint)
FROM runs_attempt a
WHERE a.run_id = %(id)s AND a.error ->> 'type' = 'runs.errors.OutOfMemory'
  AND a.error -> 'exit' ->> 'signal' IS NULL;

-- name: finish
-- Attempts end, or are put down (status queued or waiting: the attempt stays open). `failed` counts towards
-- max_attempts; `delay` is the seconds until a retry or a timer, infinity for a wait without end; `active` the seconds
-- of this stay. A run that is being stopped does not come back: it ends as what it is stopped for. Those that would have
-- come back are returned; `again` of them that do come back, for a hook: `hooked` holds the statuses that have one.
WITH done AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(tokens)s::bigint[], %(statuses)s::text[], %(attempts)s::text[], %(outputs)s::text[],
        %(errors)s::text[], %(failed)s::int[], %(delays)s::float8[], %(waits)s::text[], %(active)s::float8[],
        %(hooked)s::text[]
    ) AS d (id, token, status, attempt, output, error, failed, delay, waiting_for, active, hooked)
), moved AS (
    UPDATE runs_run r
    SET status = CASE WHEN {comes_back} THEN 'cancelling'
                      WHEN r.stopping IS NOT NULL AND (d.delay IS NOT NULL OR d.status = 'cancelled') THEN r.stopping
                      ELSE d.status END,
        output = d.output::jsonb, error = coalesce(d.error::jsonb, CASE WHEN r.stopping IS NOT NULL THEN r.error END),
        failures = r.failures + d.failed,
        next_at = CASE WHEN r.stopping IS NULL AND d.delay > 0 AND d.delay < 'Infinity'
                       THEN holdfast_now() + make_interval(secs => d.delay) END,
        waiting_for = CASE WHEN r.stopping IS NULL THEN d.waiting_for::jsonb END,
        -- Parked because its history does not fit the worker's code: that version is not to try again.
        version = CASE WHEN d.status = 'waiting' THEN coalesce(d.waiting_for::jsonb ->> 'ran', r.version)
                       ELSE r.version END,
        refused = CASE WHEN d.status = 'waiting' AND d.waiting_for::jsonb ->> 'kind' = 'version'
                            AND NOT coalesce(r.refused @> ARRAY[(d.waiting_for::jsonb ->> 'version')::varchar], false)
                       THEN array_append(r.refused, (d.waiting_for::jsonb ->> 'version')::varchar)
                       ELSE r.refused END,
        finished_at = CASE WHEN NOT {comes_back} AND (d.delay IS NULL OR r.stopping IS NOT NULL) THEN holdfast_now() END,
        lease_token = NULL,
        stopping = CASE WHEN {comes_back} THEN r.stopping END,
        ending = CASE WHEN d.delay IS NOT NULL THEN r.ending END
    FROM done d
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = d.id AND r.lease_token = d.token
    RETURNING r.id, d.attempt, d.error, d.delay, d.active, CASE WHEN r.stopping IS NULL THEN old.stopping END AS stopping,
              r.stopping IS NOT NULL AS again, r.status, r.finished_at, {told_apart}
), {told}, ended AS (
    UPDATE runs_attempt a
    SET active = a.active + m.active,
        status = CASE WHEN m.stopping IS NOT NULL AND coalesce(m.attempt, 'cancelled') = 'cancelled' THEN m.stopping
                      ELSE coalesce(m.attempt, a.status) END,
        error = coalesce(m.error::jsonb, a.error),
        finished_at = CASE WHEN m.attempt IS NOT NULL OR m.stopping IS NOT NULL THEN holdfast_now() END
    FROM moved m
    WHERE a.run_id = ANY(%(ids)s::uuid[]) AND a.run_id = m.id AND a.finished_at IS NULL
    RETURNING a.run_id, a.status, CASE WHEN m.attempt IS NULL THEN m.active END AS seconds  -- the writer counts the others
)
SELECT m.id, m.again, {counts}
FROM moved m LEFT JOIN ended e ON e.run_id = m.id
WHERE (m.stopping IS NOT NULL OR m.again) AND m.delay IS NOT NULL;

-- name: told_apart
-- A part of statements that end runs: by what rollups tell them apart, and the seconds of a run that is over.
r.task_id, r.queue_id, r.version, r.worker_id, extract(epoch FROM r.finished_at - r.created_at)::float8 AS age

-- name: counts
-- What they tell the rollups, as `Counts`: of the run, where it is over, and of the attempt that it leaves.
m.task_id, m.queue_id, m.version, m.worker_id, m.status, m.age, e.status, e.seconds

-- name: told
-- A part of statements that end runs: endpoints, if there are any, are to hear of those of `moved (id, status,
-- finished_at)` that are over.
told AS (
    INSERT INTO runs_ending (run_id, status, at)
    SELECT m.id, m.status, m.finished_at FROM moved m
    WHERE m.finished_at IS NOT NULL AND EXISTS (SELECT 1 FROM runs_endpoint e WHERE e.enabled)
)

-- name: comes_back
-- A part of `finish`: the run is being stopped and is entered again, for the hook of what it ends as.
(r.stopping IS NOT NULL AND d.delay IS NOT NULL AND (r.ending IS NOT NULL OR strpos(d.hooked, r.stopping) > 0))

-- name: continue_runs
-- `continue_as_new`, before `finish` takes the leases' tokens from the runs: they go back to the queue with another
-- payload, and begin anew. One number of the snapshots is left out, so that what was streamed after the last one of a
-- round is not taken for the next round's. One that is being stopped ends as it is.
WITH next AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(payloads)s::text[], %(timeouts)s::float8[])
        AS n (id, token, payload, timeout)
), moved AS (
    UPDATE runs_run r
    SET payload = n.payload::jsonb, round = r.round + 1, failures = 0, crashes = 0, refused = NULL, accepted = NULL,
        past = (SELECT coalesce(max(s.sequence), r.past) + 1 FROM runs_snapshot s WHERE s.run_id = n.id)
    FROM next n
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = n.id AND r.lease_token = n.token AND r.stopping IS NULL
    RETURNING r.id, n.timeout
), waits AS (
    DELETE FROM runs_wait w USING moved m WHERE w.run_id = ANY(%(ids)s::uuid[]) AND w.run_id = m.id
), mail AS (
    DELETE FROM runs_signal s USING moved m
    WHERE s.run_id = ANY(%(ids)s::uuid[]) AND s.run_id = m.id AND s.wait_id IS NOT NULL
), asked AS (
    UPDATE runs_update u SET wait_id = NULL FROM moved m
    WHERE u.run_id = ANY(%(ids)s::uuid[]) AND u.run_id = m.id AND u.outcome IS NULL
), beats AS (
    DELETE FROM runs_heartbeat b USING moved m WHERE b.run_id = ANY(%(ids)s::uuid[]) AND b.run_id = m.id
)
UPDATE runs_deadline d SET at = holdfast_now() + make_interval(secs => m.timeout)
FROM moved m WHERE d.run_id = m.id AND d.kind = 'timeout' AND m.timeout IS NOT NULL;

-- name: endings
-- What runs will end as, once their hooks have been called.
UPDATE runs_run r SET ending = e.ending::jsonb
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(endings)s::text[]) AS e (id, token, ending)
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = e.id AND r.lease_token = e.token;

-- name: progress
INSERT INTO runs_progress AS p (run_id, value, words, metadata, at)
SELECT n.run_id, n.value, coalesce(n.words, ''), n.metadata::jsonb, holdfast_now()
FROM unnest(%(ids)s::uuid[], %(values)s::float8[], %(words)s::text[], %(metadata)s::text[])
    AS n (run_id, value, words, metadata)
ON CONFLICT (run_id) DO UPDATE SET
    value = coalesce(excluded.value, p.value),
    words = CASE WHEN excluded.value IS NULL THEN p.words ELSE excluded.words END,
    metadata = coalesce(excluded.metadata, p.metadata), at = excluded.at;

-- name: snapshots
INSERT INTO runs_snapshot (run_id, sequence, kind, name, key, attempt, input, output, state, error, started_at,
                           finished_at, usage)
SELECT s.run_id, s.sequence, s.kind, s.name, s.key, s.attempt, s.input::jsonb, s.output::jsonb, s.state::jsonb,
       s.error::jsonb, to_timestamp(s.started_at), to_timestamp(s.finished_at), s.usage::jsonb
FROM unnest(
    %(run_ids)s::uuid[], %(sequences)s::int[], %(kinds)s::text[], %(names)s::text[], %(keys)s::text[],
    %(attempts)s::int[], %(inputs)s::text[], %(outputs)s::text[], %(states)s::text[], %(errors)s::text[],
    %(started)s::float8[], %(finished)s::float8[], %(usages)s::text[]
) AS s (run_id, sequence, kind, name, key, attempt, input, output, state, error, started_at, finished_at, usage);

-- name: logs
INSERT INTO runs_logline (run_id, at, level, message, fields, attempt, step)
SELECT l.run_id, to_timestamp(l.at), l.level, l.message, l.fields::jsonb, l.attempt, l.step
FROM unnest(
    %(run_ids)s::uuid[], %(ats)s::float8[], %(levels)s::smallint[], %(messages)s::text[], %(fields)s::text[],
    %(attempts)s::int[], %(steps)s::text[]
) WITH ORDINALITY AS l (run_id, at, level, message, fields, attempt, step, ord)
ORDER BY l.ord;

-- name: trim_logs
-- The newest lines that fit into `keep` bytes stay. The one before them becomes the line that says what was dropped,
-- with what earlier such lines had said.
WITH sized AS (
    SELECT l.sequence, sum(octet_length(l.message) + coalesce(pg_column_size(l.fields), 0))
                           OVER (ORDER BY l.sequence DESC) AS size
    FROM runs_logline l WHERE l.run_id = %(run)s
), cut AS (
    SELECT max(s.sequence) AS sequence FROM sized s WHERE s.size > %(keep)s
), old AS (
    SELECT l.sequence,
           CASE jsonb_typeof(l.fields -> 'dropped_lines')
               WHEN 'number' THEN (l.fields ->> 'dropped_lines')::numeric ELSE 1 END AS lines,
           CASE jsonb_typeof(l.fields -> 'dropped_bytes')
               WHEN 'number' THEN (l.fields ->> 'dropped_bytes')::numeric ELSE octet_length(l.message) END AS bytes
    FROM runs_logline l, cut WHERE l.run_id = %(run)s AND l.sequence <= cut.sequence
), total AS (
    SELECT count(*) AS rows, sum(o.lines) AS lines, sum(o.bytes) AS bytes FROM old o
), gone AS (
    DELETE FROM runs_logline l USING cut WHERE l.run_id = %(run)s AND l.sequence < cut.sequence
)
UPDATE runs_logline l
SET level = 30, step = '', fields = jsonb_build_object('dropped_lines', t.lines, 'dropped_bytes', t.bytes),
    message = to_char(t.lines, 'FM999,999,999,999') || ' lines before this one were dropped: a run''s log keeps its last '
              || %(shown)s || '.'
FROM cut, total t
WHERE l.run_id = %(run)s AND l.sequence = cut.sequence AND t.rows > 1
RETURNING t.rows;

-- name: rollups
-- What a statement has ended is counted by whoever made it, and not by the worker whose run it was: it has rows of its own
-- (`apart`), so that nobody's open transaction stops the commits of a worker.
INSERT INTO runs_rollup AS r (minute, kind, task_id, queue_id, worker_id, name, version, status, bucket, count, seconds)
SELECT date_trunc('minute', holdfast_now()), u.kind, u.task, u.queue, u.worker,
       CASE WHEN %(apart)s THEN pg_backend_pid()::text ELSE u.name END, u.version, u.status, u.bucket, u.count, u.seconds
FROM unnest(
    %(kinds)s::text[], %(tasks)s::text[], %(queues)s::bigint[], %(names)s::text[], %(versions)s::text[],
    %(statuses)s::text[], %(buckets)s::smallint[], %(workers)s::bigint[], %(counts)s::bigint[], %(seconds)s::float8[]
) AS u (kind, task, queue, name, version, status, bucket, worker, count, seconds)
ON CONFLICT (minute, kind, task_id, queue_id, name, version, status, bucket, worker_id)
DO UPDATE SET count = r.count + excluded.count, seconds = r.seconds + excluded.seconds;

-- name: crash
-- Runs whose worker is gone: again at once, then with growing delay, until the crash limit makes them final. Their attempts
-- have lasted from the lease until now.
WITH lost AS (
    SELECT l.id, l.token, l.leased_at, k.ending IS NOT NULL OR coalesce(CASE k.stopping WHEN 'cancelled' THEN 'on_cancel' WHEN 'timed_out' THEN 'on_failure' END = ANY(t.hooks), false) AS hooked
    FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(leased)s::timestamptz[]) AS l (id, token, leased_at)
    JOIN runs_run k ON k.id = l.id LEFT JOIN runs_task t ON t.id = k.task_id
    WHERE k.id = ANY(%(ids)s::uuid[])
), moved AS (
    UPDATE runs_run r
    SET crashes = r.crashes + 1,
        -- One that is being stopped has stopped, but for its hook.
        status = CASE WHEN r.stopping IS NULL THEN CASE WHEN r.crashes + 1 >= %(limit)s THEN 'crashed' ELSE 'queued' END
                      WHEN l.hooked AND r.crashes + 1 < %(limit)s THEN 'cancelling'
                      ELSE r.stopping END,
        error = CASE WHEN r.stopping IS NULL THEN %(error)s::jsonb ELSE r.error END,
        next_at = CASE WHEN r.stopping IS NULL AND r.crashes BETWEEN 1 AND %(limit)s - 2
                       THEN holdfast_now() + make_interval(secs => 2 ^ r.crashes) END,
        finished_at = CASE WHEN r.crashes + 1 >= %(limit)s OR (r.stopping IS NOT NULL AND NOT l.hooked)
                           THEN holdfast_now() END,
        lease_token = NULL,
        stopping = CASE WHEN l.hooked AND r.crashes + 1 < %(limit)s THEN r.stopping END,
        ending = CASE WHEN r.crashes + 1 < %(limit)s THEN r.ending END
    FROM lost l
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = l.id AND r.lease_token = l.token
    RETURNING r.id, r.finished_at IS NULL AS back, r.crashes, r.status, r.finished_at, l.leased_at, {told_apart}
), {told}, ended AS (
    UPDATE runs_attempt a
    SET status = 'crashed', error = %(error)s::jsonb, finished_at = holdfast_now()
    FROM moved m WHERE a.run_id = ANY(%(ids)s::uuid[]) AND a.run_id = m.id AND a.finished_at IS NULL
    RETURNING a.run_id, a.status, extract(epoch FROM a.finished_at - m.leased_at)::float8 AS seconds
)
SELECT m.id, m.back, CASE WHEN m.crashes > 1 THEN 2 ^ (m.crashes - 1) ELSE 0 END::float8, {counts}
FROM moved m LEFT JOIN ended e ON e.run_id = m.id;

-- name: overlap
-- A worker that had been declared lost came back: its attempts say so.
UPDATE runs_attempt a SET overlap_at = holdfast_now()
WHERE a.worker_id = %(worker)s AND a.run_id = ANY(%(ids)s) AND a.status = 'crashed' AND a.overlap_at IS NULL;

-- name: give_back
-- Adds entries again for runs that were taken from a worker.
WITH incoming AS (
    SELECT g.entry_id, g.queue_id, g.lane, g.priority, g.concurrency_key, g.units,
           CASE WHEN g.delay > 0 THEN holdfast_now() + make_interval(secs => g.delay) END AS due_at
    FROM unnest(%(ids)s::uuid[], %(queues)s::bigint[], %(lanes)s::smallint[], %(priorities)s::smallint[],
                %(keys)s::varchar[], %(units)s::int[], %(delays)s::float8[])
         AS g (entry_id, queue_id, lane, priority, concurrency_key, units, delay)
), {add_incoming}
SELECT count(*) FROM incoming;

-- name: ready
-- Timers that fell due: scheduled runs are queued now; retrying and waiting ones keep their name until a lease.
UPDATE runs_run SET status = 'queued', next_at = NULL WHERE id = ANY(%(ids)s) AND status = 'scheduled';

-- name: families
-- Runs and the unfinished runs that they, or one of those, wait for. It goes no further than to `most` rows.
WITH RECURSIVE family (first, id) AS (
    SELECT i.id, i.id FROM unnest(%(ids)s::uuid[]) AS i (id)
    UNION
    SELECT f.first, c.id FROM family f JOIN runs_run c ON c.parent_id = f.id
    WHERE c.parent_wait IS NOT NULL AND c.finished_at IS NULL
)
SELECT f.first, f.id FROM family f LIMIT %(most)s::bigint;

-- name: stoppable
-- Of these runs, those that are neither over nor being stopped, and whose outcome is not decided.
SELECT r.id FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND {can_be_stopped};

-- name: can_be_stopped
-- A part of other statements.
r.finished_at IS NULL AND r.stopping IS NULL AND r.ending IS NULL

-- name: stop
-- Runs that nobody holds end at once; the others when their code has stopped, and say `cancelling` until then. So do
-- those that have begun and have a hook for it: they are entered once more, for the hook. One whose outcome is decided
-- cannot be stopped any more. Call it after their entries were withdrawn (lock order).
WITH hooked AS (
    SELECT k.id FROM runs_run k JOIN runs_task t ON t.id = k.task_id
    WHERE k.id = ANY(%(ids)s::uuid[]) AND k.attempt > 0
      AND CASE %(final)s WHEN 'cancelled' THEN 'on_cancel' WHEN 'timed_out' THEN 'on_failure' END = ANY(t.hooks)
), moved AS (
    UPDATE runs_run r
    SET status = CASE WHEN {ends_at_once} THEN %(final)s ELSE 'cancelling' END,
        stopping = CASE WHEN NOT {ends_at_once} THEN %(final)s END,
        finished_at = CASE WHEN {ends_at_once} THEN holdfast_now() END,
        error = coalesce(%(error)s::jsonb, r.error), next_at = NULL, waiting_for = NULL
    WHERE r.id = ANY(%(ids)s::uuid[]) AND {can_be_stopped}
    RETURNING r.id, r.status, r.priority, r.concurrency_key, r.units, r.lease_token, r.finished_at, {told_apart}
), {told}, incoming AS (
    SELECT m.id AS entry_id, m.queue_id, t.lane, m.priority, m.concurrency_key, m.units, NULL::timestamptz AS due_at
    FROM moved m JOIN runs_task t ON t.id = m.task_id
    WHERE m.status = 'cancelling' AND m.lease_token IS NULL
), {add_incoming}, ended AS (
    UPDATE runs_attempt a SET status = m.status, finished_at = holdfast_now()
    FROM moved m
    WHERE a.run_id = ANY(%(ids)s::uuid[]) AND a.run_id = m.id AND a.finished_at IS NULL AND m.status <> 'cancelling'
    RETURNING a.run_id, a.status, a.active AS seconds
)
SELECT m.id, m.status, q.pool, {counts}
FROM moved m JOIN queues_queue q ON q.id = m.queue_id LEFT JOIN ended e ON e.run_id = m.id;

-- name: ends_at_once
-- A part of `stop`.
(r.lease_token IS NULL AND NOT EXISTS (SELECT 1 FROM hooked h WHERE h.id = r.id))

-- name: to_stop
-- What a worker holds and is to stop.
SELECT r.id, r.stopping FROM runs_run r WHERE r.worker_id = %(worker)s AND r.status = 'cancelling';

-- name: deadlines_due
DELETE FROM runs_deadline d WHERE d.id = ANY (ARRAY(
    SELECT n.id FROM runs_deadline n WHERE n.at <= holdfast_now() ORDER BY n.at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING d.run_id, d.kind;

-- name: next_deadline
SELECT extract(epoch FROM min(d.at) - holdfast_now())::float8 FROM runs_deadline d;

-- name: never_started
SELECT r.id FROM runs_run r WHERE r.id = ANY(%(ids)s::uuid[]) AND r.status IN ('queued', 'scheduled') AND r.attempt = 0;

-- name: reopen
-- A person's retry of runs that ended badly: same run, next attempt, finished steps kept, a fresh budget of tries.
WITH moved AS (
    UPDATE runs_run r
    SET status = 'queued', finished_at = NULL, ending = NULL, failures = 0, crashes = 0, next_at = NULL
    WHERE r.id = ANY(%(ids)s::uuid[]) AND {can_be_reopened}
    RETURNING r.id, r.task_id, r.queue_id, r.priority, r.concurrency_key, r.units
), incoming AS (
    SELECT m.id AS entry_id, m.queue_id, t.lane, m.priority, m.concurrency_key, m.units,
           NULL::timestamptz AS due_at
    FROM moved m JOIN runs_task t ON t.id = m.task_id
), {add_incoming}
SELECT m.id, q.pool FROM moved m JOIN queues_queue q ON q.id = m.queue_id;

-- name: can_be_reopened
-- A part of other statements.
r.status IN ('failed', 'cancelled', 'expired', 'timed_out', 'crashed', 'unknown')

-- name: accept_history
-- A person lets runs that were parked for their version go on with whatever code comes: what their history has up to
-- here is compared no more.
UPDATE runs_run r
SET status = 'queued', waiting_for = NULL, next_at = NULL, refused = NULL,
    accepted = (SELECT coalesce(max(s.sequence), 0) FROM runs_snapshot s WHERE s.run_id = r.id)
FROM queues_queue q
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.status = 'waiting' AND r.waiting_for ->> 'kind' = 'version'
  AND q.id = r.queue_id
RETURNING r.id, q.pool;

-- name: deferred
-- Runs that were left for other code, and that code of these versions (task id → fingerprint) has not refused.
SELECT r.id FROM runs_run r
WHERE r.waiting_for ? 'deferred' AND r.status = 'waiting' AND %(versions)s::jsonb ? r.task_id
  AND NOT coalesce(r.refused @> ARRAY[(%(versions)s::jsonb ->> r.task_id)::varchar], false)
LIMIT %(limit)s;

-- name: next_tick
SELECT extract(epoch FROM min(s.next_at) - holdfast_now())::float8 FROM runs_schedule s;

-- name: lead_schedules
-- Whether this scheduler is the one that fires ticks, to the end of its transaction. One that is frozen in the middle of
-- it leads for a few seconds at most: then the server ends its connection.
SELECT pg_try_advisory_xact_lock(%(lock)s), set_config('idle_in_transaction_session_timeout', %(frozen)s, true);
