"""How functions are executed: `OPTIONS` of the backend, which the package leaves to each backend.

"OPTIONS": {"retry": {"max_attempts": 3}, "functions": {"shop.tasks.charge": {"max_duration": 60}}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from runs.errors import DeclarationError
from runs.sdk.retry import NO_RETRY, Retry
from runs.sdk.step import seconds

_DURATIONS: Final = ("max_duration", "run_timeout", "ttl")
_KEYS: Final = ("retry", *_DURATIONS)
#: What a retry policy may be given in settings. Exception types need `Retry(...)` itself.
_RETRY: Final = ("max_attempts", "factor", "min_delay", "max_delay", "jitter")


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a function is executed, as `@task` of `runs` takes it; durations in seconds."""

    retry: Retry = NO_RETRY
    max_duration: float | None = None
    run_timeout: float | None = None
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Conducts:
    """Those of a backend: the common one, and those of functions that have one of their own."""

    common: Conduct = Conduct()
    functions: Mapping[str, Conduct] = field(default_factory=dict)

    def of(self, path: str) -> Conduct:
        return self.functions.get(path, self.common)


def parse(options: Any) -> Conducts:
    """Raises DeclarationError: the first of `problems`."""
    for problem in problems(options):
        raise DeclarationError(problem)
    common = _conduct(Conduct(), options)
    return Conducts(common, {path: _conduct(common, own) for path, own in options.get("functions", {}).items()})


def problems(options: Any) -> Iterator[str]:
    """What is wrong with the options, each in one line that names the field."""
    if not isinstance(options, Mapping):
        yield f"OPTIONS is {options!r:.60}; write a dict with {', '.join(_KEYS)} or functions"
        return
    yield from _problems("OPTIONS", options, (*_KEYS, "functions"))
    functions = options.get("functions", {})
    if not isinstance(functions, Mapping):
        yield f"OPTIONS['functions'] is {functions!r:.60}; write a dict of dotted paths"
        return
    for path, own in functions.items():
        where = f"OPTIONS['functions'][{path!r}]"
        if isinstance(own, Mapping):
            yield from _problems(where, own, _KEYS)
        else:
            yield f"{where} is {own!r:.60}; write a dict with {', '.join(_KEYS)}"


def _problems(where: str, options: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for key in options:
        if key not in known:
            yield f"{where}: {key!r} is no option; known are {', '.join(known)}"
    for key in _KEYS:
        try:
            _value(key, options.get(key), f"{where}[{key!r}]")
        except DeclarationError as error:
            yield str(error)


def _conduct(base: Conduct, options: Mapping[str, Any]) -> Conduct:
    """The options, and for what they leave out those of `base`."""
    return Conduct(
        **{
            f.name: _value(f.name, options[f.name], f.name) if f.name in options else getattr(base, f.name)
            for f in fields(Conduct)
        }
    )


def _value(key: str, value: Any, where: str) -> Any:
    """Raises DeclarationError."""
    if key in _DURATIONS:
        return seconds(value, where)
    if value is None:
        return NO_RETRY
    if isinstance(value, Retry):
        return value
    if not isinstance(value, Mapping) or not set(value) <= set(_RETRY):
        raise DeclarationError(f"{where} is {value!r:.80}; write Retry(…) or a dict with {', '.join(_RETRY)}")
    try:
        return Retry(**value)
    except (DeclarationError, TypeError) as error:
        raise DeclarationError(f"{where}: {error}") from None
