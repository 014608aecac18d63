"""What a worker takes on."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker takes on."""

    coroutines: int
    threads: int
    processes: int
    grace: float  # seconds that running work may go on after a stop was asked for
    heartbeat_timeout: float

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            settings.HOLDFAST_CONCURRENCY,
            settings.HOLDFAST_THREADS,
            settings.HOLDFAST_PROCESSES,
            settings.HOLDFAST_GRACE,
            settings.HOLDFAST_HEARTBEAT_TIMEOUT,
        )
