"""What people are not shown: values under the names that `HOLDFAST_REDACT` lists.

They are stored as they are, and tasks get them; whatever a page, the API, the command line, an export or Django's admin
shows of a payload, result, state or other JSON has MASK in their place. Where such a value comes back from a form that
somebody edited, MASK stands for what was stored there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final

from django.conf import settings

MASK: Final = "[redacted]"

#: Keys that lead to a value, each as `_plain` has it; and names of several keys or one, by their last.
Path = tuple[str, ...]
Names = Mapping[str, Sequence[Path]]


class LostValue(ValueError):
    """MASK stands where nothing was stored that it could stand for. `path` leads there."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = ".".join(path)
        self.message = f"is {MASK!r}, which stands for a value that is not there; write the value"
        super().__init__(f"{self.path} {self.message}")


def redacted(value: Any) -> Any:
    """The same JSON value with MASK for what is under a listed name, at any depth. The value itself stays as it is."""
    names = _names()
    return _masked(value, (), names) if names and isinstance(value, dict | list) else value


def hides(path: Iterable[str]) -> bool:
    """Whether the value to which these keys lead is shown to nobody."""
    keys, names = tuple(_plain(key) for key in path), _names()
    return any(_is_listed(keys[:count], names) for count in range(1, len(keys) + 1))


def hidden_keys() -> str:
    """A regular expression of PostgreSQL's, whatever the case, for the text of a JSON that has a listed name."""
    last = [name.replace("_", "[-_ ]") for name in sorted(_names())]
    return f'"({"|".join(last)})":' if last else "$."


def restored(value: Any, stored: Any) -> Any:
    """What somebody made of `redacted(stored)`, with the stored values again where MASK was left.

    Raises:
        LostValue: there is no such value.
    """
    names = _names()
    return _unmasked(value, stored, (), names) if names else value


def _masked(value: Any, path: Path, names: Names) -> Any:
    if isinstance(value, dict):
        made = {}
        for key, inner in value.items():
            here = (*path, _plain(key))
            made[key] = MASK if inner is not None and _is_listed(here, names) else _masked(inner, here, names)
        return made
    return [_masked(inner, path, names) for inner in value] if isinstance(value, list) else value


def _unmasked(value: Any, stored: Any, path: Path, names: Names) -> Any:
    if isinstance(value, dict):
        made = {}
        for key, inner in value.items():
            here = (*path, _plain(key))
            known = stored.get(key) if isinstance(stored, dict) else None
            if inner == MASK and _is_listed(here, names):
                if known is None:
                    raise LostValue((*path, str(key)))
                made[key] = known
            else:
                made[key] = _unmasked(inner, known, here, names)
        return made
    if isinstance(value, list):
        others = stored if isinstance(stored, list) else []
        pairs = zip_longest(value, others[: len(value)])
        return [_unmasked(inner, known, path, names) for inner, known in pairs]
    return value


def _is_listed(path: Path, names: Names) -> bool:
    return any(path[-len(name) :] == name for name in names.get(path[-1], ()))


def _plain(key: object) -> str:
    """`Api-Key`, `api_key` and `API KEY` are one name."""
    return str(key).lower().replace("-", "_").replace(" ", "_")


def _names() -> Names:
    return _parsed(tuple(settings.HOLDFAST_REDACT))


@lru_cache(maxsize=8)
def _parsed(names: tuple[str, ...]) -> Names:
    found: dict[str, list[Path]] = {}
    for name in names:
        path = tuple(_plain(part) for part in name.split("."))
        found.setdefault(path[-1], []).append(path)
    return found
