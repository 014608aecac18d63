"""What people and programs answer to runs that wait: signals, tokens, approvals. Each is audited.

Callers check the grant first (`holdfast.access.grants.require`), or the signature of a link (`runs.waitlinks`).
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.roles import Role
from holdfast.access.services import audit
from queues import tickets
from runs import enqueue, schemas, store
from runs.errors import InvalidOption, InvalidPayload, NotAsked, UnknownRun, UnknownWait, WaitOver, WrongState
from runs.models import Run, Wait
from runs.sdk import codec
from runs.sdk.options import is_word
from runs.sdk.wait import MAX_NAME
from runs.states import FINAL

MAX_COMMENT = 2_000


def run_signal(run_id: uuid.UUID, name: str, payload: Any, *, actor: Actor) -> None:
    """Sends a signal to a run. It is kept until the run waits for it, in the order of sending.

    Raises:
        UnknownRun, WrongState: it does not exist, or has ended.
        InvalidOption: the name is no text of 1 to 200 characters.
        NotSerializable, PayloadTooLarge: the payload cannot be stored.
    """
    if not is_word(name, MAX_NAME):
        raise InvalidOption(
            f"name is {name!r:.60}; write text of 1 to {MAX_NAME} characters",
            errors=[{"field": "name", "message": f"must be text of 1 to {MAX_NAME} characters"}],
        )
    text = _stored(payload, "payload")
    with transaction.atomic(), db.callers() as conn:
        pool = _pool(run_id)
        pools = store.send_signal(conn, run=run_id, name=name, payload=text, by=actor.label[:MAX_NAME])
        audit(actor, "runs.signal", "run", run_id, "", before={}, after={"name": name})
        _wake({*pools, pool})


def wait_complete(wait_id: uuid.UUID, value: Any, *, actor: Actor) -> None:
    """Completes a token.

    Raises:
        UnknownWait, WaitOver: it does not exist, or was completed, timed out or given up before.
        InvalidPayload, PayloadTooLarge: the value does not fit what the run waits for.
    """
    found = wait_get(wait_id)
    if found.kind != "token":
        raise WrongState(f"This is a wait of kind {found.kind}; only a token is completed this way.", kind=found.kind)
    schemas.check(value, found.detail, "value")
    _answer(found, value, actor, "waits.complete", "")


def approval_decide(
    wait_id: uuid.UUID, *, approved: bool, form: Any = None, comment: str = "", actor: Actor, signed: bool = False
) -> None:
    """Approves or rejects.

    Args:
        form: what the approval's form asks for, when it is approved.
        signed: the actor came by the signed link, which is proof enough.

    Raises:
        UnknownWait, WaitOver: it does not exist, or was decided, timed out or given up before.
        NotAsked: somebody else is asked.
        InvalidPayload: the form does not fit.
    """
    found = wait_get(wait_id)
    if found.kind != "approval":
        raise WrongState(f"This is a wait of kind {found.kind}; it is nothing to approve.", kind=found.kind)
    detail = found.detail or {}
    if not signed:
        _check_asked(detail, actor)
    if not isinstance(comment, str) or len(comment) > MAX_COMMENT:
        raise InvalidPayload(
            f"comment must be text of at most {MAX_COMMENT:,} characters",
            errors=[{"field": "comment", "message": f"must be text of at most {MAX_COMMENT:,} characters"}],
        )
    if approved:
        schemas.check(form, detail, "form")
    decision = {"approved": approved, "form": form if approved else None, "by": actor.label, "comment": comment}
    _answer(found, decision, actor, "waits.approve" if approved else "waits.reject", comment)


def wait_get(wait_id: uuid.UUID) -> Wait:
    """Raises UnknownWait."""
    found = Wait.objects.filter(pk=wait_id).first()
    if found is None:
        raise UnknownWait(f"There is no wait {wait_id}.")
    return found


def _answer(found: Wait, output: Any, actor: Actor, action: str, reason: str) -> None:
    text = _stored(output, "value")
    with transaction.atomic(), db.callers() as conn:
        store.lock_waits(conn, [found.run_id])
        pools = store.answer_wait(conn, found.pk, output=text, by=actor.label[:MAX_NAME])
        if pools is None:
            raise _over(wait_get(found.pk))
        audit(actor, action, "wait", found.pk, reason, before={}, after={"run": str(found.run_id), "answer": output})
        _wake({*pools, _pool(found.run_id)})


def _over(found: Wait) -> WaitOver:
    outcome = (found.outcome or "timed_out").replace("_", " ")
    by = f" by {found.resolved_by}" if found.resolved_by else ""
    return WaitOver(f"This was {outcome}{by} already; nothing was changed.", outcome=outcome, by=found.resolved_by)


def _check_asked(detail: dict[str, Any], actor: Actor) -> None:
    assignee, group = detail.get("assignee"), detail.get("group")
    if (assignee is None and group is None) or actor.role == Role.ADMIN or (assignee and actor.label == assignee):
        return
    members = get_user_model().objects.filter(groups__name=group)
    if group is not None and actor.kind == "user" and members.filter(pk=actor.id).exists():
        return
    raise NotAsked(f"{assignee or f'The group {group}'} is asked, not {actor.label}.")


def _stored(value: Any, path: str) -> str:
    """The value as JSON text that may be stored."""
    text = codec.dump(None, value, path)
    enqueue.check_size(text, path)
    return text


def _pool(run_id: uuid.UUID) -> str:
    """The pool that executes a run. Raises UnknownRun, and WrongState when it is over."""
    row = Run.objects.filter(pk=run_id).values_list("status", "queue__pool").first()
    if row is None:
        raise UnknownRun(f"There is no run {run_id}.")
    if row[0] in FINAL:
        raise WrongState(f"Run {run_id} is {row[0]}; nobody would read an answer.", status=row[0])
    return str(row[1])


def _wake(pools: set[str]) -> None:
    transaction.on_commit(lambda: tickets.wake(pools))
