"""The worker's clock: the database's time, however slow its answers are."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from runs.engine.clock import Clock


def told(clock: Clock, ahead: float, *, slow: float = 0.0) -> None:
    """The database is so many seconds ahead of this process, and took so long to say so."""
    asked = time.monotonic() - slow
    clock.set(datetime.fromtimestamp(time.time() - slow + ahead, UTC), asked)


@pytest.mark.parametrize("ahead", [-3600.0, -0.5, 0.0, 0.5, 3600.0])
def test_it_goes_by_the_database(ahead: float) -> None:
    clock = Clock()
    told(clock, ahead)
    assert clock.now() == pytest.approx(time.time() + ahead, abs=0.05)


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 3600.0])
def test_a_slow_answer_puts_nothing_off(ahead: float) -> None:
    clock = Clock()
    told(clock, ahead)
    for slow in (30.0, 0.5, 5.0):
        told(clock, ahead, slow=slow)
    assert clock.now() == pytest.approx(time.time() + ahead, abs=0.05)


def test_a_clock_that_drifts_is_followed() -> None:
    clock = Clock()
    for ahead in range(10):
        told(clock, float(ahead), slow=0.2)
    assert clock.now() == pytest.approx(time.time() + 9, abs=0.25)
