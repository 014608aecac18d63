"""The backend's settings, and Holdfast without the package."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django_tasks import task, task_backends
from django_tasks.base import Task, TaskResultStatus
from django_tasks.exceptions import InvalidTaskBackendError

from queues import declare
from queues.declare import Queue
from runs import Retry
from runs.djangotasks import HoldfastBackend, conduct
from runs.djangotasks.carried import Carried
from runs.djangotasks.results import status_of
from runs.sdk.task import registry
from runs.states import Status
from tests.support import djangotask_functions as functions

BACKEND = "runs.djangotasks.HoldfastBackend"


def said(**params: Any) -> list[str]:
    return [message.msg for message in HoldfastBackend("default", params).check()]


def test_options_that_fit_have_no_problem() -> None:
    assert said() == []
    functions_of_ours = {"tests.support.djangotask_functions.add": {"retry": Retry(max_attempts=2)}}
    assert said(OPTIONS={"retry": {"max_attempts": 3}, "max_duration": 60, "functions": functions_of_ours}) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "OPTIONS is []; write a dict"),
        ({"retries": 3}, "OPTIONS: 'retries' is no option; known are retry, max_duration, run_timeout, ttl, functions"),
        ({"retry": 3}, "OPTIONS['retry'] is 3; write Retry(…) or a dict with max_attempts"),
        ({"retry": {"times": 3}}, "OPTIONS['retry'] is {'times': 3}; write Retry(…) or a dict"),
        ({"retry": {"max_attempts": 0}}, "OPTIONS['retry']: Retry: max_attempts is 0; write a number from 1"),
        ({"retry": {"min_delay": "soon"}}, "OPTIONS['retry']: "),
        ({"ttl": -1}, "OPTIONS['ttl'] is -1; write seconds greater than 0"),
        ({"functions": ["a.b"]}, "OPTIONS['functions'] is ['a.b']; write a dict of dotted paths"),
        ({"functions": {"a.b": 3}}, "OPTIONS['functions']['a.b'] is 3; write a dict with retry"),
        ({"functions": {"a.b": {"queue": "x"}}}, "OPTIONS['functions']['a.b']: 'queue' is no option"),
        ({"functions": {"no.such.path": {}}}, "OPTIONS['functions'] names 'no.such.path', which cannot be imported"),
    ],
)
def test_options_that_do_not_fit_are_one_line_each(options: Any, problem: str) -> None:
    (line,) = said(OPTIONS=options)
    assert line.startswith(f"TASKS['default']: {problem}")
    assert "\n" not in line


def test_a_queue_s_name_has_to_fit() -> None:
    (line,) = said(QUEUES=["default", "no name!"])
    assert line.startswith("TASKS['default']: QUEUES has 'no name!'; a queue's name is")


def test_check_and_first_use_say_it(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": {"retries": 3}}}
    with pytest.raises(SystemCheckError, match=r"holdfast\.E003.*TASKS\['default'\]: OPTIONS: 'retries' is no option"):
        call_command("check")
    with pytest.raises(InvalidTaskBackendError, match=r"TASKS\['default'\]: OPTIONS: 'retries' is no option"):
        task()(functions.add.func)


def test_a_function_s_options_stand_on_the_common_ones() -> None:
    parsed = conduct.parse(
        {"retry": {"max_attempts": 3}, "ttl": 9, "functions": {"a.b": {"max_duration": 5}, "a.c": {"retry": None}}}
    )
    assert parsed.of("other") == conduct.Conduct(retry=Retry(max_attempts=3), ttl=9.0)
    assert parsed.of("a.b") == conduct.Conduct(retry=Retry(max_attempts=3), ttl=9.0, max_duration=5.0)
    assert parsed.of("a.c") == conduct.Conduct(ttl=9.0)


def test_a_function_is_a_task_where_it_is_declared() -> None:
    found = registry.get("tests.support.djangotask_functions.add_async")
    assert isinstance(found, Carried)
    assert (found.is_async, found.queue.name) == (True, "default")
    assert found.version != registry.get("tests.support.djangotask_functions.add").version  # type: ignore[union-attr]
    # Options for one enqueue are no declaration.
    functions.add_async.using(queue_name="elsewhere", priority=3)
    assert registry.get(found.id) is found
    assert functions.add_async.call(1, 2) == 3  # and it is still the plain function
    assert isinstance(functions.add, Task)


def test_settings_that_change_count_from_the_next_enqueue_on(settings: Any) -> None:
    from runs.djangotasks import carried

    before = carried.of(functions.report)
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": {"max_duration": 5}}}
    assert carried.of(functions.report.using(priority=1)).max_duration == 5
    assert carried.of(functions.report).declared is before.declared
    assert isinstance(task_backends["default"], HoldfastBackend)


def test_a_path_that_is_no_function_of_the_package_is_not_found() -> None:
    from runs.djangotasks import carried

    assert carried.find("subprocess.check_output") is None
    assert carried.find("no.such.module") is None
    assert carried.find("tests.support.djangotask_functions.add") is not None


def test_naming_a_queue_does_not_stand_in_the_way_of_its_declaration() -> None:
    assert declare.by_name("named-first") == Queue("named-first", concurrency_limit=None)
    del Queue.declared["named-first"]
    assert declare.by_name("named-first").concurrency_limit is None
    try:
        declared = Queue("named-first", concurrency_limit=3)
        assert declare.by_name("named-first") is declared
    finally:
        del Queue.declared["named-first"]


def test_every_status_of_a_run_is_one_of_the_package_s() -> None:
    assert {str(s): str(status_of(s, begun=True)) for s in Status} == {
        "scheduled": "READY",
        "queued": "READY",
        "running": "RUNNING",
        "waiting": "RUNNING",
        "retrying": "READY",
        "cancelling": "RUNNING",
        "completed": "SUCCESSFUL",
        "failed": "FAILED",
        "cancelled": "FAILED",
        "expired": "FAILED",
        "timed_out": "FAILED",
        "crashed": "FAILED",
        "unknown": "FAILED",
    }
    assert status_of(Status.WAITING, begun=False) == TaskResultStatus.READY


def test_holdfast_works_without_the_package() -> None:
    """A process in which it cannot be imported."""
    program = """
import sys
sys.modules["django_tasks"] = None
import django
django.setup()
from django.conf import settings
assert "django_tasks" not in settings.INSTALLED_APPS and not hasattr(settings, "TASKS")
import runs.engine.worker, runs.api.urls
from runs import registration
assert registration.find("some.path") is None
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_may_be_declared_before_django_has_its_models() -> None:
    program = """
import django_tasks
@django_tasks.task
def early(): ...
"""
    code = (
        f"import types\nmodule = types.ModuleType('early')\nexec({program!r}, vars(module))\nprint(module.early.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "early\n"), done.stderr
