"""Arguments and fields as JSON for people to look at: nothing that cannot be shown is a reason to fail a run."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic_core import to_json

from runs import jsonvalue
from runs.engine import failure
from runs.sdk import codec
from runs.sdk.step import Step

MAX_LOG_FIELDS: Final = 65_536
MAX_STEP_INPUT: Final = 65_536


def arguments(step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments for people to look at: whatever JSON cannot hold is shown as text, and long ones are cut."""
    try:
        named = step.bind(args, kwargs)
        text = to_json(named, fallback=repr, inf_nan_mode="strings").decode("utf-8", "replace")
    except Exception as error:  # that they cannot be shown is no reason to fail a step
        text = json.dumps({"unshown": failure.clean(failure.brief(error), 300)})
    if len(text) > MAX_STEP_INPUT or not jsonvalue.looks_storable(text):
        text = json.dumps({"cut": failure.clean(text.replace("\\u0000", "\ufffd"), MAX_STEP_INPUT)})
    return text


def log_fields(fields: dict[str, Any]) -> str:
    """The fields of a log line as JSON. A log line is never the reason why a run fails: odd ones are said in words."""
    try:
        text = codec.dump(None, fields, "fields")
    except Exception:
        text = json.dumps({failure.clean(str(name), 200): _words(value) for name, value in fields.items()})
    if len(text) > MAX_LOG_FIELDS:
        text = json.dumps({"cut": failure.clean(text.replace("\\u0000", "\ufffd"), MAX_LOG_FIELDS)})
    return text


def _words(value: Any) -> str:
    try:
        return failure.clean(repr(value), 1_000)
    except Exception as error:
        return f"(cannot be shown: {type(error).__name__})"
