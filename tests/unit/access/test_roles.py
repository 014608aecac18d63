import pickle
from itertools import pairwise

import pytest

from holdfast.access import errors
from holdfast.access.grants import Actor, allows, require
from holdfast.access.roles import ALL_GRANTS, GRANTS, Role, lowest_role, parse_role
from holdfast.access.secret import TOKEN_PREFIX, digest, new_secret


def actor(role: Role | None) -> Actor:
    return Actor("user", "1", "someone", role)


def test_each_role_holds_all_that_the_lower_one_holds_and_more():
    held = [GRANTS[role] for role in Role]
    assert all(low < high for low, high in pairwise(held))
    assert held[-1] == ALL_GRANTS


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.VIEWER, "runs.view", "runs.retry"),
        (Role.VIEWER, "runs.view", "runs.signal"),
        (Role.VIEWER, "runs.view", "runs.answer"),
        (Role.OPERATOR, "runs.signal", "runs.enqueue"),
        (Role.OPERATOR, "runs.answer", "runs.enqueue"),
        (Role.OPERATOR, "queues.pause", "runs.enqueue"),
        (Role.DEVELOPER, "runs.enqueue", "queues.edit"),
        (None, None, "runs.view"),
    ],
)
def test_a_role_may_what_its_row_says_and_no_more(role, may, may_not):
    if may:
        assert require(actor(role), may) == actor(role)
    assert not allows(actor(role), may_not)
    with pytest.raises(errors.GrantMissing):
        require(actor(role), may_not)


def test_an_unknown_grant_is_a_mistake_in_the_code_even_for_an_admin():
    with pytest.raises(ValueError, match=r"no grant 'runs.fly'"):
        require(actor(Role.ADMIN), "runs.fly")
    with pytest.raises(ValueError, match="no grant"):
        allows(actor(Role.ADMIN), "runs.fly")


def test_a_refusal_names_who_what_and_the_role_to_ask_for():
    with pytest.raises(errors.GrantMissing) as caught:
        require(actor(Role.VIEWER), "runs.retry")
    assert str(caught.value) == (
        "someone has the role viewer; runs.retry needs operator or higher. Ask an admin for that role."
    )
    assert lowest_role("runs.retry") is Role.OPERATOR


def test_a_wrong_role_is_told_what_to_write():
    with pytest.raises(ValueError, match=r"role: 'boss' is not a role\. Write viewer, operator, developer or admin"):
        parse_role("boss")


@pytest.mark.parametrize(
    "error",
    [
        errors.GrantMissing("runs.retry", "viewer", "ann", "operator"),
        errors.TooManyGuesses(61),
        errors.InvalidInput("name", "is empty."),
        errors.LinkUsed(),
        errors.BearerMissing("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_an_error_speaks_even_without_arguments():
    assert "manage.py signin_link" in str(errors.LinkUsed())
    assert "Wait 2 minutes" in str(errors.TooManyGuesses(61))


def test_secrets_are_long_different_and_only_their_hash_is_alike():
    one, two = new_secret(), new_secret()
    assert one != two
    assert len(one) == 43
    assert digest(one) == digest(one) != digest(two)
    assert TOKEN_PREFIX == "hf_"


def test_a_command_line_actor_is_an_admin_with_a_name():
    local = Actor.local()
    assert local.role is Role.ADMIN
    assert local.label.endswith("(command line)")
