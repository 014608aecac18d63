"""When a schedule's ticks are: cron in a time zone, or an interval. Pure: no clock is read here.

A cron tick whose local time does not exist, because the clock is set forward, is at the first moment after the gap. One
whose local time comes twice, because the clock is set back, is at the first of the two; where the hour is `*` (or a
step of it), both count, for such a schedule goes by elapsed time.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cron_descriptor import CasingTypeEnum, FormatError, Options, get_description
from croniter import croniter
from croniter.croniter import CroniterError

#: Shortest and longest interval, and longest jitter, in seconds.
MIN_EVERY, MAX_EVERY = 1.0, 366 * 86_400.0
MAX_JITTER: Final = 86_400.0
#: Seconds between two ticks of a cron at least.
SHORTEST_CRON: Final = 60.0
CRON_WORDS: Final = "write five fields (minute hour day month weekday) such as 0 6 * * 1-5, or @hourly, @daily, @weekly"
ZONE_WORDS: Final = "write the name of a time zone such as UTC or Europe/Berlin"
EVERY_WORDS: Final = f"write seconds from {MIN_EVERY:g} to {MAX_EVERY:,.0f} (366 days)"
#: Croniter's own: a moment by chance, another one each time. A tick has to be the same wherever it is asked for.
_BY_CHANCE: Final = re.compile(r"(?:^|[\s,])[hr](?:$|[\s,(/])", re.I)
_zones = functools.cache(available_timezones)  # it walks through the time zone database


class TimingError(ValueError):
    """A timing that cannot be. `field` is cron, every or timezone; the text says what to write."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Timing:
    """When ticks are. One of `cron` and `every` (seconds) is given.

    Raises:
        TimingError: names the field that does not fit.
    """

    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise TimingError("cron", "and every: give one of the two")
        if not isinstance(self.timezone, str) or self.timezone not in _zones():
            raise TimingError("timezone", f"is {self.timezone!r:.60}; {ZONE_WORDS}")
        if self.every is not None:
            number = isinstance(self.every, int | float) and not isinstance(self.every, bool)
            if not number or not MIN_EVERY <= self.every <= MAX_EVERY:
                raise TimingError("every", f"is {self.every!r:.60}; {EVERY_WORDS}")
        if self.cron is not None:
            self._check_cron(self.cron)

    def _check_cron(self, cron: object) -> None:
        plain = isinstance(cron, str) and len(cron) <= 200 and cron.isascii() and cron.isprintable()
        if not plain or not (len(str(cron).split()) == 5 or str(cron).startswith("@")) or _BY_CHANCE.search(str(cron)):
            raise TimingError("cron", f"is {cron!r:.60}; {CRON_WORDS}")
        try:
            croniter(str(cron), datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
        except (CroniterError, ValueError, KeyError) as error:
            raise TimingError("cron", f"is {cron!r:.60} ({error}); {CRON_WORDS}") from None

    def after(self, moment: datetime) -> datetime:
        """The first tick after a moment, in UTC."""
        return next(self.ticks(moment))

    def ticks(self, moment: datetime) -> Iterator[datetime]:
        """All ticks after a moment, in UTC, without an end."""
        if self.every is not None:
            number = int(moment.timestamp() // self.every)
            while True:
                number += 1
                tick = datetime.fromtimestamp(number * self.every, UTC)
                if tick > moment:
                    yield tick
        assert self.cron is not None
        once = not self._goes_by_elapsed_time()
        last = moment.astimezone(UTC)
        found = croniter(self.cron, moment.astimezone(ZoneInfo(self.timezone)))
        while True:
            local: datetime = found.get_next(datetime)
            tick = local.astimezone(UTC)
            if tick <= last or (once and local.fold == 1):
                continue
            last = tick
            yield tick

    def _goes_by_elapsed_time(self) -> bool:
        fields = _spelt_out(self.cron or "").split()
        return len(fields) != 5 or fields[1].startswith("*")

    def between(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Ticks after one moment and up to another; of more than `most`, the latest.

        Looked for from the end, in spans twice as long each time: those of years are not counted one by one.
        """
        span = timedelta(seconds=(self.every or SHORTEST_CRON) * (most + 1))
        while True:
            start = until - span if span < until - after else after
            found = list(takewhile(lambda tick: tick <= until, self.ticks(start)))
            if start == after or len(found) >= most:
                return found[-most:]
            span *= 2


_ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def _spelt_out(cron: str) -> str:
    """An alias as the five fields that it stands for; anything else as it is."""
    return _ALIASES.get(cron.lower(), cron)


_PROSE: Final = Options(use_24hour_time_format=True, casing_type=CasingTypeEnum.Sentence)


@functools.lru_cache(1_000)
def prose(cron: str) -> str:
    """`at 06:00, Monday through Friday`; empty for an expression that there are no words for."""
    try:
        said: str = get_description(_spelt_out(cron), _PROSE)
    except FormatError:
        return ""
    return said[:1].lower() + said[1:]


def jitter(name: str, tick: datetime, most: float) -> float:
    """Seconds by which a tick's run begins later, 0 to `most`: the same for the same tick, wherever it is asked."""
    if not most:
        return 0.0
    digest = hashlib.sha256(f"{name}\n{tick.timestamp()}".encode()).digest()
    return most * int.from_bytes(digest[:8], "big") / 2**64
