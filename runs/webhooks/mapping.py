"""Filters and mappings in JMESPath: a query language with a specification, without loops, state or access to Python.

An expression sees {"body", "headers", "query"}; names that are none of these are looked for in the body, so that
`action == 'opened'` says what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from runs.errors import InvalidOption, InvalidPayload

MAX_LENGTH: Final = 4_000
#: What an expression may call.
FUNCTIONS: Final = frozenset(Functions.FUNCTION_TABLE)
#: Names of headers that hold credentials; no expression sees them, and none is stored.
_CREDENTIALS: Final = ("authorization", "cookie", "proxy-authorization", "signature", "secret", "token", "api-key")
MAX_HEADERS: Final = 60
MAX_VALUE: Final = 1_000


def check(field: str, expression: str) -> None:
    """Raises InvalidOption, at the field, for an expression that cannot be read."""
    if len(expression) > MAX_LENGTH:
        raise _fault(field, f"has {len(expression):,} characters; at most {MAX_LENGTH:,} are read")
    if not expression.replace("\n", " ").replace("\t", " ").isprintable():
        raise _fault(field, "has control characters; remove them")
    try:
        found: Any = jmespath.compile(expression).parsed if expression.strip() else None
    except (JMESPathError, RecursionError, ValueError) as error:
        lines = str(error).splitlines() or ["is nested too deep"]
        raise _fault(field, f"is no JMESPath expression: {lines[0][:200]}") from None
    for name in _called(found):
        if name not in FUNCTIONS:
            near = get_close_matches(name, FUNCTIONS, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(sorted(FUNCTIONS))}."
            raise _fault(field, f"calls {name!r:.60}, which is no function of JMESPath. {hint}")


def _called(node: Any) -> Iterator[str]:
    """The names of the functions that a parsed expression calls."""
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield str(node["value"])
        for child in node.get("children", ()):
            yield from _called(child)


def context(body: Any, headers: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """What expressions see: the body's own names, and above them `body`, `headers` and `query`."""
    own = body if isinstance(body, dict) else {}
    return {**own, "body": body, "headers": dict(headers), "query": dict(query)}


def public(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be seen and stored: lower-cased, without credentials, bounded, storable."""
    shown = ((str(n).lower(), str(v)) for n, v in headers.items())
    kept = [(n, v) for n, v in shown if not any(word in n for word in _CREDENTIALS)]
    return {_clean(n[:100]): _clean(v[:MAX_VALUE]) for n, v in kept[:MAX_HEADERS]}


def passes(expression: str, seen: dict[str, Any]) -> bool:
    """What the filter says; an empty one lets all pass. JMESPath takes false, null, "", [] and {} for false."""
    if not expression.strip():
        return True
    found = _search("filter", expression, seen)
    return found is True or (found is not None and found is not False and found not in ("", [], {}))


def payload(expression: str, seen: dict[str, Any]) -> Any:
    """The payload that the mapping makes; without a mapping, the body is it."""
    return _search("mapping", expression, seen) if expression.strip() else seen["body"]


def _search(field: str, expression: str, seen: dict[str, Any]) -> Any:
    try:
        return jmespath.search(expression, seen)
    except (JMESPathError, RecursionError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        message = f"fails on this body: {lines[0][:300]}"
        raise InvalidPayload(f"{field} {message}.", errors=[{"field": field, "message": _clean(message)}]) from None


def _clean(text: str) -> str:
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def _fault(field: str, message: str) -> InvalidOption:
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])
