"""POST /hooks/{name}: what is signed becomes a run, once; everything else is refused, and never fails."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.errors import InvalidOption, UnknownTask
from runs.models import Run
from runs.webhooks import schemes, services
from runs.webhooks.model import Delivery, Webhook
from tests.support.api import problem
from tests.support.processes import Fleet
from tests.support.waiting import eventually

ACTOR = Actor.system("test")
GOOD = {"count": 3, "name": "n"}


def make(name: str = "in", task: str = "typed", **more: Any) -> str:
    return services.webhook_create(name, task, scheme=more.pop("scheme", "standard"), actor=ACTOR, **more)[1]


def post(secret: str, body: Any = None, *, id_: str = "", sent: float | None = None, **more: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(GOOD if body is None else body).encode()
    signed = schemes.sign(secret, id_ or str(uuid.uuid4()), int(time.time() if sent is None else sent), data)
    headers = {**signed, **more.pop("headers", {})}
    kind = more.pop("kind", "application/json")
    return Client(enforce_csrf_checks=True).generic("POST", more.pop("path", "/hooks/in"), data, kind, headers=headers)


def signed(scheme: str, secret: str, body: bytes, at: int) -> dict[str, str]:
    """What a sender of the scheme adds to a request."""
    if scheme == "standard":
        return schemes.sign(secret, "msg_1", at, body)
    over = body if scheme == "github" else f"{at}.".encode() + body
    mac = hmac.new(secret.encode(), over, hashlib.sha256).hexdigest()
    if scheme == "github":
        return {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": "d-1"}
    return {"Stripe-Signature": f"t={at},v1={mac}"}


@pytest.mark.usefixtures("known_tasks")
class TestHook:
    def test_a_signed_request_is_a_run(self) -> None:
        answer = post(make(mapping="{count: n, name: query.q}"), {"n": 4}, path="/hooks/in?q=kelp")
        assert answer.status_code == 202, answer.content
        told = answer.json()
        assert told["outcome"] == "accepted"
        row = Delivery.objects.get()
        assert (str(row.pk), str(row.run_id)) == (told["delivery"], told["run_id"])
        assert Run.objects.get(pk=row.run_id).task_id == "typed"
        assert "webhook-signature" not in row.headers

    def test_a_delivery_that_comes_again_is_the_same_run(self) -> None:
        secret = make()
        first, second = (post(secret, id_="msg_1") for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json() == second.json()
        assert Run.objects.count() == 1

    def test_without_a_valid_signature_nothing_is_stored_but_a_count(self) -> None:
        secret = make()
        problem(post(services.vault.fresh()), 401, "signature_refused", "webhook-signature")
        problem(post(secret, sent=time.time() - 301), 401, "signature_refused", "webhook-timestamp")
        problem(Client().post("/hooks/in", b"{}", "application/json"), 401, "signature_refused")
        assert not Delivery.objects.exists()
        assert not Run.objects.exists()
        assert Webhook.objects.get().refused_count >= 1

    @pytest.mark.parametrize("scheme", ["standard", "github", "stripe"])
    def test_fault_35_of_each_scheme_a_forged_request_is_refused_and_a_replayed_one_begins_nothing(
        self, scheme: str
    ) -> None:
        secret = make(scheme=scheme, mapping="{count: body.count, name: body.name}")
        now, body = int(time.time()), json.dumps({**GOOD, "id": "evt_1"}).encode()

        def sent(body: bytes, headers: dict[str, str]) -> Any:
            return Client(enforce_csrf_checks=True).post("/hooks/in", body, "application/json", headers=headers)

        good = signed(scheme, secret, body, now)
        assert [sent(body, good).status_code for _ in range(3)] == [202, 200, 200]
        refused = [
            (body, {}),
            (body.replace(b"3", b"4"), good),
            (body, signed(scheme, "whsec_" + "QUFB" * 8, body, now)),
        ]
        if scheme != "github":  # there is no time in it
            refused += [(body, signed(scheme, secret, body, now + away)) for away in (-301, 400)]
        for altered, headers in refused:
            problem(sent(altered, headers), 401, "signature_refused")
        assert (Run.objects.count(), Delivery.objects.count()) == (1, 1)
        assert Webhook.objects.get().refused_count >= 1

    def test_the_filter_says_no(self) -> None:
        answer = post(make(filter="action == 'opened'"), {"action": "closed"})
        assert (answer.status_code, answer.json()["outcome"], answer.json()["run_id"]) == (202, "filtered", None)
        assert not Run.objects.exists()

    def test_a_refused_delivery_is_kept_and_sent_again_when_the_mapping_is_mended(self) -> None:
        secret = make()
        problem(post(secret, {"number": 7}, id_="a"), 422, "delivery_refused", "payload.count")
        row = Delivery.objects.get()
        assert (row.outcome, row.run_id) == ("refused", None)
        services.webhook_update("in", {"mapping": "{count: number}"}, actor=ACTOR)
        assert services.delivery_resend(row.pk, actor=ACTOR).outcome == "accepted"
        assert Run.objects.count() == 1
        assert post(secret, {"number": 7}, id_="a").status_code == 200
        assert AuditEntry.objects.filter(action="webhooks.resend").count() == 1

    @pytest.mark.parametrize(
        ("change", "outcome"), [({"mapping": "{count: name}"}, "refused"), ({"filter": "name == 'x'"}, "filtered")]
    )
    def test_an_accepted_delivery_of_which_nothing_comes_when_it_is_sent_again_stays_accepted(
        self, change: dict[str, str], outcome: str
    ) -> None:
        assert post(make(mapping="{count: number}"), {"number": 7, "name": "seven"}).status_code == 202
        run_id = Delivery.objects.get().run_id
        services.webhook_update("in", change, actor=ACTOR)
        told = services.delivery_resend(Delivery.objects.get().pk, actor=ACTOR)
        assert (told.outcome, told.run_id) == (outcome, None)
        row = Delivery.objects.get()
        assert (row.outcome, row.run_id, row.reason, row.errors, row.resent) == ("accepted", run_id, "", [], 1)
        entry = AuditEntry.objects.get(action="webhooks.resend")
        assert (entry.before["outcome"], entry.after["outcome"]) == ("accepted", outcome)
        services.webhook_update("in", {"filter": "", "mapping": "{count: number}"}, actor=ACTOR)
        again = services.delivery_resend(row.pk, actor=ACTOR)
        assert (again.outcome, Run.objects.count()) == ("accepted", 2)
        assert Delivery.objects.get().run_id == again.run_id != run_id

    def test_both_secrets_are_valid_for_the_overlap(self) -> None:
        old = make()
        _, new = services.webhook_rotate("in", overlap=60, actor=ACTOR)
        assert [post(secret).status_code for secret in (old, new)] == [202, 202]
        Webhook.objects.update(old_until="2020-01-01T00:00:00Z")
        assert [post(secret).status_code for secret in (old, new)] == [401, 202]
        services.webhook_rotate("in", overlap=0, actor=ACTOR)
        assert post(new).status_code == 401
        told = json.dumps(list(AuditEntry.objects.values_list("before", "after")))
        assert old not in told
        assert new not in told

    def test_a_body_over_the_limit_is_413(self) -> None:
        secret = make(body_limit=50)
        problem(post(secret, {"name": "x" * 100}), 413, "body_too_large")

    def test_a_paused_one_refuses_and_an_unknown_one_is_404(self) -> None:
        secret = make()
        services.webhook_update("in", {"enabled": False}, actor=ACTOR)
        problem(post(secret), 409, "wrong_state")
        problem(post(secret, path="/hooks/none"), 404, "unknown_webhook")
        problem(Client().get("/hooks/in"), 405, "method_not_allowed")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"name": "\\u0000"}',
            b'{"name": "\\ud800"}',
            b'{"count": 1e999}',
            b'{"count": NaN}',
            gzip.compress(b'{"count": 1}', mtime=0),
            b"null",
            b"[1]",
            b'{"count": {"a": 1}}',
        ],
    )
    def test_hostile_bodies_are_refused(self, body: bytes) -> None:
        answer = post(make(), body, headers={"content-encoding": "gzip", "x-odd": "\x00"}, kind="text/odd; charset=q")
        assert answer.status_code in (400, 422), answer.content
        assert not Run.objects.exists()

    def test_what_does_not_fit_is_said_at_its_field(self) -> None:
        for field, value in {"window": 0, "body_limit": True, "filter": "a ==", "mapping": "{", "enabled": 1}.items():
            with pytest.raises(InvalidOption) as error:
                make(**{field: value})
            assert error.value.data["errors"][0]["field"] == field
        with pytest.raises(InvalidOption, match="starts_with"):
            make(filter="start_with(action, 'open')")
        with pytest.raises(UnknownTask):
            make(task="none")
        assert not Webhook.objects.exists()
        make()
        with pytest.raises(services.WebhookExists):
            make()


def test_twenty_at_once_are_one_run(fleet: Fleet) -> None:
    secret = make()

    def one(_: int) -> tuple[int, str]:
        try:
            answer = post(secret, id_="msg_1")
            return answer.status_code, answer.json()["run_id"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert len({run for _, run in answers}) == 1
    assert Run.objects.count() == 1
    fleet.worker("worker-1")
    eventually(lambda: Run.objects.get().status == "completed", "the run is done")
