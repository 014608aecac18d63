"""Tasks and steps as their writers meet them: plain functions outside a run, clear words for what cannot work."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any, NotRequired

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FutureDatetime,
    PlainSerializer,
    TypeAdapter,
    computed_field,
)
from typing_extensions import TypedDict

from queues import Queue
from queues.naming import QueueDeclarationError
from runs import Retry, acheckpoint, checkpoint, current_run, log, step, task
from runs.errors import DeclarationError, InvalidPayload, NotInRun, NotSerializable
from runs.sdk import codec
from runs.sdk.task import registry


class Report(BaseModel):
    title: str
    pages: int = 1


@step
def double(n: int) -> int:
    return 2 * n


@step(name="other", retry=Retry(max_attempts=2), timeout=5)
async def double_later(n: int) -> int:
    return 2 * n


@task(id="unit-report")
async def report(topic: str, depth: int = 3) -> Report:
    log.info("outside a run this goes to logging", topic=topic)
    return Report(title=topic, pages=double(depth) + await double_later(depth))


@task
def plain(items: list[Report]) -> int:
    return len(items)


def test_a_task_called_directly_is_the_plain_function() -> None:
    assert asyncio.run(report("kelp")) == Report(title="kelp", pages=12)
    assert plain([]) == 0
    assert plain.__name__ == "plain"
    assert registry.get("plain") is plain


def test_what_needs_a_run_says_so_outside_one() -> None:
    with pytest.raises(NotInRun, match="inside a task"):
        current_run()
    with pytest.raises(NotInRun):
        checkpoint({})
    with pytest.raises(NotInRun):
        asyncio.run(acheckpoint({}))


def test_a_payload_is_validated_and_its_field_named() -> None:
    assert report.encode_payload({"topic": "kelp"}) == '{"topic":"kelp"}'
    assert plain.encode_payload({"items": [{"title": "a"}]}) == '{"items":[{"title":"a","pages":1}]}'
    with pytest.raises(InvalidPayload) as refused:
        plain.encode_payload({"items": [{"title": "a"}, {"pages": "x"}]})
    assert [e["field"] for e in refused.value.data["errors"]] == ["payload.items[1].title", "payload.items[1].pages"]


class Square(BaseModel):
    """Writes what it refuses to read."""

    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


@task(id="unit-squares")
def squares(given: list[Square]) -> Square:
    return given[0]


def test_a_payload_whose_json_the_run_could_not_read_is_refused_when_it_is_enqueued() -> None:
    with pytest.raises(InvalidPayload, match=r"payload\.given\[0\]\.area: its JSON cannot be read again") as refused:
        squares.encode_payload({"given": [Square(side=3)]})
    assert [e["field"] for e in refused.value.data["errors"]] == ["payload.given[0].area"]


class Plain(TypedDict):
    names: list[str]
    counts: NotRequired[dict[str, int]]


class Renamed(BaseModel):
    name: str = Field(serialization_alias="title")


@pytest.mark.parametrize("kind", [int, str | None, list[str], dict[str, list[float]], Plain, dict, Any])
def test_types_of_text_and_numbers_need_not_be_read_back(kind: Any) -> None:
    assert codec.is_plain(TypeAdapter(kind))


@pytest.mark.parametrize(
    "kind",
    [
        Square,
        list[Renamed],
        FutureDatetime,
        bytes,
        dict[int, str],
        Annotated[int, AfterValidator(abs)],
        Annotated[str, PlainSerializer(lambda text: f"{text}!")],
        TypedDict("Aliased", {"a": Annotated[int, Field(serialization_alias="b")]}),
    ],
)
def test_types_whose_json_may_be_something_else_are_read_back(kind: Any) -> None:
    assert not codec.is_plain(TypeAdapter(kind))


def test_declarations_that_cannot_work_say_what_to_write() -> None:
    with pytest.raises(DeclarationError, match="letters, digits"):
        task(id="no spaces")(lambda: None)
    with pytest.raises(DeclarationError, match="give each parameter a name"):

        @task(id="star")
        def star(*args: int) -> None: ...

    with pytest.raises(DeclarationError, match="async def"):

        @step(timeout=1)
        def slow() -> None: ...

    with pytest.raises(DeclarationError, match="cannot be resolved"):

        @task(id="unresolved")
        def unresolved(x: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(DeclarationError, match="Two tasks have the id"):

        @task(id="plain")
        def another() -> None: ...

    with pytest.raises(DeclarationError, match="timedelta"):
        task(id="negative", max_duration=-1)(lambda: None)


@pytest.mark.parametrize("limit", [0, -1, 10**12, True, 1.5])
def test_nonsense_limits_are_refused_at_import(limit: Any) -> None:
    with pytest.raises(QueueDeclarationError, match="whole number from 1"):
        Queue("nonsense", concurrency_limit=limit)


def test_a_queue_is_declared_once() -> None:
    assert Queue("unit-once", concurrency_limit=2) == Queue("unit-once", concurrency_limit=2)
    with pytest.raises(QueueDeclarationError, match="declared twice"):
        Queue("unit-once", concurrency_limit=3)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": object()}]}, "x.a[1].b"),
        ({"a": math.nan}, "x"),
        ({"a": [math.inf]}, "x"),
        ({"a": "nul\x00"}, "x.a"),
        (["half \ud800"], "x[0]"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named(value: Any, path: str) -> None:
    with pytest.raises(NotSerializable, match=rf"^{path.replace('[', chr(92) + '[')}"):
        codec.dump(None, value, "x")


@pytest.mark.parametrize("value", [None, 0, "ü\n", [1.5, None], {"null": None}, {"NaN": "Infinity"}, 2**200, (1, 2)])
def test_a_value_that_can_be_stored_is(value: Any) -> None:
    import json

    assert json.loads(codec.dump(None, value, "x")) == (list(value) if isinstance(value, tuple) else value)
