"""Tasks and queues that code declares get their rows: at the start of every process, and before a first enqueue."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import autodiscover_modules
from pydantic.errors import PydanticInvalidForJsonSchema

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import store as queue_store
from queues.declare import Queue, by_name
from queues.models import Lane
from queues.models import Queue as QueueRow
from runs import store
from runs.errors import DeclarationError
from runs.models import Task as TaskRow
from runs.sdk.task import Task, registry

#: The audit log's word for: a process has started with other code of this task than was there before.
DEPLOY: Final = "tasks.deploy"
_ACTOR: Final = Actor.system("deploy")
_registered: set[str] = set()


def discover() -> None:
    """Imports `tasks.py` of every installed app and the modules or files of HOLDFAST_TASKS, which are those of the
    living `up` where nobody has set it.

    Raises:
        DeclarationError: a module or file does not exist.
    """
    autodiscover_modules("tasks")
    for name in settings.HOLDFAST_TASKS:
        _import(name)


def _import(name: str) -> None:
    if name.endswith(".py"):
        _import_file(name)
        return
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise _unloadable(f"the module {name!r}, which cannot be found here") from None
        raise


def _unloadable(what: str) -> DeclarationError:
    remedy = "modules that Python can import from here, or paths of .py files, with commas between them"
    return DeclarationError(f"{settings.HOLDFAST_TASKS_FROM} names {what}. Set HOLDFAST_TASKS to {remedy}.")


def _import_file(name: str) -> None:
    path = Path(name).resolve()
    module_name = f"holdfast_tasks_{path.stem}"
    known = sys.modules.get(module_name)
    if known is not None and known.__file__ == str(path):
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise _unloadable(f"{name}, which is no readable file")
    if known is not None:
        # Modules of one name would be one to pickle, to `register` and to whoever looks a task up by its path.
        raise DeclarationError(
            f"{settings.HOLDFAST_TASKS_FROM} names {path}, and {known.__file__}, which has the same name. Give "
            "one of the files another name, or put them into packages and name their modules, such as shop.tasks."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)  # or the next import of it would find half of it, and take it for the whole
        raise


def lane_of(task: Task[..., Any]) -> Lane:
    if task.isolation is not None:
        return Lane.PROCESS
    return Lane.COROUTINE if task.is_async else Lane.THREAD


def register(tasks: Iterable[Task[..., Any]]) -> None:
    """Writes the rows of tasks and their queues, in the caller's transaction if there is one."""
    chosen = sorted(tasks, key=lambda t: t.id)
    with transaction.atomic(), db.callers() as conn:
        for queue in sorted({t.queue for t in chosen}, key=lambda q: q.name):
            _write_queue(conn, queue)
        for task in chosen:
            before = store.register_task(conn, _row(task))
            if before is not None and before != task.version:
                # Whoever starts beside it comes second, and finds the new version there.
                audit(_ACTOR, DEPLOY, "task", task.id, "", {"version": before}, {"version": task.version})
    names = {t.id for t in chosen}
    # Only once it is sure that the rows stay: the caller may roll back.
    transaction.on_commit(lambda: _registered.update(names))


def _write_queue(conn: db.Conn, queue: Queue) -> None:
    """By its declaration, wherever that stands. One that is only named must not undo what another process declares."""
    declared = Queue.declared.get(queue.name)
    if declared is not None:
        queue_store.declare_queue(conn, declared)
    else:
        queue_store.name_queue(conn, queue.name)


def name_queue(name: str) -> None:
    """Makes a queue that somebody names, in the caller's transaction if there is one."""
    with db.callers() as conn:
        _write_queue(conn, by_name(name))


def versions() -> str:
    """JSON: of each task that this process knows by now, the fingerprint of its code."""
    return json.dumps({task.id: task.version for task in registry})


def find(task_id: str) -> Task[..., Any] | None:
    """The task of this process's code. One of django-tasks is known by its function's dotted path, whether anybody has
    imported its module here or not."""
    known = registry.get(task_id)
    if known is None and "." in task_id and getattr(settings, "TASKS", None):
        from runs.djangotasks import carried

        known = carried.find(task_id)
    return known


def register_all() -> None:
    """For the start of a process: everything that `discover` found."""
    with transaction.atomic(), db.callers() as conn:
        for name in sorted(Queue.declared):  # those too that are only ever named by using(queue_name=…)
            _write_queue(conn, Queue.declared[name])
        register(registry)


def ensure(task: Task[..., Any]) -> None:
    """Before an enqueue: the task has its row."""
    if task.id in _registered:
        return
    # A row that is there is as the start of a process has made it. It is not written here: its lock, and its queue's,
    # would last as long as the caller's transaction, and a process of older code would undo what was deployed.
    if TaskRow.objects.filter(pk=task.id).exists() and QueueRow.objects.filter(name=task.queue.name).exists():
        transaction.on_commit(lambda: _registered.add(task.id))
    else:
        register([task])


def _row(task: Task[..., Any]) -> dict[str, Any]:
    return {
        "id": task.id,
        "module": task.function.__module__,
        "doc": (task.function.__doc__ or "").strip(),
        "queue": task.queue.name,
        "lane": int(lane_of(task)),
        "retry": json.dumps(task.retry.describe()),
        "max_duration": task.max_duration,
        "payload_schema": json.dumps(_payload_schema(task)),
        "output_schema": json.dumps(_schema(task.output)),
        "version": task.version,
        "hooks": list(task.hooks),
    }


def _payload_schema(task: Task[..., Any]) -> dict[str, Any]:
    """The payload's JSON Schema with the function's defaults, which the validator leaves to the function."""
    schema = _schema(task.payload)
    properties = schema.get("properties", {})
    for name, parameter in task.signature.parameters.items():
        if parameter.default is not parameter.empty and name in properties:
            try:
                properties[name]["default"] = json.loads(json.dumps(parameter.default, allow_nan=False))
            except (TypeError, ValueError):
                continue  # a default that JSON cannot show is still the function's default
    # jsonb forgets the order of keys; a form should ask in the order of the code.
    return {**schema, "propertyOrder": list(task.signature.parameters), **task.schema_extra}


def _schema(adapter: Any) -> dict[str, Any]:
    try:
        return dict(adapter.json_schema())
    except PydanticInvalidForJsonSchema:
        return {}
