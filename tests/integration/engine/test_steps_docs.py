"""The examples of `platform/docs/steps.md` do what the text says."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.demo.models import Order
from runs import waitlinks
from runs.models import Wait
from tests.support.api import Caller
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, snapshots, the
from tests.support.waiting import eventually


def test_the_examples_of_the_page_run(documented: Callable[[str], Fleet]) -> None:
    fleet = documented("steps.md")
    fleet.environment["HOLDFAST_DEMO"] = "1"
    fleet.worker("worker-1")
    assert the("order-by-thread").enqueue("ann").result(timeout=60) == f"receipt of order {Order.objects.get().pk}"
    assert the("order-by-loop").enqueue("bob").result(timeout=60) == Order.objects.get(customer="bob").pk
    assert the("copy-rows").enqueue(800).result(timeout=60) == 300
    assert the("pay-order").enqueue(7).result(timeout=60) == "transfer for order 7"
    assert the("words-in-download").enqueue("kelp").result(timeout=60) == 3
    film = the("make-film").enqueue("kelp")
    asked = eventually(lambda: Wait.objects.filter(run_id=film.id).first(), "it is handed over")
    answer = Caller().post(waitlinks.url(asked.pk).partition("/api/v1")[2], {"value": 90})
    assert (answer.status_code, film.result(timeout=60)) == (200, 90)
    lost = the("pay-order").enqueue(13)
    assert lost.result(timeout=60) == "transfer for order 13"
    assert [s.kind for s in snapshots(lost.id)] == ["intent", "step"]
    refused = the("pay-order").enqueue(-1)
    all_final([refused.id])
    assert run(refused.id).status == "failed"
    assert [s.kind for s in snapshots(refused.id)] == ["intent", "failure", "intent", "failure"]
