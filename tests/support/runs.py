"""Short words for what tests ask about runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runs.models import Attempt, LogLine, Run, Snapshot
from runs.sdk.task import Task, registry
from runs.states import FINAL
from tests.support.waiting import eventually


def the(task_id: str) -> Task[..., Any]:
    """A test task. (Never import `tests.support.tasks`: it is loaded by its path, as workers load it.)"""
    task = registry.get(task_id)
    assert task is not None, f"no test task {task_id}"
    return task


def run(run_id: UUID) -> Run:
    return Run.objects.get(pk=run_id)


def statuses(ids: list[UUID]) -> set[str]:
    return set(Run.objects.filter(pk__in=ids).values_list("status", flat=True))


def all_final(ids: list[UUID], timeout: float = 60.0) -> None:
    """Waits until every run has ended."""
    final = [str(s) for s in FINAL]
    eventually(
        lambda: Run.objects.filter(pk__in=ids, status__in=final).count() == len(ids),
        f"all {len(ids)} runs end",
        timeout,
    )


def attempts(run_id: UUID) -> list[Attempt]:
    return list(Attempt.objects.filter(run_id=run_id).order_by("number"))


def snapshots(run_id: UUID) -> list[Snapshot]:
    return list(Snapshot.objects.filter(run_id=run_id).order_by("sequence"))


def lines(run_id: UUID) -> list[LogLine]:
    return list(LogLine.objects.filter(run_id=run_id).order_by("sequence"))
