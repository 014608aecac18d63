"""Types of payloads and results that read JSON otherwise than Python's values, whichever way a run comes about."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from holdfast.access.grants import Actor
from runs import services
from runs.errors import InvalidPayload
from runs.models import Run
from runs.schedules import services as schedules
from runs.sdk.handle import RunHandle
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, the

ACTOR = Actor.system("test")
#: A Delivery as JSON has it.
AS_JSON = {
    "at": "2026-11-30T08:00:00Z",
    "price": "12.50",
    "order": str(uuid.UUID(int=7)),
    "label": "_9hoZWxsbw==",
}


@pytest.fixture
def worked(hard: Fleet) -> Fleet:
    """One worker and the scheduler."""
    hard.pair()
    return hard


def result_of(run_id: uuid.UUID) -> Any:
    return RunHandle[Any](run_id, the("delivers").output).result(timeout=60)


def test_a_strict_model_is_taken_and_comes_back_by_every_way_in(worked: Fleet) -> None:
    delivery = the("delivers").output.validate_json(json.dumps(AS_JSON))
    assert delivery.label == b"\xff\xd8hello"
    handle = the("delivers").enqueue(delivery=delivery)
    payload = {"delivery": AS_JSON}
    by_api, _ = services.task_enqueue("delivers", payload, {}, actor=ACTOR)
    (in_a_batch,) = services.task_enqueue_many("delivers", [{"payload": payload}], actor=ACTOR)
    (by_event,) = services.event_emit("delivery.planned", payload, {}, actor=ACTOR)
    found = schedules.schedule_create("daily-delivery", ACTOR, task_id="delivers", every=86_400, payload=payload)
    scheduled = schedules.schedule_run(found.name, ACTOR)
    chained = the("delivers").then(the("delivers")).enqueue(delivery=delivery)
    assert handle.result(timeout=60) == delivery
    replayed = services.run_replay(handle.id, actor=ACTOR)
    for run_id in (by_api, in_a_batch, by_event, scheduled, replayed):
        assert result_of(run_id) == delivery
        assert run(run_id).payload == payload
    assert chained.result(timeout=60) == AS_JSON


def test_json_that_does_not_fit_a_strict_model_is_refused_with_its_field(hard: Fleet) -> None:
    with pytest.raises(InvalidPayload) as refused:
        services.task_enqueue("delivers", {"delivery": {**AS_JSON, "at": 7}}, {}, actor=ACTOR)
    assert [fault["field"] for fault in refused.value.data["errors"]] == ["payload.delivery.at"]


def test_a_result_that_its_own_type_cannot_read_fails_the_run_that_made_it(worked: Fleet) -> None:
    handle = the("wants-square").using(max_attempts=1).enqueue()
    all_final([handle.id])
    (child,) = Run.objects.filter(parent_id=handle.id)
    assert (child.status, child.error["type"]) == ("failed", "runs.errors.InvalidResult")
    assert "result fits its annotation, but its JSON cannot be read again: result.area" in child.error["message"]
    assert (run(handle.id).status, run(handle.id).error["type"]) == ("failed", "runs.errors.RunFailed")
