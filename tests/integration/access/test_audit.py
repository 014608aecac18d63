import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError, transaction

from holdfast.access import errors, selectors, services
from holdfast.access.grants import Actor, actor_of
from holdfast.access.models import AuditEntry, Membership
from holdfast.access.roles import Role

pytestmark = pytest.mark.django_db
ADMIN = Actor.system("test")


def test_an_entry_says_who_what_why_before_and_after():
    user = User.objects.create_user("ann")
    services.audit(user, "queues.pause", "queue", "llm", "provider is down", {"paused": False}, {"paused": True})
    (entry,) = selectors.audit_of("queue", "llm")
    assert (entry.actor_kind, entry.actor_id, entry.actor_label) == ("user", str(user.pk), "ann")
    assert (entry.reason, entry.before, entry.after) == ("provider is down", {"paused": False}, {"paused": True})


@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_log_cannot_be_changed(change):
    entry = services.audit(ADMIN, "x", "y", 1)
    found = AuditEntry.objects.filter(pk=entry.pk)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        found.update(reason="never happened") if change == "update" else found.delete()
    assert AuditEntry.objects.get(pk=entry.pk).reason == ""


def test_the_log_outlives_its_user():
    admin, user = User.objects.create_superuser("root"), User.objects.create_user("ann")
    services.audit(user, "x", "y", 1)
    services.user_delete(user=user, actor=admin)
    assert [e.actor_label for e in selectors.audit_of("y", 1)] == ["ann"]


def test_a_change_that_rolls_back_leaves_no_entry():
    with transaction.atomic():
        services.audit(ADMIN, "x", "y", 1)
        transaction.set_rollback(True)
    assert selectors.audit_of("y", 1) == []


@pytest.mark.django_db(transaction=True)
def test_an_entry_outside_of_a_transaction_is_refused():
    with pytest.raises(errors.AuditOutsideTransaction):
        services.audit(ADMIN, "x", "y", 1)
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("reason", ["x" * 1001, "a\x00b"])
def test_a_reason_that_cannot_be_stored_is_refused_by_name(reason):
    with pytest.raises(errors.InvalidInput, match=r"^reason: "):
        services.audit(ADMIN, "x", "y", 1, reason)


def test_the_log_pages_by_key():
    for number in range(5):
        services.audit(ADMIN, "x", "y", number)
    first = selectors.audit_page(limit=2)
    second = selectors.audit_page(limit=2, before=first.next)
    third = selectors.audit_page(limit=2, before=second.next)
    assert [e.object_id for page in (first, second, third) for e in page.items] == ["4", "3", "2", "1", "0"]
    assert third.next is None


def test_a_users_role_comes_from_the_membership_and_a_superuser_is_admin():
    user = User.objects.create_user("ann")
    assert actor_of(user).role is None
    Membership.objects.create(user=user, role="operator")
    assert actor_of(user).role is Role.OPERATOR
    user.is_active = False
    assert actor_of(user).role is None
    assert actor_of(User.objects.create_superuser("root")).role is Role.ADMIN
    with pytest.raises(errors.NotAuthenticated):
        actor_of(AnonymousUser())


def test_the_database_refuses_a_role_that_does_not_exist():
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user=User.objects.create_user("ann"), role="boss")


def test_a_role_is_given_and_taken_with_a_trace():
    root, ann = User.objects.create_superuser("root"), User.objects.create_user("ann")
    services.role_set(user=ann, role="admin", actor=root)
    ann.refresh_from_db()
    assert (ann.is_staff, ann.is_superuser) == (True, True)
    services.role_set(user=ann, role="viewer", actor=root, reason="left the team")
    services.role_set(user=ann, role="viewer", actor=root)
    assert actor_of(User.objects.get(pk=ann.pk)).role is Role.VIEWER
    assert [(e.before["role"], e.after["role"]) for e in selectors.audit_of("user", ann.pk)] == [
        ("admin", "viewer"),
        (None, "admin"),
    ]


def test_the_last_admin_stays_one():
    root = User.objects.create_superuser("root")
    for change in (
        lambda: services.role_set(user=root, role="viewer", actor=root),
        lambda: services.user_delete(user=root, actor=root),
    ):
        with pytest.raises(errors.LastAdmin):
            change()
    assert User.objects.get(pk=root.pk).is_superuser
