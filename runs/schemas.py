"""Values from outside against the JSON Schema of what a run waits for."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from runs.errors import InvalidPayload

#: Problems that are told.
MOST = 20


def check(value: Any, detail: dict[str, Any] | None, path: str) -> None:
    """Raises InvalidPayload, with each field that does not fit, unless the value fits `detail["schema"]` (if any)."""
    schema = (detail or {}).get("schema")
    if schema is None:
        return
    problems = []
    for error in Draft202012Validator(schema).iter_errors(value):
        field = path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        problems.append({"field": field, "message": error.message[:300]})
        if len(problems) == MOST:
            break
    if problems:
        raise InvalidPayload(f"{problems[0]['field']}: {problems[0]['message']}", errors=problems)
