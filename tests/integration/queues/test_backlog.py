"""What counts as startable: what a worker with room could begin now, by every gate of admission."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from queues import services, store
from queues.backlog import Backlog, backlogs, later, worker_counts, worker_loads
from queues.models import Queue, Timer
from queues.rate import Rate
from queues.store import Conn
from tests.support.flow import fill

ACTOR = Actor.local()


def seen(conn: Conn, name: str = "shop") -> Backlog:
    (found,) = [queue for queue in backlogs(conn) if queue.queue == name]
    return found


def numbers(conn: Conn, name: str = "shop") -> tuple[int, int, int]:
    found = seen(conn, name)
    return found.due, found.startable, found.running


def lease(conn: Conn, worker: int, most: int = 9) -> int:
    with conn.transaction():
        return len(store.lease(conn, worker=worker, pools=["default"], coroutines=most, threads=0).grants)


def shop(**settings: Any) -> Queue:
    rate = settings.pop("rate", None)
    queue = Queue(name="shop", **settings)
    queue.rate = rate
    queue.save()
    return queue


def test_an_idle_queue_is_all_zeros(conn: Conn) -> None:
    shop(concurrency_limit=4)
    assert seen(conn) == Backlog("shop", "default", 4, False, 0, 0, 0, 0.0, 0.0)


def test_without_limits_all_that_is_due_could_start(conn: Conn, worker: int) -> None:
    queue = shop()
    fill(queue, count=3, age=40, lane=1)
    fill(queue, "a", count=2)
    assert numbers(conn) == (5, 5, 0)
    assert 40 <= seen(conn).head_wait < 60
    assert lease(conn, worker) == 2
    assert numbers(conn) == (3, 3, 2)


def test_a_limit_leaves_what_it_has_room_for(conn: Conn, worker: int) -> None:
    fill(shop(concurrency_limit=4), count=9, age=30)
    assert numbers(conn) == (9, 4, 0)
    lease(conn, worker, 3)
    assert numbers(conn) == (6, 1, 3)
    lease(conn, worker)
    assert numbers(conn) == (5, 0, 4)
    assert (seen(conn).head_wait, seen(conn).oldest_wait >= 30) == (0.0, True)


def test_a_rate_leaves_what_is_left_of_its_window(conn: Conn, worker: int) -> None:
    fill(shop(rate=Rate(3, per="hour")), count=5)
    assert numbers(conn) == (5, 3, 0)
    lease(conn, worker)
    assert numbers(conn) == (2, 0, 3)


def test_a_rate_of_tokens_is_open_or_is_not(conn: Conn, worker: int) -> None:
    fill(shop(rate=Rate(100, per="hour", unit="tokens")), count=5, units=60)
    assert numbers(conn) == (5, 5, 0)
    lease(conn, worker)
    assert numbers(conn) == (4, 4, 1), "40 are left: the next one needs more, and takes them when the window allows"
    Queue.objects.update(rate_amount=60)
    assert numbers(conn) == (4, 0, 1)


def test_a_key_without_a_slot_does_not_count_nor_does_its_wait(conn: Conn, worker: int) -> None:
    queue = shop(key_concurrency_limit=1)
    fill(queue, "a", count=50, age=900)
    assert numbers(conn) == (50, 1, 0), "before any lease has looked at the key"
    lease(conn, worker)
    assert numbers(conn) == (49, 0, 1)
    fill(queue, "b", age=5)
    assert numbers(conn) == (50, 1, 1)
    lease(conn, worker, 0)  # takes the note of b, and nothing else
    fill(queue, age=3)
    assert numbers(conn) == (51, 2, 1)
    assert seen(conn).head_wait < 60 < seen(conn).oldest_wait


def test_a_pause_leaves_nothing_and_a_drain_what_was_there(conn: Conn, worker: int) -> None:
    queue = shop()
    fill(queue, count=2)
    services.queue_pause("shop", ACTOR, "deploy")
    assert (numbers(conn), seen(conn).paused) == ((2, 0, 0), True)
    services.queue_pause("shop", ACTOR, "move", drain=True)
    fill(queue, count=5)
    assert (numbers(conn), seen(conn).paused) == ((7, 2, 0), True)
    services.queue_resume("shop", ACTOR)
    services.queue_pause("shop", ACTOR, "an hour", seconds=3_600)
    Queue.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    assert (numbers(conn), seen(conn).paused) == ((7, 7, 0), False), "the pause is over, though nobody has said so"


def test_other_pools_are_left_out(conn: Conn) -> None:
    shop()
    Queue.objects.create(name="pictures", pool="gpu")
    assert [queue.queue for queue in backlogs(conn, ["gpu"])] == ["pictures"]
    assert [queue.queue for queue in backlogs(conn, ["gpu", "default"])] == ["pictures", "shop"]
    assert backlogs(conn, ["none"]) == []


def test_what_comes_later_is_counted_by_queue(conn: Conn) -> None:
    queue = shop()
    Timer.objects.create(entry_id="01900000-0000-7000-8000-000000000000", queue=queue, lane=0)
    assert later(conn) == {"shop": 1}


def test_workers_are_counted_by_pools_and_state_and_loaded_by_their_fullest_lane(conn: Conn, worker: int) -> None:
    fill(shop(), count=3)
    lease(conn, worker, 3)
    with conn.transaction():
        conn.execute("UPDATE queues_worker SET hostname = %s, pid = 77", [_host()])
    assert worker_loads(conn, [76, 77]) == {77: pytest.approx(3 / 9)}
    assert [(c.pools, c.state, c.count) for c in worker_counts(conn)] == [(("default",), "alive", 1)]
    store.worker_beat(conn, worker, running=3, memory=0, draining=True)
    assert [c.state for c in worker_counts(conn)] == ["draining"]
    conn.execute("UPDATE queues_worker SET heartbeat_at = heartbeat_at - interval '1 hour'")
    assert [c.state for c in worker_counts(conn)] == ["silent"]
    store.worker_stop(conn, worker)
    assert (worker_counts(conn), worker_loads(conn, [77])) == ([], {})


def _host() -> str:
    from django.conf import settings

    return str(settings.HOLDFAST_HOST)
