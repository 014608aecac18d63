"""What the README promises is what is checked."""

from tests.support.readme import README, command_with

SETUP = "python3 -m venv .venv && .venv/bin/pip install -e "


def test_the_two_commands_make_the_same_environment() -> None:
    assert command_with("manage.py up") == f"{SETUP}. && .venv/bin/python manage.py up"
    assert command_with("pytest") == f"{SETUP}'.[dev]' && .venv/bin/pytest"


def test_ci_ends_with_the_readmes_test_command() -> None:
    script = (README.parent / ".ci" / "run").read_text("utf-8")
    assert script.splitlines()[-1] == command_with("pytest")
