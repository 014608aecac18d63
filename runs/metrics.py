"""What Prometheus reads: gauges of PostgreSQL as it is at the scrape, the same from whichever web process it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from holdfast import db
from queues import metrics as queue_metrics
from queues.store import Conn
from runs.states import FINAL
from runs.store.statements import SQL

#: Full minutes over which runs that ended are counted.
MINUTES: Final = 5


class Holdfast(Collector):
    """All of Holdfast's families."""

    def collect(self) -> Iterator[Metric]:
        with db.callers() as conn:
            yield from queue_metrics.families(conn)
            yield _ended(conn)


def _ended(conn: Conn) -> Metric:
    family = GaugeMetricFamily(
        "holdfast_runs_ended_5m",
        f"Runs that ended in the last {MINUTES} full minutes. A gauge: it looks at rollups, not at a counter.",
        labels=("status",),
    )
    statuses = sorted(str(status) for status in FINAL)
    rows = conn.execute(SQL.ended_lately, {"minutes": MINUTES, "counted": statuses}).fetchall()
    counts: dict[str, int] = dict(rows)
    for status in statuses:
        family.add_metric((status,), counts.get(status, 0))
    return family


_registry = CollectorRegistry()
_registry.register(Holdfast())


def exposition(accept: str) -> tuple[bytes, str]:
    """Everything as text, and the text's content type: OpenMetrics where the header Accept asks for it, otherwise
    Prometheus' own."""
    encode, content_type = choose_encoder(accept)
    return encode(_registry), content_type
