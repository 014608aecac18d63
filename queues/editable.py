"""What of a queue code declares and a person may edit: one table that code, forms, API and command line go by.

Each setting says what is wrong with a value in the same words everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from queues import weights
from queues.rate import RATE_WORDS, Rate, shown

MAX_LIMIT: Final = 1_000_000
LIMIT_WORDS: Final = f"write a whole number from 1 to {MAX_LIMIT:,}, or nothing for no limit"


class LimitError(ValueError):
    """A limit that cannot be; its text says what to write."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One of them. `check` and `parse` raise ValueError with what is wrong and what to write."""

    name: str  # in code, over the API and, with dashes, on the command line
    flag: str  # over the API: whether a person's edit stands over what code declares
    label: str
    help: str
    hint: str  # what to write
    none: str  # what no value means
    check: Callable[[Any], Any]  # a value of code's or of JSON's, as it is used
    parse: Callable[[str], Any]  # the same of a text that a person wrote; empty is none
    words: Callable[[Any], str]  # what `parse` reads back; empty for none
    json: Callable[[Any], Any]  # what `check` reads back
    lines: bool = False  # its text has several lines

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table of queues."""
        rate = (f"{self.name}_amount", f"{self.name}_period", f"{self.name}_unit")
        return rate if self.check is _rate else (self.name,)


def _limit(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_LIMIT):
        return value
    raise LimitError(f"is {shown(value)}; {LIMIT_WORDS}")


def _limit_of(text: str) -> int | None:
    plain = text.strip()
    if not plain:
        return None
    if plain.isascii() and plain.isdecimal() and len(plain) < 10:
        return _limit(int(plain))
    raise LimitError(f"is {text[:60]!r}; {LIMIT_WORDS}")


def _rate(value: Any) -> Rate | None:
    return value if value is None or isinstance(value, Rate) else Rate.from_json(value)


def _same(value: Any) -> Any:
    return value


def _limit_setting(name: str, flag: str, label: str, text: str) -> Setting:
    def words(value: int | None) -> str:
        return "" if value is None else str(value)

    return Setting(name, flag, label, text, LIMIT_WORDS, "no limit", _limit, _limit_of, words, _same)


def _rate_setting(name: str, flag: str, label: str, text: str) -> Setting:
    return Setting(
        name,
        flag,
        label,
        text,
        RATE_WORDS,
        "no rate",
        check=_rate,
        parse=lambda given: Rate.parse(given) if given.strip() else None,
        words=lambda rate: rate.words if rate else "",
        json=lambda rate: rate.as_json() if rate else None,
    )


SETTINGS: Final[Mapping[str, Setting]] = {
    setting.name: setting
    for setting in (
        _limit_setting("concurrency_limit", "limit_edited", "Limit", "At most this many at once over all workers."),
        _limit_setting("key_concurrency_limit", "key_limit_edited", "Of each key", "At once of each concurrency key."),
        _rate_setting(
            "rate", "rate_edited", "Rate", "Starts in any window of time: 10 per minute, 9,000 tokens per minute."
        ),
        _rate_setting(
            "key_rate", "key_rate_edited", "Rate of each key", "Starts of each concurrency key in any window of time."
        ),
        Setting(
            "key_weights",
            "key_weights_edited",
            "Starts of a key in one turn",
            "One key in a line, such as gold = 3.",
            weights.LINES_WORDS,
            "one of each",
            check=weights.checked,
            parse=weights.parse,
            words=weights.lines,
            json=_same,
            lines=True,
        ),
    )
}
#: What says over the API that a setting was edited, and which setting that is. Set to False, it takes the edit back.
FLAGS: Final[Mapping[str, str]] = {setting.flag: setting.name for setting in SETTINGS.values()}
