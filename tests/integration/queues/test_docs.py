"""The example of `platform/docs/queues.md` does what the text says."""

from __future__ import annotations

import re

from queues.models import Queue
from queues.rate import Rate
from runs import registration
from tests.support.processes import ROOT, TASKS, Fleet
from tests.support.runs import the

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_queue_of_the_page_is_made_and_serves(fleet: Fleet) -> None:
    from django.conf import settings

    path = fleet.ledger.folder / "queues_of_the_docs.py"
    path.write_text("\n\n".join(BLOCK.findall((ROOT / "platform/docs/queues.md").read_text("utf-8"))), "utf-8")
    settings.HOLDFAST_TASKS = [str(TASKS), str(path)]
    fleet.environment["HOLDFAST_TASKS"] = f"{TASKS},{path}"
    registration.discover()
    registration.register_all()
    fleet.worker("worker-1")
    queue = Queue.objects.get(name="docs-llm")
    assert (queue.concurrency_limit, queue.rate) == (10, Rate(3, per="second"))
    assert the("docs-ask").enqueue("why").result(timeout=20) == "WHY"
