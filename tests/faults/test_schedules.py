"""Fault 26: two schedulers, and whoever leads is killed between firing a tick and setting the next."""

from __future__ import annotations

import random
import signal
from collections import Counter
from itertools import pairwise

from holdfast.access.grants import Actor
from runs.models import Run
from runs.schedules import services
from runs.schedules.model import Tick
from tests.support.processes import Fleet
from tests.support.waiting import eventually

NAMES = [f"tick-{n}" for n in range(20)]


def test_fault_26_each_tick_begins_one_run_though_schedulers_are_killed(fleet: Fleet) -> None:
    for name in NAMES:
        services.schedule_create(name, Actor.local(), task_id="echo", every=1, catch_up="all")
    choose = random.Random(26)
    one, two = fleet.scheduler(), fleet.scheduler()
    for kill in range(6):
        before = Tick.objects.count()
        # At some moment of the firing: twenty schedules are due each second, one transaction each.
        goal = before + choose.randint(1, 2 * len(NAMES))
        eventually(lambda goal=goal: Tick.objects.count() >= goal, "ticks are fired")
        victim = one if kill % 2 else two
        victim.signal(signal.SIGKILL)
        if kill % 2:
            one = fleet.scheduler()
        else:
            two = fleet.scheduler()
    eventually(lambda: all(Tick.objects.filter(schedule__name=n).count() > 1 for n in NAMES), "all have ticked twice")
    for name in NAMES:
        services.schedule_pause(name, Actor.local())
    begun = Counter(tag for tags in Run.objects.values_list("tags", flat=True) for tag in [tuple(tags[:2])])
    assert set(begun.values()) == {1}, "no tick has begun two runs"
    ticks = {
        (f"schedule:{t.schedule.name}", f"tick:{t.due_at.isoformat()}") for t in Tick.objects.select_related("schedule")
    }
    assert set(begun) == ticks, "each tick that is recorded has begun its run, and no run has none"
    for name in NAMES:
        due = sorted(Tick.objects.filter(schedule__name=name).values_list("due_at", flat=True))
        gaps = {(b - a).total_seconds() for a, b in pairwise(due)}
        assert gaps == {1.0}, f"{name}: no tick was left out"


def test_queued_ticks_begin_one_after_the_other_though_schedulers_are_killed(fleet: Fleet) -> None:
    """Runs that end at once, and ticks that come faster than a scheduler looks: a tick finds the run before going on or
    not, but never do two runs overlap, and none begins before the one ahead of it."""
    fleet.worker("worker-1")
    one = fleet.scheduler()
    fleet.scheduler()
    services.schedule_create(
        "in-line", Actor.local(), task_id="gated", every=1, overlap="queue", payload={"gate": "in-line"}
    )
    first = eventually(lambda: Tick.objects.filter(outcome="started").first(), "the first tick begins its run")
    eventually(lambda: Tick.objects.filter(outcome="queued").count() >= 3, "others wait for it")
    one.signal(signal.SIGKILL)
    assert Run.objects.count() == 1
    assert Tick.objects.filter(outcome="started").get() == first
    services.schedule_update("in-line", Actor.local(), every=86_400)
    waiting = Tick.objects.filter(outcome="queued").count()
    fleet.scheduler()
    fleet.ledger.open_gate("in-line")
    ended = Run.objects.filter(status="completed")
    eventually(lambda: ended.count() == waiting + 1, "each has its turn")
    runs = list(ended.order_by("created_at"))
    assert [run.pk for run in runs] == list(Tick.objects.order_by("due_at").values_list("run_id", flat=True))
    assert all(before.finished_at <= after.created_at for before, after in pairwise(runs))
