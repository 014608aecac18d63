"""Queues in Django's admin: edits go through the service."""

import uuid

import pytest
from django.test import Client
from django.utils import timezone

from holdfast.access.models import AuditEntry
from queues.models import Entry, Lane, Lease, Queue, Timer, Worker
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def queue() -> Queue:
    return Queue.objects.create(name="llm", concurrency_limit=3, declared={"concurrency_limit": 3})


@pytest.fixture
def admin() -> Client:
    client = signed_in("admin", "root")
    from django.contrib.auth.models import User

    User.objects.update(is_staff=True, is_superuser=True)
    return client


def edit(client: Client, queue: Queue, **form: str) -> str:
    response = client.post(f"/admin/queues/queue/{queue.pk}/change/", form, follow=True)
    return response.content.decode()


def test_an_edit_of_the_limit_is_audited_and_overrides_the_code(admin: Client, queue: Queue) -> None:
    edit(admin, queue, concurrency_limit="7", reason="more licences")
    queue.refresh_from_db()
    assert (queue.concurrency_limit, "concurrency_limit" in queue.edited, queue.declares("concurrency_limit")) == (
        7,
        True,
        3,
    )
    entry = AuditEntry.objects.get(action="queues.update")
    assert (entry.actor_label, entry.object_id, entry.reason) == ("root", "llm", "more licences")
    assert (entry.before["concurrency_limit"], entry.after["concurrency_limit"]) == (3, 7)


def test_an_empty_limit_is_no_limit(admin: Client, queue: Queue) -> None:
    edit(admin, queue, concurrency_limit="")
    queue.refresh_from_db()
    assert (queue.concurrency_limit, "concurrency_limit" in queue.edited) == (None, True)


@pytest.mark.parametrize("limit", ["0", "-1", "1000001", "many", "9" * 5000])
def test_a_limit_that_does_not_fit_is_said_on_the_page_and_nothing_changes(
    admin: Client, queue: Queue, limit: str
) -> None:
    assert "errorlist" in edit(admin, queue, concurrency_limit=limit)
    queue.refresh_from_db()
    assert queue.concurrency_limit == 3
    assert not AuditEntry.objects.exists()


def test_a_reason_that_the_service_refuses_is_said_on_the_page(admin: Client, queue: Queue) -> None:
    assert "control character" in edit(admin, queue, concurrency_limit="9", reason="a\x07b")
    queue.refresh_from_db()
    assert queue.concurrency_limit == 3


def test_nothing_but_the_limit_can_be_edited(admin: Client, queue: Queue) -> None:
    edit(admin, queue, concurrency_limit="3", name="other", pool="gpu", paused_by="me")
    queue.refresh_from_db()
    assert (queue.name, queue.pool, queue.paused_by) == ("llm", "default", "")
    assert admin.get("/admin/queues/queue/add/").status_code == 403
    assert admin.get(f"/admin/queues/queue/{queue.pk}/delete/").status_code == 403


def test_actions_pause_resume_and_take_an_edit_back(admin: Client, queue: Queue) -> None:
    def act(name: str) -> None:
        form = {"action": name, "_selected_action": [str(queue.pk)]}
        assert admin.post("/admin/queues/queue/", form).status_code == 302
        queue.refresh_from_db()

    edit(admin, queue, concurrency_limit="9")
    act("pause")
    assert (queue.paused, queue.paused_by) == (True, "root")
    act("resume")
    assert not queue.paused
    act("take_edit_back")
    assert (queue.concurrency_limit, "concurrency_limit" in queue.edited) == (3, False)
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["queues.update", "queues.pause", "queues.resume", "queues.update"]


def test_who_is_no_admin_does_not_get_in(queue: Queue) -> None:
    assert signed_in("developer").get("/admin/queues/queue/").status_code == 302


def test_what_flows_is_shown_found_by_its_id_and_never_changed(admin: Client, queue: Queue) -> None:
    now = timezone.now()
    worker = Worker.objects.create(name="w1", hostname="h", pid=1, coroutines=1, threads=1, server_started_at=now)
    shared = {"queue": queue, "lane": Lane.THREAD}
    rows = {
        "entry": Entry.objects.create(entry_id=uuid.uuid4(), ready_at=now, counts_from=now, **shared),
        "timer": Timer.objects.create(entry_id=uuid.uuid4(), due_at=now, **shared),
        "lease": Lease.objects.create(
            entry_id=uuid.uuid4(), worker=worker, token=1, priority=0, ready_at=now, leased_at=now, **shared
        ),
    }
    for name, row in rows.items():
        home = f"/admin/queues/{name}/"
        assert str(row.pk) in admin.get(home).content.decode()
        assert str(row.pk) in admin.get(home, {"q": str(row.pk)}).content.decode()
        assert str(row.pk) not in admin.get(home, {"q": "no-id"}).content.decode().replace("?q=no-id", "")
        assert admin.get(f"{home}{row.pk}/change/").status_code == 200
        assert admin.post(f"{home}{row.pk}/change/", {"priority": "9"}).status_code == 403
        assert admin.get(f"{home}add/").status_code == 403
        assert admin.get(f"{home}{row.pk}/delete/").status_code == 403
    assert "w1" in admin.get("/admin/queues/worker/", {"q": "w1"}).content.decode()
    assert admin.get(f"/admin/queues/worker/{worker.pk}/change/").status_code == 200
