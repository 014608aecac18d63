"""A fork: a new run whose history up to a snapshot is another one's. Callers check the grant first."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.db import transaction

from holdfast import db, redaction
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.access.services import audit
from runs import enqueue, selectors, services, store
from runs.errors import InvalidOption
from runs.forks.selectors import point_of, saved_state
from runs.models import Run, Snapshot, SnapshotKind
from runs.sdk import codec
from runs.sdk.options import Options

#: The state stays as it was saved. (None is a state.)
AS_SAVED: Final = object()


def run_fork(
    run_id: uuid.UUID,
    *,
    sequence: Any,
    actor: Actor,
    state: Any = AS_SAVED,
    options: dict[str, Any] | None = None,
    reason: str = "",
) -> uuid.UUID:
    """Starts a new run that goes on where another one was at a snapshot: what was finished up to there is not called
    again, what came after is. The other run stays as it is.

    Args:
        sequence: number of the snapshot, of the run's present round.
        state: what `current_run().state` is to be at the beginning, instead of what was saved last up to there.
        options: instead of those of the other's options that they name, as for a replay.

    Returns:
        The new run's id; with an idempotency key that was used before, the id of the run that it started.

    Raises:
        UnknownRun, UnknownTask, OwnTask: it does not exist, its task is not in the code any more, or is none to fork.
        InvalidOption: there is no such snapshot, it lies within an unsafe step, or an option does not fit.
        NotSerializable: `state` cannot be stored.
        InvalidPayload: the payload does not fit the task any more.
    """
    with transaction.atomic(), db.callers() as conn:
        old = selectors.run_get(run_id)
        task = services.task_get(old.task_id)
        point = point_of(old, sequence)
        text = None if state is AS_SAVED else _stored(state, old, sequence)
        if (step := store.unanswered_intent(conn, run_id, past=old.past, upto=point.sequence)) is not None:
            message = f"lies within the unsafe step {step}, and a fork would call it again on a guess; write a "
            message += "snapshot before its beginning or after its end"
            raise InvalidOption(f"sequence {message}.", errors=[{"field": "sequence", "message": message}])
        chosen = Options.parse({**services.kept_options(old), **services.object_of(options or {}, "options")})
        given = task.encode_payload(services.object_of(old.payload, "payload"), of_json=True)
        new = enqueue.enqueue(task, given, chosen)
        if new.created:
            upto, past = point.sequence, old.past
            store.fork(conn, new.id, of=run_id, past=past, upto=upto, state=text, version=task.version)
            if text is not None and point.kind != SnapshotKind.CHECKPOINT:
                store.add_snapshots(conn, [_checkpoint(new.id, point, old, text)])
            after: dict[str, Any] = {"run": str(new.id), "sequence": upto, "options": sorted(options or {})}
            after["state_edited"] = text is not None
            audit(actor, "runs.fork", "run", run_id, reason, before={}, after=after)
    return new.id


def _stored(state: Any, old: Run, sequence: int) -> str:
    """An edited state as it is stored. Raises NotSerializable, InvalidOption."""
    try:
        state = redaction.restored(state, next(iter(saved_state(old, sequence)), None))
    except redaction.LostValue as error:
        message = f"has {error.path}, which {error.message}"
        raise InvalidOption(f"state {message}.", errors=[{"field": "state", "message": message}]) from None
    return codec.dump(None, state, "state", codec.MAX_STORED)


def _checkpoint(new: uuid.UUID, point: Snapshot, old: Run, state: str) -> store.SnapshotRow:
    """An edited state where none was saved: behind the snapshot, as if the code had."""
    now = database_now().timestamp()
    number, kind = point.sequence - old.past + 1, SnapshotKind.CHECKPOINT
    return store.SnapshotRow(new, number, kind, "checkpoint", "", 0, None, None, state, None, now, now)
