"""What code declares reaches the database at the start of a process; what is imported later harms nobody."""

from __future__ import annotations

import signal
from pathlib import Path

from django.db import transaction

from holdfast.access.models import AuditEntry
from queues.models import Queue, Worker
from runs import registration
from runs.models import Run
from runs.sdk.task import Task, registry
from tests.support.processes import Fleet
from tests.support.releases import known, release
from tests.support.runs import all_final, run
from tests.support.waiting import eventually

LIMITED = """
from queues import Queue
@task(id="deployed", queue=Queue("late-limited", concurrency_limit=LIMIT))
async def deployed() -> int:
    return 1
"""
BY_NAME_ALONE = """
from queues import Queue
night = Queue("late-night", concurrency_limit=2)
@task(id="deployed")
async def deployed() -> int:
    return 1
"""
#: A module that only a run imports, as django-tasks and functions with imports of their own do.
IMPORTS = """
@task(id="deployed")
def deployed() -> str:
    from late_module import late
    return str(late.enqueue().id)
@task(id="innocent")
async def innocent() -> int:
    return 1
"""
APART = """
from runs import task
@task(id="late", isolation="process")
def late() -> int:
    return 1
"""
TOGETHER = APART.replace(', isolation="process"', "")


def test_a_first_enqueue_in_an_open_transaction_holds_up_nobody(fleet: Fleet) -> None:
    tasks = release(fleet, "one", LIMITED.replace("LIMIT", "2"))
    task = known(tasks, "deployed")
    worker = fleet.worker("worker-1", HOLDFAST_TASKS=tasks)
    worker.signal(signal.SIGSTOP)
    handles = task.enqueue_many([{}] * 3)
    forget(task)
    with transaction.atomic():
        task.enqueue()
        worker.signal(signal.SIGCONT)
        all_final([handle.id for handle in handles])
        fleet.worker("worker-2", HOLDFAST_TASKS=tasks)


def test_a_process_of_older_code_that_enqueues_undoes_no_deploy(fleet: Fleet) -> None:
    old = release(fleet, "old", LIMITED.replace("LIMIT", "10"))
    new = release(fleet, "new", LIMITED.replace("LIMIT", "2").replace("return 1", "return 2"))
    fleet.worker("old", HOLDFAST_TASKS=old)
    fleet.worker("new", HOLDFAST_TASKS=new)
    deploys = AuditEntry.objects.filter(action=registration.DEPLOY, object_id="deployed")
    told = deploys.count()
    assert fleet.start("enqueues", "enqueue", "deployed", HOLDFAST_TASKS=old).wait() == 0
    assert Queue.objects.get(name="late-limited").concurrency_limit == 2
    assert deploys.count() == told


def test_a_queue_that_no_task_has_for_its_own_is_there_as_well(fleet: Fleet) -> None:
    tasks = release(fleet, "one", BY_NAME_ALONE)
    fleet.worker("worker-1", HOLDFAST_TASKS=tasks)
    assert Queue.objects.get(name="late-night").concurrency_limit == 2
    assert known(tasks, "deployed").using(queue_name="late-night").enqueue().result(timeout=60) == 1


def test_an_isolated_task_that_a_run_imports_waits_and_its_worker_lives(fleet: Fleet) -> None:
    child = imported_by_a_run(fleet, APART)
    waiting = eventually(lambda: run(child).waiting_for, "it is left")
    assert waiting["kind"] == "unknown_task"
    assert "name its module in HOLDFAST_TASKS" in waiting["what"]
    assert registry.get("innocent").enqueue().result(timeout=60) == 1  # type: ignore[union-attr]
    assert Worker.objects.get(name="worker-1").lost_at is None


def test_a_run_of_a_task_that_came_later_says_by_which_version_it_ran(fleet: Fleet) -> None:
    all_final([imported_by_a_run(fleet, TOGETHER)])
    second = registry.get("deployed").enqueue().result(timeout=60)  # type: ignore[union-attr]
    all_final([second])
    assert Run.objects.get(pk=second).version


def imported_by_a_run(fleet: Fleet, module: str) -> str:
    """Of the task that the module has, a run that was enqueued by the run that imported it."""
    file = Path(release(fleet, "one", IMPORTS).split(",")[1])
    (file.parent / "late_module.py").write_text(module)
    fleet.worker("worker-1", HOLDFAST_TASKS=str(file), PYTHONPATH=str(file.parent))
    known(str(file), "innocent")
    return known(str(file), "deployed").enqueue().result(timeout=60)


def forget(task: Task[..., object]) -> None:
    """As in a process that has enqueued nothing of it yet."""
    registration._registered.discard(task.id)
