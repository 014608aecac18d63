"""Fault 5: a task computes and never yields. Nobody takes its worker for dead, and its neighbours are not to blame."""

from __future__ import annotations

import re
import signal
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from queues.models import Worker
from tests.support.processes import Fleet
from tests.support.runs import all_final, attempts, lines, run, the
from tests.support.waiting import eventually

#: Seconds for which a machine stands still; less than what makes a worker dead.
STANDS_STILL = 4.0


def test_fault_5_a_task_that_never_yields_is_not_taken_for_dead(faulty: Fleet) -> None:
    quick = {"HOLDFAST_HEARTBEAT_TIMEOUT": "5"}
    faulty.worker("worker-1", **quick)
    hog = the("hog-until-told").enqueue("go")
    eventually(lambda: faulty.ledger.count("hog", "begins"), "it computes")
    began = time.monotonic()
    faulty.worker("worker-2", **quick)
    meanwhile = the("echo").enqueue("meanwhile")
    assert meanwhile.result(timeout=20) == "meanwhile"
    assert attempts(meanwhile.id)[0].worker == Worker.objects.get(name="worker-2"), "others take what comes"
    eventually(lambda: time.monotonic() - began > 8.0, "a heartbeat that waits for it would be late")
    faulty.ledger.open_gate("go")
    all_final([hog.id])
    assert not Worker.objects.exclude(lost_at=None).exists()
    assert [(a.status, a.overlap_at) for a in attempts(hog.id)] == [("completed", None)]


@pytest.mark.parametrize("name", ["neighbour", "neighbour-step"])
def test_fault_5_neighbours_are_not_timed_out_for_time_in_which_the_loop_stood_still(faulty: Fleet, name: str) -> None:
    faulty.worker("worker-1")
    neighbours = [the(name).enqueue() for _ in range(5)]
    eventually(lambda: faulty.ledger.count("neighbour", "begins") == 5, "they have begun")
    hog = the("loop-hog").enqueue(4.0)
    all_final([hog.id, *(n.id for n in neighbours)])
    assert faulty.ledger.count("hog", "ends") == 1
    assert [n.result(timeout=1) for n in neighbours] == ["in time"] * 5
    said = [line.message for line in lines(hog.id)]
    assert any("held up the event loop" in message for message in said), "the log of the one to blame says so"


def test_fault_5_a_timeout_still_falls_when_the_neighbour_itself_is_late(faulty: Fleet) -> None:
    faulty.worker("worker-1")
    late = the("neighbour").enqueue(60)
    eventually(lambda: faulty.ledger.count("neighbour", "begins"), "it has begun")
    hog = the("loop-hog").enqueue(1.0)
    all_final([hog.id, late.id])
    assert run(late.id).status == "timed_out"


def test_fault_5_whoever_holds_up_the_loop_pays_for_it_with_its_own_time(faulty: Fleet) -> None:
    faulty.worker("worker-1")
    handle = the("hog-of-its-own-time").enqueue()
    all_final([handle.id])
    assert run(handle.id).status == "timed_out"


def test_fault_5_nobody_is_blamed_for_a_machine_that_stands_still(faulty: Fleet) -> None:
    worker = faulty.worker("worker-1")
    hog = the("hog-until-told").enqueue("go")
    eventually(lambda: faulty.ledger.count("hog", "begins"), "it computes")
    worker.signal(signal.SIGSTOP)
    faulty.ledger.open_gate("go")
    # Its last heartbeat is up to a second older than that it stands still.
    silent = Worker.objects.filter(heartbeat_at__lt=Now() - timedelta(seconds=STANDS_STILL + 1))
    eventually(silent.exists, "it has stood still for so long")
    worker.signal(signal.SIGCONT)
    all_final([hog.id])
    # On a slow machine it may have computed for more than a second before it was stopped: that is its own doing.
    told = re.findall(r"for ([\d.]+) s", "".join(line.message for line in lines(hog.id)))
    assert [seconds for seconds in told if float(seconds) >= STANDS_STILL] == []
