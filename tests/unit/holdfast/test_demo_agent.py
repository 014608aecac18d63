"""research-agent in the test kit: its failure, its crashes, its streamed answer, and the person whom it asks."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.demo.agent import steps
from holdfast.demo.agent.clients import Answer, LocalModel, LocalWeb, Source
from holdfast.demo.agent.task import PATIENCE, QUESTION, research_agent
from holdfast.testing import InlineResult, complete_approval, crash_at, inline, reject_approval, run_inline
from holdfast.testing.result import Snapshot


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model and the same web, which think at once."""
    monkeypatch.setattr(steps, "model", LocalModel(pace=0))
    monkeypatch.setattr(steps, "web", LocalWeb(pace=0))


def notes(result: InlineResult) -> list[Snapshot]:
    """What it noted of the pages that it read."""
    return [s for s in result.snapshots if (s.kind, s.name) == ("step", "read")]


def test_its_first_attempt_fails_and_the_next_keeps_the_searches() -> None:
    result = run_inline(research_agent, topic="kelp")
    assert [a.status for a in result.attempts] == ["failed", "completed"]
    assert result.steps == (*["search"] * 3, *["read"] * 3, "summarize", "publish")
    assert result.calls == {"search": 3, "read": 3, "summarize": 1, "publish": 1}
    assert (result.output.topic, result.output.title, result.state) == ("kelp", "Kelp", {"sources_found": 3})
    assert result.output.published.startswith("https://example.org/reports/")


def test_who_watches_reads_the_summary_while_it_is_written() -> None:
    result = run_inline(research_agent, topic="kelp", depth=2)
    assert len(result.streams["answer"]) > 10
    assert "".join(result.streams["answer"]) == result.output.summary
    assert result.output.summary.startswith("2 sources on kelp agree on little")


def test_it_says_what_the_model_took_once_for_each_answer() -> None:
    result = run_inline(research_agent, topic="kelp", crashes=crash_at("snapshot-written", step="summarize"))
    said = len(result.output.summary.split())
    assert result.usage == {"tokens_in": sum(len(n.output.split()) for n in notes(result)), "tokens_out": said}
    result = run_inline(research_agent, topic="kelp", crashes=crash_at("step-called", step="summarize"))
    assert result.usage["tokens_out"] == 2 * said  # it was asked twice, and both have to be paid


@pytest.mark.parametrize(
    ("point", "chosen", "calls"),
    [
        ("snapshot-written", "search#1@3", {"search": 3}),
        ("snapshot-written", "read#2", {"read": 3}),
        ("step-called", "summarize", {"summarize": 2, "read": 3}),
        ("snapshot-written", "summarize", {"summarize": 1}),
        ("snapshot-written", "publish", {"publish": 1}),
    ],
)
def test_a_crash_in_the_middle_costs_nothing_that_was_stored(point: str, chosen: str, calls: dict[str, int]) -> None:
    unharmed = run_inline(research_agent, topic="kelp")
    result = run_inline(research_agent, topic="kelp", crashes=crash_at(point, step=chosen))
    assert "crashed" in [a.status for a in result.attempts]
    assert (result.status, result.output.summary) == ("completed", unharmed.output.summary)
    assert {name: result.calls[name] for name in calls} == calls
    assert "".join(result.streams["answer"]) == result.output.summary


def test_a_person_approves_and_gives_the_headline() -> None:
    with inline(research_agent, topic="kelp", ask=True) as run:
        run.until_waiting()
        (asked,) = run.waiting_for
        assert (asked.name, asked.detail["context"]["topic"]) == (QUESTION, "kelp")
        assert "publish" not in run.so_far.steps
        run.complete_approval(QUESTION, form={"title": "What kelp holds on to"}, by="ada")
        report = run.result().output
    assert report.title == "What kelp holds on to"
    assert report.published is not None


def test_a_crash_while_a_person_is_asked_asks_once() -> None:
    result = run_inline(
        research_agent,
        topic="kelp",
        ask=True,
        answers=[complete_approval(QUESTION, form={"title": "Kelp"})],
        crashes=[crash_at("wait-opened"), crash_at("answer-written")],
    )
    assert [a.status for a in result.attempts] == ["failed", "crashed", "crashed", "completed"]
    assert [(w.name, w.outcome) for w in result.waits] == [(QUESTION, "completed")]
    assert result.calls["publish"] == 1


@pytest.mark.parametrize("answers", [[reject_approval(QUESTION, comment="not yet")], []], ids=["no", "silence"])
def test_what_nobody_approves_is_not_published(answers: list[Any]) -> None:
    result = run_inline(research_agent, topic="kelp", ask=True, answers=answers)
    assert (result.status, result.output.published, result.calls["publish"]) == ("completed", None, 0)
    assert (result.slept >= PATIENCE) is (not answers)


def test_a_model_that_breaks_off_is_asked_again_and_readers_see_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class BreaksOff(LocalModel):
        broken = 0

        def answer(self, question: str, notes: Any) -> Answer:
            whole = super().answer(question, notes)
            if BreaksOff.broken == 2:
                return whole
            BreaksOff.broken += 1
            return Half(whole)

    class Half:
        def __init__(self, whole: Answer) -> None:
            self.tokens = whole.tokens
            self._whole = whole

        async def __aiter__(self) -> Any:
            async for token in self._whole:
                yield token
                raise ConnectionResetError("the model hung up")

    monkeypatch.setattr(steps, "model", BreaksOff(pace=0))
    result = run_inline(research_agent, topic="kelp")
    assert result.calls["summarize"] == 3
    assert "".join(result.streams["answer"]) == result.output.summary


async def test_the_stand_ins_say_the_same_each_time() -> None:
    web, model = LocalWeb(pace=0), LocalModel(pace=0)
    assert await web.search("kelp", "history") == await web.search("kelp", "history")
    source = Source(title="Kelp", url="https://example.org/kelp", words=7)
    notes = [await web.read(source)]
    answer = model.answer("kelp", notes)
    assert (
        "".join([token async for token in answer])
        == f"1 sources on kelp agree on little and are worth reading: {notes[0]}."
    )
    assert (answer.tokens.input, answer.tokens.output) == (3, 14)
