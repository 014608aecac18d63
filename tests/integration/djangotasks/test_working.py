"""Functions of django-tasks in real workers: results, errors, attempts, contexts, signals, and what runs promise."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django_tasks import TaskResult, TaskResultStatus
from django_tasks.base import Task

from holdfast.access.grants import Actor
from runs import answers, services
from tests.support import djangotask_functions as functions
from tests.support.djangotasks_settings import TASKS
from tests.support.processes import TASKS as TESTS_TASKS
from tests.support.processes import Fleet
from tests.support.runs import lines, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


@pytest.fixture
def working(djangotasks: Fleet) -> Fleet:
    """One worker."""
    djangotasks.worker("worker-1")
    return djangotasks


@pytest.fixture
def configured(djangotasks: Fleet, settings: Any) -> Fleet:
    """One worker of a project with settings of its own."""
    settings.TASKS = TASKS
    djangotasks.environment["DJANGO_SETTINGS_MODULE"] = "tests.support.djangotasks_settings"
    djangotasks.worker("worker-1")
    return djangotasks


def finished(result: TaskResult[Any]) -> TaskResult[Any]:
    def over() -> bool:
        result.refresh()
        return result.is_finished

    eventually(over, f"{result.task.name} finishes")
    return result


@pytest.mark.parametrize("function", [functions.add, functions.add_async], ids=["plain", "async"])
def test_a_function_is_executed_and_its_result_read(working: Fleet, function: Task[..., int]) -> None:
    result = finished(function.enqueue(1, b=2))
    assert (result.status, result.return_value, result.errors) == (TaskResultStatus.SUCCESSFUL, 3, [])
    assert result.enqueued_at <= result.started_at <= result.finished_at  # type: ignore[operator]
    assert result.last_attempted_at == result.started_at
    assert (result.attempts, result.worker_ids) == (1, ["worker-1"])


def test_results_are_json_as_the_package_makes_it(working: Fleet) -> None:
    result = finished(functions.everything.enqueue(1, two=(2,)))
    assert result.return_value == {"args": [1], "kwargs": {"two": [2]}, "bytes": "as text"}
    odd = finished(functions.returns_what_no_json_holds.enqueue())
    assert (odd.status, odd.errors[0].exception_class) == (TaskResultStatus.FAILED, TypeError)


@pytest.mark.parametrize(
    ("function", "args", "kind", "last"),
    [
        (functions.fails, (), ValueError, "ValueError: this went wrong"),
        (functions.fails_async, (), ValueError, "ValueError: this went wrong"),
        (functions.fails, ("exit",), SystemExit, "SystemExit: out of the door"),
        (functions.fails, ("own",), functions.Unusual, "djangotask_functions.Unusual: never seen"),
        (functions.add, (1, 2, 3), TypeError, "add() takes from 1 to 2 positional arguments but 3 were given"),
    ],
    ids=["plain", "async", "exit", "own", "arguments"],
)
def test_an_error_is_kept_with_its_traceback(
    working: Fleet, function: Task[..., Any], args: tuple[Any, ...], kind: type, last: str
) -> None:
    result = finished(function.enqueue(*args))
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)
    (error,) = result.errors
    assert error.exception_class is kind
    assert error.traceback.rstrip().endswith(last)
    assert "runs/djangotasks" not in error.traceback
    (line,) = lines(UUID(result.id))  # the package's own, and none for the start
    assert (line.level, f"Task id={result.id}" in line.message) == (logging.ERROR, True)
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize("function", [functions.look, functions.look_async], ids=["plain", "async"])
def test_a_function_may_take_its_context(working: Fleet, function: Task[..., dict[str, Any]]) -> None:
    result = finished(function.using(queue_name="context").enqueue("hello"))
    assert result.return_value == {
        "word": "hello",
        "attempt": 1,
        "id": result.id,
        "status": "RUNNING",
        "args": ["hello"],
        "workers": ["worker-1"],
        "queue": "context",
        "backend": "default",
        "errors": [],
    }


def test_attempts_are_made_as_the_settings_say(configured: Fleet) -> None:
    result = finished(functions.flaky.enqueue(2))
    path = "tests.support.djangotask_functions.Unusual"
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, [path, path])
    assert (result.attempts, [e.exception_class_path for e in result.errors]) == (3, [path, path])
    assert result.started_at < result.last_attempted_at  # type: ignore[operator]
    failed = finished(functions.flaky.enqueue(9))
    assert (failed.status, failed.attempts, len(failed.errors)) == (TaskResultStatus.FAILED, 3, 3)
    # Another backend than the function's own: that one's OPTIONS count, with the function's own pause between attempts.
    configured.scheduler()
    strict = finished(functions.add.using(backend="strict").enqueue(1, 2, 3))
    assert (strict.status, strict.attempts, strict.backend) == (TaskResultStatus.FAILED, 2, "strict")


def test_a_worker_finds_a_function_whose_module_nobody_has_imported(fleet: Fleet) -> None:
    fleet.worker("worker-1")  # knows the tests' own tasks alone
    result = finished(functions.add.enqueue(20, 22))
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 42)


def test_a_run_is_running_while_it_is_executed_and_survives_its_worker(djangotasks: Fleet) -> None:
    first = djangotasks.worker("worker-1")
    djangotasks.scheduler()
    result = functions.holds.enqueue("gate")
    eventually(lambda: djangotasks.ledger.count("holds"), "it is begun")
    result.refresh()
    assert (result.status, result.worker_ids) == (TaskResultStatus.RUNNING, ["worker-1"])
    first.signal(signal.SIGKILL)
    djangotasks.worker("worker-2")
    eventually(lambda: djangotasks.ledger.count("holds") == 2, "it is begun again")
    djangotasks.ledger.open_gate("gate")
    finished(result)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "gate")
    assert result.worker_ids == ["worker-1", "worker-2"]


def test_a_cancelled_run_has_failed_and_says_why(djangotasks: Fleet) -> None:
    result = functions.add.enqueue(1)
    services.run_cancel(UUID(result.id), actor=ACTOR, reason="a test")
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert (error.exception_class.__name__, error.traceback) == ("RunFailed", "RunFailed: the run is cancelled\n")


def test_a_function_may_call_steps_and_wait(djangotasks: Fleet) -> None:
    djangotasks.environment["HOLDFAST_TASKS"] += ",tests.support.djangotask_receivers"
    djangotasks.worker("worker-1")
    result = functions.durable.enqueue("go-on")
    eventually(lambda: _status(result) == "waiting", "it waits")
    result.refresh()
    assert result.status == TaskResultStatus.RUNNING
    answers.run_signal(UUID(result.id), "go-on", None, actor=ACTOR)
    assert finished(result).return_value == 1
    assert djangotasks.ledger.count("count") == 1
    # One attempt, begun once, although its function was entered twice.
    name = ("HoldfastBackend", "durable")
    assert [e.words for e in djangotasks.ledger.entries("started")] == [("started", *name, "RUNNING", "1", "-")]
    assert [e.words for e in djangotasks.ledger.entries("finished")] == [("finished", *name, "SUCCESSFUL", "1", "-")]


def _status(result: TaskResult[Any]) -> str:
    from runs.models import Run

    return str(Run.objects.values_list("status", flat=True).get(pk=result.id))


def test_signals_tell_of_each_attempt_and_of_the_end(configured: Fleet) -> None:
    configured.environment["HOLDFAST_TASKS"] += ",tests.support.djangotask_receivers"
    configured.processes[0].signal(signal.SIGTERM)
    configured.processes[0].wait()
    configured.worker("worker-2")
    path = "tests.support.djangotask_functions.Unusual"
    assert finished(functions.flaky.enqueue(9)).attempts == 3
    assert [e.words[3:] for e in configured.ledger.entries("started")] == [
        ("RUNNING", "1", "-"),
        ("RUNNING", "2", path),
        ("RUNNING", "3", f"{path},{path}"),
    ]
    assert [e.words[2:] for e in configured.ledger.entries("finished")] == [
        ("flaky", "FAILED", "3", f"{path},{path},{path}")
    ]
    # A receiver that fails after the end does not take the result away.
    assert finished(functions.add_async.enqueue(1, 2)).return_value == 3
    assert configured.ledger.entries("finished")[-1].words[2:] == ("add_async", "SUCCESSFUL", "1", "-")


def test_higher_priority_starts_first(djangotasks: Fleet) -> None:
    low = functions.add.using(priority=-100).enqueue(1, 1)
    high = functions.add.using(priority=100).enqueue(2, 2)
    djangotasks.worker("worker-1", HOLDFAST_THREADS="1")
    finished(low), finished(high)
    assert [e.words for e in djangotasks.ledger.entries("add")] == [("add", "2", "2"), ("add", "1", "1")]


def test_a_function_that_no_worker_can_import_yet_is_ready_until_one_can(documented: Callable[[str], Fleet]) -> None:
    fleet = documented("django-tasks.md")
    old = fleet.worker("old-code", HOLDFAST_TASKS=str(TESTS_TASKS))
    result = documented_function("greet").enqueue("Ada")
    eventually(lambda: _status(result) == "waiting", "it is put off")
    result.refresh()
    assert (result.status, result.errors) == (TaskResultStatus.READY, [])
    assert "cannot be imported" in old.said()
    old.signal(signal.SIGTERM)  # or it might take the run again
    assert old.wait() == 0
    fleet.worker("new-code")
    assert finished(result).return_value == "Hello, Ada!"


def test_a_worker_whose_settings_do_not_know_the_backend_executes_the_run(djangotasks: Fleet, settings: Any) -> None:
    settings.TASKS = TASKS
    result = functions.add.using(backend="strict").enqueue(1, 2)
    djangotasks.worker("worker-1")  # by Holdfast's own settings
    assert finished(result).return_value == 3


def test_the_example_of_the_page(documented: Callable[[str], Fleet]) -> None:
    documented("django-tasks.md").worker("worker-1")
    assert finished(documented_function("greet").enqueue("Ada")).return_value == "Hello, Ada!"


def documented_function(name: str) -> Task[..., Any]:
    """A function of the page, which `documented` has loaded."""
    return the(f"holdfast_tasks_django-tasks_of_the_docs.{name}").declared  # type: ignore[attr-defined,no-any-return]
