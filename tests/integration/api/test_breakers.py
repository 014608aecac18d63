"""/breakers."""

from typing import Any

from django.utils import timezone

from queues.models import Breaker


def test_a_breaker_is_read_held_and_let_go(api: Any) -> None:
    numbers = {"failure_rate": 0.5, "min_calls": 10, "window": 30, "slow_rate": 1, "cooldown": 30, "probes": 3}
    Breaker.objects.create(name="openai", since=timezone.now(), **numbers)
    (found,) = api.get("/breakers").json()["items"]
    assert (found["name"], found["state"], found["calls"], found["forced"]) == ("openai", "closed", 0, False)
    held = api.post("/breakers/openai/force", {"state": "open", "reason": "unpaid"}).json()
    assert (held["state"], held["forced"], held["forced_reason"]) == ("open", True, "unpaid")
    assert api.post("/breakers/openai/release").json()["state"] == "closed"
    for wrong in ({}, {"state": "ajar"}, {"state": None}, {"state": "open", "reason": 5}):
        assert api.post("/breakers/openai/force", wrong).status_code == 422
    missing = api.post("/breakers/opeani/force", {"state": "open"})
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_breaker")
    assert "openai" in missing.json()["detail"]
