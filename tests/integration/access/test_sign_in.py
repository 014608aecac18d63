import re
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.urls import include, path
from pytest_django import Settings

from holdfast.access import selectors, services, throttle
from holdfast.access.models import SignInLink

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
urlpatterns = [path("", include("holdfast.access.urls"))]  # the lowest room: it stands without the others
PAGE = "/sign-in/"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    """Hashing a password slowly, some sixty times, would be most of what these tests do."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="a long password")


def who(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).username if key else None


def test_opening_a_link_signs_nobody_in_and_uses_nothing_up(client):
    link = services.signin_link_create()
    for _ in range(2):
        response = client.get(link)
        assert response.status_code == 200
        assert "no-store" in response["Cache-Control"]
    assert who(client) is None
    assert not User.objects.exists()


def test_the_button_signs_the_built_in_admin_in_once(client):
    link = services.signin_link_create()
    response = client.post(link)
    assert (response.status_code, response["Location"], who(client)) == (302, "/", "admin")
    admin = User.objects.get(username="admin")
    assert (admin.is_superuser, admin.has_usable_password()) == (True, False)
    assert selectors.audit_of("user", admin.pk)[0].after == {"by": "one-time link"}

    again = Client().post(link)
    assert again.status_code == 410
    assert "was used already" in again.content.decode()
    assert "manage.py signin_link" in again.content.decode()


def test_a_link_for_a_user_signs_that_user_in(client, ann):
    client.post(services.signin_link_create(user=ann))
    assert who(client) == "ann"


@pytest.mark.parametrize("option", ["--user", "--base-url"])
def test_the_command_refuses_what_is_no_utf_8_and_makes_no_link(option):
    with pytest.raises(CommandError, match=rf"^{option} '\\udcff' is not UTF-8; write plain text\.$") as caught:
        call_command("signin_link", option, "\udcff")
    assert caught.value.returncode == 2
    assert not SignInLink.objects.exists()


def test_links_that_are_wrong_or_old_say_so_and_how_to_get_another(client):
    expired = services.signin_link_create()
    SignInLink.objects.update(expires_at=Now() - timedelta(seconds=1))
    for link, words in ((expired, "has expired"), (f"{PAGE}nonsense/", "is not valid")):
        for response in (client.get(link), client.post(link)):
            assert response.status_code == 410
            assert words in response.content.decode()
    assert who(client) is None


def test_a_switched_off_account_stays_out_and_its_link_stays_unused(client, ann):
    User.objects.update(is_active=False)
    link = services.signin_link_create(user=ann)
    response = client.post(link)
    assert response.status_code == 403
    assert "switched off" in response.content.decode()
    assert SignInLink.objects.get().used_at is None


@pytest.mark.django_db(transaction=True)
def test_of_two_presses_at_the_same_moment_exactly_one_signs_in():
    link = services.signin_link_create()
    start, answers = Barrier(2), []

    def press() -> None:
        try:
            start.wait(10)
            answers.append(Client().post(link).status_code)
        finally:
            connection.close()

    threads = [Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [302, 410]
    assert User.objects.count() == 1


def test_a_password_signs_in_and_goes_back_to_where_the_person_was(client, ann):
    response = client.post(PAGE, {"username": "ann", "password": "a long password", "next": "/runs/?status=failed"})
    assert (response.status_code, response["Location"], who(client)) == (302, "/runs/?status=failed", "ann")
    assert selectors.audit_of("user", ann.pk)[0].after == {"by": "password"}
    assert client.get(f"{PAGE}?next=/queues/")["Location"] == "/queues/"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_sign_in_is_no_springboard_to_other_sites(client, ann, target):
    response = client.post(PAGE, {"username": "ann", "password": "a long password", "next": target})
    assert response["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong"), ("nobody", "a long password"), ("ann\x00", "a secret")]
)
def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(client, ann, name, password):
    response = client.post(PAGE, {"username": name, "password": password})
    assert response.status_code == 422
    page = response.content.decode()
    assert ("do not match" in page) or ("Null characters" in page)
    assert password not in page
    assert who(client) is None


def test_guessing_is_slowed_down_and_a_right_password_does_not_help_then(client, ann):
    for _ in range(throttle.PER_ADDRESS_AND_USER):
        assert client.post(PAGE, {"username": "ann", "password": "guess"}).status_code == 422
    response = client.post(PAGE, {"username": "ANN", "password": "a long password"})
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= throttle.WINDOW_SECONDS
    assert "Too many attempts" in response.content.decode()
    assert client.post(PAGE, {"username": "bob", "password": "x"}).status_code == 422


def test_the_address_of_a_guesser_is_limited_over_all_names(client):
    statuses = [
        client.post(PAGE, {"username": f"user{n}", "password": "x"}).status_code
        for n in range(throttle.PER_ADDRESS + 1)
    ]
    assert statuses[:-1] == [422] * throttle.PER_ADDRESS
    assert statuses[-1] == 429


def test_signing_out_takes_a_press_of_the_button(client, ann):
    client.force_login(ann)
    assert client.get("/sign-out/").status_code == 405
    assert who(client) == "ann"
    assert client.post("/sign-out/")["Location"] == PAGE
    assert who(client) is None


def test_a_form_without_its_token_changes_nothing_and_says_what_to_do(ann):
    client = Client(enforce_csrf_checks=True)
    response = client.post(PAGE, {"username": "ann", "password": "a long password"})
    assert response.status_code == 403
    assert "nothing was changed" in response.content.decode()


def test_the_session_gets_a_new_key_when_its_person_changes(client, ann):
    client.get(PAGE)
    session = client.session
    session["before"] = True
    session.save()
    old = session.session_key
    client.cookies["holdfast_session"] = old
    client.post(services.signin_link_create(user=ann))
    assert client.session.session_key != old


def test_the_page_names_its_fields_for_password_managers_and_screen_readers(client):
    page = client.get(PAGE).content.decode()
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
    for name in ("username", "password"):
        assert re.search(rf'<label for="id_{name}"', page)
