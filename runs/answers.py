"""What people and programs answer to runs that wait: signals, tokens, approvals. Each is audited.

Callers check the grant first (`holdfast.access.grants.require`), or the signature of a link (`runs.waitlinks`).
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib.auth.models import Group
from django.db import transaction

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.models import REASON_LENGTH
from holdfast.access.roles import Role
from holdfast.access.services import audit
from holdfast.words import exact
from queues import tickets
from runs import enqueue, schemas, store
from runs.errors import HoldfastError, InvalidOption, InvalidPayload, NotAsked, WaitOver, WrongState
from runs.models import Run, Wait
from runs.sdk import codec, signals
from runs.sdk.options import is_word
from runs.sdk.task import registry
from runs.sdk.wait import MAX_NAME
from runs.selectors import status_and_pool
from runs.states import FINAL
from runs.waits import wait_get

#: A comment is the reason in the audit log, too.
MAX_COMMENT: Final = REASON_LENGTH
#: Characters of why a token has failed.
MAX_FAILURE: Final = 2_000
#: Whoever came by a signed link: nobody knows who it was, and it may nothing else.
SIGNED: Final = Actor("system", "signed link", "signed link", None)


def run_signal(run_id: uuid.UUID, name: str, payload: Any, *, actor: Actor) -> None:
    """Sends a signal to a run. It is kept until the run waits for it, in the order of sending.

    Raises:
        UnknownRun, WrongState: it does not exist, or has ended.
        InvalidOption: the name is no text of 1 to 200 characters.
        UnknownSignal: the task declares its signals, and not this one.
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
        signals.check(registry.get(str(Run.objects.values_list("task_id", flat=True).get(pk=run_id))), name)
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
        raise _not_answered_so(found)
    schemas.check(value, found.detail, "value")
    _answer(found, value, actor, "waits.complete", "")


def token_fail(wait_id: uuid.UUID, message: str, *, retry: bool = True, actor: Actor) -> None:
    """Says of a token that what it stands for has failed: the run's wait raises CompletionFailed.

    Args:
        message: why, as plain text of 1 to MAX_FAILURE characters.
        retry: False when it cannot heal: Abort is raised instead.

    Raises:
        UnknownWait, WaitOver: it does not exist, or was completed, failed, timed out or given up before.
        InvalidPayload: the message does not fit.
    """
    found = wait_get(wait_id)
    if found.kind != "token":
        raise _not_answered_so(found)
    if not isinstance(message, str) or not 1 <= len(message) <= MAX_FAILURE or not _is_text(message):
        words = f"must be plain text of 1 to {MAX_FAILURE:,} characters"
        raise InvalidPayload(f"error {words}", errors=[{"field": "error", "message": words}])
    _answer(found, {"message": message, "retry": retry}, actor, "waits.fail", "", outcome="failed")


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
        raise _not_answered_so(found)
    if not signed and not is_asked(found, actor, groups_of(actor)):
        raise _refused(found, actor, NotAsked(f"{asked_words(found)} is asked, not {actor.label}."))
    if not isinstance(comment, str) or len(comment) > MAX_COMMENT or not _is_text(comment):
        message = f"must be plain text of at most {MAX_COMMENT:,} characters"
        raise InvalidPayload(f"comment {message}", errors=[{"field": "comment", "message": message}])
    if approved:
        _stored(form, "form")  # before the schema walks through it
        schemas.check(form, found.detail, "form")
    decision = {"approved": approved, "form": form if approved else None, "by": actor.label, "comment": comment}
    _answer(found, decision, actor, "waits.approve" if approved else "waits.reject", comment)


def groups_of(actor: Actor) -> frozenset[str]:
    """The names of the groups that a person belongs to. One query; `is_asked` takes it for many waits."""
    if actor.kind != "user":
        return frozenset()
    return frozenset(Group.objects.filter(user__pk=actor.id).values_list("name", flat=True))


def is_asked(found: Wait, actor: Actor, groups: frozenset[str]) -> bool:
    """Whether this actor may answer: everybody, unless somebody is asked by name or group. Admins may always."""
    detail = found.detail or {}
    assignee, group = detail.get("assignee"), detail.get("group")
    if assignee is None and group is None:
        return True
    return actor.role == Role.ADMIN or actor.label == assignee or group in groups


def may_pass_on(found: Wait, actor: Actor, groups: frozenset[str]) -> bool:
    """Whether this actor is shown the signed link: it answers for whoever has it, so only who may answer gets it."""
    is_open = found.resolved_at is None and found.kind in ("token", "approval")
    return is_open and "runs.answer" in actor.grants and is_asked(found, actor, groups)


def asked_words(found: Wait) -> str:
    """Who is asked, in words; nothing when everybody is."""
    detail = found.detail or {}
    assignee, group = detail.get("assignee"), detail.get("group")
    return " or ".join([*([str(assignee)] if assignee else []), *([f"the group {group}"] if group else [])])


def _answer(found: Wait, output: Any, actor: Actor, action: str, reason: str, *, outcome: str = "completed") -> None:
    text = _stored(output, "value")
    with transaction.atomic(), db.callers() as conn:
        store.lock_waits(conn, [found.run_id])
        pools = store.answer_wait(conn, found.pk, output=text, by=actor.label[:MAX_NAME], outcome=outcome)
        if pools is not None:
            after = {"run": str(found.run_id), "answer": output}
            audit(actor, action, "wait", found.pk, reason, before={}, after=after)
            _wake({*pools, _pool(found.run_id)})
    if pools is None:
        raise _refused(found, actor, _over(wait_get(found.pk)))


def _refused(found: Wait, actor: Actor, error: HoldfastError) -> HoldfastError:
    """The error, audited when somebody is known who was refused."""
    if actor.kind != "system":
        with transaction.atomic():
            after = {"run": str(found.run_id), "why": error.code}
            audit(actor, "waits.refuse", "wait", found.pk, "", before={}, after=after)
    return error


def _not_answered_so(found: Wait) -> WrongState:
    ways = {
        "token": "complete it with a value, or fail it",
        "approval": "approve or reject it",
        "signal": f"send its run, {found.run_id}, the signal {found.name}",
    }
    way = ways.get(found.kind, "it ends by itself")
    return WrongState(f"This is a wait of kind {found.kind}: {way}.", kind=found.kind)


def _over(found: Wait) -> WaitOver:
    by = f" by {found.resolved_by}" if found.resolved_by else ""
    outcome = outcome_words(found)
    at = f" ({exact(found.resolved_at)})" if found.resolved_at else ""
    return WaitOver(f"This was {outcome}{by} already{at}; nothing was changed.", outcome=outcome, by=found.resolved_by)


def outcome_words(found: Wait) -> str:
    """What became of a wait that is over: completed, approved, rejected, timed out, cancelled."""
    if found.kind == "approval" and found.outcome == "completed":
        return "approved" if (found.output or {}).get("approved") else "rejected"
    return (found.outcome or "timed_out").replace("_", " ")


def _is_text(text: str) -> bool:
    return all(c.isprintable() or c in "\n\r\t" for c in text)


def _stored(value: Any, path: str) -> str:
    """The value as JSON text that may be stored."""
    text = codec.dump(None, value, path)
    enqueue.check_size(text, path)
    return text


def _pool(run_id: uuid.UUID) -> str:
    """The pool that executes a run. Raises UnknownRun, and WrongState when it is over."""
    status, pool = status_and_pool(run_id)
    if status in FINAL:
        raise WrongState(f"Run {run_id} is {status}; nobody would read an answer.", status=status)
    return pool


def _wake(pools: set[str]) -> None:
    transaction.on_commit(lambda: tickets.wake(pools))
