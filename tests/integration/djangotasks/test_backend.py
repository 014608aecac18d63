"""What django-tasks documents of a backend, as far as it holds for every one: enqueuing, results, validation."""

from __future__ import annotations

import logging
import sys
import uuid
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone
from django_tasks import TaskResultStatus, default_task_backend, task, task_backends
from django_tasks.base import Task
from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist, TaskResultMismatch
from django_tasks.signals import task_enqueued

from holdfast.access.grants import Actor
from queues.models import Queue
from runs import registration, services
from runs.djangotasks import HoldfastBackend
from runs.errors import HoldfastError, InvalidPayload, NotSerializable, UnknownTask
from runs.models import Run
from runs.models import Task as TaskRow
from runs.sdk.task import registry
from tests.support import djangotask_functions as functions
from tests.support.djangotasks_settings import TASKS
from tests.support.people import signed_in
from tests.support.runs import the

pytestmark = pytest.mark.usefixtures("registered")


def run_of(result: Any) -> Run:
    return Run.objects.select_related("queue").get(pk=result.id)


@pytest.fixture
def two_backends(settings: Any) -> None:
    settings.TASKS = TASKS


def test_it_is_the_default_and_says_what_it_can() -> None:
    assert isinstance(task_backends["default"], HoldfastBackend)
    backend = default_task_backend
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert list(backend.check()) == []


@pytest.mark.parametrize("function", [functions.add, functions.add_async], ids=["plain", "async"])
def test_enqueue_answers_with_a_result_that_is_ready(function: Task[..., int]) -> None:
    result = function.enqueue(1, b=3)
    assert (result.status, result.is_finished, result.attempts) == (TaskResultStatus.READY, False, 0)
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert (result.args, result.kwargs, result.task, result.backend) == ([1], {"b": 3}, function, "default")
    assert (result.errors, result.worker_ids) == ([], [])
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value
    assert len(result.id) <= 64
    assert default_task_backend.get_result(result.id) == result
    assert function.get_result(result.id) == result


def test_the_async_twins() -> None:
    async def ask() -> None:
        result = await functions.add.aenqueue(1, 2)
        assert await default_task_backend.aget_result(result.id) == result
        assert await functions.add.aget_result(result.id) == result
        await result.arefresh()
        assert result.status == TaskResultStatus.READY

    async_to_sync(ask)()  # the ORM stays in this thread, whose connection the test closes
    assert Run.objects.count() == 1


def test_a_run_has_the_function_s_path_and_the_options() -> None:
    result = functions.report.enqueue()
    run = run_of(result)
    assert run.task_id == "tests.support.djangotask_functions.report"
    assert (run.queue.name, run.priority, run.status, run.tags) == ("reports", 7, "queued", [])
    assert run.payload == {"args": [], "kwargs": {}}
    row = TaskRow.objects.get(pk=functions.add.module_path if functions.add.enqueue(1) else "")
    assert (row.doc, row.module) == ("Adds.", "tests.support.djangotask_functions")
    assert set(row.payload_schema["properties"]) == {"args", "kwargs"}


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_priorities_are_the_same_numbers(priority: int) -> None:
    result = functions.add.using(priority=priority).enqueue(1)
    assert run_of(result).priority == priority
    assert default_task_backend.get_result(result.id).task.priority == priority


@pytest.mark.parametrize("priority", [-101, 101, 3.1])
def test_other_priorities_are_refused(priority: Any) -> None:
    with pytest.raises(InvalidTaskError, match="priority must be a whole number between -100 and 100"):
        functions.add.using(priority=priority)


def test_run_after_is_when_the_run_is_due() -> None:
    due = timezone.now() + timedelta(hours=1)
    result = functions.add.using(run_after=due).enqueue(1)
    run = run_of(result)
    assert (run.status, run.next_at) == ("scheduled", due)
    found = default_task_backend.get_result(result.id)
    assert (found.status, found.task.run_after, found) == (TaskResultStatus.READY, due, result)
    with pytest.raises(InvalidTaskError, match="run_after must be an aware datetime"):
        functions.add.using(run_after=due.replace(tzinfo=None))


def test_a_queue_that_is_only_named_is_made() -> None:
    assert not Queue.objects.filter(name="by-name").exists()
    result = functions.add.using(queue_name="by-name").enqueue(1)
    assert run_of(result).queue.name == "by-name"
    assert default_task_backend.get_result(result.id).task.queue_name == "by-name"
    with pytest.raises(InvalidTaskError, match=r"Queue 'no name!' cannot be a queue's name"):
        functions.add.using(queue_name="no name!")


def test_naming_a_queue_does_not_undo_its_declaration() -> None:
    Queue.objects.create(name="declared-elsewhere", concurrency_limit=3, declared={"concurrency_limit": 3})
    functions.add.using(queue_name="declared-elsewhere").enqueue(1)
    assert Queue.objects.get(name="declared-elsewhere").concurrency_limit == 3


def test_queues_names_the_queues_that_are_allowed(two_backends: None) -> None:
    strict = functions.add.using(backend="strict")
    assert run_of(strict.using(queue_name="special").enqueue(1)).queue.name == "special"
    with pytest.raises(InvalidTaskError, match="Queue 'other' is not valid for backend"):
        strict.using(queue_name="other")


def test_a_result_knows_the_backend_that_it_was_enqueued_by(two_backends: None) -> None:
    result = functions.add.using(backend="strict").enqueue(1)
    assert (run_of(result).tags, run_of(result).max_attempts) == (["backend:strict"], 2)
    assert default_task_backend.get_result(result.id) == result
    assert result.backend == "strict"
    # What was enqueued stays readable when QUEUES does not allow it any more.
    other = functions.add.using(queue_name="elsewhere").enqueue(1)
    assert task_backends["strict"].get_result(other.id).task.queue_name == "elsewhere"


def test_retries_are_configured_by_function(two_backends: None) -> None:
    assert run_of(functions.flaky.enqueue(1)).max_attempts == 3
    assert run_of(functions.add.enqueue(1)).max_attempts == 1


def test_it_joins_the_caller_s_transaction() -> None:
    with transaction.atomic():
        lost = functions.add.using(queue_name="made-in-between").enqueue(1)
        transaction.set_rollback(True)
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(lost.id)
    assert not Queue.objects.filter(name="made-in-between").exists()
    with transaction.atomic():
        kept = functions.add.enqueue(1)
        assert kept.enqueued_at is not None
    assert default_task_backend.get_result(kept.id) == kept


@pytest.mark.parametrize("result_id", ["123", str(uuid.UUID(int=7)), ""])
def test_an_unknown_result_is_said_to_be_unknown(result_id: str) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(result_id)


def test_a_run_of_another_kind_is_no_result() -> None:
    run_id, _ = services.task_enqueue("wall", {}, {}, actor=None)  # type: ignore[arg-type]  # it does not look at it
    with pytest.raises(TaskResultDoesNotExist, match="is a run of wall, which is no task of django-tasks here"):
        default_task_backend.get_result(str(run_id))


def test_a_result_of_another_function_does_not_match() -> None:
    result = functions.add.enqueue(1)
    with pytest.raises(TaskResultMismatch, match="Task does not match"):
        functions.report.get_result(result.id)


@pytest.mark.parametrize("argument", [object(), {1, 2}, timezone.now()], ids=["object", "set", "datetime"])
def test_arguments_that_json_cannot_hold_are_refused(argument: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        functions.everything.enqueue(argument)
    assert not Run.objects.exists()


def test_arguments_that_postgresql_cannot_hold_are_refused() -> None:
    with pytest.raises((NotSerializable, InvalidPayload), match="NUL"):
        functions.everything.enqueue("\x00")
    assert not Run.objects.exists()


def test_arguments_are_normalised_as_the_package_does() -> None:
    result = functions.everything.enqueue((1, b"two"), three={"four": (5,)})
    assert (result.args, result.kwargs) == ([[1, "two"]], {"three": {"four": [5]}})
    assert default_task_backend.get_result(result.id) == result


def test_functions_that_no_worker_could_find_are_refused() -> None:
    with pytest.raises(InvalidTaskError, match="must be defined at a module level"):
        task()(lambda: None)

    def program() -> None: ...

    program.__module__, program.__qualname__ = "__main__", "program"
    with pytest.raises(InvalidTaskError, match="defined in the program itself"):
        task()(program)
    program.__module__ = "_private"
    with pytest.raises(InvalidTaskError, match=r"'_private\.program' cannot name a task"):
        task()(program)


def test_a_context_needs_its_argument() -> None:
    with pytest.raises(InvalidTaskError, match="does not have a first argument of 'context'"):
        task(takes_context=True)(functions.add.func)


def test_enqueuing_is_announced_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[Any, str]] = []

    def listen(sender: type, task_result: Any, **kwargs: Any) -> None:
        heard.append((sender, task_result.id))

    task_enqueued.connect(listen)
    try:
        with caplog.at_level(logging.DEBUG, "django_tasks"):
            result = functions.add.enqueue(1)
    finally:
        task_enqueued.disconnect(listen)
    assert heard == [(HoldfastBackend, result.id)]
    assert f"Task id={result.id} path={functions.add.module_path} enqueued" in caplog.text


def test_the_api_s_way_refuses_arguments_that_the_function_does_not_take() -> None:
    name = functions.look.module_path
    with pytest.raises(InvalidPayload, match=r"payload\.args and kwargs: too many positional arguments"):
        services.task_enqueue(name, {"args": ["a", "b"]}, {}, actor=None)  # type: ignore[arg-type]
    with pytest.raises(HoldfastError, match=r"payload\.word"):
        services.task_enqueue(name, {"word": "a"}, {}, actor=None)  # type: ignore[arg-type]
    run_id, _ = services.task_enqueue(name, {"args": ["a"]}, {}, actor=None)  # type: ignore[arg-type]
    result = default_task_backend.get_result(str(run_id))
    assert (result.args, result.kwargs, result.task) == (["a"], {}, functions.look)


def test_a_registered_function_is_found_in_a_process_that_has_not_imported_it() -> None:
    name = functions.add_async.module_path
    functions.add_async.enqueue(1)
    known = registry._tasks.pop(name)  # as in a web process that nothing has told of the module
    try:
        assert services.task_get(name).id == name
    finally:
        registry._tasks[name] = known
    with pytest.raises(UnknownTask):
        services.task_get("antigravity.anything")
    assert "antigravity" not in sys.modules  # what a caller makes up is not imported


def test_a_run_is_replayed_with_its_arguments() -> None:
    result = functions.add.using(priority=3).enqueue(1, b=2)
    new = services.run_replay(uuid.UUID(result.id), actor=Actor.system("test"))
    found = default_task_backend.get_result(str(new))
    assert (found.args, found.kwargs, found.task.priority) == ([1], {"b": 2}, 3)


def test_the_pages_show_the_function_and_its_runs() -> None:
    result = functions.report.enqueue()
    registration.register([the(functions.add.module_path)])
    client = signed_in("developer")
    assert functions.report.module_path in client.get("/runs/").content.decode()
    assert client.get(f"/runs/{result.id}/").status_code == 200
    path = f"/tasks/{functions.add.module_path}/"
    page = client.get(path).content.decode()
    assert "Adds." in page
    assert "result = task.enqueue(…)" in page
    answer = client.post(path, {"payload/args/0": "4", "payload/kwargs": '{"c": 5}'})
    assert answer.status_code == 422
    assert "got an unexpected keyword argument &#x27;c&#x27;" in answer.content.decode()
    answer = client.post(path, {"payload/args/0": "4", "payload/kwargs": '{"b": 5}'})
    assert answer.status_code == 302, answer.content.decode()
    run = Run.objects.get(task_id=functions.add.module_path)
    assert run.payload == {"args": [4], "kwargs": {"b": 5}}
