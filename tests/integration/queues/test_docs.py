"""The example of `platform/docs/queues.md` does what the text says."""

from __future__ import annotations

from collections.abc import Callable

from queues.models import BreakerCount, Queue, Start
from queues.rate import Rate
from tests.support.processes import Fleet
from tests.support.runs import the
from tests.support.waiting import eventually


def test_the_queue_of_the_page_is_made_and_serves(documented: Callable[[str], Fleet]) -> None:
    documented("queues.md").worker("worker-1")
    queue = Queue.objects.get(name="docs-llm")
    assert (queue.concurrency_limit, queue.rate) == (10, Rate(3, per="second"))
    assert the("docs-ask").enqueue("why").result(timeout=60) == "WHY"


def test_a_run_that_used_less_than_it_had_said_gives_the_rest_back(documented: Callable[[str], Fleet]) -> None:
    documented("queues.md").worker("worker-1")
    summarise = the("docs-summarise")
    handle = summarise.using(units=1_500, concurrency_key="tenant-7").enqueue(text="kelp is a brown alga")
    assert handle.result(timeout=60) == "kelp is a "
    counted = {
        (start.concurrency_key, start.slice is None): start.count
        for start in Start.objects.filter(queue__name="docs-tokens")
    }
    assert counted == {
        ("", False): 1_500,
        ("tenant-7", False): 1_500,
        ("", True): -600,
        ("tenant-7", True): -600,
    }


def test_the_breaker_of_the_page_lets_calls_through_and_counts_them(documented: Callable[[str], Fleet]) -> None:
    documented("breakers.md").worker("worker-1")
    assert the("docs-asks-behind-a-breaker").enqueue("why").result(timeout=60) == "WHY"
    found = eventually(lambda: BreakerCount.objects.filter(breaker__name="docs-openai").first(), "the call is counted")
    assert (found.calls, found.failures, found.breaker.retry_budget) == (1, 0, 0.2)
