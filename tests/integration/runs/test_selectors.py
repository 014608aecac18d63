"""Lists of runs stay quick whatever is in the tables: by index, by keyset, and never counted beyond the cap."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from queues.models import Queue
from queues.selectors import EXACT_UP_TO
from runs import selectors
from runs.filters import RunFilter
from runs.models import Run

pytestmark = pytest.mark.django_db

FILL = """
INSERT INTO runs_run (id, task_id, queue_id, status, payload, tags, trace_id, created_at, finished_at)
SELECT uuidv7(), %(task)s, %(queue)s, %(status)s, '{}', %(tags)s::varchar[], 't', now(), %(finished)s
FROM generate_series(1, %(count)s)
"""


@pytest.fixture
def queue() -> Queue:
    return Queue.objects.create(name="listed")


def fill(queue: Queue, count: int, status: str, tags: list[str] | None = None) -> None:
    with connection.cursor() as cursor:
        numbers = {"queue": queue.pk, "task": queue.name, "status": status, "count": count, "tags": tags or []}
        numbers["finished"] = None if status in {"queued", "running", "retrying"} else "2026-01-01T00:00:00Z"
        cursor.execute(FILL, numbers)


def test_counts_are_exact_up_to_ten_thousand_and_then_say_more(queue: Queue) -> None:
    fill(queue, EXACT_UP_TO - 1, "completed")
    fill(queue, 1, "failed")
    assert selectors.runs_count() == EXACT_UP_TO
    fill(queue, 5, "failed")
    assert selectors.runs_count() == EXACT_UP_TO + 1
    assert selectors.runs_count(RunFilter(statuses=("failed", "completed"))) == EXACT_UP_TO + 1
    assert selectors.runs_count(RunFilter(statuses=("failed",))) == 6
    assert selectors.status_counts(["failed", "completed", "queued"]) == {
        "failed": 6,
        "completed": EXACT_UP_TO - 1,
        "queued": 0,
    }


@pytest.mark.parametrize(
    ("chosen", "index"),
    [
        (RunFilter(), "runs_run_pkey"),
        (RunFilter(statuses=("failed",)), "run_by_status"),
        (RunFilter(task="listed"), "run_by_task"),
        (RunFilter(queue="listed"), "run_by_queue"),
    ],
    ids=["all", "status", "task", "queue"],
)
def test_a_list_is_read_from_its_index(queue: Queue, chosen: RunFilter, index: str) -> None:
    fill(Queue.objects.create(name="other"), 3_000, "queued")
    fill(queue, 50, "failed")
    fill(queue, 5, "queued", ["nightly"])
    with CaptureQueriesContext(connection) as queries:
        selectors.runs_page(chosen, limit=2)
        statement = next(q["sql"] for q in queries if q["sql"].startswith('SELECT "runs_run"."id" AS'))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_run")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan
    assert "Seq Scan" not in plan


def test_several_statuses_page_like_one_list(queue: Queue) -> None:
    for _ in range(4):
        for status in ("failed", "queued", "crashed", "completed"):
            fill(queue, 3, status)
    chosen = RunFilter(statuses=("failed", "crashed"))
    expected = list(Run.objects.filter(status__in=chosen.statuses).order_by("-id").values_list("id", flat=True))
    found, cursor = [], None
    while True:
        page = selectors.runs_page(chosen, cursor=cursor, limit=5)
        found += [run.id for run in page.items]
        if page.next is None:
            break
        cursor = page.next
    assert found == expected
    assert len(found) == 24


def test_a_list_without_bodies_reads_neither_payload_nor_output(queue: Queue) -> None:
    fill(queue, 3, "queued")
    with CaptureQueriesContext(connection) as queries:
        for run in selectors.runs_page().items:
            assert run.queue.name == "listed"
        assert not any("payload" in q["sql"] for q in queries)
        assert len(queries) == 2
