"""Access in Django's admin: the same services, so the same refusals and the same traces."""

import re
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from holdfast.access import bearer, selectors, services
from holdfast.access.grants import Actor, actor_of
from holdfast.access.models import ApiToken, AuditEntry, SignInLink

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def admin(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def user_form(user: User, **changes: str) -> dict[str, str]:
    return {
        "username": user.username,
        "first_name": "",
        "last_name": "",
        "email": user.email,
        "membership-TOTAL_FORMS": "1",
        "membership-INITIAL_FORMS": "0",
        "membership-0-user": str(user.pk),
        "membership-0-role": "",
        **({"is_active": "on"} if user.is_active else {}),
        **changes,
    }


def test_a_new_token_is_shown_once_and_works(admin):
    page = admin.post("/admin/access/apitoken/add/", {"name": "ci", "role": "viewer"}, follow=True).content.decode()
    plaintext = re.search(r"hf_[\w-]{43}", page)
    assert plaintext
    assert bearer.authenticate(f"Bearer {plaintext[0]}").label == "token ci"
    assert ApiToken.objects.get().created_by == "root"
    again = admin.get("/admin/access/apitoken/").content.decode()
    assert plaintext[0] not in again
    assert ApiToken.objects.get().prefix in again


def test_a_token_that_the_service_refuses_is_not_stored_and_the_page_says_why(admin):
    form = {"name": "ci", "role": "viewer", "expires_at_0": "2001-01-01", "expires_at_1": "00:00:00"}
    page = admin.post("/admin/access/apitoken/add/", form, follow=True).content.decode()
    assert "is in the past" in page
    assert not ApiToken.objects.exists()


def test_tokens_are_revoked_from_the_list_with_a_trace(admin):
    token, _ = services.token_create(name="ci", role="viewer", actor=Actor.local())
    form = {"action": "revoke", "_selected_action": [str(token.pk)]}
    admin.post("/admin/access/apitoken/", form)
    token.refresh_from_db()
    assert token.revoked_at
    assert selectors.audit_of("token", token.pk)[0].actor_label == "root"


@pytest.mark.parametrize("path", ["apitoken/{token}/change/", "apitoken/{token}/delete/"])
def test_a_token_is_neither_edited_nor_deleted(admin, path):
    token, _ = services.token_create(name="ci", role="viewer", actor=Actor.local())
    admin.post("/admin/access/" + path.format(token=token.pk), {"name": "other", "role": "admin", "post": "yes"})
    kept = ApiToken.objects.get()
    assert (kept.name, kept.role) == ("ci", "viewer")


def test_the_audit_log_is_for_reading(admin):
    services.token_create(name="ci", role="viewer", actor=Actor.local())
    entry = AuditEntry.objects.get()
    assert "access.token_create" in admin.get("/admin/access/auditentry/").content.decode()
    assert admin.get(f"/admin/access/auditentry/{entry.pk}/change/").status_code == 200
    for verb in (f"{entry.pk}/change/", f"{entry.pk}/delete/", "add/"):
        assert admin.post(f"/admin/access/auditentry/{verb}", {"reason": "x"}).status_code == 403


def test_a_link_that_was_deleted_signs_nobody_in(admin):
    path = services.signin_link_create()
    admin.post(f"/admin/access/signinlink/{SignInLink.objects.get().pk}/delete/", {"post": "yes"})
    assert Client().post(path).status_code == 410
    assert AuditEntry.objects.filter(action="access.signin_link_delete", actor_label="root").exists()


def test_a_role_given_on_the_users_page_counts_and_leaves_a_trace(admin):
    ann = User.objects.create_user("ann")
    form = user_form(ann, **{"membership-0-role": "operator", "email": "ann@example.org"})
    assert admin.post(f"/admin/auth/user/{ann.pk}/change/", form).status_code == 302
    assert actor_of(User.objects.get(pk=ann.pk)).role == "operator"
    changes = {e.action: (e.before, e.after) for e in selectors.audit_of("user", ann.pk)}
    assert changes["access.role_set"] == ({"role": None}, {"role": "operator"})
    assert changes["access.user_edit"] == ({"email": ""}, {"email": "ann@example.org"})


def test_the_last_admin_cannot_be_switched_off_demoted_or_deleted(admin, root):
    attempts = [
        (f"{root.pk}/change/", user_form(root)),
        (f"{root.pk}/change/", user_form(root, **{"membership-0-role": "viewer"})),
        (f"{root.pk}/delete/", {"post": "yes"}),
        ("", {"action": "delete_selected", "_selected_action": [str(root.pk)], "post": "yes"}),
    ]
    attempts[0][1].pop("is_active")
    for path, form in attempts:
        page = admin.post(f"/admin/auth/user/{path}", form, follow=True).content.decode()
        assert "This is the last active admin" in page
        kept = User.objects.get(pk=root.pk)
        assert (kept.is_active, kept.is_superuser) == (True, True)


def test_a_password_set_for_somebody_leaves_a_trace_without_the_password(admin):
    ann = User.objects.create_user("ann")
    form = {"password1": "kelp-and-stone-9", "password2": "kelp-and-stone-9", "usable_password": "true"}
    assert admin.post(f"/admin/auth/user/{ann.pk}/password/", form).status_code == 302
    assert User.objects.get(pk=ann.pk).check_password("kelp-and-stone-9")
    (entry,) = selectors.audit_of("user", ann.pk)
    assert (entry.action, entry.before, entry.after) == ("access.password_set", None, None)


def test_an_own_password_that_is_changed_leaves_a_trace_and_one_that_is_refused_none(admin, root):
    root.set_password("kelp-and-stone-9")
    root.save()
    admin.force_login(root)
    form = {"old_password": "wrong", "new_password1": "salt-and-rope-7", "new_password2": "salt-and-rope-7"}
    assert admin.post("/admin/password_change/", form).status_code == 200
    assert not AuditEntry.objects.exists()
    assert admin.post("/admin/password_change/", {**form, "old_password": "kelp-and-stone-9"}).status_code == 302
    assert User.objects.get(pk=root.pk).check_password("salt-and-rope-7")
    (entry,) = selectors.audit_of("user", root.pk)
    assert (entry.action, entry.actor_label, entry.before, entry.after) == ("access.password_set", "root", None, None)
    assert admin.get("/admin/password_change/done/").status_code == 200
    assert Client().get("/admin/password_change/").status_code == 302


def test_the_admin_site_has_no_sign_in_of_its_own():
    User.objects.create_superuser("root", password="kelp-and-stone-9")
    client = Client()
    form = {"username": "root", "password": "kelp-and-stone-9", "next": "/admin/"}
    assert client.post("/admin/login/", form).status_code == 405
    for path in ("/admin/access/apitoken/", "/admin/rq/"):
        page = client.get(path, follow=True)
        assert page.redirect_chain[-1][0] == f"/sign-in/?{urlencode({'next': path})}"
        assert page.status_code == 200
    assert client.get("/admin/login/?next=//evil.example/")["Location"] == "/sign-in/"
    assert client.post("/sign-in/", form)["Location"] == "/admin/"
    assert AuditEntry.objects.get().action == "access.sign_in"
    assert client.get("/admin/login/")["Location"] == "/admin/"


def test_who_is_signed_in_and_may_not_enter_is_told_so_instead_of_sent_around():
    client = Client()
    client.force_login(User.objects.create_user("ann"))
    page = client.get("/admin/access/apitoken/", follow=True)
    assert page.status_code == 403
    assert "You are signed in as ann, and this part is for admins" in page.content.decode()


def test_a_link_that_is_made_leaves_a_trace_without_its_secret(root):
    path = services.signin_link_create()
    services.signin_link_create(user=User.objects.create_user("ann"), actor=root)
    second, first = AuditEntry.objects.order_by("-id")
    assert (first.action, first.actor_kind, first.after["user"]) == ("access.signin_link_create", "local", "admin")
    assert (second.actor_label, second.after["user"]) == ("root", "ann")
    assert first.object_id == str(SignInLink.objects.earliest("id").pk)
    assert path.split("/")[2] not in str(first.after)


@pytest.mark.parametrize("root_of", ["/admin/rq/", "/admin/django_rq/dashboard/"])
@pytest.mark.parametrize(
    "path", ["queues/0/empty/", "queues/0/requeue-all/", "queues/actions/0/", "queues/0/some-job/delete/"]
)
def test_the_pages_of_rq_change_nothing_and_say_why(admin, root_of, path):
    page = admin.post(root_of + path, {"action": "delete", "job_ids": ["some-job"]})
    assert page.status_code == 403
    assert "Nothing is changed on the pages of RQ" in page.content.decode()
    assert admin.get(root_of).status_code == 200


def test_who_is_not_an_admin_does_not_get_in():
    ann = User.objects.create_user("ann")
    services.role_set(user=ann, role="developer", actor=Actor.local())
    client = Client()
    client.force_login(ann)
    assert client.get("/admin/access/auditentry/").status_code == 302
