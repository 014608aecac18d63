"""How queues stand is kept once a minute, for charts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from queues import store
from queues.models import Queue, Sample
from queues.samples import MAX_QUEUES, sample_bins
from queues.store import Conn
from runs.engine import upkeep
from tests.support.flow import fill


def test_all_queues_are_sampled_once_a_minute_whoever_comes_first(conn: Conn, register: Callable[[], int]) -> None:
    llm = Queue.objects.create(name="llm", concurrency_limit=2)
    Queue.objects.create(name="mail", paused_at=timezone.now())
    fill(llm, count=5)
    with conn.transaction():
        grants = store.lease(conn, worker=register(), pools=["default"], coroutines=9, threads=0).grants
    assert len(grants) == 2
    left = [upkeep.sample_queues(conn) for _ in range(3)]
    assert all(0 < seconds <= 60 for seconds in left)
    minutes = set(Sample.objects.values_list("minute", flat=True))
    assert len(minutes) <= 2, "a minute may have ended meanwhile"
    assert Sample.objects.count() == 2 * len(minutes)
    assert all(minute.second == minute.microsecond == 0 for minute in minutes)
    sample = Sample.objects.filter(queue=llm)[0]
    assert (sample.depth, sample.running, sample.concurrency_limit, sample.paused) == (3, 2, 2, False)
    assert Sample.objects.filter(queue__name="mail")[0].paused


def test_samples_are_forgotten_after_a_month(conn: Conn) -> None:
    queue = Queue.objects.create(name="llm")
    now = timezone.now()
    for days in (0, store.SAMPLE_DAYS - 1, store.SAMPLE_DAYS + 1):
        Sample.objects.create(queue=queue, minute=now - timedelta(days=days), depth=1, running=1, paused=False)
    store.forget(conn)
    assert Sample.objects.count() == 2


def test_bins_have_the_highest_samples_of_the_fullest_queues(db: None) -> None:
    start = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=20)
    for number in range(MAX_QUEUES + 3):
        queue = Queue.objects.create(name=f"queue-{number:02}", concurrency_limit=10 if number % 2 else None)
        for minute, running in ((0, number), (1, 1), (12, 2)):
            values = {"depth": running * 2, "running": running, "concurrency_limit": queue.concurrency_limit}
            Sample.objects.create(queue=queue, minute=start + timedelta(minutes=minute), paused=minute == 1, **values)
    found = sample_bins(start, start + timedelta(minutes=20), minutes=10)
    assert len({one.queue for one in found}) == MAX_QUEUES
    assert "queue-00" not in {one.queue for one in found}
    first, second = [one for one in found if one.queue == "queue-09"]
    assert (first.start, first.depth, first.running, first.share, first.paused) == (start, 18, 9, 0.9, True)
    assert (second.start, second.running, second.share, second.paused) == (start + timedelta(minutes=10), 2, 0.2, False)
    [one] = sample_bins(start, start + timedelta(minutes=10), minutes=10, queue="queue-08")
    assert (one.queue, one.concurrency_limit, one.share) == ("queue-08", None, None)
    assert sample_bins(start, start + timedelta(minutes=20), minutes=10, queue="nobody") == []
