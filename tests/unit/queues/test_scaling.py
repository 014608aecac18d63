"""When there are to be more workers, and when fewer: looks a second apart, and what is decided of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from queues.scaling import LASTING, LATE, ROOM, STARTING, Bounds, Look, Scaler


class Days:
    """A scaler, and looks at it that are a second apart. It is obeyed at once, unless a look says otherwise."""

    def __init__(self, least: int = 1, most: int = 8, cooldown: float = 30, workers: int | None = None) -> None:
        self.scaler = Scaler(Bounds(least, most, cooldown))
        self.look = Look(now=0.0, workers=least if workers is None else workers)
        self.said: list[str] = []

    def go_by(self, seconds: int, **seen: Any) -> list[int]:
        """The number of workers after each look."""
        numbers = []
        for _ in range(seconds):
            self.look = replace(self.look, now=self.look.now + 1, **seen)
            if (decision := self.scaler.decide(self.look)) is not None:
                self.said.append(decision.why)
                self.look = replace(self.look, workers=decision.target)
            numbers.append(self.look.workers)
        return numbers


def test_pressure_doubles_the_workers_every_other_second_up_to_the_most() -> None:
    days = Days()
    assert days.go_by(9, due=1_240, head_wait=12.0) == [1, 1, 2, 2, 4, 4, 8, 8, 8]
    assert days.said[:2] == [
        "1 → 2 workers: 1,240 runs due, the first waits for 12.0 s",
        "2 → 4 workers: 1,240 runs due, the first waits for 12.0 s",
    ]


def test_at_the_most_it_is_said_once_for_as_long_as_the_pressure_lasts() -> None:
    days = Days(most=1)
    days.go_by(60, due=5, head_wait=2.0)
    days.go_by(1, due=0, head_wait=0.0)
    days.go_by(10, due=1, head_wait=3.0)
    assert days.said == [
        "1 worker, and --max allows no more: 5 runs due, the first waits for 2.0 s",
        "1 worker, and --max allows no more: 1 run due, the first waits for 3.0 s",
    ]


def test_there_are_no_more_new_workers_than_runs_that_wait() -> None:
    assert Days(workers=6, most=20).go_by(3, due=2, head_wait=5.0)[-1] == 8


def test_what_waits_for_less_than_a_second_is_no_pressure_however_much_it_is() -> None:
    assert set(Days().go_by(60, due=10_000, head_wait=LATE - 0.01)) == {1}


def test_a_slot_that_is_free_for_a_moment_is_no_pressure() -> None:
    """A queue at its limit: now and then a run could start, and the first in line has waited for an hour."""
    days = Days()
    for _ in range(30):
        days.go_by(int(LASTING), due=1, head_wait=3_600.0)
        days.go_by(1, due=0, head_wait=0.0)
    assert days.said == []


def test_workers_that_have_not_started_yet_are_waited_for_but_not_for_ever() -> None:
    days = Days()
    seen = {"due": 100, "head_wait": 5.0}
    assert days.go_by(3, **seen)[-1] == 2
    assert set(days.go_by(int(STARTING) - 1, starting=1, **seen)) == {2}
    assert days.go_by(1, starting=1, **seen) == [4]


def test_a_worker_that_still_drains_counts_as_one_of_the_most() -> None:
    days = Days(most=4, workers=3)
    assert days.go_by(3, due=100, head_wait=5.0, draining=1)[-1] == 3
    assert days.go_by(1, draining=0)[-1] == 4
    assert days.said == ["3 → 4 workers: 100 runs due, the first waits for 5.0 s"]


def test_calm_takes_one_worker_away_for_each_cooldown_down_to_the_least() -> None:
    days = Days(least=2, cooldown=10, workers=4)
    numbers = days.go_by(60)
    assert [numbers.index(n) for n in (3, 2)] == [10, 20]
    assert numbers[-1] == 2
    assert days.said == [
        "4 → 3 workers: nothing has had to wait for 10.0 s",
        "3 → 2 workers: nothing has had to wait for 10.0 s",
    ]


def test_a_moment_of_pressure_begins_the_cooldown_anew() -> None:
    days = Days(cooldown=10, workers=2)
    days.go_by(9)
    days.go_by(1, due=1, head_wait=1.5)
    assert set(days.go_by(10, due=0, head_wait=0.0)) == {2}
    assert days.go_by(1) == [1]


def test_nobody_is_sent_away_whose_work_the_others_have_no_room_for() -> None:
    days = Days(cooldown=5, workers=3)
    assert set(days.go_by(60, load=2 * ROOM + 0.01)) == {3}
    assert days.go_by(6, load=2 * ROOM)[-1] == 2
    assert set(days.go_by(60, load=2 * ROOM)) == {2}, "the two would be too full as one"


def test_a_steady_load_does_not_make_the_number_swing() -> None:
    """So much that three workers are just needed: two are too few, which is pressure; three have a little room."""
    days = Days(cooldown=5, workers=2)
    for _ in range(300):
        enough = days.look.workers >= 3
        days.go_by(1, load=1.9, due=0 if enough else 50, head_wait=0.0 if enough else 3.0)
    assert [why.partition(":")[0] for why in days.said] == ["2 → 4 workers", "4 → 3 workers"]


def test_a_worker_that_is_missed_soon_after_it_left_makes_the_next_cooldown_longer() -> None:
    """The processor is what is busy: slots are free, and yet one worker fewer is too few."""
    days = Days(cooldown=5, workers=3)
    for _ in range(300):
        enough = days.look.workers >= 3
        days.go_by(1, due=0 if enough else 1, head_wait=0.0 if enough else 3.0)
    downs = [why.rpartition(" for ")[2] for why in days.said if "nothing" in why]
    assert downs[:5] == ["5.0 s", "10.0 s", "20.0 s", "40.0 s", "40.0 s"]
    days.go_by(100, due=0, head_wait=0.0)
    days.go_by(3, due=1, head_wait=3.0)
    assert days.go_by(6, due=0, head_wait=0.0)[-1] == 1, "the next need is another one: the usual cooldown"


def test_while_rq_has_suspended_the_workers_nothing_changes() -> None:
    days = Days(cooldown=5, workers=3)
    assert set(days.go_by(60, due=1_000, head_wait=60.0, suspended=True)) == {3}
    assert days.go_by(3, suspended=False)[-1] == 6
    assert set(Days(cooldown=5, workers=3).go_by(60, suspended=True)) == {3}


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((0, 4), "--min 0: write a number of workers from 1 to 256."),
        ((-2, 4), "--min -2: write a number of workers from 1 to 256."),
        ((1, 257), "--max 257: write a number of workers from 1 to 256."),
        ((5, 4), "--min 5 is more than --max 4: write the smaller number at --min."),
        ((1, 4, -1.0), "--cooldown -1: write seconds from 0 to 86400."),
        ((1, 4, float("nan")), "--cooldown nan: write seconds from 0 to 86400."),
    ],
)
def test_bounds_that_cannot_be_say_what_to_write(bounds: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=r"--") as caught:
        Bounds(*bounds)
    assert str(caught.value) == said
