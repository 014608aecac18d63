from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path

from holdfast.access import services
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@requires("runs.retry")
def guarded(request: ActorRequest) -> HttpResponse:
    return HttpResponse(f"{request.actor.label}, {request.actor.role}")


def broken(request: ActorRequest) -> HttpResponse:
    raise RuntimeError("a secret of the machine")


urlpatterns = [path("", include("holdfast.access.urls")), path("guarded/", guarded), path("broken/", broken)]


def signed_in(role: str | None) -> Client:
    user, client = User.objects.create_user("ann"), Client()
    if role:
        services.role_set(user=user, role=role, actor=Actor.system("test"))
    client.force_login(user)
    return client


def test_a_stranger_is_sent_to_sign_in_and_back(client):
    response = client.get("/guarded/?status=failed&age=%3E10m")
    assert response.status_code == 302
    assert response["Location"] == f"/sign-in/?next={quote('/guarded/?status=failed&age=%3E10m', safe='')}"


def test_a_strangers_post_comes_back_to_the_front_page_not_to_a_repeated_post(client):
    assert client.post("/guarded/")["Location"] == "/sign-in/"


def test_htmx_is_told_by_header_so_that_no_sign_in_page_is_swapped_into_a_table(client):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/runs/?task=a"}
    response = client.get("/guarded/", headers=headers)
    assert (response.status_code, response.content) == (204, b"")
    assert response["HX-Redirect"] == "/sign-in/?next=%2Fruns%2F%3Ftask%3Da"


def test_the_view_gets_the_actor():
    assert signed_in("operator").get("/guarded/").content == b"ann, operator"


@pytest.mark.parametrize(("role", "words"), [("viewer", "ann has the role viewer"), (None, "ann has no role yet")])
def test_who_may_not_gets_a_page_with_the_reason(role, words):
    response = signed_in(role).get("/guarded/")
    page = response.content.decode()
    assert response.status_code == 403
    assert f"{words}; runs.retry needs operator or higher. Ask an admin for that role." in page
    assert "<h1>Not allowed</h1>" in page


def test_a_missing_page_says_where_to_go(client):
    response = client.get("/nothing/<script>/")
    assert response.status_code == 404
    assert 'href="/runs/"' in response.content.decode()
    assert "<script>/" not in response.content.decode()


def test_a_broken_page_is_calm_and_tells_no_secrets(client):
    client.raise_request_exception = False
    response = client.get("/broken/")
    page = response.content.decode()
    assert response.status_code == 500
    assert "Something broke on our side" in page
    assert "secret" not in page
    assert "data-live" not in page
