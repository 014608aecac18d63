"""What is sent to an inline run: signals and updates, in order, until a wait of their name takes them; and replies."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.testing.answers import Answer
from runs import schemas, store

if TYPE_CHECKING:
    from holdfast.testing.memory import Kept, Wait

#: Kinds of answers that are kept until the run waits for them.
SENT: Final = ("signal", "update")


@dataclass(slots=True)
class Update:
    """An update that the run was sent. `outcome`: replied, refused, abandoned, or None while it is open."""

    id: uuid.UUID
    name: str
    payload: Any
    by: str
    outcome: str | None = None
    reply: Any = None
    reason: str = ""


def match(run: Kept, now: float) -> bool:
    """The oldest mail that nobody has taken answers the oldest open waits of its kind and name, but none whose time is
    over. True when something was given out."""
    given = False
    for sent in tuple(run.mail):
        for wait in run.waits.values():
            is_open = wait.resolved is None and wait.due > now
            if (wait.row.kind, wait.row.name) == (sent.kind, sent.name) and is_open:
                wait.end(now, "completed", _brought(run, sent, wait), sent.by)
                run.mail.remove(sent)
                given = True
                break
    return given


def give_back(run: Kept, wait: Wait) -> None:
    """What a wait had taken that is given up is for another one."""
    if wait.outcome != "completed" or wait.row.kind not in SENT:
        return
    value = wait.output
    if wait.row.kind == "update":
        found = run.updates.pop(uuid.UUID(wait.output["update"]))
        if found.outcome is not None:
            run.updates[found.id] = found
            return
        value = found.payload
    run.mail.insert(0, Answer(str(wait.row.kind), wait.row.name, value, wait.by))


def reply(run: Kept, row: store.ReplyRow) -> None:
    """The run has answered an update, or it did not fit: then the wait goes on."""
    found = run.updates[row.update]
    if found.outcome is None:
        found.outcome, found.reason = row.outcome, row.reason
        found.reply = None if row.reply is None else json.loads(row.reply)
    if row.snapshot is not None:
        run.snapshots.append(row.snapshot)
    for wait in run.waits.values():
        if wait.row.id == row.wait and wait.output is not None and wait.output["update"] == str(row.update):
            wait.resolved = wait.outcome = wait.output = None


def abandon(run: Kept) -> None:
    """Nobody answers any more what was taken, or was not."""
    for sent in run.mail:
        if sent.kind == "update":
            _keep(run, sent)
    for update in run.updates.values():
        update.outcome = update.outcome or "abandoned"


def _brought(run: Kept, sent: Answer, wait: Wait) -> Any:
    if sent.kind == "signal":
        return sent.output
    return {"update": str(_keep(run, sent).id), "wait": wait.row.key, "value": sent.output, "by": sent.by}


def _keep(run: Kept, sent: Answer) -> Update:
    update = Update(uuid.uuid4(), sent.name, sent.output, sent.by)
    run.updates[update.id] = update
    return update


def check(run: Kept, sent: Answer, now: float) -> None:
    """Raises InvalidPayload for an update that does not fit what the run waits for now."""
    for wait in run.waits.values():
        is_open = wait.resolved is None and wait.due > now
        if sent.kind == "update" and is_open and (wait.row.kind, wait.row.name) == ("update", sent.name):
            schemas.check(sent.output, wait.detail, "payload")
            return
