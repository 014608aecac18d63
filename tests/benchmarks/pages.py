"""`python -m tests.benchmarks.pages`: how soon the dashboard and the API answer over a large history.

It multiplies the seed's history to so many runs and log lines, asks every page, what these load, and the API's lists
some times within one process, and prints the server's time and the statements of each, worst first. Nothing is
asserted: the figures depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from asgiref.sync import async_to_sync
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.benchmarks import history
from tests.benchmarks.stage import Stage, stage

API: Final = "/api/v1"
POST: Final = "POST "  # what is asked by a form, which stands behind the address
CHARTS: Final = ("throughput", "failure-rate", "percentiles", "durations", "heatmap", "waits", "depth", "slots")
#: Searches of the list of runs: what is frequent, what is rare, what is nowhere.
SEARCHES: Final = (
    "status:failed", "status:retrying", "status:completed", "task:seeded-invoice", "task:seeded-invoice status:failed",
    "queue:seeded-llm status:failed", "-task:seeded-invoice status:failed", "tag:tenant:wonka", "tag:nowhere",
    "payload.tenant:acme", "payload.number:10042", "age:>20d", "age:<1h status:failed", "duration:>10m",
    "key:globex status:failed", "invoice",
)  # fmt: skip


@dataclass(slots=True)
class Figure:
    """What one address took."""

    address: str
    status: int = 0
    statements: int = 0
    times: list[float] = field(default_factory=list)  # milliseconds

    def at(self, share: float) -> float:
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.pages", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=2_500_000)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="only addresses that contain this")
    parser.add_argument("--data-dir", type=Path, help="keep the history there; it is measured again if it is there")
    options = parser.parse_args()
    console = Console()
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn(), TextColumn("{task.fields[at]}"))
    with Progress(*columns, console=console) as bar, stage(options.data_dir) as ground:
        if not ground.query("SELECT EXISTS (SELECT FROM runs_run)")[0][0]:
            line = bar.add_task("filling", total=None, at="")
            began = time.monotonic()
            counts = history.make(ground, options.runs, options.lines, lambda what: bar.update(line, at=what))
            made = f"{history.facts(counts)}; filled in {(time.monotonic() - began) / 60:.0f} min"
            bar.update(line, total=1, completed=1, at="")
            console.print(made, style="dim")
            furnish()
            sum_up(ground)
        asked = [address for address in addresses(ground) if options.only in address]
        line = bar.add_task("measuring", total=options.rounds * len(asked), at="")
        found = []
        for address in asked:
            bar.update(line, at=address[:60])
            found.append(measure(address, options.rounds))
            bar.advance(line, options.rounds)
        size = ground.query("SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0]
    console.print(table(found))
    everything = [value for one in found for value in one.times]
    console.print(
        f"{len(found)} addresses, {sum(one.at(0.95) >= 300 for one in found)} of them with a p95 of 300 ms or more; "
        f"all together p50 {statistics.median(everything):.0f} ms. {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, database {size}.",
        style="dim",
    )


def furnish() -> None:
    """One of each thing that has a page of its own."""
    from holdfast.access.grants import Actor
    from runs.alerts import channels
    from runs.alerts import services as alerts
    from runs.bulk import services as bulk
    from runs.outbound import services as endpoints
    from runs.savedviews import services as views
    from runs.schedules import services as schedules
    from runs.webhooks import services as webhooks

    who = Actor.local()
    webhooks.webhook_create("bench", "bench-clock", scheme="github", actor=who)
    endpoints.endpoint_create("bench", actor=who, url="https://shop.example/hook", enabled=False)
    schedules.schedule_create("bench", who, task_id="bench-clock", cron="0 3 * * *")
    channels.channel_create("bench", "slack", actor=who, url="https://chat.example/hook")
    alerts.alert_create("bench", actor=who, kind="failure_rate", threshold=20)
    views.view_save("bench", "status:failed", actor=who, shared=True)
    bulk.bulk_create(action="retry", actor=who, search="task:seeded-invoice status:failed")


def sum_up(ground: Stage) -> None:
    """What the scheduler would have done long ago."""
    from holdfast import db
    from runs import store

    with db.connect("bench") as conn:
        while store.sum_rollups(conn, age=0.0):
            pass
    ground.query("VACUUM (ANALYZE) runs_coarserollup")


def addresses(ground: Stage) -> list[str]:
    """Every page, what it loads, and every list of the API."""
    pages = list(_pages(ground))
    ours = [f"{API}{path}" for path in _api(ground)]
    return list(dict.fromkeys([*pages, *ours]))


def _one(ground: Stage, sql: str) -> Any:
    rows = ground.query(sql)
    return rows[0][0] if rows else ""


def _runs(ground: Stage) -> dict[str, Any]:
    """Runs of several kinds; the middle of the history, where nothing is in memory by chance."""
    return {
        "failed": _one(ground, "SELECT id FROM runs_run WHERE status = 'failed' ORDER BY id DESC OFFSET 500 LIMIT 1"),
        "completed": _one(ground, "SELECT id FROM runs_run WHERE id > first(now() - interval '9 days') LIMIT 1"),
        "parent": _one(ground, "SELECT parent_id FROM runs_run WHERE parent_id IS NOT NULL ORDER BY parent_id LIMIT 1"),
        "retrying": _one(ground, "SELECT id FROM runs_run WHERE status = 'retrying' ORDER BY id DESC LIMIT 1"),
        "waiting": _one(ground, "SELECT run_id FROM runs_wait WHERE resolved_at IS NULL LIMIT 1"),
    }


def _pages(ground: Stage) -> Iterator[str]:
    runs = _runs(ground)
    yield from ("/", "/?window=24h", "/verdict/", "/runs/", "/retries/", "/approvals/", "/queues/", "/tasks/", "/bulk/",
                "/schedules/", "/schedules/bench/", "/webhooks/", "/webhooks/in/bench/", "/webhooks/out/",
                "/webhooks/out/bench/", "/alerts/", "/alerts/?new", "/alerts/bench/", "/alerts/bench/preview/",
                "/alerts/channels/", "/alerts/channels/bench/", "/design/", "/runs/compare/")  # fmt: skip
    yield f"{POST}/queues/seeded-llm/what-if/?concurrency_limit=8"
    for window in ("1h", "24h"):
        yield f"/charts/failure-rate.json?window={window}"
        yield f"/charts/durations.json?window={window}"
        yield f"/charts/durations.json?window={window}&task=seeded-receipt-mail"
    for search in SEARCHES:
        yield f"/runs/?{urlencode({'q': search})}"
        yield f"/bulk/matching/?{urlencode({'q': search})}"
    yield f"/bulk/new/?{urlencode({'action': 'retry', 'q': 'status:failed'})}"
    yield "/runs/suggestions/?q=task:seeded-i"
    yield "/find/?q=invoice"
    yield f"/find/?q={runs['failed']}"
    for run in runs.values():
        for part in ("", "live/", "log/", "steps/", "steps/overview/", "children/", "updates/"):
            yield f"/runs/{run}/{part}"
    yield f"/runs/{runs['retrying']}/why/"
    yield f"/runs/compare/?a={runs['failed']}&b={runs['completed']}"
    yield f"/runs/{runs['failed']}/snapshots/1/"
    yield f"/waits/{_one(ground, 'SELECT id FROM runs_wait WHERE resolved_at IS NULL LIMIT 1')}/"
    yield f"/workers/{_one(ground, 'SELECT max(id) FROM queues_worker')}/"
    yield "/tasks/seeded-receipt-mail/"
    yield f"/bulk/{_one(ground, 'SELECT id FROM runs_bulkjob LIMIT 1')}/"
    yield from _errors(ground)
    for span in ("24h", "7d", "21d"):
        yield f"/changes/?span={span}"
    yield from _explore(ground)


def _errors(ground: Stage) -> Iterator[str]:
    often = _one(ground, "SELECT fingerprint FROM runs_errorcount GROUP BY 1 ORDER BY sum(count) DESC LIMIT 1")
    for span in ("24h", "7d", "30d"):
        yield f"/errors/?span={span}"
        yield f"/errors/{often}/?span={span}"
        yield f"/errors/{often}/chart/?span={span}"
    yield "/errors/?state=all&task=seeded-invoice"


def _explore(ground: Stage) -> Iterator[str]:
    end = ground.query("SELECT date_trunc('hour', max(minute)) FROM runs_rollup")[0][0]
    month = {"from": f"{end - timedelta(days=28):%Y-%m-%dT%H:%M}", "to": f"{end:%Y-%m-%dT%H:%M}"}
    for time_ in ({"span": "1h"}, {"span": "24h"}, {"span": "7d"}, month):
        for by in ("task", "version", "worker", "tag"):
            yield f"/explore/?{urlencode({**time_, 'by': by})}"
        for chart in CHARTS:
            yield f"/explore/charts/{chart}.json?{urlencode(time_)}"
        box = {"since": f"{end - timedelta(hours=1):%Y-%m-%dT%H:%M}", "over": "5s"}
        yield f"/explore/?{urlencode({**time_, **box})}"
    yield "/explore/?span=7d&task=seeded-invoice"


def _api(ground: Stage) -> Iterator[str]:
    runs = _runs(ground)
    yield from ("/runs", "/runs?status=failed", "/runs?task=seeded-invoice", "/tasks", "/tasks/seeded-invoice",
                "/queues", "/queues/seeded-llm", "/workers", "/waits", "/retries", "/errors", "/errors?span=30d",
                "/explore?span=24h", "/explore?span=7d", "/explore/differences?span=7d&over=10s", "/changes", "/alerts",
                "/alerts/bench", "/alerts/bench/preview", "/alerts/bench/firings", "/channels", "/channels/bench",
                "/channels/bench/deliveries", "/endpoints", "/endpoints/bench", "/endpoints/bench/deliveries",
                "/webhooks", "/webhooks/bench", "/webhooks/bench/deliveries", "/schedules", "/schedules/bench",
                "/views", "/breakers", "/breakers/seeded-llm-gateway", "/find?q=invoice", "/bulk",
                "/bulk/preview?action=retry&q=status:failed")  # fmt: skip
    job = _one(ground, "SELECT id FROM runs_bulkjob LIMIT 1")
    yield from (f"/bulk/{job}", f"/bulk/{job}/items")
    for part in ("", "/attempts", "/snapshots", "/logs", "/waits", "/updates", "/why", "/streams/default"):
        yield f"/runs/{runs['failed']}{part}"
    yield f"/compare?a={runs['failed']}&b={runs['completed']}"


def measure(address: str, rounds: int) -> Figure:
    """Asks an address some times. The first answer, which makes plans and reads from disk, does not count."""
    client, headers = _client()
    found = Figure(address)
    for number in range(rounds + 1):
        with counted() as statements:
            began = time.perf_counter()
            if address.startswith(POST):
                path, _, form = address.removeprefix(POST).partition("?")
                response = client.post(path, dict(parse_qsl(form)))
            else:
                response = client.get(address, headers=headers if address.startswith(API) else {})
            _body(response)
            took = (time.perf_counter() - began) * 1000
        if number or rounds == 1:
            found.times.append(took)
        found.status, found.statements = response.status_code, len(statements)
    return found


def _body(response: Any) -> bytes:
    """Reads all of it: an answer may be a stream, and that one of events."""
    if not response.streaming:
        return bytes(response.content)
    if not response.is_async:
        return b"".join(response.streaming_content)

    async def read() -> bytes:
        return b"".join([part async for part in response.streaming_content])

    return async_to_sync(read)()


_known: list[tuple[Any, dict[str, str]]] = []


def _client() -> tuple[Any, dict[str, str]]:
    """A browser of an administrator, which has a token besides."""
    if not _known:
        from django.contrib.auth.models import User
        from django.test import Client

        from holdfast.access.grants import Actor
        from holdfast.access.models import Membership
        from holdfast.access.services import token_create
        from holdfast.asgi import settle

        settle()  # as the server does before its first request
        user, _ = User.objects.get_or_create(username="bench")
        Membership.objects.update_or_create(user=user, defaults={"role": "admin"})
        client = Client(HTTP_HOST="localhost", raise_request_exception=False)
        client.force_login(user)
        _, token = token_create(name=f"bench-{time.time_ns()}", role="admin", actor=Actor.local())
        _known.append((client, {"Authorization": f"Bearer {token}"}))
    return _known[0]


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements of the block, Django's and those of `holdfast.db`."""
    from django.db import connection

    from holdfast import db

    found: list[str] = []
    execute = db._ServerBound.execute

    def direct(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(str(query))
        return execute(self, query, *args, **kwargs)

    def wrapped(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found.append(sql)
        return run(sql, params, many, context)

    db._ServerBound.execute = direct  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(wrapped):
            yield found
    finally:
        db._ServerBound.execute = execute  # type: ignore[method-assign]


def table(found: list[Figure]) -> Table:
    made = Table(title="Server time, ms", title_justify="left")
    for name in ("p50", "p95", "max", "statements", "status"):
        made.add_column(name, justify="right")
    made.add_column("address", overflow="fold")
    for one in sorted(found, key=lambda one: -one.at(0.95)):
        values = [f"{value:,.0f}" for value in (one.at(0.5), one.at(0.95), max(one.times))]
        style = "red" if one.at(0.95) >= 300 or one.status >= 400 else ""
        made.add_row(*values, str(one.statements), str(one.status), one.address, style=style)
    return made


if __name__ == "__main__":
    main()
