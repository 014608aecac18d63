"""Values from outside against the JSON Schema of what a run waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from pydantic import AnyUrl, TypeAdapter

from runs.errors import InvalidPayload

#: Problems that are told.
MOST: Final = 20

#: Formats as the run itself will read them: what passes here must not fail there.
_FORMATS: Final[dict[str, Any]] = {
    "date": date,
    "date-time": datetime,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "uri": AnyUrl,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
}
_CHECKER: Final = FormatChecker(formats=())


def _reads(kind: Any) -> Callable[[object], bool]:
    adapter = TypeAdapter(kind)

    def check(value: object) -> bool:
        if isinstance(value, str):  # others are refused by their type
            adapter.validate_python(value)
        return True

    return check


for _name, _kind in _FORMATS.items():
    _CHECKER.checks(_name, raises=ValueError)(_reads(_kind))


def check(value: Any, detail: dict[str, Any] | None, path: str) -> None:
    """Raises InvalidPayload, with each field that does not fit, unless the value fits `detail["schema"]` (if any)."""
    schema = (detail or {}).get("schema")
    if schema is None:
        return
    problems: list[dict[str, str]] = []
    for error in Draft202012Validator(schema, format_checker=_CHECKER).iter_errors(value):
        problems += _problems(error, path)
        if len(problems) >= MOST:
            break
    if problems:
        raise InvalidPayload(f"{problems[0]['field']}: {problems[0]['message']}", errors=problems[:MOST])


def _problems(error: ValidationError, path: str) -> list[dict[str, str]]:
    field = path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        # One error for each missing name; it names itself only in its words.
        needed: Any = error.validator_value
        name = next((n for n in needed if error.message.startswith(repr(n))), None)
        if name is not None:
            return [{"field": f"{field}.{name}", "message": "is missing"}]
    if error.validator == "type" and error.instance is None and not error.absolute_path:
        return [{"field": field, "message": f"is missing; it must be {error.validator_value}"}]
    return [{"field": field, "message": error.message[:300]}]
