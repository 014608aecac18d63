"""The examples of the pages about hooks, usage and budgets do what the pages say."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from holdfast.access.grants import Actor
from runs import budgets
from runs.models import Usage
from tests.support.processes import Fleet
from tests.support.runs import all_final, lines, run, the
from tests.support.waiting import eventually

ACTOR = Actor.system("test")


def test_the_hooks_the_middleware_and_the_progress_of_the_page(documented: Callable[[str], Fleet]) -> None:
    documented("hooks.md").worker("worker-1")
    assert the("import-orders").enqueue(day="monday").result(timeout=60) == 6
    closed = the("import-orders").enqueue(day="sunday")
    all_final([closed.id])
    said = eventually(
        lambda: len(found := [x.message for x in lines(closed.id)]) == 2 and found, "both hooks have said"
    )
    assert said == ["the import has begun", "import-orders failed: ValueError: the shop is closed"]
    document = the("read-document").enqueue(name="kelp", pages=["one", "three"])
    assert document.result(timeout=60) == 8
    assert [x.message for x in lines(document.id)] == [
        "one, read by read-document, attempt 1",
        "three, read by read-document, attempt 1",
    ]
    published = document.query()
    assert (published.progress, published.words) == (1.0, "page 2 of 2")
    assert published.metadata == {"document": "kelp", "pages": 2}


def test_the_run_of_the_page_is_parked_at_its_budget_and_a_top_up_lets_it_go_on(
    documented: Callable[[str], Fleet],
) -> None:
    fleet = documented("usage-and-budgets.md")
    fleet.pair()
    handle = the("research-topics").enqueue(topics=["kelp", "dulse", "nori"])
    eventually(lambda: run(handle.id).status == "waiting", "the run is parked")
    waiting_for = run(handle.id).waiting_for
    assert (waiting_for["kind"], waiting_for["unit"]) == ("budget", "cost")
    budgets.run_top_up(handle.id, budget={"cost": Decimal("1.50")}, actor=ACTOR, reason="worth it")
    assert handle.result(timeout=60) == ["much about kelp", "much about dulse", "much about nori"]
    used = dict(Usage.objects.filter(run_id=handle.id).values_list("unit", "amount"))
    assert {unit: used[unit] for unit in ("cost", "searches", "tokens_in")} == {
        "cost": Decimal("0.06"),
        "searches": 9,
        "tokens_in": len("kelpdulsenori"),
    }
