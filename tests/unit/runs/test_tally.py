"""Failures of a commit, counted by fingerprint."""

from __future__ import annotations

import json
import uuid
from typing import Any

from runs import store
from runs.engine.batch import Batch, Operation
from runs.engine.tally import MAX_KINDS, TELL, Known, Tally
from runs.store import ErrorKey

RUN = uuid.UUID("01900000-0000-7000-8000-000000000001")


def error(fingerprint: str = "f", step: str = "", message: str = "no order 7") -> str:
    found = {"type": "ValueError", "message": message, "fingerprint": fingerprint, "traceback": ""}
    return json.dumps({**found, "step": step} if step else found)


def tried(fingerprint: str = "f", task: str = "t", step: str = "send") -> Operation:
    row = store.SnapshotRow(
        RUN, 1, "failure", step, f"{step}#1", 1, None, None, None, error(fingerprint, f"{step}#1"), 1.0, 2.0
    )
    return Operation(row, None, [("step", task, 1, step, "v1", "failed", 1.0)])


def ended(text: str, *, delay: float | None = None, status: str = "failed", task: str = "t") -> Operation:
    row = store.FinishRow(RUN, 1, status, "failed", None, text, 1, delay, None)
    return Operation(row, None, [("attempt", task, 1, "", "v1", "failed", 1.0)])


def test_a_steps_tries_are_counted_and_the_attempt_that_they_end_is_not_counted_again() -> None:
    batch = Batch.of([tried(), tried(), ended(error(step="send#1"))])
    assert batch.failures.counts == {ErrorKey("f", "t", "send", "v1"): (2, 1)}


def test_what_is_raised_outside_of_steps_is_a_try_of_its_own_and_ends_a_run_once() -> None:
    batch = Batch.of([ended(error(), delay=5.0, status="retrying"), ended(error())])
    assert batch.failures.counts == {ErrorKey("f", "t", "", "v1"): (2, 1)}


def test_a_step_of_which_nobody_knows_whether_it_failed_is_counted_with_its_run() -> None:
    batch = Batch.of([ended(error(step="pay#1"), status="unknown")])
    assert batch.failures.counts == {ErrorKey("f", "t", "pay", "v1"): (1, 1)}


def test_a_step_is_known_by_its_name_whatever_its_key() -> None:
    keys = {"send#2@1.3": "send", "send:order-7": "send", "odd#name#1": "odd#name", "send#1@1.retry": "send"}
    for key, name in keys.items():
        assert [k.step for k in Batch.of([ended(error(step=key))]).failures.counts] == [name], key


def test_what_did_not_fail_and_hooks_are_no_errors() -> None:
    hook = tried()
    hook.samples = ()
    done = store.FinishRow(RUN, 1, "completed", "completed", "1", None, 0, None, None)
    assert Batch.of([hook, Operation(done, None, [])]).failures.counts == {}


def test_a_group_is_told_once_in_some_seconds_and_only_after_the_commit() -> None:
    now = [100.0]
    known = Known(lambda: now[0])
    first = Batch.of([tried(), tried(task="other")], known)
    [group] = first.failures.groups
    assert (group.fingerprint, group.type, group.message, group.tasks) == (
        "f",
        "ValueError",
        "no order #",
        {"t", "other"},
    )
    assert Batch.of([tried()], known).failures.groups, "the first was never committed"
    known.told(first.failures.groups)
    again = Batch.of([tried()], known)
    assert again.failures.counts
    assert not again.failures.groups
    assert Batch.of([tried(task="third")], known).failures.groups, "another task has to be told"
    now[0] += TELL
    assert Batch.of([tried()], known).failures.groups


def test_a_task_that_fails_differently_each_time_fills_one_group_more() -> None:
    tally = Tally(Known())
    for number in range(MAX_KINDS + 50):
        operation = ended(error(f"f{number}"))
        row: Any = operation.row
        tally.add(row, operation.samples)
    assert len(tally.counts) == MAX_KINDS + 1
    [more] = [key for key in tally.counts if key.fingerprint.startswith("more-")]
    assert tally.counts[more] == (50, 50)
    assert [g.type for g in tally.groups if g.fingerprint == more.fingerprint] == ["Errors of more kinds"]
