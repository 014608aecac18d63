"""Strict JSON: what may come in over HTTP, and what may be stored.

PostgreSQL's jsonb refuses NUL and lone surrogates, JSON has no NaN, and a value that is nested without bound brings
down whoever walks it next. All of that is refused here, at the door, with the place in the value named.

The common case, a good value, costs three passes in C (encode, decode, compare); only a value that fails there, or
that holds tuples, is walked in Python to name the culprit.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from runs.errors import HoldfastError, InvalidPayload

#: Levels of lists and objects inside each other: as many as pydantic_core's reader safely gives us.
MAX_DEPTH = 200
#: Decimal digits of an integer. Python itself refuses to print or read more than 4,300.
MAX_DIGITS = 4_000
#: How many faults of one value are reported at once.
MAX_ERRORS = 10

_TOO_BIG = 10**MAX_DIGITS
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KEY_SHOWN = 60
_PARTS_SHOWN = 10

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class InvalidJson(InvalidPayload):
    """This is not JSON."""

    status, code = 400, "invalid_json"


class _LongInteger:
    """Stands for an integer in a body that has too many digits to be read."""


_Path = tuple["_Path", str | int] | str


def parse(data: bytes) -> Any:
    """Reads one JSON value from `data`.

    Raises:
        InvalidJson: `data` is not JSON in UTF-8; the message has line and column.
        InvalidPayload: it is, but holds what cannot be stored; `data["errors"]` lists {field, message}.
    """
    try:
        value = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise _explain(data, str(error)) from None
    check(value, "")  # 1e999 is read as infinity, and NUL is a character like any other to the reader
    return value


def check(value: Any, path: str = "payload", error: type[HoldfastError] = InvalidPayload) -> None:
    """Refuses a value that cannot be stored as JSON and read back the same. `path` is what the value itself is called.

    Raises:
        error: with `data["errors"]`, a list of {field, message}.
    """
    encode(value, path, error)


def encode(value: Any, path: str = "payload", error: type[HoldfastError] = InvalidPayload) -> str:
    """The JSON text of `value`, which passes `check`. Tuples become lists.

    Raises:
        error: with `data["errors"]`, a list of {field, message}.
    """
    try:
        text = _encode(value)
        # What comes back equal had text for keys, no lone surrogate and at most MAX_DEPTH levels. The list around it is
        # there because the reader stops only at the 202nd level.
        if looks_storable(text) and from_json(f"[{text}]".encode())[0] == value:
            return text
    except (ValueError, TypeError, RecursionError):
        text = ""  # the walk below says which value it was
    if faults := list(_faults(value, path)):
        raise _refusal(faults, error)
    return text or _encode(value)


def looks_storable(text: str) -> bool:
    """False when JSON text holds what PostgreSQL would refuse, or an integer that Python would not read back."""
    return "\\u0000" not in text and (len(text) <= MAX_DIGITS or not _LONG_NUMBER.search(text))


def _explain(data: bytes, reason: str) -> HoldfastError:
    """Why `data` was not read: the field where that can be told, otherwise the line and column."""
    if "recursion limit" in reason:
        return _refusal([("", _too_deep())], InvalidPayload)
    try:
        lenient = json.loads(data, parse_int=_read_integer)
    except UnicodeDecodeError as error:
        return InvalidJson(
            f"This is not UTF-8: byte {error.start + 1} cannot be read. Write JSON encoded as UTF-8.",
            errors=[{"field": "", "message": "is not UTF-8"}],
        )
    except RecursionError:
        return _refusal([("", _too_deep())], InvalidPayload)
    except ValueError:
        lenient = None
    if faults := list(_faults(lenient, "")):
        return _refusal(faults, InvalidPayload)
    return InvalidJson(
        f"This is not JSON: {reason}. Check it with a JSON validator.",
        errors=[{"field": "", "message": f"is not JSON: {reason}"}],
    )


def _read_integer(digits: str) -> int | _LongInteger:
    return int(digits) if len(digits) <= MAX_DIGITS else _LongInteger()


def _refusal(faults: list[tuple[str, str]], error: type[HoldfastError]) -> HoldfastError:
    errors = [{"field": field, "message": message} for field, message in faults]
    field, message = faults[0]
    more = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
    return error(f"{field or 'The value'} {message}{more}.", errors=errors)


def _faults(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Where and why `value` cannot be stored, in reading order, at most MAX_ERRORS. Never recurses."""
    found = 0
    todo: list[tuple[Any, _Path, int]] = [(value, name, 0)]
    while todo and found < MAX_ERRORS:
        item, path, depth = todo.pop()
        if isinstance(item, dict | list | tuple) and depth >= MAX_DEPTH:
            yield _spell(path), _too_deep()
            return
        if isinstance(item, dict):
            for key in item:
                if message := _key_fault(key):
                    yield _spell((path, str(key) if isinstance(key, str) else f"{key!r:.60}")), message
                    found += 1
            todo.extend(
                (child, (path, key), depth + 1) for key, child in reversed(item.items()) if isinstance(key, str)
            )
        elif isinstance(item, list | tuple):
            todo.extend((child, (path, index), depth + 1) for index, child in reversed(list(enumerate(item))))
        elif message := _leaf_fault(item):
            yield _spell(path), message
            found += 1


def odd_number(value: Any, name: str) -> tuple[str, str] | None:
    """Where a number stands that JSON or jsonb lacks, and what is wrong with it. Other leaves may be of any type, as
    Python values are before they are JSON."""
    todo: list[tuple[Any, _Path]] = [(value, name)]
    while todo:
        item, path = todo.pop()
        if isinstance(item, float | int):
            if message := _leaf_fault(item):
                return _spell(path), message
        elif isinstance(item, dict):
            todo.extend((child, (path, key if isinstance(key, str) else str(key))) for key, child in item.items())
        elif isinstance(item, list | tuple | set | frozenset):
            todo.extend((child, (path, index)) for index, child in enumerate(item))
    return None


def _leaf_fault(item: Any) -> str | None:
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return _text_fault(item)
    if isinstance(item, _LongInteger) or (isinstance(item, int) and not -_TOO_BIG < item < _TOO_BIG):
        return f"is an integer of more than {MAX_DIGITS:,} digits; send it as text"
    if isinstance(item, int):
        return None
    if isinstance(item, float):
        return None if math.isfinite(item) else "is not a finite number (NaN or infinity), which JSON lacks; send null"
    return (
        f"is of type {type(item).__name__}, which JSON cannot hold; use text, numbers, booleans, null, lists or objects"
    )


def _key_fault(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"has a key of type {type(key).__name__}; the keys of an object are text"
    return _text_fault(key)


def _text_fault(text: str) -> str | None:
    if (at := text.find("\x00")) >= 0:
        return f"has a NUL character (\\u0000) at position {at}, which cannot be stored; remove it"
    if match := _SURROGATE.search(text):
        return f"has half a surrogate pair (\\u{ord(match[0]):04x}) at position {match.start()}; send whole characters"
    return None


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep, or contains itself; flatten it"


def _spell(path: _Path) -> str:
    """`payload.a[3].b`; a key that is no plain word is quoted."""
    parts: list[str] = []
    while not isinstance(path, str):
        path, key = path
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _PLAIN_KEY.fullmatch(key) and len(key) <= _KEY_SHOWN:
            parts.append(f".{key}")
        else:
            parts.append(f'["{json.dumps(key[:_KEY_SHOWN])[1:-1]}{"…" * (len(key) > _KEY_SHOWN)}"]')
    parts.reverse()
    if len(parts) > 2 * _PARTS_SHOWN:
        parts[_PARTS_SHOWN:-_PARTS_SHOWN] = ["…"]
    return (path + "".join(parts)).removeprefix(".")
