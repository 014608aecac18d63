"""Fault 33: a run says 100 MB. Memory stays bounded, the oldest lines give way and a line says so; others go on."""

from __future__ import annotations

import re
from typing import Any

import psutil
import pytest
from django.db import connection

from runs import live
from runs.engine.tail import MAX_STORED, TRIM_EVERY
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually

LINES, SIZE = 100_000, 1_000  # 100 MB
#: What a worker may grow by: one run's lines on their way, a batch of them being written, and Python's own slack.
GROWTH = 150 * 1024 * 1024
DROPPED = re.compile(r"([\d,]+) lines .*before this one were dropped")
NUMBERED = re.compile(r"\d{8} x")


def stored(run_id: Any) -> int:
    """Characters of a run's log in PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(length(message)), 0) FROM runs_logline WHERE run_id = %s", [run_id])
        return int(cursor.fetchone()[0])


def messages(run_id: Any) -> list[str]:
    """The beginnings of its lines, in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT left(message, 100) FROM runs_logline WHERE run_id = %s ORDER BY sequence", [run_id])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize(
    ("name", "more", "others"),
    [
        ("talks-without-end", {}, "dam"),  # never yields: what shares its event loop waits, threads do not
        ("talks-without-end", {"breathe": 100}, "wall"),
        ("talks-without-end-sync", {}, "wall"),
    ],
    ids=["async without a pause", "async with pauses", "thread"],
)
def test_fault_33_a_run_that_says_100_mb_leaves_memory_bounded_and_its_last_lines(
    faulty: Fleet, name: str, more: dict[str, int], others: str
) -> None:
    worker = faulty.worker("worker-1")
    assert the("echo").enqueue("warm").result(timeout=20) == "warm"
    process = psutil.Process(worker.pid)
    before = most = process.memory_info().rss
    talker = the(name).enqueue(lines=LINES, size=SIZE - 9, **more)
    eventually(lambda: faulty.ledger.count("talks"), "it talks")
    neighbours = [the(others).enqueue(5, 0.05) for _ in range(5)]

    def ended() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return talker.refresh().status not in {"queued", "running"}

    eventually(ended, "it ends", timeout=150)
    assert talker.result(timeout=1) == LINES
    assert [n.result(timeout=30) for n in neighbours] == [[0, 1, 2, 3, 4]] * 5
    assert most - before < GROWTH, f"{(most - before) / 2**20:.0f} MB"

    # Whoever reads that it ended finds its last line; the oldest may still be on their way out.
    assert f"{LINES - 1:08} " in {message[:9] for message in messages(talker.id)}
    eventually(lambda: stored(talker.id) <= MAX_STORED + 2 * TRIM_EVERY, "the oldest are taken out")
    assert stored(talker.id) >= MAX_STORED // 4, "and not all of them"
    said = messages(talker.id)
    gone = sum(int(found[1].replace(",", "")) for found in map(DROPPED.match, said) if found)
    kept = [message for message in said if NUMBERED.match(message)]
    assert gone > LINES // 2, "the log says what is missing"
    assert gone + len(kept) == LINES, "every line is there, or counted"
    assert kept == sorted(kept), "in order"


def test_fault_33_what_a_page_is_told_of_100_mb_of_long_lines_is_cut(faulty: Fleet) -> None:
    faulty.worker("worker-1")
    handle = the("talks-without-end-sync").enqueue(lines=2_000, size=50_000)
    assert handle.result(timeout=150) == 2_000
    eventually(lambda: stored(handle.id) <= MAX_STORED + 2 * TRIM_EVERY, "the oldest are taken out")
    cursor = live.Cursor(handle.id)
    most, more, told = 0, True, 0
    while more:
        batch = live.reads(cursor)
        more = batch.more
        for message in batch.messages:
            if message["type"] == "logs":
                told += len(message["items"])
                most = max(most, *(len(item["message"]) for item in message["items"]))
    assert told
    assert most <= live.LINE + 100
