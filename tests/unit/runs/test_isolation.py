"""What `@task(isolation=…)` may say, and what the next attempt's memory limit is."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from queues.models import Lane
from runs import GiB, MiB, task
from runs.engine import failure
from runs.engine.child import sendable
from runs.engine.death import End, died
from runs.engine.wire import Inbox, Put, Settled, pack
from runs.errors import DeclarationError, OutOfMemory, ProcessDied
from runs.registration import lane_of
from runs.sdk.isolation import Isolation


def test_an_isolated_task_has_a_lane_of_its_own_whichever_kind_of_function_it_is() -> None:
    @task(id="unit-apart", isolation="process", memory_limit=64 * MiB, memory_limit_max=GiB)
    def apart(n: int) -> int:
        return n + 1

    @task(id="unit-apart-async", isolation="process")
    async def apart_async() -> None: ...

    @task(id="unit-together")
    def together() -> None: ...

    assert [lane_of(t) for t in (apart, apart_async, together)] == [Lane.PROCESS, Lane.PROCESS, Lane.THREAD]
    assert apart.isolation == Isolation(64 * MiB, GiB)
    assert apart(1) == 2, "called directly it is the plain function"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"isolation": "thread"}, 'write isolation="process"'),
        ({"isolation": True}, 'write isolation="process"'),
        ({"memory_limit": 64 * MiB}, 'memory_limit needs isolation="process"'),
        ({"memory_limit_max": 64 * MiB}, 'memory_limit_max needs isolation="process"'),
        ({"isolation": "process", "memory_limit": 0}, "write whole bytes from"),
        ({"isolation": "process", "memory_limit": 256}, r"256 \* MiB"),
        ({"isolation": "process", "memory_limit": 64e6}, "write whole bytes from"),
        ({"isolation": "process", "memory_limit": True}, "write whole bytes from"),
        ({"isolation": "process", "memory_limit": "64M"}, "write whole bytes from"),
        ({"isolation": "process", "memory_limit": 10**18}, "write whole bytes from"),
        ({"isolation": "process", "memory_limit_max": 64 * MiB}, "write memory_limit, where it begins"),
        ({"isolation": "process", "memory_limit": GiB, "memory_limit_max": MiB * 64}, "write the larger number"),
    ],
)
def test_isolation_that_cannot_work_is_refused_at_import(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=says) as refused:
        task(id="unit-nonsense", **options)(lambda: None)
    assert "unit-nonsense" in str(refused.value)


def test_the_limit_doubles_from_where_memory_ran_out_up_to_its_maximum() -> None:
    growing = Isolation(64 * MiB, 200 * MiB)
    assert growing.after(None) == 64 * MiB
    assert growing.after(64 * MiB) == 128 * MiB
    assert growing.after(128 * MiB) == 200 * MiB
    assert growing.after(200 * MiB) == 200 * MiB
    assert growing.after(16 * MiB) == 64 * MiB, "a limit that was raised in code since then holds"
    assert Isolation(64 * MiB).after(64 * MiB) == 64 * MiB
    assert Isolation().after(64 * MiB) is None


# ── what crosses the border, and how an end is named ─────────────────────────────────────────────────────────────


def test_messages_arrive_whole_however_the_socket_cuts_them() -> None:
    sent = [Put("put_log", ("x" * 100_000,), {}), Settled([(1, None)]), Settled([])]
    data = b"".join(map(pack, sent))
    inbox = Inbox()
    assert [m for cut in range(0, len(data), 77) for m in inbox.feed(data[cut : cut + 77])] == sent
    assert list(Inbox().feed(data)) == sent


def test_errors_that_cannot_be_pickled_cross_as_their_words() -> None:
    class Local(Exception):
        pass

    assert sendable(None) is None
    assert repr(sendable(KeyError("a"))) == "KeyError('a')"
    assert str(sendable(Local("here"))) == "Local: here"


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        (End(-signal.SIGSEGV, 50 * MiB), ProcessDied, "ended by SIGSEGV. Its memory had reached 50 MiB"),
        (End(3), ProcessDied, "ended with exit code 3"),
        (End(-signal.SIGKILL), ProcessDied, "ended by SIGKILL"),
        (End(-signal.SIGKILL, 50 * MiB, starved=True), OutOfMemory, "the kernel killed the run's process"),
        (End(-64), ProcessDied, "SIGRTMAX"),
        (End(-1, instead="no process could be started for it: why"), ProcessDied, "could be started for it: why"),
    ],
)
def test_the_end_of_a_process_is_named(end: End, kind: type, words: str) -> None:
    error = died("cruncher", 64 * MiB, end)
    assert type(error) is kind
    assert words in str(error)
    assert failure.describe(error)["exit"] == error.data
    assert error.data["memory_limit"] == 64 * MiB
