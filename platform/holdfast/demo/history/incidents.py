"""What went wrong in the weeks that are made up, as values that a test or a reader can ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.demo.history.catalog import BY_NAME, GATEWAY, LLM, NOISY, OUTAGE, REGRESSION, REPORTS, SYNC

DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0

#: Runs that meet each incident at least, however small the history is.
FLOOR: Final = 60
#: The noisy tenant's share of all runs at most, and how many they are at most.
FLOOD_SHARE, FLOOD_RUNS = 0.08, 1_600
#: The part of the runs that the bad version fails, and how much longer its step takes.
BAD_SHARE, SLOWER = 0.3, 2.5

#: What one tenant may run at once since the noisy one.
KEY_LIMIT: Final = 5


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong, from `start` to `end` (Unix time), and what a reader should find."""

    name: str
    start: float
    end: float
    queue: str
    tasks: tuple[str, ...]
    finding: str
    fingerprint: str = ""  # of the error that it brings
    version: str = ""  # the one to blame
    mended: str = ""  # the one that ended it
    resource: str = ""  # what was away
    key: str = ""  # the concurrency key to blame

    def during(self, at: float) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Incidents:
    """All of them."""

    outage: Incident
    bad_deploy: Incident
    noisy_tenant: Incident

    @property
    def all(self) -> tuple[Incident, ...]:
        return (self.outage, self.bad_deploy, self.noisy_tenant)

    @property
    def pause(self) -> tuple[float, float]:
        """The last minutes of the bad deploy, in which its queue was paused until the mended version was there."""
        return self.bad_deploy.end - 12 * MINUTE, self.bad_deploy.end

    @property
    def key_limited(self) -> float:
        """When the noisy tenant's queue got a limit of each key, KEY_LIMIT."""
        return self.noisy_tenant.end + 20 * MINUTE


def before(end: float) -> Incidents:
    """The incidents of the weeks before `end`."""
    midnight = end - end % DAY
    away = end - end % MINUTE - 2 * DAY
    deploy = _workday(midnight, (5, 4, 6)) + 10 * HOUR
    flood = _workday(midnight, (3, 2, 4)) + 13 * HOUR
    invoice = BY_NAME["invoice"]
    return Incidents(
        Incident(
            "outage",
            away,
            away + 40 * MINUTE,
            LLM,
            (BY_NAME["support-reply"].id, BY_NAME["summarise"].id),
            "The language model's gateway was away for 40 minutes. Two tasks failed with one error, attempt after "
            "attempt; nothing else did, and no version had changed.",
            fingerprint=OUTAGE.fingerprint,
            resource=GATEWAY,
        ),
        Incident(
            "bad deploy",
            deploy,
            deploy + 6 * HOUR,
            REPORTS,
            (invoice.id,),
            "A version failed 30 % of the invoices with an error that was never seen before, and made the step "
            "`render` slower. The next version, six hours later, mended both.",
            fingerprint=REGRESSION.fingerprint,
            version=invoice.version(2),
            mended=invoice.version(3),
        ),
        Incident(
            "noisy tenant",
            flood,
            flood + 3 * HOUR,
            SYNC,
            (BY_NAME["sync-orders"].id,),
            "One tenant asked for everything at once and held all slots of the queue for three hours: the others' "
            "turns came, but each had to wait for a slot.",
            key=NOISY,
        ),
    )


def weekday(at: float) -> int:
    """0 is Monday. (1 January 1970 was a Thursday.)"""
    return int(at // DAY + 3) % 7


def _workday(midnight: float, days_ago: tuple[int, ...]) -> float:
    """The first of these days that is none of the weekend: there is more to go wrong."""
    return next(day for ago in days_ago if weekday(day := midnight - ago * DAY) < 5)
