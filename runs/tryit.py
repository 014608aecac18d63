"""*Try it*: a task's JSON Schema as a form, and what is posted from it as a run."""

from __future__ import annotations

import json
import shlex
import uuid
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from holdfast.access.grants import Actor
from holdfast.redaction import redacted
from runs import schema_form, services
from runs.errors import HoldfastError
from runs.forms import OptionsForm, ReasonForm
from runs.models import Run, Task
from runs.schema_form import Field

OPTIONS: Final = "options"


@dataclass(frozen=True, slots=True)
class Equivalents:
    """The same start, without a browser."""

    python: str
    command: str
    http: str


@dataclass(slots=True)
class Try:
    """A form as it is shown: fresh, or refused with its errors at their fields. `run_id` says that it was taken."""

    payload: Field
    options: OptionsForm
    refusal: str = ""
    run_id: uuid.UUID | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the page that shows it."""
        return 422 if self.refusal or self.payload.errors or self.options.errors else 200

    @property
    def options_open(self) -> bool:
        return bool(self.options.errors)


def fresh(task: Task, replay_of: Run | None = None) -> Try:
    """An empty form with the task's defaults, or one that is filled in with what another run had."""
    if replay_of is None:
        return Try(schema_form.build(task.payload_schema, schema_form.MISSING), OptionsForm())
    kept = services.kept_options(replay_of)
    options = OptionsForm(initial={**kept, "tags": ", ".join(kept["tags"])})
    return Try(schema_form.build(task.payload_schema, redacted(replay_of.payload)), options)


def submit(task: Task, posted: QueryDict, actor: Actor, *, replay_of: uuid.UUID | None = None) -> Try:
    """Starts a run with what was posted, or says at which field it was refused and why.

    Args:
        replay_of: the run that it replays; options that were left empty are as that run had them.
    """
    value = schema_form.read(task.payload_schema, posted)
    options, why = OptionsForm(posted), ReasonForm(posted)
    unread = schema_form.unread(value)
    if not why.is_valid():
        return Try(schema_form.build(task.payload_schema, value, unread), options, f"Reason: {why.errors['reason'][0]}")
    if unread or not options.is_valid():
        return Try(schema_form.build(task.payload_schema, value, unread), options, "Nothing was started.")
    try:
        if replay_of is None:
            run_id, _ = services.task_enqueue(task.id, value, options.chosen(), actor=actor)
        else:
            asked = {"payload": value, "options": options.chosen(), "reason": why.cleaned_data["reason"]}
            run_id = services.run_replay(replay_of, actor=actor, **asked)
    except HoldfastError as error:
        return _refused(task, value, options, error)
    return Try(schema_form.build(task.payload_schema, value), options, run_id=run_id)


def _refused(task: Task, value: Any, options: OptionsForm, error: HoldfastError) -> Try:
    faults: list[dict[str, str]] = list(error.data.get("errors") or ())
    for fault in faults:
        place, _, name = fault["field"].partition(".")
        if place == OPTIONS:
            options.add_error(name if name in options.fields else None, fault["message"])
    payload = [fault for fault in faults if fault["field"].partition(".")[0] != OPTIONS]
    words = "Nothing was started." if faults else str(error)
    return Try(schema_form.build(task.payload_schema, value, payload), options, words)


def equivalents(task: Task, base_url: str) -> Equivalents:
    """The commands that do what the form does, with an example payload."""
    payload = example(task.payload_schema)
    text = json.dumps(payload, ensure_ascii=False)
    body = json.dumps({"payload": payload}, ensure_ascii=False)
    arguments = ", ".join(f"{name}={value!r}" for name, value in payload.items())
    python = f"run = task.enqueue({arguments})\nrun.result(timeout=60)"
    if task.payload_schema.get("x-django-tasks"):  # its arguments are given as the function takes them
        python = "result = task.enqueue(…)\nresult.refresh()"
    return Equivalents(
        python=f"# `task` is the decorated function of {task.module}\n{python}",
        command=f"manage.py enqueue {task.id} {shlex.quote(text)}",
        http=f"curl {base_url}/api/v1/tasks/{task.id}/runs \\\n  -H 'Authorization: Bearer hf_…' "
        f"\\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}",
    )


def example(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields that are needed, each with its example, its default, or a value of its type."""
    empty: dict[str, Any] = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    found = {}
    for name, part in schema.get("properties", {}).items():
        if name in schema.get("required", ()):
            example = next(iter(part.get("examples", ())), part.get("default"))
            found[name] = example if example is not None else empty.get(str(part.get("type")), "…")
    return found
