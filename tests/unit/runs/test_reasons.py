from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queues.workers import Gate, KeyGate
from runs.models import Run
from runs.reasons import reason

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)


def gate(**fields: Any) -> Gate:
    usual = {
        "id": 1, "queue": "llm", "pool": "default", "limit": 2, "key_limit": None, "paused": False,
        "pause_reason": "", "paused_until": None, "drained_from": None,
        "taken": 0, "rate_amount": None, "rate_period": None, "rate_unit": None, "started": 0,
        "opens_at": None, "key_rate_amount": None, "key_rate_period": None, "key_rate_unit": None,
    }  # fmt: skip
    return Gate(**{**usual, **fields})


@pytest.mark.parametrize(
    ("status", "gates", "served", "words", "stuck"),
    [
        ("queued", gate(), {"default"}, "next in line", False),
        ("queued", gate(taken=2), {"default"}, "no slot: 2 of 2 running", False),
        ("queued", gate(limit=None, taken=0), {"default"}, "next in line", False),
        ("queued", gate(paused=True, pause_reason="deploy"), set(), "queue paused: deploy", False),
        ("queued", gate(paused=True), {"default"}, "queue paused", False),
        ("queued", gate(pool="gpu", taken=2), {"default"}, "no worker for pool gpu", True),
        ("queued", None, {"default"}, "its queue is gone", True),
        ("waiting", gate(), {"default"}, "waits", False),
    ],
)
def test_the_first_gate_that_is_closed_is_the_reason(
    status: str, gates: Gate | None, served: set[str], words: str, stuck: bool
) -> None:
    said = reason(Run(status=status), gates, served, NOW)
    assert (said.words, said.at, said.stuck) == (words, None, stuck)


def test_a_key_without_a_slot_is_the_reason_for_its_own_runs_alone() -> None:
    gates = gate(limit=None, key_limit=2)
    said = reason(Run(status="queued", concurrency_key="acme"), gates, {"default"}, NOW, key=KeyGate(taken=2))
    assert said.words == "no slot for key acme: 2 of 2 running"
    for other in (Run(status="queued", concurrency_key="acme"), Run(status="queued")):
        assert reason(other, gates, {"default"}, NOW, key=KeyGate(taken=1)).words == "next in line"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"what": "signal 'paid'", "count": 1}, "waits for signal 'paid'"),
        ({"what": "approval 'Publish?'", "count": 3}, "waits for approval 'Publish?' and 2 more"),
        ({"what": "the next try of fetch#1"}, "waits for the next try of fetch#1"),
        (None, "waits"),
        ("odd", "waits"),
    ],
)
def test_a_waiting_run_says_for_what_and_until_when(told: Any, words: str) -> None:
    said = reason(Run(status="waiting", waiting_for=told, next_at=SOON), gate(), set(), NOW)
    assert (said.words, said.at, said.stuck) == (words, SOON, False)


@pytest.mark.parametrize(
    ("status", "words"), [("scheduled", "scheduled"), ("retrying", "next attempt"), ("queued", "next attempt")]
)
def test_what_is_not_due_names_its_time(status: str, words: str) -> None:
    said = reason(Run(status=status, next_at=SOON), gate(paused=True), set(), NOW)
    assert (said.words, said.at) == (words, SOON)


def test_a_retry_that_is_due_waits_for_the_same_gates_as_all() -> None:
    assert (
        reason(Run(status="retrying", next_at=NOW), gate(taken=2), {"default"}, NOW).words == "no slot: 2 of 2 running"
    )
