"""The made-up history: the same twice, with the rhythm of a shop, and with what its incidents say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from holdfast.demo.history import catalog
from holdfast.demo.history.incidents import BAD_SHARE, DAY, HOUR, KEY_LIMIT, MINUTE, Incident, weekday
from holdfast.demo.history.line import Line
from holdfast.demo.history.plan import Plan, PlannedRun
from runs.states import FINAL, Status

#: Friday, 27 November 2026, 18:00 UTC.
END = 1_795_802_400.0


def made(plan: Plan) -> list[PlannedRun]:
    return [run for runs in plan.by_queue() for run in runs]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(END, days=14, runs=20_000, seed=7)


@pytest.fixture(scope="module")
def history(plan: Plan) -> list[PlannedRun]:
    return made(plan)


def told(run: PlannedRun) -> object:
    tries = [(t.version, t.starts, t.steps, t.active, t.end, t.status, t.error) for t in run.tries]
    return run.id, run.task.id, run.tenant, run.key, run.created, run.status, tries, [c.id for c in run.children]


def test_the_same_seed_makes_the_same_history_and_another_one_another() -> None:
    first, same, other = (made(Plan(END, days=7, runs=2_000, seed=seed)) for seed in (7, 7, 8))
    assert [told(run) for run in first] == [told(run) for run in same]
    assert {run.id for run in first}.isdisjoint(run.id for run in other)


@pytest.mark.parametrize("runs", [2_000, 20_000])
def test_there_are_about_as_many_runs_as_were_asked_for(runs: int) -> None:
    history = made(Plan(END, days=14, runs=runs, seed=1))
    assert runs * 0.95 <= len(history) <= runs * 1.05 + 500
    assert len({run.id for run in history}) == len(history)


def test_every_run_is_over_and_its_times_are_in_order(plan: Plan, history: list[PlannedRun]) -> None:
    for run in history:
        assert run.status in FINAL
        assert plan.start <= run.created
        at = run.created
        for attempt in run.tries:
            assert attempt.starts[0].at >= at
            assert attempt.status
            assert attempt.active <= attempt.end - attempt.starts[0].at + 1e-6
            for step in attempt.steps:
                assert at <= step.start < step.end <= attempt.end
                at = step.end
            at = attempt.end
        assert at == run.end < plan.end
        assert len(run.tries) <= run.task.retry.max_attempts
        assert (run.tries[-1].error is None) == (run.status in {"completed", "cancelled"})
    assert {run.status for run in history} == {"completed", "failed", "cancelled", "timed_out"}


def test_ids_are_in_the_order_of_creation_and_children_in_that_of_their_parent(history: list[PlannedRun]) -> None:
    by_id = sorted(history, key=lambda run: run.id)
    assert all(int(a.created * 1000) <= int(b.created * 1000) for a, b in pairwise(by_id))
    parents = [run for run in history if run.children]
    assert parents
    for run in parents:
        assert [c.id for c in run.children] == sorted(c.id for c in run.children)
        assert run.waited_from <= run.children[0].created
        assert run.waited_until == max(child.end for child in run.children) <= run.end
        assert len(run.tries[-1].starts) == 2


def test_no_queue_ever_runs_more_than_its_limit(history: list[PlannedRun]) -> None:
    for queue, limit in catalog.QUEUES.items():
        moves: list[tuple[float, int]] = []
        for run in history:
            for attempt in run.tries if run.task.queue == queue else ():
                ends = [run.waited_from, attempt.end] if len(attempt.starts) == 2 else [attempt.end]
                # A start may come some milliseconds after the slot was taken.
                moves += [(start.at, 1) for start in attempt.starts] + [(end, -1) for end in ends]
        running = most = 0
        for _, move in sorted(moves):
            running += move
            most = max(most, running)
        assert most <= limit
    assert most > 1


def test_no_key_starts_beyond_its_limit_once_there_is_one() -> None:
    plan = Plan(END, days=7, runs=150_000, seed=7)
    (runs,) = [runs for runs in plan.by_queue() if runs[0].task.queue == catalog.SYNC]
    since = plan.incidents.key_limited
    most = {False: 0, True: 0}
    for key in catalog.TENANTS:
        tries = [attempt for run in runs if run.key == key for attempt in run.tries]
        running = 0
        for at, move in sorted([(t.starts[0].at, 1) for t in tries] + [(t.end, -1) for t in tries]):
            running += move
            if move == 1:
                most[at >= since] = max(most[at >= since], running)
    assert most == {False: catalog.QUEUES[catalog.SYNC], True: KEY_LIMIT}


def test_the_office_is_busy_by_day_and_rests_at_the_weekend(history: list[PlannedRun]) -> None:
    mails = [run.created for run in history if run.task.name == "welcome-mail"]
    hours = Counter(int(at % DAY // HOUR) for at in mails)
    assert hours[10] > 5 * hours[2]
    days = Counter(weekday(at) for at in mails)
    assert days[5] + days[6] < 0.6 * (days[1] + days[2])
    nightly = {int(run.created % DAY // HOUR) for run in history if run.task.name == "daily-report"}
    assert nightly <= {2, 3}


def test_durations_are_log_normal(history: list[PlannedRun]) -> None:
    found = sorted(
        s.end - s.start for run in history if run.task.name == "support-reply" and run.status == "completed"
        for s in run.tries[0].steps if s.name == "ask-model" and not s.failed
    )  # fmt: skip
    median, p95 = found[len(found) // 2], found[len(found) * 95 // 100]
    assert 4.5 < median < 5.5
    assert 2.2 < p95 / median < 3.2  # e^(1.645 · 0.6) = 2.7


# ── incidents ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rate(runs: list[PlannedRun], when: Callable[[float], bool], task: str) -> float:
    found = [run for run in runs if run.task.id == task and when(run.created)]
    return sum(run.status == Status.FAILED for run in found) / len(found)


def errors(runs: list[PlannedRun], fingerprint: str) -> list[float]:
    return [
        attempt.end for run in runs for attempt in run.tries
        if attempt.error is not None and attempt.error["fingerprint"] == fingerprint
    ]  # fmt: skip


def after(incident: Incident, seconds: float) -> Callable[[float], bool]:
    return lambda at: incident.end < at < incident.end + seconds


def test_the_outage_is_a_storm_of_retries_with_one_fingerprint(plan: Plan, history: list[PlannedRun]) -> None:
    outage = plan.incidents.outage
    assert outage.end - outage.start == 40 * MINUTE
    assert plan.end - outage.start == 2 * DAY
    found = errors(history, outage.fingerprint)
    assert len(found) > 200
    assert all(outage.start <= at <= outage.end + 15 for at in found)
    inside = [run for run in history if outage.during(run.created) and run.task.resource == outage.resource]
    assert {run.task.id for run in inside} == set(outage.tasks)
    assert sum(len(run.tries) for run in inside) > 3 * len(inside)
    for task in outage.tasks:
        assert rate(history, lambda at: outage.start <= at < outage.start + 30 * MINUTE, task) > 0.9
        assert rate(history, lambda at: not outage.start - HOUR < at < outage.end, task) < 0.03


def test_the_bad_deploy_fails_a_third_of_the_invoices_until_it_is_mended(plan: Plan, history: list[PlannedRun]) -> None:
    deploy = plan.incidents.bad_deploy
    (task,) = deploy.tasks
    assert deploy.end - deploy.start == 6 * HOUR
    bad = [run for run in history if run.task.id == task and run.tries[-1].version == deploy.version]
    assert abs(sum(run.status == Status.FAILED for run in bad) / len(bad) - BAD_SHARE) < 0.1
    assert rate(history, lambda at: at < deploy.start - HOUR, task) < 0.03
    assert rate(history, after(deploy, DAY), task) < 0.05
    found = errors(history, deploy.fingerprint)
    assert all(deploy.start <= at <= deploy.end + MINUTE for at in found)
    assert all(
        attempt.version == deploy.mended
        for run in history if run.task.id == task
        for attempt in run.tries if attempt.starts[0].at >= deploy.end
    )  # fmt: skip

    def median(version: str) -> float:
        steps = sorted(
            step.end - step.start for run in history if run.task.id == task
            for attempt in run.tries if attempt.version == version
            for step in attempt.steps if step.name == "render"
        )  # fmt: skip
        return steps[len(steps) // 2]

    assert median(deploy.version) > 1.8 * median(deploy.mended)


def test_nothing_starts_while_the_queue_of_the_bad_deploy_is_paused(plan: Plan, history: list[PlannedRun]) -> None:
    start, end = plan.incidents.pause
    begun = [
        s.at for run in history if run.task.queue == catalog.REPORTS for attempt in run.tries for s in attempt.starts
    ]
    assert not [at for at in begun if start + 1 < at < end]


@pytest.mark.parametrize("size", ["large", "small"])
def test_others_wait_longer_while_one_tenant_floods_the_queue(plan: Plan, history: list[PlannedRun], size: str) -> None:
    chosen = plan if size == "large" else Plan(END, days=7, runs=2_000, seed=7)
    runs = history if size == "large" else made(chosen)
    flood = chosen.incidents.noisy_tenant

    def waited(when: Callable[[float], bool]) -> float:
        found = sorted(
            run.tries[0].starts[0].waited for run in runs
            if run.task.queue == flood.queue and run.key != flood.key and when(run.created)
        )  # fmt: skip
        assert len(found) >= 20
        return found[len(found) // 2]

    during = waited(lambda at: flood.start + 10 * MINUTE < at < flood.end - 20 * MINUTE)
    assert waited(lambda at: at < flood.start) < 0.1
    assert during > 1.0
    of_flood = [r for r in runs if r.key == flood.key and flood.during(r.created) and r.task.id in flood.tasks]
    assert max(run.end for run in of_flood) > flood.end - 30 * MINUTE


def test_a_small_history_has_all_incidents() -> None:
    plan = Plan(END, days=7, runs=1_000, seed=3)
    history = made(plan)
    assert len(errors(history, plan.incidents.outage.fingerprint)) > 60
    assert len(errors(history, plan.incidents.bad_deploy.fingerprint)) > 15
    assert all(plan.start < incident.start < incident.end < plan.end for incident in plan.incidents.all)


@pytest.mark.parametrize("later", range(7))
def test_what_goes_wrong_by_day_goes_wrong_on_a_working_day(later: int) -> None:
    plan = Plan(END + later * DAY, days=7, runs=1_000, seed=3)
    for incident in (plan.incidents.bad_deploy, plan.incidents.noisy_tenant):
        assert weekday(incident.start) < 5
        assert plan.start < incident.start < incident.end < plan.end


def test_keys_take_turns_in_a_line() -> None:
    line: Line[str] = Line(1)
    served: list[tuple[str, float, float]] = []
    for name in ("a1", "a2", "a3"):
        line.push(0.0, name, "a")
    line.push(1.0, "b1", "b")
    line.push(2.0, "free")

    def serve(what: str, at: float, waited: float) -> float:
        served.append((what, at, waited))
        return at + 10

    line.drive(serve)
    assert served == [("a1", 0, 0), ("a2", 10, 10), ("b1", 20, 19), ("free", 30, 28), ("a3", 40, 40)]


def test_a_key_at_its_limit_lets_others_pass_and_goes_on_when_it_has_a_slot() -> None:
    line: Line[str] = Line(2)
    line.limit_keys(0.0, 1)
    served: list[tuple[str, float]] = []
    for name in ("a1", "a2"):
        line.push(0.0, name, "a")
    line.push(1.0, "b1", "b")
    line.push(2.0, "free")

    def serve(what: str, at: float, waited: float) -> float:
        served.append((what, at))
        return at + 10

    line.drive(serve)
    assert served == [("a1", 0), ("b1", 1), ("a2", 10), ("free", 11)]
