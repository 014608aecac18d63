"""Fixtures for tests that need real workers; `tests/conftest.py` makes them known."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    BEAT_TASKS,
    BREAKER_TASKS,
    COMPLETION_TASKS,
    DJANGO_TASKS,
    FAULT_TASKS,
    HARD_TASKS,
    HOME_TASKS,
    HOOK_TASKS,
    ISOLATED_TASKS,
    RETRY_TASKS,
    STEP_TASKS,
    STREAM_TASKS,
    STUCK_TASKS,
    TASKS,
    UPDATE_TASKS,
    USAGE_TASKS,
    WAIT_TASKS,
    Fleet,
    Ledger,
)
from tests.support.readme import python_of
from tests.support.service import Service
from tests.support.ticking import Ticker


@pytest.fixture(autouse=True)
def own_declarations() -> Iterator[None]:
    """Tasks and queues that a test declares are forgotten after it, or they would stand on pages of later tests. Those
    of modules stay, as a module is imported once."""
    from queues.declare import Queue
    from runs.sdk.task import registry

    tasks, queues = dict(registry._tasks), dict(Queue.declared)
    yield
    for name, task in list(registry._tasks.items()):
        if name not in tasks and "<locals>" in task.function.__qualname__:
            del registry._tasks[name]
    used = {task.queue.name for task in registry}
    for name in set(Queue.declared) - queues.keys() - used:
        del Queue.declared[name]


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty ledger; the tasks of this process write into it as well."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-ledger-"))
    found = Ledger(folder)
    monkeypatch.setenv("TESTS_LEDGER", str(found.path))
    yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def registered(transactional_db: None) -> None:
    """The test tasks are known to this process, and have their rows (each test begins with empty tables)."""
    from django.conf import settings

    from queues.tickets import connection
    from runs import registration

    settings.HOLDFAST_TASKS = [str(TASKS)]
    connection.cache_clear()
    connection().flushdb()
    registration.discover()
    registration.register_all()


@pytest.fixture
def fleet(
    request: pytest.FixtureRequest, registered: None, child_environment: dict[str, str], ledger: Ledger
) -> Iterator[Fleet]:
    """Starts real worker and scheduler processes on the test's database. Their output is shown when the test fails."""
    environment = {
        **child_environment,
        "HOLDFAST_TASKS": str(TASKS),
        "HOLDFAST_DEMO": "0",
        "TESTS_LEDGER": str(ledger.path),
        "PYTHONUNBUFFERED": "1",
    }
    found = Fleet(environment, ledger)
    yield found
    found.stop()
    outcome = getattr(request.node, "outcome_of_call", None)
    if outcome is None or outcome.failed:
        print(found.report())


@pytest.fixture
def hard(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `hard_tasks.py` as well; no worker yet."""
    return _knowing(fleet, HARD_TASKS)


@pytest.fixture
def waits(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `wait_tasks.py` as well; no worker yet."""
    return _knowing(fleet, WAIT_TASKS)


@pytest.fixture
def updating(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `update_tasks.py` as well; no worker yet."""
    return _knowing(fleet, UPDATE_TASKS)


@pytest.fixture
def spends(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `usage_tasks.py` as well; no worker yet."""
    return _knowing(fleet, USAGE_TASKS)


@pytest.fixture
def retrying(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `retry_tasks.py` as well; no worker yet."""
    return _knowing(fleet, RETRY_TASKS)


@pytest.fixture
def hooks(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `hook_tasks.py` as well; no worker yet."""
    return _knowing(fleet, HOOK_TASKS)


@pytest.fixture
def streaming(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `stream_tasks.py` as well; no worker yet."""
    return _knowing(fleet, STREAM_TASKS)


@pytest.fixture
def stepping(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `step_tasks.py` as well, and the demo's table that they write to."""
    fleet.environment["HOLDFAST_DEMO"] = "1"
    return _knowing(fleet, STEP_TASKS)


@pytest.fixture
def isolated(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `isolated_tasks.py` as well; no worker yet."""
    return _knowing(fleet, ISOLATED_TASKS)


@pytest.fixture
def beating(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `beat_tasks.py` as well; no worker yet."""
    return _knowing(fleet, BEAT_TASKS)


@pytest.fixture
def completing(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `completion_tasks.py` as well; no worker yet."""
    return _knowing(fleet, COMPLETION_TASKS)


@pytest.fixture
def breaking(fleet: Fleet, service: Service) -> Fleet:
    """A fleet that knows the tasks of `breaker_tasks.py` as well, and the service that they call; no worker yet."""
    fleet.environment["TESTS_SERVICE"] = service.address
    return _knowing(fleet, BREAKER_TASKS)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as found:
        yield found


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    with Ticker() as found:
        yield found


@pytest.fixture
def homes(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `home_tasks.py` as well; no worker yet."""
    return _knowing(fleet, HOME_TASKS)


@pytest.fixture
def faulty(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `fault_tasks.py` as well; no worker yet."""
    return _knowing(fleet, FAULT_TASKS)


@pytest.fixture
def sticking(fleet: Fleet) -> Fleet:
    """A fleet that knows the tasks of `stuck_tasks.py` as well; no worker yet."""
    return _knowing(fleet, STUCK_TASKS)


@pytest.fixture
def djangotasks(fleet: Fleet) -> Fleet:
    """A fleet that knows the functions of `djangotask_functions.py` as well; no worker yet."""
    return _knowing(fleet, DJANGO_TASKS)


@pytest.fixture
def documented(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fleet]:
    """A fleet that knows the tasks of a page of the docs as well: `documented("steps.md")`; no worker yet."""

    def know(page: str) -> Fleet:
        # One file for all tests of a process: it is imported once, and another one of its name would be refused.
        path = tmp_path_factory.getbasetemp() / f"{page.removesuffix('.md')}_of_the_docs.py"
        path.write_text(python_of(page), "utf-8")
        return _knowing(fleet, path)

    return know


def _knowing(fleet: Fleet, more: Path | str) -> Fleet:
    from django.conf import settings

    from runs import registration

    settings.HOLDFAST_TASKS = [str(TASKS), str(more)]
    fleet.environment["HOLDFAST_TASKS"] = f"{TASKS},{more}"
    registration.discover()
    registration.register_all()
    return fleet
