"""/changes."""

from __future__ import annotations

from typing import Any

from holdfast.access.grants import Actor
from queues import services as queues

ACTOR = Actor.local()


def test_the_api_tells_the_same(api: Any) -> None:
    queues.queue_update("default", ACTOR, reason="slow", concurrency_limit=3)
    found = api.get("/changes?kind=queues").json()
    assert found["next"] is None
    assert found["items"][0] | {"id": 0, "at": ""} == {
        "id": 0,
        "at": "",
        "kind": "queues",
        "action": "queues.update",
        "object_type": "queue",
        "object_id": "default",
        "by": ACTOR.label,
        "reason": "slow",
        "before": found["items"][0]["before"],
        "after": found["items"][0]["after"],
    }
    assert found["items"][0]["after"]["concurrency_limit"] == 3
    assert api.get("/changes?span=1y").json()["errors"][0]["field"] == "span"
    assert api.get("/changes?spam=7d").status_code == 422
