"""Faults 22 to 25 and 27: one key from many clients, transactions that roll back, limits and rates under many workers,
and a key that floods its queue."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from django.db import connection, transaction

from holdfast.access.grants import Actor
from queues.models import Entry, Queue, Start
from queues.services import queue_pause, queue_resume, queue_update
from runs.errors import IdempotencyConflict
from runs.models import Attempt, IdempotencyKey, Run
from tests.support.processes import Entry as Line
from tests.support.processes import Fleet, Process
from tests.support.runs import all_final, statuses, the
from tests.support.ticking import Ticker
from tests.support.waiting import eventually

T = TypeVar("T")


def in_threads(count: int, job: object) -> list[object]:
    """Calls `job(number)` from `count` threads at once; their connections are closed with them."""

    def call(number: int) -> object:
        try:
            return job(number)  # type: ignore[operator]
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def rolled_back(job: Callable[[], T]) -> T:
    """Calls `job` in a transaction that rolls back."""
    with transaction.atomic():
        found = job()
        transaction.set_rollback(True)
    return found


def test_fault_22_fifty_clients_with_one_idempotency_key_make_one_run(registered: None) -> None:
    handles = in_threads(50, lambda _: the("echo").using(idempotency_key="one").enqueue("same"))
    assert len({h.id for h in handles}) == 1  # type: ignore[attr-defined]
    assert sum(h.created for h in handles) == 1  # type: ignore[attr-defined]
    assert Run.objects.count() == 1
    assert Entry.objects.count() == 1


def test_the_same_key_with_another_payload_is_refused_and_stores_nothing(registered: None) -> None:
    the("echo").using(idempotency_key="one").enqueue("this")
    with pytest.raises(IdempotencyConflict, match="another payload"):
        the("echo").using(idempotency_key="one").enqueue("that")
    assert Run.objects.count() == 1


def test_a_key_of_a_transaction_that_rolled_back_is_free_again(registered: None) -> None:
    rolled_back(lambda: the("echo").using(idempotency_key="one").enqueue("this"))
    assert not IdempotencyKey.objects.exists()
    assert the("echo").using(idempotency_key="one").enqueue("that").created


def test_fault_23_a_run_is_invisible_before_commit_and_never_seen_after_rollback(fleet: Fleet) -> None:
    fleet.worker("worker-1")
    the("echo").enqueue("warm").result(timeout=20)
    lost = rolled_back(lambda: the("gated").enqueue("never"))
    with transaction.atomic():
        kept = the("echo").enqueue("kept")
        # Other sessions are asked: the worker, by a run of its own, and this test, through a thread.
        assert in_threads(1, lambda _: Run.objects.filter(pk=kept.id).exists()) == [False]
    assert kept.result(timeout=20) == "kept"
    assert not Run.objects.filter(pk=lost.id).exists()
    assert fleet.ledger.count("waiting") == 0


def most_at_once(lines: list[Line]) -> int:
    """The largest number of intervals open at one time."""
    now = most = 0
    for line in sorted(lines, key=lambda e: (e.at, e.words[0] == "enter")):
        now += 1 if line.words[0] == "enter" else -1
        most = max(most, now)
    return most


def test_fault_24_a_queue_never_runs_more_than_its_limit_whatever_workers_and_edits_do(fleet: Fleet) -> None:
    for number in (1, 2, 3):
        # Each may take less than the limit allows, so that they need each other to reach it.
        fleet.worker(f"worker-{number}", HOLDFAST_CONCURRENCY="2")
    ids = [h.id for h in the("narrow-job").enqueue_many([{"seconds": 0.02}] * 150)]
    eventually(lambda: fleet.ledger.count("leave") >= 30, "work flows")
    Queue.objects.filter(name="narrow").update(concurrency_limit=1)
    lowered = fleet.ledger.count("enter")
    eventually(lambda: fleet.ledger.count("leave") >= lowered + 20, "it goes on at the lower limit")
    Queue.objects.filter(name="narrow").update(concurrency_limit=5)
    all_final(ids)

    assert statuses(ids) == {"completed"}
    entries = [*fleet.ledger.entries("enter"), *fleet.ledger.entries("leave")]
    assert most_at_once(entries) <= 5
    begun = sorted(fleet.ledger.entries("enter"), key=lambda e: e.at)
    early = {e.words[1] for e in begun[:30]}
    assert most_at_once([e for e in entries if e.words[1] in early]) <= 3
    # Once the edit is acknowledged and what ran at that moment has left, one at a time.
    single = {e.words[1] for e in begun[lowered + 3 : lowered + 20]}
    assert most_at_once([e for e in entries if e.words[1] in single]) == 1
    assert len({e.pid for e in begun}) > 1, "more than one worker took part"


def test_fault_24_nor_is_a_limit_exceeded_by_recovery_while_people_edit_it(fleet: Fleet) -> None:
    fleet.scheduler()
    workers = [fleet.worker(f"worker-{n}", HOLDFAST_CONCURRENCY="3") for n in range(4)]
    ids = [h.id for h in the("narrow-job").enqueue_many([{"seconds": 0.1}] * 100)]
    limits, died = [(0.0, 0.0, 3)], dict[int, float]()  # when an edit was asked for, when it was acknowledged, to what
    for number, limit in enumerate((1, 4, 2, 5, 1, 3, 2)):
        goal = fleet.ledger.count("enter") + 6
        eventually(lambda goal=goal: fleet.ledger.count("enter") >= goal, "work flows")
        asked = time.time()
        queue_update("narrow", Actor.local(), concurrency_limit=limit)
        limits.append((asked, time.time(), limit))
        if number in (1, 4):
            victim = eventually(lambda: stopped_at_work(fleet, workers), "one is caught at work")
            victim.signal(signal.SIGKILL)
            victim.wait()
            died[victim.pid] = time.time()
    all_final(ids)

    assert statuses(ids) == {"completed"}
    begun, left = fleet.ledger.entries("enter"), {(e.pid, e.words[1]): e.at for e in fleet.ledger.entries("leave")}
    assert len(begun) > len(ids), "what the dead had begun was begun again"
    # An attempt is stamped by the transaction of its lease, which keeps edits of its queue waiting.
    stamps = {
        (pid, str(run_id)): at.timestamp()
        for pid, run_id, at in Attempt.objects.values_list("worker__pid", "run_id", "started_at")
    }
    spans = [(e.at, left.get((e.pid, e.words[1]), died.get(e.pid, 0.0)), stamps[e.pid, e.words[1]]) for e in begun]
    for at, _, _ in spans:
        leased = [stamp for begin, end, stamp in spans if begin <= at < end]
        last = max(leased, default=0.0)  # whoever came last was let in beside the others
        assert len(leased) <= max(
            limit for asked, _, limit in limits if asked <= last and not ended_before(limits, asked, last)
        )


def stopped_at_work(fleet: Fleet, workers: list[Process]) -> Process | None:
    """The worker that began something last, frozen before it was through. None: it was through."""
    victim = next(w for w in workers if w.pid == fleet.ledger.entries("enter")[-1].pid)
    victim.signal(signal.SIGSTOP)
    entered, left = ({e.words[1] for e in fleet.ledger.entries(w) if e.pid == victim.pid} for w in ("enter", "leave"))
    if entered - left:
        return victim
    victim.signal(signal.SIGCONT)
    return None


def ended_before(limits: list[tuple[float, float, int]], asked: float, at: float) -> bool:
    """Whether the limit that was asked for at `asked` had been replaced by then: its successor was acknowledged."""
    return any(asked < later and acknowledged <= at for later, acknowledged, _ in limits)


def test_fault_27_a_key_that_floods_100_000_runs_holds_up_no_other(fleet: Fleet, ticker: Ticker) -> None:
    fleet.scheduler()
    for number in (1, 2):
        fleet.worker(f"worker-{number}")
    queue_pause("default", Actor.local())
    for _ in range(20):
        the("echo").using(concurrency_key="flood").enqueue_many([{"value": 1}] * 5_000)
    queue_resume("default", Actor.local())
    flood = Run.objects.filter(concurrency_key="flood")
    eventually(lambda: flood.exclude(started_at=None).exists(), "the flood flows")
    others = []
    for number in range(20):
        others.append(the("echo").using(concurrency_key=f"tenant-{number}").enqueue(value=number))
        others[-1].result(timeout=20)
    assert Entry.objects.filter(concurrency_key="flood").count() > 1_000, "it still floods"
    waited = Run.objects.filter(pk__in=[h.id for h in others]).values_list("created_at", "started_at")
    assert max(ticker.seconds(created.timestamp(), started.timestamp()) for created, started in waited) < 3.0


def test_a_key_never_runs_more_than_its_limit_and_none_is_left_behind(fleet: Fleet) -> None:
    fleet.scheduler()
    Queue.objects.filter(name="narrow").update(concurrency_limit=None, key_concurrency_limit=2)
    for number in (1, 2, 3):
        fleet.worker(f"worker-{number}", HOLDFAST_CONCURRENCY="9")
    with transaction.atomic():  # they are there at once
        of_key = {
            key: [h.id for h in the("narrow-job").using(concurrency_key=key).enqueue_many([{"seconds": 0.01}] * count)]
            for key, count in {"flood": 120, "a": 20, "b": 20, "c": 1}.items()
        }
    all_final([run_id for ids in of_key.values() for run_id in ids])
    lines = [*fleet.ledger.entries("enter"), *fleet.ledger.entries("leave")]
    for key, ids in of_key.items():
        mine = {str(run_id) for run_id in ids}
        assert most_at_once([line for line in lines if line.words[1] in mine]) <= 2, key
        assert statuses(ids) == {"completed"}
    assert most_at_once(lines) > 2, "the keys run beside each other"


def test_fault_25_a_rate_that_all_workers_race_for_is_exceeded_in_no_window(fleet: Fleet) -> None:
    fleet.scheduler()
    Queue.objects.filter(name="narrow").update(concurrency_limit=None, rate_amount=20, rate_period=1.0)
    for number in (1, 2, 3):
        fleet.worker(f"worker-{number}", HOLDFAST_CONCURRENCY="7")
    ids = [h.id for h in the("narrow-job").enqueue_many([{"seconds": 0.0}] * 100)]
    all_final(ids)

    assert statuses(ids) == {"completed"}
    # The leases' own stamps: those of attempts come after them, on a busy machine by any time.
    leased = list(
        Start.objects.filter(queue__name="narrow", concurrency_key="").values_list("slice", "last_at", "count")
    )
    period = timedelta(seconds=1)
    assert max(sum(n for _, at, n in leased if last - period < at <= last) for _, last, _ in leased) <= 20
    starts = sorted(Attempt.objects.filter(run_id__in=ids).values_list("started_at", flat=True))
    for number, start in enumerate(starts, 1):
        assert number <= sum(n for part, _, n in leased if part / 60 <= start.timestamp()), (
            "each is stamped before it starts"
        )
    assert sum(n for _, _, n in leased) == len(ids)
    assert starts[-1] - starts[0] < timedelta(seconds=20), "and what is allowed is used"
    assert len({e.pid for e in fleet.ledger.entries("enter")}) > 1, "more than one worker took part"


def test_a_pause_holds_from_within_a_second_and_resume_lets_it_go_on(fleet: Fleet, ticker: Ticker) -> None:
    from django.utils import timezone

    fleet.worker("worker-1")
    assert the("echo").enqueue(1).result(timeout=20) == 1
    Queue.objects.filter(name="default").update(paused_at=timezone.now())
    handle = the("echo").enqueue(2)
    with pytest.raises(TimeoutError):
        handle.result(timeout=1.5)
    assert handle.refresh().status == "queued"
    resumed = timezone.now()
    Queue.objects.filter(name="default").update(paused_at=None)
    assert handle.result(timeout=20) == 2
    ended = Run.objects.get(pk=handle.id).finished_at
    assert ended is not None
    assert ticker.seconds(resumed.timestamp(), ended.timestamp()) < 1.5
