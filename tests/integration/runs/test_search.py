"""Searches find what they ask for, by an index or within a bounded look; the page says how far, and what is wrong."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queues.models import Queue
from runs import lists, selectors
from runs.filters import InvalidFilter, RunFilter
from runs.models import Run, Task
from runs.search import plan
from runs.search.suggest import MOST, RECENT, ROWS, suggest
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db

MANY = """
INSERT INTO runs_run (id, task_id, queue_id, status, payload, tags, trace_id, attempt, version, worker_id,
                      concurrency_key, error, created_at, started_at, finished_at)
SELECT uuidv7(), 'task-' || n %% 7, %(queue)s, CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END,
       jsonb_build_object('n', n), CASE WHEN n %% 400 = 0 THEN '{rare}' ELSE '{}' END::varchar[], 't',
       1 + (n %% 100 = 0)::int, 'v' || n %% 5, %(worker)s, CASE WHEN n %% 300 = 0 THEN 'customer' END,
       CASE WHEN n %% 50 = 0 THEN '{"fingerprint": "f00d"}'::jsonb END, now(), now(), now()
FROM generate_series(1, %(count)s) n
"""


def found(text: str) -> set[str]:
    """The names that were given to the runs that a search finds."""
    page = selectors.runs_page(RunFilter.parse({"q": text}), bodies=True)
    return {run.payload["name"] for run in page.items}


@pytest.fixture
def fleet() -> None:
    """Three runs that differ in everything."""
    kelp, wrack = stored.worker("kelp"), stored.worker("wrack")
    stored.task("sync", "slow")
    stored.run(
        "failed",
        "sync",
        age=7200,
        took=90,
        attempt=3,
        tags=["x", "y"],
        concurrency_key="c-1",
        worker=kelp,
        version="v1",
        error=stored.error(),
        payload={"name": "old", "user": {"id": 42, "mail": "ann"}, "list": [5], "none": None},
    )
    stored.run(
        "retrying",
        age=600,
        attempt=2,
        tags=["y"],
        worker=wrack,
        version="v2",
        payload={"name": "mid", "user": {"id": "42"}, "total": 7.5},
    )
    stored.run("queued", age=1, payload={"name": "new", "user": {"id": 7}})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "old mid new"),
        ("status:failed,queued", "old new"),
        ("-status:failed,queued", "mid"),
        ("task:sync", "old"),
        ("-task:sync", "mid new"),
        ("task:nobody", ""),
        ("queue:slow", "old"),
        ("-queue:slow,nobody", "mid new"),
        ("-queue:nobody", "old mid new"),
        ("-worker:nobody status:failed", "old"),
        ("-nothing-like-this tag:y", "old mid"),
        ("-worker:nobody -worker:kelp,wrack", "new"),
        ("status:completed", ""),
        ("-status:failed,retrying,queued", ""),
        ("created:2020-01-01,2020-01-02", ""),
        ("created:1970-01-01", ""),
        ("created:<9999-12-30", "old mid new"),
        ("queue:nobody", ""),
        ("tag:y", "old mid"),
        ("tag:y tag:x", "old"),
        ("tag:x,y -tag:x", "mid"),
        ("-tag:x", "mid new"),
        ("is:ready", "new"),
        ("is:ready status:retrying", ""),
        ("-is:ready", "old mid"),
        ("is:ready,stuck", "new"),
        ("age:>5m", "old mid"),
        ("age:<=5m", "new"),
        ("age:>5m age:<1h", "mid"),
        ("-age:>5m", "new"),
        ("age:>36500d", ""),
        ("duration:>1m", "old mid"),
        ("duration:<100s", "old"),
        ("-duration:>1m", "new"),
        ("total:>1m", "old mid"),
        ("total:<100s", "old new"),
        ("-total:>1m", "new"),
        ("started:>2020-01-01", "old mid"),
        ("-started:>2020-01-01", "new"),
        ("created:>2020-01-01", "old mid new"),
        ("created:<2020-01-01", ""),
        ("finished:>2020-01-01", "old"),
        ("-finished:>2020-01-01", "mid new"),
        ("key:c-1", "old"),
        ("-key:c-1", "mid new"),
        ("worker:kelp", "old"),
        ("worker:kelp,wrack", "old mid"),
        ("-worker:kelp", "mid new"),
        ("worker:nobody", ""),
        ("version:v1,v2", "old mid"),
        ("attempt:>1", "old mid"),
        ("attempt:2,3 -attempt:3", "mid"),
        ("attempt:<2", "new"),
        ('error:"builno r"', "old"),
        ('-error:"builno r"', "mid new"),
        ("payload.user.id:42", "old"),
        ('payload.user.id:"42"', "mid"),
        ('payload.user.id:"42",42', "mid old"),
        ("payload.user.id:42.0", "old"),
        ("-payload.user.id:42", "mid new"),
        ("payload.user.id:>6", "old new"),
        ("payload.user.id:<=7", "new"),
        ("payload.user.mail:ann", "old"),
        ("payload.list.0:5", "old"),
        ("payload.none:null", "old"),
        ("payload.total:7.5", "mid"),
        ("syn", "old"),
        ("um", "mid new"),
        ("-syn", "mid new"),
        ("nothing-like-this", ""),
        ("status:retrying tag:y worker:wrack attempt:2 age:>1m version:v2 -key:c-1", "mid"),
    ],
)
def test_each_term_finds_its_runs(fleet: None, text: str, names: str) -> None:
    assert found(text) == set(names.split())


def test_a_run_is_found_by_its_id_and_its_parent(fleet: None) -> None:
    parent = Run.objects.get(status="failed")
    stored.run(payload={"name": "child"}, parent_id=parent.id)
    assert found(str(parent.id)) == {"old"}
    assert found(f"id:{parent.id}") == {"old"}
    assert found(f"parent:{parent.id}") == {"child"}
    assert found(f"-parent:{parent.id}") == {"old", "mid", "new"}


# --- by an index, or bounded ------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> int:
    count = 30_000
    queue, worker = stored.queue("full"), stored.worker()
    for number in range(7):
        stored.task(f"task-{number}", "full")
    with connection.cursor() as cursor:
        cursor.execute(MANY, {"queue": queue.pk, "worker": worker.pk, "count": count})
        cursor.execute("ANALYZE runs_run")
    return count


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for part in node.get("Plans", []) for inner in nodes(part))]


def explained(text: str) -> list[dict[str, Any]]:
    """The nodes of the plans of all statements that a search makes on runs."""
    with CaptureQueriesContext(connection) as queries:
        selectors.runs_page(RunFilter.parse({"q": text}))
    statements = [q["sql"] for q in queries if '"runs_run"' in q["sql"] and "queues_queue" not in q["sql"]]
    assert statements
    listed = []
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            (plans,) = cursor.fetchone()
        listed += nodes((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"])
    return listed


TERMS = {
    "status:failed": "run_by_status",
    "status:failed,crashed": "run_by_status",
    "task:task-1": "run_by_task",
    "task-1": "run_by_task",
    "task:task-1 status:failed": "run_bad_by_task",
    "queue:full": "runs_run_pkey run_by_queue",
    "tag:rare": "run_by_tag",
    "key:customer": "run_by_key",
    "error:f00d": "run_by_error",
    "worker:kelp": "runs_run_pkey run_by_worker",
    "version:v1": "run_by_version",
    "attempt:>1": "run_retried",
    "parent:01900000-0000-7000-8000-000000000000": "run_by_parent",
    "id:01900000-0000-7000-8000-000000000000": "runs_run_pkey",
    "age:<1h": "runs_run_pkey",
    "created:>2026-01-01": "runs_run_pkey",
    "finished:>2026-01-01": "runs_run_pkey",
    "duration:>1h": "runs_run_pkey",
    "total:>1h": "runs_run_pkey",
    "started:>2026-01-01": "runs_run_pkey",
    "payload.n:29999": "runs_run_pkey",
    "payload.n:-1": "runs_run_pkey",
    "-task:task-1": "runs_run_pkey",
    "status:completed": "runs_run_pkey",
    "status:failed payload.n:-1": "run_by_status run_bad_by_queue run_bad_by_task",
    "tag:rare payload.n:-1": "run_by_tag",
}


def test_no_term_reads_the_table_without_a_bound(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index gives the runs of each term, and no statement passes more of them than a look may."""
    monkeypatch.setattr(plan, "WINDOW", 5_000)
    for text, indexes in TERMS.items():
        plans = explained(text)
        assert [n["Node Type"] for n in plans if "Seq Scan" in n["Node Type"]] == [], text
        used = {n["Index Name"] for n in plans if "Index Name" in n}
        assert used & set(indexes.split()), (text, used)
        passed = [
            n["Actual Rows"] + n.get("Rows Removed by Filter", 0)
            for n in plans
            if "Index Scan" in n["Node Type"] and "Bitmap" not in n["Node Type"]
        ]
        assert max(passed, default=0) <= 5_001, (text, passed)


def test_a_look_that_was_not_enough_says_how_far_it_went_and_goes_on(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "WINDOW", 8_000)
    chosen, seen, looks, cursor = RunFilter.parse({"q": "payload.n:17,29017"}), [], 0, None
    while True:
        page = selectors.runs_page(chosen, cursor=cursor, limit=5, bodies=True)
        seen += [run.payload["n"] for run in page.items]
        looks += 1
        assert (page.searched_to is None) == (page.next is None)
        if page.next is None:
            break
        cursor = page.next
    assert (seen, looks) == ([29017, 17], 4)


def test_branches_that_stop_at_different_places_lose_no_run_and_tell_none_twice(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "WINDOW", 900)
    chosen = RunFilter.parse({"q": "task:task-1,task-2,task-3 payload.n:>10 -status:failed"})
    expected = list(
        Run.objects.filter(task_id__in=["task-1", "task-2", "task-3"], payload__n__gt=10)
        .exclude(status="failed")
        .order_by("-id")[:2_000]
        .values_list("id", flat=True)
    )
    seen, cursor = [], None
    while len(seen) < 2_000:
        page = selectors.runs_page(chosen, cursor=cursor, limit=200)
        seen += [run.id for run in page.items]
        cursor = page.next
    assert seen[:2_000] == expected


def test_a_tag_of_too_many_runs_is_looked_for_in_the_newest(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WINDOW", 50)
    page = selectors.runs_page(RunFilter.parse({"q": "tag:rare"}))
    assert page.searched_to
    assert page.next


def test_a_search_that_takes_too_long_is_given_up_with_a_hint(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PATIENCE", 1)
    with pytest.raises(InvalidFilter, match="add a term that leaves fewer runs"):
        selectors.runs_page(RunFilter.parse({"q": "payload.n:-1"}))
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_counts_and_arrivals_know_the_search(fleet: None) -> None:
    chosen = RunFilter.parse({"q": "tag:y attempt:>1"})
    assert selectors.runs_count(chosen) == 2
    assert selectors.runs_count(RunFilter.parse({"q": "queue:nobody"})) == 0
    shown = [run.id for run in selectors.runs_page(chosen).items]
    stored.run(age=0, tags=["y"], attempt=2)
    stored.run(age=0, tags=["y"])
    Run.objects.filter(pk=shown[0]).update(attempt=1)
    again = lists.again(chosen, shown, newest=True)
    assert (again.arrivals, [row.fits for row in again.rows]) == (1, [False, True])


# --- the page ---------------------------------------------------------------------------------------------------------


def page(client: Client, q: str, status: int = 200, **more: str) -> str:
    response = client.get("/runs/", {"q": q, **more})
    assert response.status_code == status, response.content[:300]
    return response.content.decode()


def test_the_page_keeps_one_query_in_box_tabs_and_choices(fleet: None) -> None:
    text = page(signed_in("viewer"), "tag:y age:>5m", task="sync")
    assert 'value="task:sync tag:y age:&gt;5m"' in text
    assert "?q=task:sync+tag:y+age:%3E5m+status:queued" in text
    assert '<input type="hidden" name="q" value="tag:y age:&gt;5m">' in text
    assert "<option selected>sync</option>" in text
    assert len(re.findall("data-run=", text)) == 1


def test_the_page_points_at_what_is_wrong_and_keeps_what_was_typed() -> None:
    text = page(signed_in("viewer"), 'stauts:failed tag:"<b>"', 422)
    assert 'value="stauts:failed tag:&quot;&lt;b&gt;&quot;"' in text
    assert "<code><mark>stauts:</mark>failed tag:" in text
    assert "did you mean status:?" in text
    assert "/runs/?q=status:failed+tag:%22%3Cb%3E%22" in text
    assert "<b>" not in text.split('role="alert"')[1].split("</div>")[0]


def test_an_open_page_keeps_what_it_shows_when_its_search_is_given_up(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PATIENCE", 1)
    client = signed_in("viewer")
    assert "add a term that leaves fewer runs" in page(client, "payload.n:-1", 422)
    assert client.get("/runs/", {"q": "payload.n:-1"}, headers={"HX-Request": "true"}).status_code == 204


def test_the_page_says_how_far_it_has_looked(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WINDOW", 1_000)
    client = signed_in("viewer")
    text = page(client, "payload.n:1")
    assert "No run fits so far" in text
    assert "Look further" in text
    assert "looked at runs back to" in page(client, "payload.n:>29990")


# --- what could be typed next -----------------------------------------------------------------------------------------


def offered(text: str, at: int | None = None) -> list[str]:
    return [choice.text for choice in suggest(text, len(text) if at is None else at).choices]


def test_names_and_values_that_are_there_are_offered(fleet: None) -> None:
    stored.task(
        "typed",
        payload_schema={
            "properties": {"user": {"$ref": "#/$defs/U"}, "n": {"type": "integer"}},
            "$defs": {"U": {"properties": {"id": {"type": "integer"}}}},
        },
    )
    assert offered("")[:3] == ["status:", "task:", "queue:"]
    assert offered("sta") == ["status:", "started:"]
    assert offered("-que") == ["queue:"]
    assert offered("syn") == ["task:sync"]
    assert offered("m") == ["task:sums"]
    assert offered("y") == ["task:sync", "task:typed"]
    assert offered("ty") == ["task:typed"]
    assert offered("status:can") == ["cancelled", "cancelling"] or offered("status:can") == ["cancelling", "cancelled"]
    assert offered("status:failed,que") == ["queued"]
    assert offered("task:YN") == ["sync"]
    assert offered("queue:") == ["default", "slow"]
    assert offered("tag:") == ["y", "x"]
    assert offered("key:c") == ["c-1"]
    assert set(offered("worker:")) == {"kelp", "wrack"}
    assert set(offered("version:v")) == {"v1", "v2"}
    assert offered("error:") == ['"builno r"']
    assert offered("age:1h") == [">1h", "<1h"]
    assert offered("total:1h") == [">1h", "<1h"]
    assert offered("age:>1") == ["1m", "10m", "1h", "1d"]
    assert offered("payload.") == ["payload.n:", "payload.user.id:"]
    assert offered("nonsense:x") == []


def test_of_very_many_tags_tasks_and_queues_what_was_typed_is_found() -> None:
    of = stored.run("completed", age=90_000, tags=["nightly-report"])
    for number in range(0, RECENT + 200, 200):
        at = timezone.now() - timedelta(seconds=80_000 - number)
        Run.objects.bulk_create(
            Run(
                id=stored.uuid7(at), task=of.task, queue=of.queue, status="completed", payload={}, max_attempts=1,
                trace_id=of.trace_id, created_at=at, started_at=at, finished_at=at, tags=[f"order-{number + one}"],
            )
            for one in range(200)
        )  # fmt: skip
    assert offered("tag:night") == ["nightly-report"], "it is not among the newest runs"
    assert suggest("tag:night", 9).choices[0].note == "1 of the last 1,201 runs"
    assert len(offered("tag:order")) == MOST
    assert offered("tag:nowhere") == []
    Queue.objects.bulk_create(Queue(name=f"a-{number:04}-mail") for number in range(ROWS))
    stored.queue("mail")
    assert offered("queue:mail")[0] == "mail", "it begins so, and comes before the many that have it inside"
    Task.objects.bulk_create(
        Task(id=f"a.{number:04}.mail", module="a", queue=of.queue, version="1", lane=0) for number in range(ROWS)
    )
    stored.task("mail.send")
    assert offered("task:mail")[0] == "mail.send"
    assert offered("mail")[0] == "task:mail.send"


def test_suggestions_replace_the_part_at_the_cursor(fleet: None) -> None:
    found = suggest('tag:"a b" status:fa age:>1m', 19)
    assert ([choice.text for choice in found.choices], found.start, found.end) == (["failed"], 17, 19)
    assert suggest("task:sy", 7).start == 5


def test_suggestions_are_for_those_who_may_see_runs(fleet: None) -> None:
    viewer = signed_in("viewer")
    answer = viewer.get("/runs/suggestions/", {"q": "queue:sl", "at": "8"}).json()
    assert answer == {"start": 6, "end": 8, "items": [{"text": "slow", "note": "", "open": False}]}
    assert Client().get("/runs/suggestions/").status_code in {302, 401, 403}
    for text, at in (("\x00", "x"), ("a" * 5_000, "99999"), ('"', "1"), ("payload.a.", "10")):
        assert viewer.get("/runs/suggestions/", {"q": text, "at": at}).status_code == 200
