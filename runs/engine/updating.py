"""Replies to updates. A reply and the fact of the history that it was given are one row for the writer, so that a
worker may die at any moment: on re-entry the run's code gives the reply that is missing, and none that is there."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from runs import store
from runs.engine import database
from runs.engine.history import REPLY
from runs.errors import InvalidPayload, StepMisuse
from runs.models import SnapshotKind

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun
    from runs.sdk.wait import WaitSpec


def answer(run: ActiveRun, update: uuid.UUID, wait: str, outcome: str, text: str) -> Future[None] | None:
    """See `RunContext.answer_update`. What an earlier stay has answered stands, whatever the code says now."""
    key = REPLY + wait
    if run.recall(key) is not None:
        return None
    if not run.is_async and database.in_transaction():
        raise StepMisuse(
            "An update was answered inside transaction.atomic(). The answer lasts even if the block is rolled back: "
            "end the block first, then answer."
        )
    run.boundary()
    replied = outcome == "replied"
    brought = {"outcome": outcome, "value": json.loads(text) if replied else text}
    now, name = run.now(), wait.partition(":")[2].rpartition("#")[0]
    snapshot = store.SnapshotRow(
        run.id,
        run.next_sequence(),
        SnapshotKind.WAIT,
        name,
        key,
        run.attempt,
        None,
        json.dumps(brought),
        None,
        None,
        now,
        now,
    )
    ack: Future[None] = Future()
    row = store.ReplyRow(run.id, update, outcome, text if replied else None, "" if replied else text, snapshot)
    run.put(row, ack)
    return ack


def refuse_unfit(run: ActiveRun, spec: WaitSpec, fact: store.WaitFact) -> Future[None] | None:
    """Refuses an update that does not fit what the wait asks for; the run does not see it. None: it fits."""
    brought: dict[str, Any] = json.loads(fact.output or "{}")
    try:
        spec.decode(brought)
    except InvalidPayload as error:
        ack: Future[None] = Future()
        fault = error.data["errors"][0]
        reason = f"{fault['field'].replace('value', 'payload', 1)}: {fault['message']}"
        update = uuid.UUID(brought["update"])
        run.put(store.ReplyRow(run.id, update, "refused", None, reason, None, fact.id), ack)
        return ack
    return None
