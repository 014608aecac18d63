from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queues.horizon import Horizon
from queues.models import Queue
from queues.selectors import QueueFlow
from queues.workers import AliveWorker
from runs.causes import judging
from runs.causes.checks import checks
from runs.causes.facts import Facts, TaskHour
from runs.causes.judging import Verdict
from runs.stuck.selectors import Standstills

AT = datetime(2026, 3, 1, tzinfo=UTC)


def verdict(
    counts: dict[str, int], hours: list[TaskHour], flows: list[QueueFlow], workers: list[AliveWorker], **more: Any
) -> Verdict:
    return judging.verdict(Facts(counts, hours, flows, workers, redis=0.001, **more), AT)


def flow(
    name: str = "default", *, depth: int = 0, running: int = 0, limit: int | None = None, **more: object
) -> QueueFlow:
    queue = Queue(name=name, concurrency_limit=limit, pool="default")
    for field, value in more.items():
        setattr(queue, field, value)
    return QueueFlow(queue, depth, running, 0, AT if depth else None)


def worker(*pools: str, silent: bool = False, draining: bool = False) -> AliveWorker:
    served = list(pools) or ["default"]
    return AliveWorker(1, "kelp", served, "reef", 7, 10, 4, 2, 0, 0, AT, AT, AT if draining else None, silent)


def hour(task: str = "sums", *, ended: int, failed: int) -> TaskHour:
    return TaskHour(task, ended, failed, ended, failed)


def test_nothing_to_do_is_idle_and_not_green() -> None:
    said = verdict({}, [], [flow()], [worker()])
    assert (said.kind, said.mood) == ("idle", "")
    assert said.words == "Idle: nothing runs and nothing waits."


def test_idle_without_a_worker_warns_that_work_would_wait() -> None:
    said = verdict({}, [], [], [])
    assert (said.kind, said.mood, said.hint) == ("idle", "warn", "manage.py work")


def test_what_goes_on_later_is_told() -> None:
    assert "3 will go on later" in verdict({"retrying": 2, "scheduled": 1}, [], [], [worker()]).words


def test_running_runs_flow() -> None:
    said = verdict({"running": 3}, [], [flow(depth=1, running=3)], [worker()])
    assert (said.kind, said.mood) == ("flowing", "good")
    assert said.words == "Flowing: 3 running, 1 is about to start."


@pytest.mark.parametrize("workers", [[], [worker("gpu")], [worker(silent=True)], [worker(draining=True)]])
def test_ready_work_that_nobody_takes_is_stalled(workers: list[AliveWorker]) -> None:
    said = verdict({"running": 1}, [hour(ended=10, failed=10)], [flow(depth=2)], workers)
    assert (said.kind, said.mood) == ("stalled", "bad")
    assert said.words == "Stalled: 2 runs are ready, but no worker is alive for pool default."
    assert said.hint == "manage.py work --pool default"


def test_work_in_a_paused_queue_is_not_stalled() -> None:
    assert verdict({}, [], [flow(depth=9, paused_at=AT)], []).kind == "idle"


BACKUP = Horizon(61_000, "a transaction of pg_dump (process 47)", AT - timedelta(minutes=42))


def test_a_transaction_for_which_many_old_rows_are_kept_slows_what_flows() -> None:
    said = verdict({"running": 1}, [], [flow(running=1)], [worker()], horizon=BACKUP)
    assert (said.kind, said.mood) == ("flowing", "warn")
    assert said.words == (
        "Flowing, but slower: a transaction of pg_dump (process 47) has been open for 42 m 00 s: 61,000 rows of the "
        "line cannot be cleared away, and runs start later."
    )
    slot = replace(BACKUP, holder="replication slot east", since=None, age=1_200_000)
    said = verdict({}, [], [], [worker()], horizon=slot)
    assert "slower: replication slot east is 1,200,000 transactions behind: 61,000 rows" in said.words


def test_what_is_worse_than_an_old_transaction_is_said_before_it() -> None:
    stuck = verdict({"running": 1}, [], [flow(running=1)], [worker()], horizon=BACKUP, stuck=Standstills(1))
    assert stuck.kind == "stalled"


@pytest.mark.parametrize(
    "change", [{"dead": 49_999}, {"since": AT - timedelta(seconds=59)}, {"since": None, "age": 30_000}, {"holder": ""}]
)
def test_a_transaction_that_is_short_or_keeps_little_is_no_cause(change: dict[str, Any]) -> None:
    there = Facts({"running": 1}, [], [flow(running=1)], [worker()], redis=0.001, horizon=replace(BACKUP, **change))
    assert judging.verdict(there, AT).mood == "good"
    [check] = [check for check in checks(there, AT) if check.name == "transactions"]
    assert check.state == "good"
    assert f"{there.horizon.dead:,} rows of the line wait to be cleared away" in check.words


def test_a_full_queue_in_which_something_waits_is_saturated() -> None:
    said = verdict({"running": 2}, [], [flow("llm", depth=41, running=2, limit=2), flow(depth=1)], [worker()])
    assert (said.kind, said.mood) == ("saturated", "warn")
    assert said.words == "Saturated: llm runs 2 of 2, and 41 wait for a slot."


def test_what_waits_for_a_slot_is_not_about_to_start_when_its_cause_is_snoozed() -> None:
    flows = [flow("llm", depth=2, running=1, limit=1), flow(depth=1), flow("gpu", depth=4)]
    flows[2].queue.pool = "gpu"
    facts = Facts({"running": 1}, [], flows, [worker()], redis=0.001)
    said = judging.verdict(facts, AT, {"saturated:llm", "no-worker:gpu"}).words
    assert said == (
        "Flowing: 1 running, 1 is about to start, 2 wait for a slot, 4 wait for a worker. 2 causes are snoozed."
    )


def test_a_full_queue_in_which_nothing_waits_flows() -> None:
    assert verdict({"running": 2}, [], [flow(running=2, limit=2)], [worker()]).kind == "flowing"


def test_other_full_queues_are_counted() -> None:
    flows = [flow(name, depth=depth, running=1, limit=1) for name, depth in (("a", 1), ("b", 5), ("c", 2))]
    assert verdict({}, [], flows, [worker()]).words.endswith(
        "b runs 1 of 1, and 5 wait for a slot. 2 more queues are full."
    )


@pytest.mark.parametrize(("ended", "failed", "kind"), [(2, 2, "idle"), (100, 3, "idle"), (30, 3, "failing")])
def test_failing_needs_a_share_and_a_number_of_failures(ended: int, failed: int, kind: str) -> None:
    assert verdict({}, [hour(ended=ended, failed=failed)], [], [worker()]).kind == kind


def test_failing_names_the_task_that_fails_most() -> None:
    hours = [hour("sums", ended=9, failed=2), hour("sync", ended=11, failed=5)]
    said = verdict({"running": 4}, hours, [], [worker()])
    assert said.words == "Failing: 7 of 20 runs failed in the last 15 minutes, mostly sync."


def test_counts_beyond_ten_thousand_say_so() -> None:
    assert "10,000+ running" in verdict({"running": 10_001}, [], [], [worker()]).words
