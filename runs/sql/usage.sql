-- What runs use, and what they may: written with the group commit, summed per batch before.
--
-- A budget belongs to a run and is drawn on by the runs that it waits for as well: `runs_run.accounts` names the runs
-- whose budgets a run draws on. Whoever opens a wait for a budget, or ends one, holds the lock of the budget's run
-- (`lock_waits`): so a top-up either finds the wait, or is seen by it.

-- name: add_usage
INSERT INTO runs_usage AS u (run_id, attempt, unit, amount)
SELECT n.run_id, n.attempt, n.unit, n.amount
FROM unnest(%(runs)s::uuid[], %(attempts)s::int[], %(units)s::text[], %(amounts)s::numeric[])
    AS n (run_id, attempt, unit, amount)
ON CONFLICT (run_id, attempt, unit) DO UPDATE SET amount = u.amount + excluded.amount;

-- name: add_usage_rollups
INSERT INTO runs_usagerollup AS r (minute, task_id, unit, worker_id, amount)
SELECT date_trunc('minute', holdfast_now()), n.task, n.unit, %(worker)s, n.amount
FROM unnest(%(tasks)s::text[], %(units)s::text[], %(amounts)s::numeric[]) AS n (task, unit, amount)
ON CONFLICT (task_id, unit, minute, worker_id) DO UPDATE SET amount = r.amount + excluded.amount;

-- name: charge
-- Adds to budgets, in one order so that two writers never wait crosswise; units without a budget are left out. Rows:
-- the balances.
INSERT INTO runs_budget AS b (run_id, unit, amount, spent)
SELECT k.run_id, k.unit, k.amount, n.amount
FROM unnest(%(runs)s::uuid[], %(units)s::text[], %(amounts)s::numeric[]) AS n (run_id, unit, amount)
JOIN runs_budget k ON k.run_id = n.run_id AND k.unit = n.unit
WHERE k.run_id = ANY(%(runs)s::uuid[])
ORDER BY k.run_id, k.unit
ON CONFLICT (run_id, unit) DO UPDATE SET spent = b.spent + excluded.spent
RETURNING b.run_id, b.unit, b.amount, b.spent;

-- name: balances
SELECT b.run_id, b.unit, b.amount, b.spent FROM runs_budget b WHERE b.run_id = ANY(%(runs)s::uuid[]);

-- name: top_up
UPDATE runs_budget b SET amount = b.amount + t.amount
FROM unnest(%(units)s::text[], %(amounts)s::numeric[]) AS t (unit, amount)
WHERE b.run_id = %(run)s AND b.unit = t.unit
RETURNING b.run_id, b.unit, b.amount, b.spent;

-- name: match_budgets
-- Waits for budgets that have room (again) are over. `runs` NULL: of all runs.
WITH room AS (
    SELECT b.run_id::text AS account, jsonb_build_object(b.run_id::text, jsonb_object_agg(b.unit, b.amount::text)) AS amounts
    FROM runs_budget b WHERE b.run_id = ANY(%(accounts)s::uuid[])
    GROUP BY b.run_id
    HAVING bool_and(b.spent < b.amount)
)
UPDATE runs_wait w
SET resolved_at = holdfast_now(), outcome = 'completed', output = r.amounts, resolved_by = %(by)s
FROM room r
WHERE w.kind = 'budget' AND w.resolved_at IS NULL AND w.name = r.account
  AND w.name = ANY((%(accounts)s::uuid[])::text[])
  AND (%(runs)s::uuid[] IS NULL OR w.run_id = ANY(%(runs)s::uuid[]))
RETURNING w.run_id;

-- name: budget_waited_for
-- The budget that a run is parked for, by the id of its run.
SELECT w.name::uuid FROM runs_wait w
WHERE w.run_id = %(run)s AND w.kind = 'budget' AND w.resolved_at IS NULL
ORDER BY w.sequence LIMIT 1;

-- name: tree_usage
-- A run and the runs that it waits or waited for, directly or through others: what they have used, and how many there
-- are. It looks at `limit` runs at most.
WITH RECURSIVE tree (id) AS (
    SELECT %(run)s::uuid
    UNION ALL
    SELECT c.id FROM tree t JOIN runs_run c ON c.parent_id = t.id WHERE c.parent_wait IS NOT NULL
), counted AS MATERIALIZED (
    SELECT t.id FROM tree t LIMIT %(limit)s
)
SELECT u.unit, sum(u.amount), (SELECT count(*) FROM counted)
FROM counted c LEFT JOIN runs_usage u ON u.run_id = c.id
GROUP BY u.unit ORDER BY u.unit;
