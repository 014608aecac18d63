"""The one table of moves is whole, and the database agrees with it."""

from __future__ import annotations

from runs.models import Attempt, Run
from runs.states import ACTIVE, FINAL, MOVES, RETRYABLE, AttemptStatus, Status


def test_every_status_has_its_moves_and_can_be_reached() -> None:
    assert set(MOVES) == set(Status)
    reachable = {Status.SCHEDULED, Status.QUEUED}.union(*MOVES.values())
    assert reachable == set(Status)


def test_nothing_leaves_a_completed_run_and_every_active_one_can_end() -> None:
    assert MOVES[Status.COMPLETED] == frozenset()
    assert set(Status) == FINAL | ACTIVE
    assert Status.COMPLETED not in RETRYABLE
    for status in ACTIVE:
        seen, todo = set(), [status]
        while todo:
            now = todo.pop()
            if now not in seen:
                seen.add(now)
                todo.extend(MOVES[now])
        assert seen & FINAL, f"{status} can never end"


def test_the_checks_of_the_database_name_the_same_statuses() -> None:
    def named(model: type[Run] | type[Attempt], name: str) -> set[str]:
        check = next(c for c in model._meta.constraints if c.name == name)
        return set(check.condition.extra["values"].split(","))  # type: ignore[attr-defined]

    assert named(Run, "run_status_known") == {str(s) for s in Status}
    assert named(Attempt, "attempt_status_known") == {str(s) for s in AttemptStatus}
