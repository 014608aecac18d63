"""Python values ⇄ JSON text, by type annotation. What goes out is known to fit into PostgreSQL's jsonb."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from runs import jsonvalue
from runs.errors import DeclarationError, HoldfastError, InvalidResult, NotSerializable

_CONFIG = ConfigDict(ser_json_inf_nan="constants", arbitrary_types_allowed=False)


def adapter_for(annotation: Any, where: str) -> TypeAdapter[Any]:
    """The validator and serialiser of a type. `where` names the place for the error's message."""
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise DeclarationError(
            f"{where} has a type that cannot be stored as JSON ({annotation!r}). Use built-in types, dataclasses, "
            f"TypedDicts or Pydantic models. ({str(error).splitlines()[0]})"
        ) from error


def hints_of(function: Any) -> dict[str, Any]:
    """The function's annotations, resolved; names that do not resolve are named in the error."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{function.__module__}.{function.__qualname__}: the annotation {error.name!r} cannot be resolved. "
            "Import it at module level (not under TYPE_CHECKING), because Holdfast validates values against it."
        ) from error


_FALLBACK: TypeAdapter[Any] = TypeAdapter(Any)

#: Bytes of JSON that a result, a step's result or a state may have: more stops the whole worker while it is written.
MAX_STORED = 16 * 1024 * 1024


def dump(adapter: TypeAdapter[Any] | None, value: Any, path: str, limit: int | None = None) -> str:
    """JSON text of a value, of `limit` bytes at most.

    Raises:
        NotSerializable: `data["path"]` and the message say which part of the value it was.
    """
    if value is None:
        return "null"
    try:
        data = (adapter or _FALLBACK).dump_json(value, warnings=False, by_alias=True)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise _culprit(adapter, value, path, error) from error
    if limit is not None and len(data) > limit:
        raise NotSerializable(
            f"{path} is {len(data):,} bytes as JSON; the limit is {limit:,}. Store the data elsewhere and return a "
            "reference to it.",
            path=path,
            errors=[{"field": path, "message": f"is {len(data):,} bytes; the limit is {limit:,}"}],
        )
    text = data.decode()
    # What jsonb would refuse is rare, and can hide only behind these marks.
    if "\\u0000" in text or "null" in text or "NaN" in text or "Infinity" in text or len(text) > jsonvalue.MAX_DIGITS:
        _check_text(adapter, value, text, path)
    return text


def dump_result(adapter: TypeAdapter[Any], value: Any, path: str) -> str:
    """JSON text of what a task or step returned, which its annotation can read again: when the run is entered the next
    time, that is what it gets.

    Raises:
        NotSerializable: it cannot be stored.
        InvalidResult: it is something else than the annotation says.
    """
    text = dump(adapter, value, path, MAX_STORED)
    if text != "null" and adapter.core_schema["type"] != "any":
        try:
            adapter.validate_json(text)
        except ValidationError as error:
            raise unfit_result(error, path) from None
    return text


#: Core schemas whose values, once they are validated, JSON holds as they are.
_LEAVES = frozenset({"none", "bool", "int", "float", "str"})
_ANY = {"type": "any"}
#: What makes of a type's JSON something else than its values.
_DIFFERS = ("serialization", "validation_alias", "serialization_alias", "computed_fields", "extras_schema")


def is_plain(adapter: TypeAdapter[Any]) -> bool:
    """Whether the JSON of a valid value of this type is certain to be valid as well: it is made of text, numbers,
    booleans, lists and objects alone, so that `unreadable` need not be asked."""
    try:
        return _is_plain(adapter.core_schema)
    except (PydanticUserError, AttributeError, RecursionError):
        return False  # not built yet, or of a kind that we do not know


def _is_plain(schema: Any) -> bool:
    kind = schema["type"]
    if kind == "any":
        return True
    if any(schema.get(name) for name in _DIFFERS):
        return False
    if kind == "typed-dict":
        return all(_is_plain(field) for field in schema["fields"].values())
    if kind in ("nullable", "typed-dict-field"):
        return _is_plain(schema["schema"])
    if kind == "list":
        return _is_plain(schema.get("items_schema", _ANY))
    if kind == "dict":
        keys = schema.get("keys_schema", _ANY)["type"]
        return keys in ("any", "str") and _is_plain(schema.get("values_schema", _ANY))
    return kind in _LEAVES


def unreadable(adapter: TypeAdapter[Any], text: str) -> ValidationError | None:
    """Why JSON that was made of a valid value cannot be read again by the very type: a model that writes a
    computed_field and forbids what it does not know, say."""
    if text != "null":
        try:
            adapter.validate_json(text)
        except ValidationError as error:
            return error
    return None


def unreadable_result(error: ValidationError, path: str) -> InvalidResult:
    """Says which part of a result's JSON its annotation does not read again."""
    faults = field_errors(error, path)
    field, message = faults[0]["field"], faults[0]["message"]
    return InvalidResult(
        f"{path} fits its annotation, but its JSON cannot be read again: {field}: {message}. Make the type read "
        "what it writes.",
        path=field,
        errors=faults,
    )


def unfit_result(error: ValidationError, path: str) -> InvalidResult:
    """Says which part of a result is not what its annotation says."""
    faults = field_errors(error, path)
    field, message = faults[0]["field"], faults[0]["message"]
    return InvalidResult(
        f"{field} is not what the annotation says: {message}. Return that, or change the annotation.",
        path=field,
        errors=faults,
    )


def _check_text(adapter: TypeAdapter[Any] | None, value: Any, text: str, path: str) -> None:
    try:
        plain = (adapter or _FALLBACK).dump_python(value, mode="python", warnings=False)
        if odd := jsonvalue.odd_number(plain, path):
            field, fault = odd
            raise NotSerializable(f"{field} {fault}.", path=field, errors=[{"field": field, "message": fault}])
        jsonvalue.check(json.loads(text), path, NotSerializable)
    except (ValueError, RecursionError) as error:
        raise NotSerializable(f"{path} cannot be stored as JSON: {error}", path=path) from error


def _culprit(adapter: TypeAdapter[Any] | None, value: Any, path: str, error: Exception) -> HoldfastError:
    """Which part of `value` cannot be stored."""
    try:
        jsonvalue.check(value, path, NotSerializable)
    except HoldfastError as found:
        found.data.setdefault("path", (found.data.get("errors") or [{"field": path}])[0]["field"])
        return found
    return NotSerializable(f"{path} cannot be stored as JSON: {error}", path=path)


def field_errors(error: ValidationError, path: str) -> list[dict[str, str]]:
    """Pydantic's errors as {field, message}, the field spelled like `payload.items[3].name`."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = path
        for part in item["loc"]:
            field += f"[{part}]" if isinstance(part, int) else f".{part}"
        found.append({"field": field, "message": item["msg"]})
    return found
