"""The example of `platform/docs/queues.md` does what the text says."""

from __future__ import annotations

from collections.abc import Callable

from queues.models import Queue
from queues.rate import Rate
from tests.support.processes import Fleet
from tests.support.runs import the


def test_the_queue_of_the_page_is_made_and_serves(documented: Callable[[str], Fleet]) -> None:
    documented("queues.md").worker("worker-1")
    queue = Queue.objects.get(name="docs-llm")
    assert (queue.concurrency_limit, queue.rate) == (10, Rate(3, per="second"))
    assert the("docs-ask").enqueue("why").result(timeout=20) == "WHY"
