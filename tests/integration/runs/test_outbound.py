"""Outbound webhooks: services of others are told how runs have ended, signed, once for each end, and again until they
have taken it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues.models import Lease
from queues.services import queue_update
from runs import services as run_services
from runs.errors import HoldfastError, InvalidOption, OwnTask, WrongState
from runs.models import Run
from runs.outbound import selectors, sending, services, telling
from runs.outbound.model import Ending, Endpoint
from runs.tasks import PATIENT
from runs.webhooks import schemes
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.receiver import Receiver
from tests.support.runs import lines, the
from tests.support.waiting import eventually

ACTOR = Actor.local()
pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def worked(fleet: Fleet) -> Fleet:
    fleet.worker("worker-1")
    fleet.scheduler()
    return fleet


def make(url: str, name: str = "crm", **settings: Any) -> str:
    return services.endpoint_create(name, url=url, actor=ACTOR, **settings)[1]


def test_an_endpoint_hears_of_each_run_once_and_can_tell_who_says_so(worked: Fleet, receiver: Receiver) -> None:
    secret = make(receiver.url)
    good, bad = the("echo").using(tags=["t"]).enqueue("secret result"), the("never-lucky").enqueue()
    eventually(lambda: len(receiver.requests) == 2, "both are told")
    told = {body["data"]["id"]: body for body in receiver.bodies()}
    assert told[str(good.id)]["type"] == "run.completed"
    data = told[str(good.id)]["data"]
    assert (data["task"], data["queue"], data["status"], data["tags"]) == ("echo", "default", "completed", ["t"])
    assert data["error"] is None
    assert told[str(bad.id)]["type"] == "run.failed"
    assert told[str(bad.id)]["data"]["error"]["type"] == "ConnectionError"
    for headers, body in receiver.requests:
        assert b"secret result" not in body, "payloads and results stay here"
        assert schemes.standard(headers, body, [secret], time.time(), 300) == headers["webhook-id"]
        with pytest.raises(schemes.SignatureRefused):
            schemes.standard(headers, body + b" ", [secret], time.time(), 300)
    eventually(lambda: not Ending.objects.exists(), "all endings are dealt with")
    eventually(lambda: Run.objects.filter(task_id=telling.DELIVERS, status="completed").count() == 2, "both are done")
    assert len(receiver.requests) == 2, "nobody is told of the deliveries"


def test_what_is_not_taken_is_sent_again_under_the_same_id(worked: Fleet) -> None:
    with Receiver(500) as receiver:
        make(receiver.url)
        the("echo").enqueue("x")
        eventually(lambda: len(receiver.requests) == 2, "it comes again", timeout=PATIENT.ceiling(1) + 60)
        delivery = eventually(lambda: Run.objects.filter(task_id=telling.DELIVERS, status="completed").first(), "taken")
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert receiver.bodies()[0] == receiver.bodies()[1]
    assert (delivery.attempt, delivery.output["status"]) == (2, 204)


def test_an_endpoint_that_never_answers_holds_up_its_own_news_alone(fleet: Fleet, receiver: Receiver) -> None:
    queue_update("holdfast", ACTOR, key_concurrency_limit=2)
    fleet.worker("worker-1", HOLDFAST_CONCURRENCY="4")
    fleet.scheduler()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # the kernel takes what comes; nobody reads it
        make(f"http://127.0.0.1:{silent.getsockname()[1]}/", name="silent")
        make(receiver.url)
        for _ in range(10):
            the("echo").enqueue("x")
        # Were its news held up, the last of them would come when two of the silent one's turns are over.
        within = 1.5 * sending.TIMEOUT
        eventually(lambda: len(receiver.requests) == 10, "the other endpoint is told of all", within)
        own = Lease.objects.filter(queue__name="holdfast")
        eventually(lambda: own.count() == 2, "so many are under way to the silent one")
        assert {lease.concurrency_key for lease in own} == {"endpoint:silent"}


def test_what_was_taken_is_sent_again_under_another_id(worked: Fleet, receiver: Receiver) -> None:
    make(receiver.url)
    sent = services.endpoint_test("crm", actor=ACTOR)
    eventually(lambda: Run.objects.filter(pk=sent, status="completed").exists(), "it is taken")
    again = services.delivery_resend("crm", sent, actor=ACTOR)
    eventually(lambda: len(receiver.requests) == 2, "it comes again")
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == [str(sent), str(again)]
    assert receiver.bodies()[0] == receiver.bodies()[1]


def test_an_endpoint_that_is_gone_is_left_alone_and_redirects_are_not_followed(worked: Fleet) -> None:
    with Receiver(410, 302) as receiver:
        make(receiver.url)
        services.endpoint_test("crm", actor=ACTOR)
        gone = eventually(lambda: Run.objects.filter(task_id=telling.DELIVERS, status="failed").first(), "given up")
        assert "410" in gone.error["message"]
        services.endpoint_test("crm", actor=ACTOR)
        again = eventually(lambda: Run.objects.filter(status="retrying").first(), "tried again later")
        assert "302: not now, try later" in again.error["message"]
        assert len(receiver.requests) == 2


@pytest.mark.parametrize(("change", "why"), [("delete", "was deleted"), ("switch off", "is switched off")])
def test_what_nobody_wants_any_more_is_cancelled_and_no_failure(worked: Fleet, change: str, why: str) -> None:
    with Receiver(302, 204) as receiver:
        make(receiver.url)
        services.endpoint_test("crm", actor=ACTOR)
        again = eventually(lambda: Run.objects.filter(status="retrying").first(), "tried again later")
        if change == "delete":
            services.endpoint_delete("crm", actor=ACTOR)
        else:
            services.endpoint_update("crm", {"enabled": False}, actor=ACTOR)
        eventually(lambda: Run.objects.filter(pk=again.pk, status="cancelled").exists(), "it ends")
        assert any(why in line.message for line in lines(again.pk))
        assert not AuditEntry.objects.filter(action="runs.cancel").exists(), "no person did it"
        assert [row.failed for row in selectors.endpoints()[0]] in ([], [0])
        delivery = Run.objects.get(pk=again.pk)
        assert selectors.describe(delivery)["error"] is None, "what the attempt before met is not why it ended"
        assert len(receiver.requests) == 1
        if change == "switch off":
            services.endpoint_update("crm", {"enabled": True}, actor=ACTOR)
            services.delivery_resend("crm", again.pk, actor=ACTOR)
            eventually(lambda: Run.objects.filter(pk=again.pk, status="completed").exists(), "it is sent after all")


def test_deliveries_of_a_deleted_endpoint_are_not_sent_again_by_another_of_its_name(receiver: Receiver) -> None:
    make("http://127.0.0.1:1/old")
    trial = services.endpoint_test("crm", actor=ACTOR)
    run_services.run_cancel(trial, actor=ACTOR)
    services.endpoint_delete("crm", actor=ACTOR)
    make(receiver.url)
    with pytest.raises(WrongState, match="was for an endpoint crm that was deleted"):
        services.delivery_resend("crm", trial, actor=ACTOR)
    page = signed_in("admin").get("/webhooks/out/crm/").content.decode()
    assert str(trial) in page
    assert "Send again" not in page
    assert Run.objects.get(pk=trial).status == "cancelled"


async def test_deliveries_share_what_proves_certificates() -> None:
    """To read it takes tens of milliseconds of the event loop that all runs of a worker share."""
    with Receiver() as receiver:
        sending._tls.cache_clear()
        for _ in range(3):
            await sending.send(receiver.url, b"{}", {})
    assert sending._tls.cache_info().misses == 1


def test_only_what_an_endpoint_wants_is_told(receiver: Receiver) -> None:
    make(receiver.url, "cancels", events=["run.cancelled"])
    make(receiver.url, "echoes", tasks=["echo"])
    make(receiver.url, "off", enabled=False)
    for task in ("echo", "talks"):
        run_services.run_cancel(the(task).enqueue().id, actor=ACTOR)
    assert not telling.tell()
    told = sorted((r.payload["endpoint"], r.payload["body"]["data"]["task"]) for r in deliveries())
    assert told == [("cancels", "echo"), ("cancels", "talks"), ("echoes", "echo")]
    assert not Ending.objects.exists()


def test_while_there_is_no_endpoint_nothing_is_kept() -> None:
    run_services.run_cancel(the("echo").enqueue().id, actor=ACTOR)
    make("https://example.org/", enabled=False)
    run_services.run_cancel(the("echo").enqueue().id, actor=ACTOR)
    assert not Ending.objects.exists()


def test_a_new_secret_signs_beside_the_old_one_for_a_day(worked: Fleet, receiver: Receiver) -> None:
    old = make(receiver.url)
    row, new = services.endpoint_rotate("crm", actor=ACTOR)
    services.endpoint_test("crm", actor=ACTOR)
    headers, body = eventually(lambda: receiver.requests[0] if receiver.requests else None, "it comes")
    for secret in (old, new):
        assert schemes.standard(headers, body, [secret], time.time(), 300)
    assert row.old_until is not None
    Endpoint.objects.update(old_until=row.created_at)
    services.endpoint_test("crm", actor=ACTOR)
    headers, body = eventually(lambda: receiver.requests[1] if len(receiver.requests) > 1 else None, "it comes")
    assert schemes.standard(headers, body, [new], time.time(), 300)
    with pytest.raises(schemes.SignatureRefused):
        schemes.standard(headers, body, [old], time.time(), 300)


def test_all_that_is_done_to_endpoints_is_in_the_audit_log_without_secrets() -> None:
    secret = make("https://example.org/a")
    services.endpoint_update("crm", {"url": "https://example.org/b"}, actor=ACTOR, reason="moved")
    _, other = services.endpoint_rotate("crm", actor=ACTOR)
    services.endpoint_delete("crm", actor=ACTOR)
    rows = list(AuditEntry.objects.filter(object_type="endpoint").order_by("id"))
    assert [row.action.removeprefix("webhooks.") for row in rows] == [
        "create_endpoint", "update_endpoint", "rotate_endpoint", "delete_endpoint",
    ]  # fmt: skip
    assert (rows[1].before, rows[1].after, rows[1].reason) == (
        {"url": "https://example.org/a"}, {"url": "https://example.org/b"}, "moved",
    )  # fmt: skip
    text = str([(row.before, row.after) for row in rows])
    assert secret not in text
    assert other not in text


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "url"),
        ({"url": "example.org"}, "url"),
        ({"url": "ftp://example.org/"}, "url"),
        ({"url": "https://user:word@example.org/"}, "url"),
        ({"url": "https://example.org/#x"}, "url"),
        ({"url": "https://[::1"}, "url"),
        ({"url": "https://example.org:99999/"}, "url"),
        ({"url": "https://example.org/\nx"}, "url"),
        ({"url": "https://example.org/" + "x" * 2_000}, "url"),
        ({"url": 7}, "url"),
        ({"url": "https://example.org/", "events": []}, "events"),
        ({"url": "https://example.org/", "events": ["run.finished"]}, "events"),
        ({"url": "https://example.org/", "events": "run.failed"}, "events"),
        ({"url": "https://example.org/", "tasks": "echo"}, "tasks"),
        ({"url": "https://example.org/", "tasks": [""]}, "tasks"),
        ({"url": "https://example.org/", "enabled": "yes"}, "enabled"),
        ({"url": "https://example.org/", "secret": "x"}, "secret"),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_refused_with_its_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        services.endpoint_create("crm", actor=ACTOR, **settings)
    assert refused.value.data["errors"][0]["field"] == field
    assert not Endpoint.objects.exists()
    assert not AuditEntry.objects.filter(object_type="endpoint").exists()


def test_names_are_few_letters_and_taken_once() -> None:
    make("https://example.org/")
    for name, status in (("crm", 409), ("CRM", 422), ("", 422), ("-x", 422), ("x" * 101, 422)):
        with pytest.raises(HoldfastError) as refused:
            make("https://example.org/", name)
        assert refused.value.status == status


def deliveries() -> list[Run]:
    return list(Run.objects.filter(task_id=telling.DELIVERS))


def test_an_error_that_is_very_long_is_told_cut_and_holds_up_no_other_news(receiver: Receiver) -> None:
    make(receiver.url)
    for number, message in enumerate(("short", "x" * 5_000_000)):
        run = the("echo").enqueue(number)
        error = {"type": "ValueError", "message": message, "fingerprint": "f", "traceback": message}
        Run.objects.filter(pk=run.id).update(error=error, status="failed", finished_at=timezone.now())
        Ending.objects.create(run_id=run.id, status="failed", at=timezone.now())
    telling.tell()
    told = [run.payload["body"]["data"]["error"]["message"] for run in Run.objects.filter(task_id="holdfast.webhook")]
    assert sorted(map(len, told)) == [5, telling.MAX_TEXT + 1]
    assert not Ending.objects.exists()


def test_nobody_enqueues_a_delivery_that_they_have_written_themselves(receiver: Receiver) -> None:
    make(receiver.url)
    forged = {"endpoint": "crm", "body": {"type": "run.completed"}}
    with pytest.raises(OwnTask) as refused:
        run_services.task_enqueue("holdfast.webhook", forged, {}, actor=ACTOR)
    assert refused.value.data["errors"][0]["field"] == "task_id"
    [trial] = telling.deliver([(services.endpoint_get("crm"), telling.trial_body())])
    with pytest.raises(OwnTask):
        run_services.run_replay(trial, actor=ACTOR, payload=forged)
    run_services.run_replay(trial, actor=ACTOR)
    assert Run.objects.filter(task_id="holdfast.webhook").count() == 2


async def test_an_answer_that_drips_holds_its_slot_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WHOLE", 0.5)

    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 no\r\n")
        asked = asyncio.create_task(reader.read())  # until the client has gone
        with contextlib.suppress(ConnectionError):
            while not (await asyncio.wait([asked], timeout=0.05))[0]:
                writer.write(b"x-drop: drop\r\n")
                await writer.drain()
        writer.close()
        over.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(sending.DeliveryFailed, match=r"within 0\.5 s"):
            await sending.send(f"http://127.0.0.1:{port}/in", b"{}", {})
        await asyncio.wait_for(over.wait(), 10)


async def test_an_address_that_is_none_is_a_failed_delivery() -> None:
    with pytest.raises(sending.DeliveryFailed):
        await sending.send("http://[", b"{}", {})


def test_news_for_a_deleted_endpoint_never_reach_another_one_of_its_name(receiver: Receiver) -> None:
    make("http://127.0.0.1:1/old")
    [trial] = telling.deliver([(services.endpoint_get("crm"), telling.trial_body())])
    payload = Run.objects.get(pk=trial).payload
    services.endpoint_delete("crm", actor=ACTOR)
    make(receiver.url)
    with pytest.raises(sending.Unwanted, match="was deleted"):
        sending.request_of(payload["endpoint"], str(trial), payload["body"], payload["endpoint_id"])
    assert sending.request_of("crm", str(trial), payload["body"])[0] == receiver.url, "as deliveries of before have it"
