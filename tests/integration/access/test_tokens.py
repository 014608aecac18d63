import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from holdfast.access import bearer, errors, selectors, services
from holdfast.access.grants import Actor, require
from holdfast.access.models import ApiToken, AuditEntry, Membership
from holdfast.access.roles import Role

pytestmark = pytest.mark.django_db
ADMIN = Actor.local()


def command(*args: str) -> str:
    out = StringIO()
    call_command("token", *args, stdout=out)
    return out.getvalue()


def test_a_token_lets_its_bearer_in_with_its_role():
    token, plaintext = services.token_create(name="ci", role="operator", actor=ADMIN)
    actor = bearer.authenticate(f"Bearer {plaintext}")
    assert actor == Actor("token", str(token.pk), "token ci", Role.OPERATOR)
    assert require(actor, "runs.retry") == actor
    with pytest.raises(errors.GrantMissing):
        require(actor, "runs.enqueue")


def test_the_plaintext_is_nowhere_in_the_database():
    _, plaintext = services.token_create(name="ci", role="viewer", actor=ADMIN)
    stored = json.dumps([*ApiToken.objects.values(), *AuditEntry.objects.values()], default=str)
    assert plaintext not in stored
    assert plaintext[9:] not in stored


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, errors.BearerMissing),
        ("  ", errors.BearerMissing),
        ("Bearer", errors.BearerMalformed),
        ("Basic aGk6aGk=", errors.BearerMalformed),
        ("Bearer hf_" + "x" * 300, errors.BearerMalformed),
        ("Bearer hf_ü", errors.BearerMalformed),
        ("Bearer something", errors.BearerWrong),
        ("Bearer hf_nothing", errors.BearerWrong),
        ("Bearer hf_\x00", errors.BearerWrong),
    ],
)
def test_a_header_that_is_no_token_is_refused(header, error):
    with pytest.raises(error) as caught:
        bearer.authenticate(header)
    assert isinstance(caught.value, errors.NotAuthenticated)


def test_an_expired_token_is_refused_by_the_clock_of_the_database():
    token, plaintext = services.token_create(name="ci", role="viewer", actor=ADMIN)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=Now() - timedelta(seconds=1))
    with pytest.raises(errors.BearerExpired, match="expired at"):
        bearer.authenticate(f"Bearer {plaintext}")
    ApiToken.objects.filter(pk=token.pk).update(expires_at=Now() + timedelta(minutes=1))
    assert bearer.authenticate(f"Bearer {plaintext}")


def test_a_revoked_token_is_refused_at_once_and_revoking_twice_changes_nothing():
    token, plaintext = services.token_create(name="ci", role="viewer", actor=ADMIN)
    assert services.token_revoke(token=token, actor=ADMIN, reason="leaked")
    assert not services.token_revoke(token=token, actor=ADMIN)
    with pytest.raises(errors.BearerRevoked):
        bearer.authenticate(f"Bearer {plaintext}")
    assert [e.action for e in selectors.audit_of("token", token.pk)] == ["access.token_revoke", "access.token_create"]


def test_last_use_is_written_once_a_minute_at_most(django_assert_num_queries):
    token, plaintext = services.token_create(name="ci", role="viewer", actor=ADMIN)
    with django_assert_num_queries(2):
        bearer.authenticate(f"Bearer {plaintext}")
    with django_assert_num_queries(1):
        bearer.authenticate(f"Bearer {plaintext}")
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=Now() - bearer.LAST_USED_STEP * 2)
    with django_assert_num_queries(2):
        bearer.authenticate(f"Bearer {plaintext}")


def test_only_those_who_manage_access_make_tokens():
    user = User.objects.create_user("dev")
    Membership.objects.create(user=user, role="developer")
    with pytest.raises(errors.GrantMissing, match="dev has the role developer"):
        services.token_create(name="x", role="viewer", actor=user)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"role": "boss"}, "role"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(changes, field):
    with pytest.raises(errors.InvalidInput, match=rf"^{field}: ") as caught:
        services.token_create(**{"name": "ci", "role": "viewer", "actor": ADMIN, **changes})
    assert caught.value.field == field
    assert not ApiToken.objects.exists()


def test_quiet_prints_the_token_alone():
    printed = command("create", "ci", "--role", "developer", "--quiet")
    assert printed == printed.strip() + "\n"
    assert bearer.authenticate(f"Bearer {printed.strip()}").role == Role.DEVELOPER


def test_json_output_can_be_read_by_programs():
    made = json.loads(command("create", "ci", "--role", "viewer", "--expires-in", "30", "--json"))
    assert bearer.authenticate(f"Bearer {made['token']}").label == "token ci"
    assert made["expires_at"]
    (listed,) = json.loads(command("list", "--json"))
    assert listed["prefix"] == made["prefix"]
    assert "token" not in listed


@pytest.mark.parametrize("arguments", [("--role", "boss"), (), ("--role", "viewer", "--expires-in", "0")])
def test_wrong_arguments_get_one_line_that_says_what_to_write(arguments):
    with pytest.raises(CommandError) as caught:
        command("create", "ci", *arguments)
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)
    assert not ApiToken.objects.exists()


def test_revoke_finds_by_name_or_prefix_and_asks_when_several_fit():
    first = json.loads(command("create", "ci", "--role", "viewer", "--json"))
    command("create", "ci", "--role", "viewer")
    with pytest.raises(CommandError, match="fits several tokens"):
        command("revoke", "ci")
    command("revoke", first["prefix"])
    command("revoke", "ci", "--reason", "done")
    assert command("list").startswith("There is no token yet")
    with pytest.raises(CommandError, match="No live token is called 'ci'"):
        command("revoke", "ci")
