"""Changes of queues by people: one at a time, each with what was before and after it."""

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from django.db import connection, transaction

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues import selectors, services
from queues.errors import InvalidChange, QueueNotFound
from queues.models import Queue

ACTOR = Actor.local()


def at_once(*works: Callable[[], object]) -> None:
    """Runs all of them at the same moment, each on a connection of its own."""
    ready = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            ready.wait()
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.fixture
def queue(transactional_db: None) -> Queue:
    return Queue.objects.create(name="llm", concurrency_limit=100, declared={"concurrency_limit": 100})


def test_edits_at_the_same_moment_follow_each_other_in_the_audit_log(queue: Queue) -> None:
    at_once(*(lambda n=n: services.queue_update("llm", ACTOR, concurrency_limit=n) for n in range(1, 9)))
    entries = list(AuditEntry.objects.filter(action="queues.update").order_by("id"))
    assert {e.after["concurrency_limit"] for e in entries} == set(range(1, 9))
    assert entries[0].before["concurrency_limit"] == 100
    for earlier, later in pairwise(entries):
        assert later.before == earlier.after
    queue.refresh_from_db()
    assert entries[-1].after["concurrency_limit"] == queue.concurrency_limit


def test_of_pauses_at_the_same_moment_one_counts(queue: Queue) -> None:
    at_once(*(lambda n=n: services.queue_pause("llm", ACTOR, f"reason {n}") for n in range(6)))
    (entry,) = AuditEntry.objects.filter(action="queues.pause")
    queue.refresh_from_db()
    assert queue.pause_reason == entry.reason == entry.after["pause_reason"]


def test_a_change_that_is_rolled_back_leaves_no_trace(queue: Queue) -> None:
    def change_and_fail() -> None:
        with transaction.atomic():
            services.queue_update("llm", ACTOR, concurrency_limit=5)
            services.queue_pause("llm", ACTOR)
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    queue.refresh_from_db()
    assert (queue.concurrency_limit, "concurrency_limit" in queue.edited, queue.paused) == (100, False, False)
    assert not AuditEntry.objects.exists()


def test_a_declaration_in_code_does_not_undo_a_persons_edit_but_taking_it_back_does(queue: Queue) -> None:
    services.queue_update("llm", ACTOR, concurrency_limit=5)
    assert services.queue_update("llm", ACTOR, limit_edited=False).concurrency_limit == 100


def test_all_that_is_wrong_with_a_change_is_said_at_once(queue: Queue) -> None:
    with pytest.raises(InvalidChange) as caught:
        services.queue_update("llm", ACTOR, concurrency_limit=0, limit_edited=True, pool="gpu", nonsense=1)
    fields = [e["field"] for e in caught.value.data["errors"]]
    assert set(fields) == {"concurrency_limit", "limit_edited", "pool", "nonsense"}
    assert "from 1 to 1,000,000" in str(caught.value)


@pytest.mark.parametrize("name", ["lllm", "x\x00", "\ud800", "q" * 5000])
def test_a_queue_that_does_not_exist_is_named_with_near_ones(queue: Queue, name: str) -> None:
    for change in (services.queue_pause, services.queue_resume):
        with pytest.raises(QueueNotFound):
            change(name, ACTOR)
    with pytest.raises(QueueNotFound):
        selectors.queue_get(name)
    assert selectors.queues_page(search=name).items == []
    if name == "lllm":
        with pytest.raises(QueueNotFound, match="Did you mean llm"):
            services.queue_update(name, ACTOR, concurrency_limit=1)
