"""What people and programs may do to runs: one transaction each, with an audit row (DESIGN, invariant 5).

Callers check the grant first (`holdfast.access.grants.require`); these functions do the deed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from itertools import chain
from typing import Any, Final, TypeVar

from django.db import DatabaseError, transaction

from holdfast import db, redaction
from holdfast.access.grants import Actor
from holdfast.access.selectors import audit_of, database_now
from holdfast.access.services import Audited, audit, audit_many
from holdfast.words import exact
from queues import tickets
from runs import enqueue, registration, selectors, store
from runs.errors import HoldfastError, InvalidOption, InvalidPayload, OwnTask, UnknownRun, UnknownTask, WrongState
from runs.models import Run, SnapshotKind
from runs.models import Task as TaskRow
from runs.sdk import codec, events
from runs.sdk.options import Options
from runs.sdk.task import Task, registry
from runs.states import Status

#: How the ids of Holdfast's own tasks begin (`runs.tasks`).
OWN_TASKS: Final = "holdfast."
#: Runs that one transaction stops, where it is asked to stop several: with all that they wait for.
MOST_STOPPED: Final = 2_000
T = TypeVar("T")


class Decision(StrEnum):
    """What became of an unsafe step, as a person found out."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"
    FAIL = "fail"


def decision_of(text: str) -> Decision:
    """Raises InvalidOption."""
    try:
        return Decision(text)
    except ValueError:
        message = f"is {text!r:.60}; choose one of {', '.join(Decision)}"
        raise InvalidOption(f"decision {message}", errors=[{"field": "decision", "message": message}]) from None


def task_get(task_id: str) -> Task[..., Any]:
    """The task of this process's code, for somebody who asks for runs of it.

    Raises:
        UnknownTask: with near matches.
        OwnTask: it is one of Holdfast itself. What `holdfast.webhook` sends is signed with secrets of endpoints, and
            whoever may enqueue may not say what that is.
    """
    if task_id.startswith(OWN_TASKS):
        message = "is a task of Holdfast itself; make an endpoint for news of runs, or chain tasks with then() in code"
        raise OwnTask(f"{task_id!r:.220} {message}.", errors=[{"field": "task_id", "message": message}])
    return _task(task_id)


def _task(task_id: str) -> Task[..., Any]:
    if (task := registry.get(task_id)) is not None:
        return task
    registered = task_id.isprintable() and TaskRow.objects.filter(pk=task_id).exists()
    if registered and "." in task_id:
        task = registration.find(task_id)  # what some process has registered; never a path that a caller has made up
    if task is None and registered:
        raise UnknownTask(
            f"There is no task {task_id!r:.220} here: it is registered, but this process has not loaded its code. "
            "Set HOLDFAST_TASKS to the module or file that declares it."
        )
    if task is None:
        near = get_close_matches(task_id, registry.ids(), n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UnknownTask(f"There is no task {task_id!r:.220}.{hint}", near=near)
    return task


def task_enqueue(task_id: str, payload: Any, options: dict[str, Any], *, actor: Actor) -> tuple[uuid.UUID, bool]:
    """Stores one run. Returns its id, and False when an idempotency key led to an earlier run."""
    del actor  # the run itself is the record; enqueues are not audited, they are listed
    task = task_get(task_id)
    chosen = Options.parse(options)
    stored = enqueue.enqueue(task, task.encode_payload(object_of(payload, "payload"), of_json=True), chosen)
    return stored.id, stored.created


def task_enqueue_many(task_id: str, items: list[dict[str, Any]], *, actor: Actor) -> list[uuid.UUID]:
    """Stores a run for each {payload, options}, all or none. Returns their ids in the order of the items."""
    del actor
    task = task_get(task_id)
    read = [
        read_item(task, item.get("payload", {}), item.get("options"), f"items[{i}].") for i, item in enumerate(items)
    ]
    ids = []
    with transaction.atomic():
        for index, found in enumerate(enqueue.enqueue_items(task, read)):
            if isinstance(found, HoldfastError):
                raise _at(f"items[{index}]", found) from None
            ids.append(found.id)
    return ids


def event_emit(name: Any, payload: Any, options: dict[str, Any], *, actor: Actor) -> list[uuid.UUID]:
    """Starts a run of each task that subscribes to the event. Raises InvalidOption, InvalidPayload."""
    del actor
    return [handle.id for handle in events.emit_with(name, payload, Options.parse(options), of_json=True)]


def read_item(task: Task[..., Any], payload: Any, options: Any, path: str = "") -> enqueue.Item:
    """One item of a batch, checked. `path` stands before its fields' names. Raises InvalidPayload, InvalidOption."""
    chosen = Options.parse(object_of({} if options is None else options, f"{path}options"), f"{path}options")
    text = task.encode_payload(object_of(payload, f"{path}payload"), f"{path}payload", of_json=True)
    enqueue.check_size(text, f"{path}payload")
    return enqueue.Item(text, chosen)


def _at(path: str, error: HoldfastError) -> HoldfastError:
    """The same error, its fields those of one item of a batch."""
    faults = error.data.get("errors") or [{"field": "", "message": str(error)}]
    errors = [{**fault, "field": f"{path}.{fault['field']}".removesuffix(".")} for fault in faults]
    return type(error)(f"{path}: {error}", **{**error.data, "errors": errors})


def object_of(value: Any, path: str) -> dict[str, Any]:
    """The value, when it is an object. Raises InvalidPayload, which names `path`."""
    if not isinstance(value, dict):
        raise InvalidPayload(
            f"{path} must be an object with the task's parameters, not {type(value).__name__}",
            errors=[{"field": path, "message": "must be an object"}],
        )
    return value


def run_retry(run_id: uuid.UUID, *, actor: Actor, reason: str = "") -> None:
    """The same run goes on: next attempt, finished steps kept. One that is parked because its history does not fit the
    code goes on in its attempt, with whatever code comes, and what it has finished is compared no more.

    Raises:
        UnknownRun, WrongState: it does not exist, or has not ended badly.
    """
    alone(run_id, runs_retry([run_id], actor=actor, reason=reason))


def runs_retry(ids: Sequence[uuid.UUID], *, actor: Actor, reason: str = "") -> dict[uuid.UUID, str | Exception]:
    """`run_retry` of many, with a few statements for all. Of each its new status, or why it was left as it is."""
    with transaction.atomic(), db.callers() as conn:
        store.lock_waits(conn, ids)
        before = selectors.statuses(ids)
        pools = store.reopen(conn, ids)
        if rest := [run_id for run_id in ids if run_id not in pools]:
            pools |= store.accept_history(conn, rest)
        after = {"status": str(Status.QUEUED)}
        changes = [Audited(run_id, {"status": before[run_id]}, after) for run_id in ids if run_id in pools]
        audit_many(actor, "runs.retry", "run", changes, reason)
        transaction.on_commit(lambda: tickets.wake(set(pools.values())))
    return {
        run_id: str(Status.QUEUED)
        if run_id in pools
        else refusal(
            run_id,
            before.get(run_id),
            "only a run that failed, crashed, timed out, expired or was cancelled can be retried, and one that is "
            "parked because its history does not fit the code",
        )
        for run_id in ids
    }


def alone(run_id: uuid.UUID, found: Mapping[uuid.UUID, T | Exception]) -> T:
    """What was done to one run. Raises why nothing was: where its status is in the way, with who acted on it last."""
    became = found[run_id]
    if isinstance(became, WrongState) and (last := audit_of("run", run_id, 1)):
        verb = last[0].action.removeprefix("runs.").replace("_", " ")
        raise WrongState(f"{became} Last: {verb} by {last[0].actor_label}, {exact(last[0].at)}.", **became.data)
    if isinstance(became, Exception):
        raise became
    return became


def refusal(run_id: uuid.UUID, status: str | None, rule: str) -> HoldfastError:
    """Why nothing can be done to a run in this status; None: there is none."""
    if status is None:
        return UnknownRun(f"There is no run {run_id}.")
    return WrongState(f"Run {run_id} is {status}; {rule}.", status=status)


def run_resolve_unknown(
    run_id: uuid.UUID, *, decision: Decision, output: Any = None, actor: Actor, reason: str = ""
) -> None:
    """A person says what became of the unsafe step that left the run `unknown`.

    Args:
        decision: It happened (the run goes on with `output` as the step's result); it did not (the run goes on and
            calls it again); or the run has failed.

    Raises:
        UnknownRun, WrongState: there is no such run, or nothing of it is unknown.
        NotSerializable: `output` cannot be stored.
    """
    text = codec.dump(None, output, "output", codec.MAX_STORED)
    with transaction.atomic(), db.callers() as conn:
        store.lock_waits(conn, [run_id])
        found = store.lock_unknown(conn, run_id)
        if found is None:
            raise UnknownRun(f"There is no run {run_id}.")
        attempt, step, status = found
        intent = store.open_intent(conn, run_id, step)
        if status != Status.UNKNOWN or intent is None:
            raise WrongState(f"Run {run_id} is {status}; none of its steps waits for a decision.", status=status)
        after = {"step": intent.key, "decision": str(decision), "status": str(Status.QUEUED)}
        if decision is Decision.FAIL:
            store.give_up(conn, run_id)
            after["status"] = str(Status.FAILED)
        else:
            happened = decision is Decision.HAPPENED
            kind = SnapshotKind.STEP if happened else SnapshotKind.CLEARED
            now, evidence = database_now().timestamp(), {"decided_by": actor.label, "reason": reason}
            row = store.SnapshotRow(
                run_id,
                store.last_sequence(conn, run_id) + 1,
                kind,
                intent.name,
                intent.key,
                attempt,
                intent.input,
                text if happened else None,
                codec.dump(None, evidence, "reason"),
                None,
                now,
                now,
            )
            store.add_snapshots(conn, [row])
            pools = store.reopen(conn, [run_id])
            assert pools, "an unknown run can be reopened, and it is locked"
            transaction.on_commit(lambda: tickets.wake(pools.values()))
        audit(actor, "runs.resolve", "run", run_id, reason, before={"status": status}, after=after)


def run_cancel(run_id: uuid.UUID, *, actor: Actor, reason: str = "") -> str:
    """Cancels a run, and the runs that it waits for. One that a worker holds says `cancelling` until it has stopped.

    Returns:
        The status that it has now: `cancelled` or `cancelling`.

    Raises:
        UnknownRun, WrongState: it does not exist, has ended, or is being stopped already.
    """
    return alone(run_id, runs_cancel([run_id], actor=actor, reason=reason))


def runs_cancel(ids: Sequence[uuid.UUID], *, actor: Actor | None, reason: str = "") -> dict[uuid.UUID, str | Exception]:
    """`run_cancel` of many, as if one after the other, with a few statements for all. Of each its new status, or why it
    was left as it is. Where they wait for very many, the last ones of `ids` are left out: for the next call.

    Args:
        actor: None where a run's own code calls it off: no person did that, and its log says why.
    """
    with transaction.atomic(), db.callers() as conn:
        before = selectors.statuses(ids)
        ids, families = _families(conn, ids)
        store.lock_waits(conn, {*chain(*families.values()), *store.parents(conn, list(families))})
        stopped = _stop(conn, families)
        now = before | selectors.statuses([run_id for run_id in ids if run_id not in stopped])
        found: dict[uuid.UUID, str | Exception] = {}
        told: set[uuid.UUID] = set()  # of the audit log: itself, or as one that an earlier run waited for
        changes = []
        for run_id in ids:
            mine = [one for one in families.get(run_id, ()) if one in stopped and one not in told]
            if run_id not in mine:
                status = stopped[run_id].status if run_id in stopped else now.get(run_id)
                found[run_id] = refusal(run_id, status, "only a run that has not ended can be cancelled, and only once")
                continue
            told.update(mine)
            found[run_id] = stopped[run_id].status
            after: dict[str, object] = {"status": stopped[run_id].status}
            if len(mine) > 1:
                after["children"] = len(mine) - 1
            changes.append(Audited(run_id, {"status": before[run_id]}, after))
        if actor is not None:
            audit_many(actor, "runs.cancel", "run", changes, reason)
        transaction.on_commit(lambda: tickets.wake({row.pool for row in stopped.values()}))
    return found


def _families(conn: db.Conn, ids: Sequence[uuid.UUID]) -> tuple[Sequence[uuid.UUID], dict[uuid.UUID, list[uuid.UUID]]]:
    """As many of these runs as are not too many with all that they wait for, but at least the first; and the families
    of those that can be stopped."""
    while True:
        able = store.stoppable(conn, ids)
        most = None if len(ids) == 1 else MOST_STOPPED
        found = store.families(conn, [run_id for run_id in ids if run_id in able], most=most)
        if found is not None:
            return ids, found
        ids = ids[: len(ids) // 2]


def _stop(conn: db.Conn, families: Mapping[uuid.UUID, list[uuid.UUID]]) -> dict[uuid.UUID, store.Stopped]:
    """Stops families, each with its first run or not at all. Those that can be stopped no more keep their place in
    line: all is begun anew without them."""
    spared: set[uuid.UUID] = set()
    while True:
        going = [family for run_id, family in families.items() if run_id not in spared]
        members = set(chain(*going)) - spared
        if not members:
            return {}
        with transaction.atomic():
            stopped = {row.id: row for row in store.stop(conn, list(members), final=str(Status.CANCELLED))}
            if len(stopped) == len(members):
                return stopped
            transaction.set_rollback(True)
        spared |= members - stopped.keys()


def run_replay(
    run_id: uuid.UUID,
    *,
    actor: Actor,
    payload: Any = None,
    options: dict[str, Any] | None = None,
    reason: str = "",
) -> uuid.UUID:
    """Starts a new run from the beginning, with the task, payload and options of another.

    Args:
        payload: instead of the other's payload.
        options: instead of those of the other's options that they name; times and keys of the other do not come along.

    Returns:
        The new run's id; with an idempotency key that was used before, the id of the run that it started.

    Raises:
        UnknownRun, UnknownTask: it does not exist, or its task is not in the code any more.
        InvalidPayload, InvalidOption, PayloadTooLarge: as for any other run.
    """
    return alone(run_id, runs_replay([run_id], actor=actor, payload=payload, options=options, reason=reason))


def runs_replay(
    ids: Sequence[uuid.UUID],
    *,
    actor: Actor,
    payload: Any = None,
    options: dict[str, Any] | None = None,
    reason: str = "",
) -> dict[uuid.UUID, uuid.UUID | Exception]:
    """`run_replay` of many, with a few statements for those of a task. Of each its new run, or why there is none."""
    found: dict[uuid.UUID, uuid.UUID | Exception] = {}
    wanted: dict[Task[..., Any], dict[uuid.UUID, enqueue.Item]] = {}
    of: dict[uuid.UUID, uuid.UUID] = {}
    with transaction.atomic(), db.callers() as conn:
        olds = Run.objects.select_related("queue").defer("output", "error").in_bulk(ids)
        for run_id in ids:
            try:
                task, item = _again(run_id, olds.get(run_id), payload, options)
            except DatabaseError:
                raise
            except Exception as error:  # whatever the task of today has against one of them
                found[run_id] = error
            else:
                wanted.setdefault(task, {})[run_id] = item
        for task, items in wanted.items():
            for run_id, new in zip(items, enqueue.enqueue_items(task, list(items.values())), strict=True):
                found[run_id] = new if isinstance(new, Exception) else new.id
                if isinstance(new, enqueue.Stored) and new.created:
                    of[new.id] = run_id
        store.mark_replays(conn, of)
        told = {"payload_edited": payload is not None, "options": sorted(options or {})}
        changes = [Audited(old, {}, {"run": str(new), **told}) for new, old in of.items()]
        audit_many(actor, "runs.replay", "run", changes, reason)
    return found


def _again(
    run_id: uuid.UUID, old: Run | None, payload: Any, options: dict[str, Any] | None
) -> tuple[Task[..., Any], enqueue.Item]:
    """What is to be enqueued for the replay of a run. Raises why that cannot be."""
    if old is None:
        raise UnknownRun(f"There is no run {run_id}.")
    # With another payload it is another run; the same again of Holdfast's own is what it has said once.
    task = _task(old.task_id) if payload is None else task_get(old.task_id)
    chosen = Options.parse({**kept_options(old), **object_of(options or {}, "options")})
    given = object_of(old.payload if payload is None else _unmasked(payload, old), "payload")
    text = task.encode_payload(given, of_json=True)
    enqueue.check_size(text)
    return task, enqueue.Item(text, chosen)


def _unmasked(payload: Any, old: Run) -> Any:
    try:
        return redaction.restored(payload, old.payload)
    except redaction.LostValue as error:
        raise InvalidPayload(f"{error}.", errors=[{"field": error.path, "message": error.message}]) from None


def kept_options(old: Run) -> dict[str, Any]:
    """The options of a run that another one like it takes over."""
    return {
        "queue_name": old.queue.name,
        "priority": old.priority,
        "concurrency_key": old.concurrency_key,
        "units": old.units,
        "tags": old.tags,
        "max_attempts": old.max_attempts,
    }
