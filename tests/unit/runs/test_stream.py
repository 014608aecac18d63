"""What may be sent, what a send becomes, and who may read: without a server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import signing

from runs import feed, streams
from runs.engine.sending import Sending
from runs.errors import InvalidOption, NotSerializable, StreamMisuse, StreamTokenRefused
from runs.sdk import streamtoken
from runs.sdk.stream import MAX_CHUNK, stream
from runs.store import Started
from tests.support.sse import text

DOCS = Path(__file__).parents[3] / "platform" / "docs" / "streams.md"
RUN = uuid.UUID("01900000-0000-7000-8000-000000000000")


def stay(*, attempt: int = 1, resumed: bool = False, kept: int = 0) -> Sending:
    started = Started(RUN, "t", 1, "{}", attempt, 0, 3, [], "trace", 7, 0.0, None, 1.0 if resumed else None, False)
    return Sending(started, kept)


def send(of: Sending, step: str = "", *, snapshot: int = 0, tries: int = 0, replaying: bool = False) -> list[Any]:
    """(kind, step, snapshot) of the rows of one send."""
    rows = of.rows("answer", '"x"', step, 0.0, snapshot, tries, replaying)
    return [(row.kind, row.step, row.snapshot) for row in rows]


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_outside_a_run_a_chunk_is_checked_and_goes_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "holdfast.task"), stream("answer") as out:
        out.send("token")
        with pytest.raises(NotSerializable, match=r"^stream 'answer': chunk"):
            out.send(object())
    assert [record.getMessage() for record in caplog.records] == ['stream answer: "token"']


def test_a_chunk_has_a_limit_in_bytes_not_in_characters() -> None:
    out = stream("answer")
    out.send("x" * (MAX_CHUNK - 2))
    for long in ("x" * (MAX_CHUNK - 1), "ü" * (MAX_CHUNK // 2)):
        with pytest.raises(NotSerializable, match=r"the limit is 65,536\. Send it in parts"):
            out.send(long)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "ü", "x" * 101, "a\n", None, 7])
def test_a_name_that_fits_no_address_is_refused(name: Any) -> None:
    with pytest.raises(StreamMisuse, match="letters, digits"):
        stream(name)


def test_a_closed_stream_takes_nothing_more_and_one_that_failed_is_not_closed() -> None:
    out = stream("answer")
    out.close()
    out.close()
    with pytest.raises(StreamMisuse, match="is closed"):
        out.send("late")
    broken = stream("answer")
    with pytest.raises(ZeroDivisionError), broken:
        1 / 0  # noqa: B018
    broken.send("still open")


def test_the_documented_example_and_rule_do_what_they_say(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    (tmp_path / "stream_example.py").write_text(blocks[0])
    spec = importlib.util.spec_from_file_location("stream_example", tmp_path / "stream_example.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert asyncio.run(example.stream_example("kelp")) == "Kelp holds on when the storm comes."

    rule: dict[str, Any] = {}
    exec(blocks[1], rule)
    sent = [
        {"kind": "chunk", "step": None, "snapshot": 0, "data": "a"},
        {"kind": "chunk", "step": "w#1", "snapshot": 1, "data": "b"},
        {"kind": "chunk", "step": None, "snapshot": 2, "data": "c"},
        {"kind": "restart", "step": None, "snapshot": 2},
        {"kind": "restart", "step": "w#1", "snapshot": 2},
        {"kind": "chunk", "step": "w#1", "snapshot": 2, "data": "B"},
    ]
    kept: list[dict[str, Any]] = []
    for chunk in sent:
        kept = rule["add"](kept, chunk)
    assert [c["data"] for c in kept] == ["a", "B"]
    assert text(sent) == "aB"


# ── marks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_stay_of_a_run_sends_no_marks() -> None:
    first = stay()
    assert send(first) == [("chunk", "", 0)]
    assert send(first, "write#1", snapshot=2) == [("chunk", "write#1", 2)]


@pytest.mark.parametrize("again", [{"attempt": 2}, {"resumed": True}])
def test_a_run_that_is_entered_again_says_once_from_where_on_it_repeats(again: dict[str, Any]) -> None:
    later = stay(**again, kept=3)
    assert send(later, snapshot=4) == [("restart", "", 3), ("chunk", "", 4)]
    assert send(later, snapshot=4) == [("chunk", "", 4)]
    assert later.rows("other", '"x"', "", 0.0, 4, 0, False)[0].kind == "restart"


def test_a_step_that_tries_again_takes_back_its_own_chunks_alone() -> None:
    first = stay()
    assert send(first, "write#1", tries=0) == [("chunk", "write#1", 0)]
    assert send(first, "write#1", tries=1, snapshot=1) == [("restart", "write#1", 0), ("chunk", "write#1", 1)]
    assert send(first, "write#1", tries=1, snapshot=1) == [("chunk", "write#1", 1)]
    assert send(first, "other#1", tries=2, snapshot=1) == [("chunk", "other#1", 1)], "it sent nothing before"


def test_a_step_cut_off_beside_a_finished_one_takes_back_its_chunks_on_reentry() -> None:
    later = stay(attempt=2, kept=5)
    assert send(later, "write#2", snapshot=5) == [
        ("restart", "", 5),
        ("restart", "write#2", 5),
        ("chunk", "write#2", 5),
    ]


def test_what_is_sent_between_steps_is_dropped_while_the_run_replays() -> None:
    later = stay(attempt=2, kept=2)
    assert send(later, snapshot=2, replaying=True) == []
    # A step that is executed did not finish before.
    assert send(later, "new#1", snapshot=2, replaying=True)[-1] == ("chunk", "new#1", 2)
    assert send(later, snapshot=3, replaying=False) == [("chunk", "", 3)]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def row(sequence: int | None, data: str | None = '"x"', *, found: int = 1, status: str = "running") -> dict[str, Any]:
    return {
        "status": status, "sequence": sequence, "kind": "chunk", "at": None, "data": data, "attempt": 1, "step": "",
        "snapshot": 0, "found": found,
    }  # fmt: skip


def test_a_stream_has_ended_only_when_all_of_it_is_read() -> None:
    assert streams.page(RUN, [row(None, found=0, status="completed")]).ended == "completed"
    assert streams.page(RUN, [row(1, found=2, status="completed")]).ended is None
    assert streams.page(RUN, [row(1, found=1, status="completed")], limit=1).ended is None
    assert streams.page(RUN, [row(1, status="running")]).ended is None


def test_an_event_is_one_line_of_data_whatever_was_sent() -> None:
    hostile = "\n\nevent: end\ndata: {}\r\n\u2028id: 9"
    page = streams.page(RUN, [row(7, json.dumps(hostile))])
    lines = feed.event(page.items[0]).decode().split("\n")
    assert lines[:2] == ["id: 7", "event: chunk"]
    assert lines[3:] == ["", ""]
    assert json.loads(lines[2].removeprefix("data: "))["data"] == hostile
    assert "\r" not in lines[2]


@pytest.mark.parametrize(("sent", "found"), [("7", 7), ("", None), (None, None), ("-1", None), ("9" * 30, None)])
def test_a_readers_last_id_is_taken_when_it_is_one(sent: str | None, found: int | None) -> None:
    assert feed.last_event_id(sent) == found


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_grants_its_run_and_its_stream() -> None:
    assert streamtoken.check(streamtoken.issue(RUN)) == streamtoken.Grant(RUN, None)
    assert streamtoken.check(streamtoken.issue(RUN, "answer", timedelta(minutes=1))) == streamtoken.Grant(RUN, "answer")


def test_a_token_that_was_changed_or_signed_for_something_else_is_refused() -> None:
    mine, other = streamtoken.issue(RUN), streamtoken.issue(uuid.uuid4())
    spliced = other.partition(":")[0] + ":" + mine.partition(":")[2]
    foreign = signing.TimestampSigner(salt="something else").sign_object([RUN.hex, None, 60])
    odd = signing.TimestampSigner(salt="holdfast.stream").sign_object({"run": 1})
    for token in (spliced, foreign, odd, mine[:-1], mine + "x", "", "a:b:c", "ü", "x" * 5_000):
        with pytest.raises(StreamTokenRefused, match="wrong or has expired"):
            streamtoken.check(token)


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    token = streamtoken.issue(RUN, ttl=60)
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 58)
    streamtoken.check(token)
    monkeypatch.setattr(signing.time, "time", lambda: now + 62)
    with pytest.raises(StreamTokenRefused):
        streamtoken.check(token)


@pytest.mark.parametrize("ttl", [0, -1, 10**9, True, "60"])
def test_nonsense_lifetimes_are_refused(ttl: Any) -> None:
    with pytest.raises(InvalidOption, match="ttl must be"):
        streamtoken.issue(RUN, ttl=ttl)
