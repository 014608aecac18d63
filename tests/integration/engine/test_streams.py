"""What a run sends, as it lies in the database: whole, in order, and after a retry without anything twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runs import streams
from runs.models import Chunk
from tests.support import runs, stored
from tests.support.processes import Fleet
from tests.support.sse import text
from tests.support.waiting import eventually


def chunks(run_id: UUID, name: str = "answer") -> list[dict[str, Any]]:
    found = Chunk.objects.filter(run_id=run_id, stream=name).order_by("sequence")
    return [{**values, "step": values["step"] or None} for values in found.values()]


@pytest.mark.parametrize("task", ["counts-aloud", "counts-aloud-sync"])
def test_ten_thousand_chunks_arrive_whole_and_in_order_before_the_end(streaming: Fleet, task: str) -> None:
    streaming.worker("alice")
    handles = [runs.the(task).enqueue(count=10_000), *(runs.the(task).enqueue(count=500) for _ in range(4))]
    runs.all_final([handle.id for handle in handles], timeout=120)
    for handle, count in zip(handles, [10_000, 500, 500, 500, 500], strict=True):
        assert handle.result(10) == count
        found = chunks(handle.id, "numbers")
        assert [c["data"] for c in found] == [*range(count), None]
        assert [c["kind"] for c in found[-2:]] == ["chunk", "closed"]


def test_after_a_retry_replay_repeats_nothing_and_a_mark_takes_back_what_failed(streaming: Fleet) -> None:
    streaming.worker("alice")
    streaming.scheduler()
    handle = runs.the("tells-twice").enqueue()
    runs.all_final([handle.id])
    found = chunks(handle.id)
    assert [(c["kind"], c["data"]) for c in found] == [
        *(("chunk", data) for data in ["[", "a", "b", "|", "c", "d", "lost1"]),
        ("restart", None),  # of the run: "lost1" no longer counts
        ("chunk", "kept"),
        ("restart", None),  # of the third step, had it begun before
        *(("chunk", data) for data in ["e", "f", "]"]),
        ("closed", None),
    ]
    assert [c["attempt"] for c in found] == [1] * 7 + [2] * 7
    assert [c["step"] for c in found[:4]] == [None, "writes#1", "writes#1", None]
    assert text(found) == "[ab|cdkeptef]"


@pytest.mark.parametrize(
    ("task", "whole"),
    [
        ("stammering", "<hello>"),
        ("keeps-its-place", "012345"),
        ("comes-back", "before after"),
        ("checkpoints-between-steps", "a-b+c!"),
    ],
    ids=["a try of a step fails", "checkpoints", "the run is put down within its attempt", "both"],
)
def test_what_holds_reads_as_if_nothing_had_failed(streaming: Fleet, task: str, whole: str) -> None:
    streaming.worker("alice")
    streaming.scheduler()
    handle = runs.the(task).enqueue()
    runs.all_final([handle.id])
    assert runs.run(handle.id).status == "completed", handle.error
    found = chunks(handle.id)
    assert "restart" in [c["kind"] for c in found]
    assert text(found) == whole


def test_a_worker_that_dies_leaves_what_it_sent_and_the_next_one_takes_it_back(streaming: Fleet) -> None:
    first = streaming.worker("alice")
    streaming.scheduler()
    handle = runs.the("dies-while-it-writes").enqueue()
    eventually(lambda: len(chunks(handle.id)) == 2, "the first half is stored")
    streaming.worker("bob")
    streaming.ledger.open_gate(f"dies-{handle.id}")
    first.wait()
    runs.all_final([handle.id])
    found = chunks(handle.id)
    assert [c["data"] for c in found if c["attempt"] == 1] == ["<", "kel"]
    assert {c["attempt"] for c in found} == {1, 2}
    assert text(found) == "<kelp holds>"


def test_a_chunk_over_the_limit_fails_the_run_with_the_reason(streaming: Fleet) -> None:
    streaming.worker("alice")
    handle = runs.the("sends-too-much").enqueue()
    runs.all_final([handle.id])
    assert "100,002 bytes as JSON; the limit is 65,536" in (handle.refresh().error or {})["message"]
    assert chunks(handle.id) == []


def test_a_page_of_chunks_ends_early_when_they_are_large(registered: None) -> None:
    run = stored.run("completed")
    stored.chunks(run, *(["x" * 60_000] * 40))
    seen: list[int] = []
    pages = 0
    while True:
        page = streams.read(run.id, "answer", after=seen[-1] if seen else 0)
        seen += [c.sequence for c in page.items]
        pages += 1
        assert sum(len(c.data) for c in page.items) <= streams.MAX_BYTES
        if page.ended:
            break
    assert (len(seen), pages) == (40, 3)
    assert seen == sorted(set(seen))
