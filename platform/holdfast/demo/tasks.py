"""Tasks to try: each shows one thing that a first task of your own may need."""

# ruff: noqa: S311, T201 - pretended work may be random, and `print` inside a run is a feature to show

import asyncio
import random
import time
from datetime import date
from typing import Annotated, Literal

from django.db.models import Count, Sum
from django.utils import timezone
from pydantic import BaseModel, Field

from holdfast.demo.agent.task import research_agent as research_agent  # the agent has a folder of its own
from holdfast.demo.models import Order
from queues import Queue
from runs import Retry, log, step, task

reports = Queue("reports", concurrency_limit=2)

Text = Annotated[str, Field(min_length=1, max_length=20_000, description="Any text.")]
Share = Annotated[float, Field(ge=0, le=0.9, description="The share of tries that fails.")]


# --- count-words: a plain function in a thread ------------------------------------------------------------------------


@step
def count(text: str) -> dict[str, int]:
    """Counts each word."""
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


@task(id="count-words")
def count_words(text: Text, top: Annotated[int, Field(ge=1, le=100)] = 10) -> dict[str, int]:
    """Counts the words of a text; a plain function, which runs in a thread."""
    counts = count(text)
    print(f"{sum(counts.values())} words, {len(counts)} different ones")
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:top])


# --- flaky-fetch: a step with a retry policy of its own ---------------------------------------------------------------


@step(retry=Retry(max_attempts=6, min_delay=0.3, max_delay=1.5))
async def fetch(url: str, failure_rate: float) -> int:
    """Stands for a server with bad days. Returns the size of what it sent."""
    await asyncio.sleep(random.uniform(0.2, 0.6))
    if random.random() < failure_rate:
        raise ConnectionResetError(f"{url} closed the connection")
    return random.randint(2_000, 90_000)


@task(id="flaky-fetch", retry=Retry(max_attempts=2, min_delay=2.0, max_delay=5.0))
async def flaky_fetch(url: str = "https://example.org/feed", failure_rate: Share = 0.5) -> int:
    """Fetches from a server that often fails: the step tries again by itself before the run has to."""
    size = await fetch(url, failure_rate)
    log.info("fetched", url=url, bytes=size)
    return size


# --- nightly-report: reads the database, one step for each part -------------------------------------------------------


class ReportLine(BaseModel):
    """One line of the nightly report."""

    item: str
    orders: int
    pieces: int


@step
def orders_of(day: date) -> list[ReportLine]:
    """The day's orders by item."""
    by_item = Order.objects.filter(created_at__date=day).values("item").order_by("item")
    return [ReportLine(**line) for line in by_item.annotate(orders=Count("id"), pieces=Sum("quantity"))]


@step
def render_report(lines: list[ReportLine], style: str) -> str:
    """Stands for the slow part."""
    time.sleep(1.0)
    rows = [f"{line.item}: {line.pieces} in {line.orders} orders" for line in lines] or ["no orders"]
    return ("\n" if style == "text" else "; ").join(rows)


@task(id="nightly-report", queue=reports, retry=Retry(max_attempts=5, min_delay=1.0, max_delay=60.0))
def nightly_report(day: date | None = None, style: Literal["text", "line"] = "text") -> str:
    """Sums up the orders of a day, today's unless given."""
    chosen = day or timezone.now().date()
    log.info("reporting", day=str(chosen))
    return render_report(orders_of(chosen), style)


# --- send-receipt: enqueued by a view, in its transaction; see views.py -----------------------------------------------


@step
def write_receipt(order_id: int) -> str:
    """Makes the receipt and stores it with the order."""
    order = Order.objects.get(pk=order_id)
    time.sleep(0.5)
    order.receipt = f"R-{order.pk:06d}: {order.quantity} × {order.item} for {order.customer}"
    order.save(update_fields=["receipt"])
    return order.receipt


@task(id="send-receipt", retry=Retry(max_attempts=4, min_delay=1.0, max_delay=30.0))
def send_receipt(order_id: int) -> str:
    """Writes the receipt of an order."""
    receipt = write_receipt(order_id)
    log.info("receipt sent", order=order_id)
    return receipt
