"""Updates: what a run is asked, from wherever, and what came of it. Each that is sent is audited.

Callers check the grant first (`holdfast.access.grants.require`).
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import tickets
from runs import enqueue, schemas, store
from runs.engine import database
from runs.errors import (
    IdempotencyConflict,
    InvalidOption,
    StepMisuse,
    UnknownUpdate,
    UpdateRefused,
    UpdateTimeout,
    WrongState,
)
from runs.filters import DEFAULT_LIMIT
from runs.models import Progress, Update
from runs.sdk import codec
from runs.sdk.handle import Published
from runs.sdk.options import is_word
from runs.sdk.patience import looks
from runs.sdk.wait import MAX_NAME
from runs.selectors import Page, status_and_pool
from runs.states import FINAL, Status

#: Whoever asks from Python code.
CODE: Final = Actor.system("code")
#: Updates that the page of a run lists.
MAX_SHOWN: Final = 50


def update_send(run_id: uuid.UUID, name: str, payload: Any, *, key: str | None = None, actor: Actor) -> uuid.UUID:
    """Sends an update to a run, which is kept until the run waits for it. Returns its id: the one of before, when it
    was sent under this key already.

    Raises:
        UnknownRun, WrongState: the run does not exist, or has ended.
        InvalidPayload: it does not fit what the run waits for now; it was not sent.
        IdempotencyConflict: the key was used with another payload.
        InvalidOption, NotSerializable, PayloadTooLarge: the name, the key or the payload cannot be stored.
    """
    for field, value in (("name", name), *([("key", key)] if key is not None else [])):
        if not is_word(value, MAX_NAME):
            fault = {"field": field, "message": f"must be text of 1 to {MAX_NAME} characters"}
            raise InvalidOption(f"{field} is {value!r:.60}; it {fault['message']}", errors=[fault])
    text = codec.dump(None, payload, "payload")
    enqueue.check_size(text, "payload")
    value = json.loads(text)
    with transaction.atomic(), db.callers() as conn:
        status, pool = status_and_pool(run_id)
        if status in FINAL and key is None:
            raise _ended(run_id, status)
        sent = store.send_update(
            conn,
            run=run_id,
            name=name,
            payload=text,
            key=key,
            by=actor.label[:MAX_NAME],
            check=lambda detail: schemas.check(value, detail, "payload"),
        )
        if not sent.same:
            raise IdempotencyConflict(
                f"Key {key!r} was used for another update {name!r} of run {run_id}. Send the same payload again, or "
                "use a new key.",
                update=str(sent.id),
            )
        if sent.ended is not None:
            raise _ended(run_id, sent.ended)
        if sent.created:
            audit(actor, "runs.update", "run", run_id, "", before={}, after={"name": name, "update": str(sent.id)})
            transaction.on_commit(lambda: tickets.wake({*sent.pools, pool}))
    return sent.id


def update_get(run_id: uuid.UUID, update_id: uuid.UUID) -> Update:
    """An update with the status of its run. Raises UnknownUpdate."""
    found = Update.objects.select_related("run").only(*_FIELDS, "run__status").filter(pk=update_id, run_id=run_id)
    if (row := found.first()) is None:
        raise UnknownUpdate(f"Run {run_id} has no update {update_id}.")
    return row


def run_updates(run_id: uuid.UUID, *, after: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT) -> Page[Update, str]:
    """A run's updates in the order of sending."""
    found = Update.objects.filter(run_id=run_id).order_by("id")
    rows = list((found if after is None else found.filter(pk__gt=after))[: limit + 1])
    return Page(rows[:limit], str(rows[limit - 1].pk) if len(rows) > limit else None)


def latest(run_id: uuid.UUID) -> list[Update]:
    """The updates that a page of the run lists, latest first."""
    return list(Update.objects.filter(run_id=run_id).order_by("-id")[:MAX_SHOWN])


def reply_of(found: Update) -> Any:
    """What the run replied. Raises UpdateRefused, WrongState; UpdateTimeout while it has no answer."""
    if found.outcome == "replied":
        return found.reply
    told = {"update": str(found.pk), "name": found.name}
    if found.outcome == "refused":
        raise UpdateRefused(found.reason, **told)
    # A run that has just ended may leave one that its sender still held: nobody answers it, either.
    if found.outcome == "abandoned" or found.run.status in FINAL:
        status = found.run.status
        raise WrongState(f"Run {found.run_id} is {status}; it ended without an answer to this update.", **told)
    raise UpdateTimeout(
        f"Run {found.run_id} has not answered update {found.name!r} yet. It is kept: ask for {found.pk}, or send it "
        "again under the same key.",
        **told,
    )


def wait_for_reply(run_id: uuid.UUID, update_id: uuid.UUID, timeout: float | None) -> Any:
    """What the run replies, within so many seconds; None waits for ever. Raises what `reply_of` raises."""
    late: UpdateTimeout | None = None
    for _ in looks(timeout):
        try:
            return reply_of(update_get(run_id, update_id))
        except UpdateTimeout as error:
            late = error
    assert late is not None, "there is one look at least"
    raise late


def ask(run_id: uuid.UUID, name: str, payload: Any, *, timeout: float | None, key: str | None) -> Any:
    """Sends an update and waits for its reply; see `RunHandle.update`."""
    if database.in_transaction():
        raise StepMisuse(
            "handle.update() waits for a reply, and was called inside transaction.atomic(), where nobody sees the "
            "update before the block ends. Call it behind the block."
        )
    return wait_for_reply(run_id, update_send(run_id, name, payload, key=key, actor=CODE), timeout)


def published(run_id: uuid.UUID) -> Published:
    """What a run says of itself. Raises UnknownRun."""
    status, _ = status_and_pool(run_id)
    found = Progress.objects.filter(run_id=run_id).values_list("value", "words", "metadata").first()
    value, words, metadata = found or (None, "", None)
    return Published(Status(status), value, words or "", metadata)


_FIELDS: Final = [field.name for field in Update._meta.get_fields()]


def _ended(run_id: uuid.UUID, status: str) -> WrongState:
    return WrongState(f"Run {run_id} is {status}; nobody would answer an update.", status=status)
