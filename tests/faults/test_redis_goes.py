"""Faults 17 and 18: Redis is emptied, or away, while work goes on. PostgreSQL is the only truth."""

from __future__ import annotations

import threading
import time

from queues.tickets import channel, connection
from tests.support.processes import Fleet
from tests.support.runs import all_final, statuses, the
from tests.support.waiting import eventually


def test_fault_17_everything_goes_on_within_2_s_of_flushall_under_load(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    fleet.worker("worker-2")
    fleet.scheduler()
    ids = [the("wall").enqueue(3, 0.05).id for _ in range(20)]
    stop = threading.Event()

    def flush() -> None:
        while not stop.wait(0.05):
            connection().flushall()

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        for _ in range(10):
            handle = the("echo").enqueue("through")
            began = time.monotonic()
            assert handle.result(timeout=10) == "through"
            assert time.monotonic() - began <= 2.0
            ids.append(handle.id)
        all_final(ids)
    finally:
        stop.set()
        flusher.join()
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == []


def test_fault_17_an_idle_worker_is_woken_although_its_tickets_were_flushed(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    fleet.scheduler()
    assert the("echo").enqueue(1).result(timeout=20) == 1
    eventually(lambda: not connection().pubsub_channels(channel("default")), "the shift ends", timeout=20)
    handle = the("echo").enqueue(2)
    connection().flushall()
    began = time.monotonic()
    assert handle.result(timeout=20) == 2
    assert time.monotonic() - began <= 2.5
