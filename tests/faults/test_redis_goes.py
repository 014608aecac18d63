"""Faults 9, 17 and 18: Redis is emptied, away or silent while work goes on. PostgreSQL is the only truth."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.conf import settings
from rq import Worker as RQWorker

from queues.models import Worker
from queues.tickets import channel, connection
from tests.support.processes import Fleet
from tests.support.proxy import Proxy
from tests.support.runs import all_final, attempts, run, statuses, the
from tests.support.ticking import Ticker
from tests.support.waiting import eventually


def test_fault_17_everything_goes_on_within_2_s_of_flushall_under_load(fleet: Fleet, ticker: Ticker) -> None:
    workers = [fleet.worker(f"worker-{number}") for number in (1, 2)]
    fleet.scheduler()
    ids = [the("wall").enqueue(3, 0.05).id for _ in range(20)]
    stop = threading.Event()

    def flush() -> None:
        while not stop.wait(0.05):
            connection().flushdb()  # all that this installation has there: others share the server

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        for _ in range(10):
            handle = the("echo").enqueue("through")
            assert handle.result(timeout=20) == "through"
            assert took(ticker, handle.id) <= 2.0
            ids.append(handle.id)
        all_final(ids)
    finally:
        stop.set()
        flusher.join()
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == []
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert "Traceback" not in worker.said(), "a ticket that Redis has forgotten is nothing to worry about"


def test_fault_17_an_idle_worker_is_woken_although_its_tickets_were_flushed(fleet: Fleet, ticker: Ticker) -> None:
    fleet.worker("worker-1")
    fleet.scheduler()
    assert the("echo").enqueue(1).result(timeout=20) == 1
    eventually(lambda: not connection().pubsub_channels(channel("default")), "the shift ends")
    handle = the("echo").enqueue(2)
    connection().flushdb()  # all that this installation has there: others share the server
    assert handle.result(timeout=20) == 2
    assert took(ticker, handle.id) <= 2.5


def took(ticker: Ticker, run_id: UUID) -> float:
    """Seconds from its enqueue to its end. Who waits for a result learns of it up to half a second later."""
    found = run(run_id)
    assert found.finished_at is not None
    return ticker.seconds(found.created_at.timestamp(), found.finished_at.timestamp())


@pytest.fixture
def proxy(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Between Redis and those processes that get `through(proxy)` as their environment."""
    found, url = Proxy.of_redis(fleet.environment["REDIS_URL"])
    with found:
        monkeypatch.setitem(fleet.environment, "PROXIED", url)
        yield found
        fleet.stop()


#: What an idle worker says that has lost Redis.
POLLING = "looking for work in PostgreSQL"


def through(fleet: Fleet) -> dict[str, str]:
    return {"REDIS_URL": fleet.environment["PROXIED"]}


def listeners() -> int:
    ((_, count),) = connection().pubsub_numsub(channel("default"))
    return int(count)


def test_fault_9_a_shift_whose_connection_to_redis_is_dead_notices_and_reconnects(
    fleet: Fleet, proxy: Proxy, ticker: Ticker
) -> None:
    worker = fleet.worker("worker-1", **through(fleet))
    fleet.scheduler()
    held = the("gated").enqueue("held")  # keeps the shift open
    long = the("wall").enqueue(60, 0.2)
    eventually(lambda: listeners() == 1, "it listens")
    proxy.freeze()
    eventually(lambda: "Redis is away" in worker.said(), "it notices that nobody answers")
    for number in range(3):  # by polling
        handle = the("echo").enqueue(number)
        assert handle.result(timeout=20) == number
        assert took(ticker, handle.id) <= 2.0
    proxy.refuse()  # the dead connections are gone for good; it has to make new ones
    proxy.thaw()
    proxy.accept()
    eventually(lambda: listeners() == 1, "it listens again")
    assert the("echo").enqueue("woken").result(timeout=20) == "woken"
    fleet.ledger.open_gate("held")
    assert held.result(timeout=20) == "held"
    assert long.result(timeout=30) == list(range(60))
    assert [a.status for a in attempts(long.id)] == ["completed"]
    assert not Worker.objects.exclude(lost_at=None).exists()


def test_fault_9_an_idle_worker_whose_connection_to_redis_is_dead_leaves_work_to_others_and_comes_back(
    fleet: Fleet, proxy: Proxy
) -> None:
    deaf = fleet.worker("worker-deaf", **through(fleet))
    fleet.scheduler()
    assert the("echo").enqueue("warm").result(timeout=20) == "warm"
    eventually(lambda: not connection().pubsub_channels(channel("default")), "its shift ends")
    proxy.freeze()
    other = fleet.worker("worker-other")
    for number in range(5):
        assert the("echo").enqueue(number).result(timeout=20) == number, "others take the work"
    eventually(lambda: POLLING in deaf.said(), "it notices that nobody answers")
    other.popen.terminate()
    other.wait()
    assert the("echo").enqueue("alone").result(timeout=20) == "alone", "it finds work by polling"
    proxy.thaw()
    eventually(lambda: not connection().pubsub_channels(channel("default")), "it waits for tickets again")
    assert the("echo").enqueue("by ticket").result(timeout=20) == "by ticket"
    assert deaf.popen.poll() is None
    assert "Traceback" not in deaf.said()


def test_fault_9_a_shift_that_ends_while_its_connection_is_dead_goes_on_by_polling(fleet: Fleet, proxy: Proxy) -> None:
    deaf = fleet.worker("worker-deaf", **through(fleet))
    fleet.scheduler()
    work = the("wall").enqueue(10, 0.2)
    eventually(lambda: fleet.ledger.count("end") >= 1, "it is at work")
    proxy.freeze()
    assert work.result(timeout=20) == list(range(10))
    eventually(lambda: POLLING in deaf.said(), "RQ's bookkeeping fails, and it looks itself")
    assert the("echo").enqueue("alone").result(timeout=20) == "alone"
    proxy.thaw()
    eventually(lambda: not connection().pubsub_channels(channel("default")), "it waits for tickets again")
    assert the("echo").enqueue("by ticket").result(timeout=20) == "by ticket"
    assert "Traceback" not in deaf.said()


#: Seconds for which Redis is gone.
GONE = 10.0


@pytest.mark.parametrize("at_work", [True, False], ids=["in a shift", "idle"])
def test_fault_18_while_redis_is_killed_enqueues_succeed_and_runs_start_by_polling(
    fleet: Fleet, proxy: Proxy, ticker: Ticker, monkeypatch: pytest.MonkeyPatch, at_work: bool
) -> None:
    workers = [fleet.worker(f"worker-{number}", **through(fleet)) for number in (1, 2)]
    fleet.scheduler(**through(fleet))
    ids = [the("wall").enqueue(60, 0.2).id for _ in range(4)] if at_work else [the("echo").enqueue(0).id]
    if at_work:
        eventually(lambda: fleet.ledger.count("end") >= 4, "they are at work")
    else:
        eventually(lambda: run(ids[0]).status == "completed", "the run is over")
        eventually(lambda: RQWorker.count(connection=connection()) == len(workers), "both have begun")
        eventually(lambda: not connection().pubsub_channels(channel("default")), "the shifts end")
    direct = settings.HOLDFAST_REDIS_URL
    monkeypatch.setattr(settings, "HOLDFAST_REDIS_URL", fleet.environment["PROXIED"])
    connection.cache_clear()
    proxy.refuse()
    killed = time.monotonic()
    slowest = 0.0
    # What was asleep in Redis when it was killed looks again within a second or two.
    first = the("echo").enqueue("first")
    assert first.result(timeout=20) == "first"
    number = 0
    while time.monotonic() - killed < GONE or number < 10:
        began = time.time()
        handle = the("echo").enqueue(number)
        slowest = max(slowest, ticker.seconds(began, time.time()))
        assert handle.result(timeout=20) == number
        ids.append(handle.id)
        number += 1
    assert slowest < 1.0, "an enqueue does not wait for Redis"
    assert [w.popen.poll() for w in workers] == [None, None], "nobody ends over it"
    proxy.accept()
    monkeypatch.setattr(settings, "HOLDFAST_REDIS_URL", direct)
    connection.cache_clear()
    assert the("echo").enqueue("back").result(timeout=20) == "back"
    all_final(ids)
    assert statuses(ids) == {"completed"}
    assert fleet.ledger.repeated("begin") == []
    eventually(lambda: not connection().pubsub_channels(channel("default")), "tickets are waited for again")
    assert the("echo").enqueue("by ticket").result(timeout=20) == "by ticket"
    assert [w.popen.poll() for w in workers] == [None, None]
    assert not Worker.objects.exclude(lost_at=None).exists()
    assert "Traceback" not in "".join(w.said() for w in workers)
