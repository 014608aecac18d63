"""How a stay of a run in a worker ends, and how it is unwound before its end."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runs.states import AttemptStatus, Status


class PutDown(BaseException):
    """Unwinds a run that will be entered again. A BaseException, so that `except Exception` lets it pass."""

    def __init__(self, delay: float, waiting_for: str | None = None, parked: tuple[UUID, ...] = ()) -> None:
        super().__init__(delay)
        self.delay = delay  # seconds; infinity: until one of its waits is answered
        self.waiting_for = waiting_for
        self.parked = parked  # the waits that somebody else may answer


class HandOver(PutDown):
    """The worker is stopping: the run goes on elsewhere, at once, in the same attempt."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Stop(PutDown):
    """The run is being stopped: it was cancelled, or its time is over. It does not come back."""

    def __init__(self, status: str) -> None:
        super().__init__(-1.0)
        self.status = status  # what it ends as


class Unresolved(PutDown):
    """An unsafe step died mid-way and nothing tells what it did: the run ends as `unknown`. `error` is its JSON."""

    def __init__(self, error: str) -> None:
        super().__init__(-1.0)  # before every wait of the same stay
        self.error = error


class Mismatch(PutDown):
    """The run's history does not fit this code: it is parked for other code, or for a person. No attempt is used."""

    def __init__(self, waiting_for: str) -> None:
        super().__init__(-0.5, waiting_for)  # before every wait of the same stay


class Continue(PutDown):
    """This round of the run is over; the next begins with this payload (JSON)."""

    def __init__(self, payload: str, open_waits: tuple[UUID, ...]) -> None:
        super().__init__(-0.25, parked=open_waits)  # before every wait of the same stay
        self.payload = payload


class Fenced(BaseException):
    """This worker was declared lost: nothing it writes counts any more, and nobody is to be told otherwise."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a stay. `delay` None: final; otherwise seconds until the run may be leased again."""

    status: Status
    attempt: AttemptStatus | None  # None: the attempt stays open
    output: str | None = None
    error: str | None = None
    failed: int = 0
    delay: float | None = None
    waiting_for: str | None = None
    parked: tuple[UUID, ...] = ()  # waits: what it is put down for; or what is given up, where it continues
    continues: str | None = None  # the payload of the next round (JSON)
    blameless: bool = False  # it failed for what the run is, and not for what it called
