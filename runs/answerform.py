"""A wait's answer as a form: what a token's or an approval's JSON Schema asks for, and what is posted from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from holdfast.access.errors import AccessError, InvalidInput
from holdfast.access.grants import Actor
from runs import answers, schema_form
from runs.errors import HoldfastError, InvalidPayload
from runs.models import Wait
from runs.schema_form import Field

_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(slots=True)
class AnswerForm:
    """A form as it is shown: fresh, or refused with its errors at their fields. `done` says that it was taken."""

    fields: Field
    comment: str = ""
    comment_errors: list[str] = field(default_factory=list)
    refusal: str = ""
    status: int = 200
    done: bool = False


def fresh(wait: Wait) -> AnswerForm:
    """The empty form, with the schema's defaults."""
    return AnswerForm(schema_form.build(_schema(wait)[0]))


def submit(wait: Wait, posted: QueryDict, *, actor: Actor, signed: bool = False) -> AnswerForm:
    """Answers the wait with what was posted, or says at which field it was refused and why."""
    schema, inside = _schema(wait)
    comment, decision = posted.get("comment", ""), posted.get("decision", "")
    value = schema_form.read(schema, posted)
    made = AnswerForm(schema_form.build(schema, value), comment)
    try:
        if wait.kind != "approval":
            answers.wait_complete(wait.pk, _read(schema, value, inside), actor=actor)
        elif decision == "approve":
            form = _read(schema, value, inside) if (wait.detail or {}).get("schema") else None
            answers.approval_decide(wait.pk, approved=True, form=form, comment=comment, actor=actor, signed=signed)
        elif decision == "reject":
            answers.approval_decide(wait.pk, approved=False, comment=comment, actor=actor, signed=signed)
        else:
            raise InvalidPayload("Choose Approve or Reject.")
    except (HoldfastError, AccessError) as error:
        return _refused(made, schema, value, inside, error)
    made.done = True
    return made


def _schema(wait: Wait) -> tuple[dict[str, Any], str]:
    """The schema of the form, always an object, and the name in it under which the answer stands ("": it is the whole
    object, an approval's form)."""
    schema: dict[str, Any] = (wait.detail or {}).get("schema") or {}
    if wait.kind == "approval" and not schema:
        return _NOTHING, ""
    if wait.kind == "approval" and schema_form.build(schema).kind == "object":
        return schema, ""
    name = "form" if wait.kind == "approval" else "value"
    inner = {key: part for key, part in schema.items() if key != "$defs"}
    wrapped = {"type": "object", "properties": {name: inner}, "required": [name]}
    return {**wrapped, "$defs": schema.get("$defs", {})}, name


def _read(schema: Mapping[str, Any], value: Any, inside: str) -> Any:
    if unread := schema_form.unread(value):
        raise InvalidPayload(unread[0]["message"], errors=unread)
    if not inside:
        return value
    if inside not in value:
        message = "is missing; write null for nothing" if not schema["properties"][inside] else "is missing"
        raise InvalidPayload(message, errors=[{"field": inside, "message": message}])
    return value[inside]


def _refused(
    made: AnswerForm, schema: dict[str, Any], value: Any, inside: str, error: HoldfastError | AccessError
) -> AnswerForm:
    made.status = error.status if isinstance(error, HoldfastError) else 422
    made.refusal = "Nothing was decided."
    if isinstance(error, InvalidInput):  # the comment is the reason of the audit log
        made.comment_errors.append(error.problem)
        return made
    faults = list(error.data.get("errors") or ()) if isinstance(error, HoldfastError) else []
    made.comment_errors += [f["message"] for f in faults if f["field"] == "comment"]
    rest = [_place(fault, inside) for fault in faults if fault["field"] != "comment"]
    made.fields = schema_form.build(schema, value, rest)
    if not faults:
        made.refusal = str(error)
    return made


def _place(fault: Mapping[str, str], inside: str) -> dict[str, str]:
    """An error of the answer at its field of the form."""
    place = fault["field"]
    return {**fault, "field": place if inside else place.removeprefix("form").removeprefix(".")}
