"""Fault 37: a worker dies at every persistence call of seeded random workflows; what is left is always the same."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from runs import registration
from runs.models import Run
from tests.support import crashing
from tests.support.processes import TASKS, Ledger
from tests.support.programs import seeded
from tests.support.runs import the

PROGRAM_TASKS = Path(__file__).parents[1] / "support" / "program_tasks.py"
#: Programs that together reach every call of a worker.
SEEDS = (6, 9)

#: Calls that no worker makes while it executes a program, and who makes them.
NOT_BY_WORKERS = {
    "runs.register_task": "the start of a process",
    "runs.claim_keys": "an enqueue with an idempotency key",
    "runs.settle_keys": "an enqueue with an idempotency key",
    "runs.release_keys": "an enqueue with an idempotency key into a queue that does not exist",
    "runs.claim_debounce": "an enqueue with a debounce",
    "runs.begin_debounce": "an enqueue with a debounce",
    "runs.join_debounce": "an enqueue with a debounce",
    "runs.change_scheduled": "an enqueue with a debounce",
    "runs.forget_keys": "the scheduler",
    "runs.note_errors": "recovery, or deadlines",
    "runs.merge_error_counts": "the scheduler",
    "runs.forget_errors": "the scheduler",
    "runs.sum_rollups": "the scheduler",
    "runs.forget_sums": "a seeded history",
    "queues.sample": "the scheduler",
    "queues.postpone": "an enqueue with a debounce",
    "runs.crash": "recovery: the rescuer of this test makes it",
    "runs.record_overlap": "a worker that comes back from the dead",
    "runs.families": "a cancel",
    "runs.stop": "a cancel",
    "runs.stop_locked": "deadlines",
    "runs.deadlines_due": "deadlines",
    "runs.next_deadline": "deadlines",
    "runs.never_started": "deadlines",
    "runs.reopen": "a person's retry",
    "runs.accept_history": "a person's retry of a run that is parked for its version",
    "runs.waits_of": "replay-check, which reads",
    "runs.parents": "a cancel, or recovery",
    "runs.close_waits": "a run that is over and had begun to wait for something it does not need any more",
    "runs.give_up": "a person's decision about an unsafe step",
    "runs.lock_unknown": "a person's decision about an unsafe step",
    "runs.open_intent": "a person's decision about an unsafe step",
    "runs.last_sequence": "a person's decision about an unsafe step",
    "runs.mark_replays": "a person's replay",
    "runs.freeze_bulk": "a person's bulk action",
    "runs.settle_bulk": "a person's bulk action",
    "runs.stoppable": "a cancel",
    "runs.struggling": "a page or the API",
    "runs.retry_facts": "a page or the API",
    "runs.postponable": "a person who lets runs try later",
    "runs.postpone_retries": "a person who lets runs try later",
    "runs.hurry_retry": "a person who lets a run try now",
    "runs.fork": "a person's fork",
    "runs.unanswered_intent": "a person's fork",
    "runs.top_up": "a person's top-up",
    "runs.budget_waited_for": "a person's top-up",
    "runs.end_budget_waits": "a person's top-up",
    "runs.tree_usage": "a page or the API",
    "runs.trim_logs": "a run that says more than its log may hold",
    "runs.ran_out_at": "an isolated run whose memory limit grows",
    "runs.add_chunks": "a run that streams; a test of streams kills its worker",
    "runs.transaction_begin": "a step with a transaction; its own tests kill workers before and after the commit",
    "runs.transaction_seal": "a step with a transaction",
    "runs.transaction_status": "a step with a transaction whose commit had no answer",
    "runs.snapshot_is_stored": "a step with a transaction whose commit had no answer",
    "queues.fence": "a step with a transaction",
    "queues.withdraw": "a cancel",
    "queues.pools_with_entries": "the sweeper",
    "queues.next_opening": "a worker for queues with a limit or a rate, to know when to look again",
    "queues.forget": "the scheduler",
    "queues.leave_homes": "the scheduler",
    "queues.note_all_keys": "an edit of a queue",
    "queues.pauses_over": "the scheduler",
    "runs.next_tick": "the scheduler",
    "runs.lead_schedules": "the scheduler",
    "runs.want_stacks": "a page, the API or the scheduler",
    "runs.stacks_wanted": "the heartbeat of a worker with runs, which may be over before it looks",
    "runs.give_stacks": "the heartbeat of a worker that was asked where a run is",
    "runs.forget_stacks": "the scheduler",
    "runs.this_hour": "the scheduler",
    "runs.usual_of_hour": "the scheduler",
    "runs.leased_for": "the scheduler",
    "runs.news": "the scheduler",
    "runs.stacks_said": "the scheduler",
    "runs.stuck_runs": "the scheduler",
    "runs.call_stuck": "the scheduler",
    "runs.not_stuck": "the scheduler",
    "queues.declare_breaker": "a step with a breaker; tests of breakers and of an outage kill nothing in them: a call "
    "that is not counted is one call less",
    "queues.report_calls": "a step with a breaker",
    "queues.judge_breakers": "a step with a breaker",
    "queues.take_probe": "a step with a breaker; a probe that is lost is asked anew after a cooldown",
    "queues.worker_stop": "the end of a worker, after its last run",
    "queues.worker_returned": "a worker that comes back from the dead",
    "queues.end_sessions": "recovery of a worker that is silent",
    "queues.end_frozen": "recovery of a worker that is silent",
    "queues.declare_lost": "recovery",
    "queues.lock_is_free": "recovery",
    "queues.seize": "recovery",
    "queues.last_batch": "a broken connection",
    "queues.declare_queue": "the start of a process",
    "queues.name_queue": "the start of a process, or an enqueue of a function of django-tasks",
}


@pytest.fixture
def programs(registered: None, ledger: Ledger) -> Ledger:
    from django.conf import settings

    settings.HOLDFAST_TASKS = [str(TASKS), str(PROGRAM_TASKS)]
    registration.discover()
    registration.register_all()
    return ledger


def fresh(ledger: Ledger) -> None:
    """As if nothing had ever run."""
    for path in ledger.folder.iterdir():
        path.unlink()
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE runs_run, runs_attempt, runs_snapshot, runs_logline, runs_wait, runs_signal, runs_update, "
            "runs_deadline, runs_rollup, runs_usage, runs_usagerollup, runs_budget, runs_progress, "
            "runs_errorgroup, runs_errorcount, "
            "queues_entry, queues_timer, queues_lease, queues_worker, queues_home, queues_turn, queues_note"
        )


def enqueued(task: str, seed: int) -> UUID:
    program: Any = json.loads(json.dumps(seeded(seed)))
    return the(task).using(delay=0.01, concurrency_key="program").enqueue(operations=program).id


def traced(task: str, seed: int, ledger: Ledger, folder: Path) -> tuple[dict[str, Any], Counter[str]]:
    """The final state without any crash, and the calls that were made."""
    fresh(ledger)
    trace = folder / "trace"
    trace.unlink(missing_ok=True)
    run_id = enqueued(task, seed)
    assert crashing.worker(trace=trace) == 0
    crashing.nothing_is_left()
    return crashing.final_state(run_id), Counter(trace.read_text().split())


def points(calls: Counter[str]) -> list[crashing.Point]:
    """Every call: its first and its last time, alternately before and after it is carried out. With TESTS_EVERY_CRASH
    set, every time, before and after: some minutes for each program."""
    if os.environ.get("TESTS_EVERY_CRASH"):
        every = [(name, number) for name in sorted(calls) for number in range(1, calls[name] + 1)]
        return [(name, number, done) for name, number in every for done in (False, True)]
    some = [(name, number) for name, count in sorted(calls.items()) for number in sorted({1, count})]
    return [(name, number, place % 2 == 1) for place, (name, number) in enumerate(some)]


@pytest.mark.first
@pytest.mark.parametrize(("task", "seed"), [*(("program", seed) for seed in SEEDS), ("program-sync", 7)])
def test_fault_37_a_crash_at_any_persistence_call_changes_nothing(
    programs: Ledger, data_dir: Path, task: str, seed: int
) -> None:
    expected, calls = traced(task, seed, programs, data_dir)
    assert expected["status"] == "completed"
    died = 0
    for point in points(calls):
        fresh(programs)
        run_id = enqueued(task, seed)
        code = crashing.worker(crash=point)
        stored: set[tuple[str, str]] = set()
        if code != 0:
            assert code == -9, point
            died += 1
            stored = crashing.finished_steps(list(Run.objects.values_list("pk", flat=True)))
            before = programs.count("called")
            crashing.recover()
            assert crashing.worker() == 0, point
            again = {(e.words[1], e.words[2]) for e in programs.entries("called")[before:]}
            assert not again & stored, f"{point}: finished steps were called again"
        assert crashing.final_state(run_id) == expected, point
        crashing.nothing_is_left()
    assert died > len(points(calls)) / 2, "the crashes happen"


def test_fault_37_every_persistence_call_is_crashed_or_is_named_with_the_reason_why_not(
    programs: Ledger, data_dir: Path
) -> None:
    reached: set[str] = set()
    for task, seed in [*(("program", seed) for seed in SEEDS), ("program-sync", 7)]:
        reached |= set(traced(task, seed, programs, data_dir)[1])
    known = set(crashing.persistence_calls())
    assert known - reached - set(NOT_BY_WORKERS) == set(), "reach it by a program, or say who calls it"
    assert set(NOT_BY_WORKERS) - known == set(), "these calls do not exist any more"
