"""GET /runs/{id}/why."""

from typing import Any

from queues.models import Queue
from tests.support import stored


def test_a_run_says_why_it_waits_and_nothing_when_it_does_not(api: Any) -> None:
    Queue.objects.filter(name="default").update(concurrency_limit=1)
    stored.worker()
    waits = stored.run("queued")
    told = api.get(f"/runs/{waits.pk}/why").json()
    assert (told["reason"], told["gate"], told["ahead"], told["held"], told["holders"]) == (
        "next in line",
        "line",
        0,
        0,
        [],
    )
    done = api.get(f"/runs/{stored.run('completed').pk}/why").json()
    assert (done["reason"], done["gate"], done["predicted_start"]) == ("", "", None)
    assert api.get("/runs/01900000-0000-7000-8000-000000000000/why").status_code == 404
    assert api.get("/runs/nonsense/why").status_code in (404, 422)
