"""Where a run is, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connections

from holdfast import db
from runs import store
from runs.models import Run
from runs.stuck.model import Stack
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.waiting import eventually


@pytest.fixture
def running(transactional_db: None) -> Run:
    return stored.held(stored.run("running"), stored.worker())


@pytest.fixture
def answering(running: Run) -> Iterator[threading.Thread]:
    """Who answers for its worker, once."""

    def answer() -> None:
        try:
            eventually(lambda: Stack.objects.filter(wanted=True).exists(), "it is asked")
            frame = {"file": "/srv/shop/a.py", "line": 3, "function": "sums", "source": "await x", "own": True}
            parts = [{"kind": "task", "name": "sums", "frames": [frame]}]
            text = json.dumps({"parts": parts, "steps": ["fetch#1"], "names": ["fetch"]})
            assert running.worker_id is not None
            with db.callers() as conn:
                store.give_stacks(conn, running.worker_id, [(running.pk, 1, text)])
        finally:
            connections.close_all()

    thread = threading.Thread(target=answer)
    thread.start()
    yield thread
    thread.join()


def test_a_stack_is_told_with_its_steps(
    running: Run, answering: threading.Thread, with_role: Callable[[str], Caller]
) -> None:
    api = with_role("viewer")
    answer = api.post(f"/runs/{running.pk}/stack", {"timeout": 15})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["run_id"], told["worker"], told["steps"], told["waits"], told["more"]) == (
        str(running.pk), "kelp", ["fetch#1"], False, 0,
    )  # fmt: skip
    assert told["parts"][0]["frames"] == [
        {"file": "/srv/shop/a.py", "line": 3, "function": "sums", "source": "await x", "own": True}
    ]


def test_a_worker_that_does_not_answer_is_a_504_that_names_it(running: Run, with_role: Callable[[str], Caller]) -> None:
    api = with_role("viewer")
    told = problem(api.post(f"/runs/{running.pk}/stack", {"timeout": 0}), 504, "worker_silent")
    assert "Worker kelp did not answer within 0 s" in told["detail"]


def test_what_cannot_be_asked_is_refused(running: Run, with_role: Callable[[str], Caller]) -> None:
    api = with_role("viewer")
    problem(api.post(f"/runs/{stored.run('completed').pk}/stack"), 409, "wrong_state")
    problem(api.post("/runs/01900000-0000-7000-8000-000000000000/stack"), 404, "unknown_run")
    problem(api.post("/runs/nonsense/stack"), 422, "invalid_id")
    for wrong in ({"timeout": 31}, {"timeout": -1}, {"timeout": 10**400}, {"timeout": "x"}, {"more": 1}):
        problem(api.post(f"/runs/{running.pk}/stack", wrong), 422, "invalid_body")
