"""Who is let in, and what each may do."""

from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from typing import Any

import pytest

from tests.support.api import Caller, problem
from tests.support.people import signed_in

RUN = "/runs/01900000-0000-7000-8000-000000000000"
WAIT = "/waits/01900000-0000-7000-8000-000000000001"
UPDATE = f"{RUN}/updates/01900000-0000-7000-8000-000000000002"
#: One call of each kind, and the lowest role that may do it.
CALLS = [
    ("GET", "/verdict", "viewer"),
    ("POST", "/verdict/causes/{key}/acknowledge", "operator"),
    ("POST", "/verdict/causes/{key}/snooze", "operator"),
    ("POST", "/verdict/causes/{key}/reopen", "operator"),
    ("GET", "/tasks", "viewer"),
    ("GET", "/tasks/echo", "viewer"),
    ("GET", "/runs", "viewer"),
    ("GET", "/runs/export", "viewer"),
    ("GET", RUN, "viewer"),
    ("GET", f"{RUN}/attempts", "viewer"),
    ("GET", f"{RUN}/why", "viewer"),
    ("GET", f"{RUN}/snapshots", "viewer"),
    ("GET", f"{RUN}/logs", "viewer"),
    ("GET", f"{RUN}/streams/default", "viewer"),
    ("GET", f"{RUN}/waits", "viewer"),
    ("GET", f"{RUN}/updates", "viewer"),
    ("GET", UPDATE, "viewer"),
    ("GET", "/retries", "viewer"),
    ("GET", "/compare", "viewer"),
    ("POST", f"{RUN}/postpone", "operator"),
    ("POST", f"{RUN}/hurry", "operator"),
    ("GET", "/waits", "viewer"),
    ("GET", "/queues", "viewer"),
    ("GET", "/queues/default", "viewer"),
    ("GET", "/schedules", "viewer"),
    ("GET", "/schedules/default", "viewer"),
    ("POST", "/schedules", "developer"),
    ("PATCH", "/schedules/default", "developer"),
    ("DELETE", "/schedules/default", "developer"),
    ("POST", "/schedules/default/pause", "operator"),
    ("POST", "/schedules/default/resume", "operator"),
    ("POST", "/schedules/default/run", "operator"),
    ("POST", "/schedules/default/backfill", "operator"),
    ("POST", "/queues/default/what-if", "admin"),
    ("GET", "/workers", "viewer"),
    ("GET", "/changes", "viewer"),
    ("GET", "/find", "viewer"),
    ("GET", "/bulk", "viewer"),
    ("POST", "/bulk", "operator"),
    ("GET", "/bulk/preview", "viewer"),
    ("GET", "/bulk/{job_id}", "viewer"),
    ("GET", "/bulk/{job_id}/items", "viewer"),
    ("POST", "/bulk/{job_id}/abort", "operator"),
    ("GET", "/errors", "viewer"),
    ("GET", "/errors/{fingerprint}", "viewer"),
    ("POST", "/errors/{fingerprint}/resolve", "operator"),
    ("POST", "/errors/{fingerprint}/reopen", "operator"),
    ("POST", "/errors/{fingerprint}/snooze", "operator"),
    ("GET", "/explore", "viewer"),
    ("GET", "/explore/differences", "viewer"),
    ("GET", "/views", "viewer"),
    ("POST", "/views", "viewer"),
    ("DELETE", "/views/{view_id}", "viewer"),
    ("POST", "/workers/{worker_id}/drain", "operator"),
    ("POST", "/events", "developer"),
    ("GET", "/endpoints", "viewer"),
    ("POST", "/endpoints", "developer"),
    ("GET", "/endpoints/default", "viewer"),
    ("PATCH", "/endpoints/default", "developer"),
    ("DELETE", "/endpoints/default", "developer"),
    ("POST", "/endpoints/default/rotate", "developer"),
    ("POST", "/endpoints/default/test", "developer"),
    ("GET", "/endpoints/default/deliveries", "viewer"),
    ("POST", "/endpoints/default/deliveries/{run_id}/resend", "operator"),
    ("GET", "/alerts", "viewer"),
    ("POST", "/alerts", "developer"),
    ("POST", "/alerts/preview", "viewer"),
    ("GET", "/alerts/default", "viewer"),
    ("PATCH", "/alerts/default", "developer"),
    ("DELETE", "/alerts/default", "developer"),
    ("POST", "/alerts/default/silence", "operator"),
    ("POST", "/alerts/default/unsilence", "operator"),
    ("POST", "/alerts/default/acknowledge", "operator"),
    ("GET", "/alerts/default/preview", "viewer"),
    ("GET", "/alerts/default/firings", "viewer"),
    ("GET", "/channels", "viewer"),
    ("POST", "/channels", "developer"),
    ("GET", "/channels/default", "viewer"),
    ("PATCH", "/channels/default", "developer"),
    ("DELETE", "/channels/default", "developer"),
    ("POST", "/channels/default/test", "developer"),
    ("GET", "/channels/default/deliveries", "viewer"),
    ("GET", "/webhooks", "viewer"),
    ("POST", "/webhooks", "developer"),
    ("GET", "/webhooks/default", "viewer"),
    ("PATCH", "/webhooks/default", "developer"),
    ("DELETE", "/webhooks/default", "developer"),
    ("POST", "/webhooks/default/rotate", "developer"),
    ("GET", "/webhooks/default/deliveries", "viewer"),
    ("POST", "/webhooks/deliveries/{delivery_id}/resend", "operator"),
    ("GET", "/breakers", "viewer"),
    ("GET", "/breakers/default", "viewer"),
    ("POST", "/breakers/default/force", "operator"),
    ("POST", "/breakers/default/release", "operator"),
    ("POST", f"{RUN}/stack", "viewer"),
    ("POST", f"{RUN}/retry", "operator"),
    ("POST", f"{RUN}/cancel", "operator"),
    ("POST", f"{RUN}/signal", "operator"),
    ("POST", f"{RUN}/updates", "operator"),
    ("POST", f"{RUN}/resolve", "operator"),
    ("POST", f"{RUN}/top-up", "operator"),
    ("POST", f"{WAIT}/complete", "operator"),
    ("POST", "/queues/default/pause", "operator"),
    ("POST", "/queues/default/resume", "operator"),
    ("POST", "/tasks/echo/runs", "developer"),
    ("POST", "/tasks/echo/batch", "developer"),
    ("POST", f"{RUN}/replay", "developer"),
    ("POST", f"{RUN}/fork", "developer"),
    ("PATCH", "/queues/default", "admin"),
    ("POST", "/queues/default/undo", "admin"),
]
ROLES = ["viewer", "operator", "developer", "admin"]


@pytest.mark.parametrize(("method", "address", "lowest"), CALLS)
def test_each_role_may_do_what_it_holds_and_no_more(
    with_role: Callable[[str], Caller], method: str, address: str, lowest: str
) -> None:
    for role in ROLES:
        response = with_role(role).send(method, address)
        if ROLES.index(role) < ROLES.index(lowest):
            body = problem(response, 403, "grant_missing")
            assert role in body["detail"]
            assert lowest in body["detail"]
        else:
            assert response.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "address", "lowest"), CALLS)
def test_nobody_gets_in_without_a_token(db: None, method: str, address: str, lowest: str) -> None:
    response = Caller().send(method, address)
    problem(response, 401, "token_missing")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_every_operation_of_the_api_asks_for_a_grant_and_is_in_the_list_above() -> None:
    from runs.api.api import api

    shapes = {RUN: "/runs/{run_id}", WAIT: "/waits/{token}", UPDATE.removeprefix(RUN): "/updates/{update_id}"}
    listed = {(m, reduce(lambda text, of: text.replace(of, shapes[of]), shapes, a)) for m, a, _ in CALLS}
    found = set()
    for router in api._get_bound_routers():
        for path, view in router.path_operations.items():
            for operation in view.operations:
                assert [c.grant for c in operation.auth_callbacks], f"{path} lets everybody in"
                found.update(
                    (m, path.replace("{task_id}", "echo").replace("{name}", "default")) for m in operation.methods
                )
    assert found == listed


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer hf_wrong",
        "bearer x y",
        "Basic dXNlcjpwYXNz",
        "hf_",
        "Bearer ü",
        "Bearer " + "x" * 5000,
        "",
    ],
)
def test_a_header_that_is_no_token_of_ours_is_a_401(db: None, header: str) -> None:
    problem(Caller({"Authorization": header}).get("/runs"), 401)


def test_an_expired_and_a_revoked_token_are_401_with_the_reason(db: None) -> None:
    from holdfast.access import services
    from holdfast.access.grants import Actor
    from holdfast.access.models import ApiToken
    from holdfast.access.selectors import database_now

    expired, plain_expired = services.token_create(name="a", role="admin", actor=Actor.local())
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=database_now() - timedelta(seconds=1))
    revoked, plain_revoked = services.token_create(name="b", role="admin", actor=Actor.local())
    services.token_revoke(token=revoked, actor=Actor.local())
    problem(Caller({"Authorization": f"Bearer {plain_expired}"}).get("/runs"), 401, "token_expired")
    problem(Caller({"Authorization": f"Bearer {plain_revoked}"}).get("/runs"), 401, "token_revoked")


def test_a_signed_in_browser_reads_without_a_token(known_tasks: None) -> None:
    assert signed_in("viewer").get("/api/v1/runs").status_code == 200


def test_a_signed_in_person_without_a_role_reads_nothing(known_tasks: None) -> None:
    problem(signed_in(None).get("/api/v1/runs"), 403, "grant_missing")


def test_a_browser_changes_something_only_with_the_pages_csrf_token(known_tasks: None) -> None:
    from runs.models import Run

    client = signed_in("developer")
    client.handler.enforce_csrf_checks = True

    def send(**headers: str) -> Any:
        return client.post("/api/v1/tasks/echo/runs", b"{}", content_type="application/json", headers=headers)

    problem(send(), 403, "csrf_missing")
    client.cookies["holdfast_csrf"] = token = "a" * 32
    problem(send(**{"X-CSRFToken": "b" * 32}), 403, "csrf_missing")
    assert not Run.objects.exists()
    assert send(**{"X-CSRFToken": token}).status_code == 201


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=", "multipart/form-data; boundary=é", "x-www-form"])
def test_a_broken_form_of_a_browser_is_refused_like_any_other_body(known_tasks: None, kind: str) -> None:
    client = signed_in("developer")
    client.handler.enforce_csrf_checks = True
    client.cookies["holdfast_csrf"] = token = "a" * 32
    problem(client.generic("POST", "/api/v1/tasks/echo/runs", b"{}", kind), 403, "csrf_missing")
    headers = {"X-CSRFToken": token}
    problem(client.generic("POST", "/api/v1/tasks/echo/runs", b"{}", kind, headers=headers), 415)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=", "multipart/form-data; boundary=x", "text/plain", "é"]
)
@pytest.mark.parametrize("body", [b"{}", b"--x\r\nbroken", b"a=1&" * 2000, b"1" * 3_000_000])
def test_a_browsers_form_is_not_read_to_look_for_a_csrf_token(known_tasks: None, kind: str, body: bytes) -> None:
    client = signed_in("developer")
    client.raise_request_exception = False
    client.handler.enforce_csrf_checks = True
    client.cookies["holdfast_csrf"] = token = "a" * 32
    problem(client.generic("POST", "/api/v1/tasks/echo/runs", body, kind), 403, "csrf_missing")
    response = client.generic("POST", "/api/v1/tasks/echo/runs", body, kind, headers={"X-CSRFToken": token})
    problem(response, 413 if len(body) > 2**20 else 415)


def test_a_token_needs_no_csrf_token(api: Caller) -> None:
    api.client.handler.enforce_csrf_checks = True
    assert api.post("/tasks/echo/runs", {}).status_code == 201


def test_a_wrong_token_is_refused_even_in_a_signed_in_browser(known_tasks: None) -> None:
    response = signed_in("admin").get("/api/v1/runs", headers={"Authorization": "Bearer hf_wrong"})
    problem(response, 401, "token_wrong")


def test_the_documentation_is_open_to_all(db: None) -> None:
    assert Caller().get("/openapi.json").status_code == 200
