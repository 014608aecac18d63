"""The examples of `platform/docs/steps.md` do what the text says."""

from __future__ import annotations

import re

import pytest

from holdfast.demo.models import Order
from runs import registration
from tests.support.processes import ROOT, TASKS, Fleet
from tests.support.runs import all_final, run, snapshots, the

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def documented(fleet: Fleet) -> Fleet:
    """A worker that knows the tasks of the page."""
    from django.conf import settings

    path = fleet.ledger.folder / "steps_of_the_docs.py"
    path.write_text("\n\n".join(BLOCK.findall((ROOT / "platform/docs/steps.md").read_text("utf-8"))), "utf-8")
    settings.HOLDFAST_TASKS = [str(TASKS), str(path)]
    fleet.environment |= {"HOLDFAST_TASKS": f"{TASKS},{path}", "HOLDFAST_DEMO": "1"}
    registration.discover()
    registration.register_all()
    fleet.worker("worker-1")
    return fleet


def test_the_examples_of_the_page_run(documented: Fleet) -> None:
    assert the("order-by-thread").enqueue("ann").result(timeout=20) == f"receipt of order {Order.objects.get().pk}"
    assert the("order-by-loop").enqueue("bob").result(timeout=20) == Order.objects.get(customer="bob").pk
    assert the("copy-rows").enqueue(800).result(timeout=20) == 300
    assert the("pay-order").enqueue(7).result(timeout=20) == "transfer for order 7"
    lost = the("pay-order").enqueue(13)
    assert lost.result(timeout=20) == "transfer for order 13"
    assert [s.kind for s in snapshots(lost.id)] == ["intent", "step"]
    refused = the("pay-order").enqueue(-1)
    all_final([refused.id])
    assert run(refused.id).status == "failed"
    assert [s.kind for s in snapshots(refused.id)] == ["intent", "failure", "intent", "failure"]
