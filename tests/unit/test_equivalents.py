"""Each action of a page shows what does the same on the command line and over HTTP (DASHBOARD), and that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
FORM = re.compile(r'<form\b[^>]*\bmethod="post".*?</form>', re.DOTALL)
CONFIRM = re.compile(r'{% include "holdfast/_confirm\.html" [^%]*%}')
#: `{% elsewhere "CLI" "METHOD /path" …`, its kin for single buttons, and what a confirmation is given.
SHOWN = re.compile(
    r'{% elsewhere(?:_beside "[^"]*")? "(?P<cli>[^"]*)" "(?P<http>[^"]*)"'
    r'|\bcli="(?P<cli2>[^"]*)" http="(?P<http2>[^"]*)"'
)
#: Forms that have none, each for its reason.
EXEMPT = {
    "access/sign_in.html": "a browser's session is of browsers alone",
    "access/sign_in_link.html": "a browser's session is of browsers alone",
    "holdfast/_rail_foot.html": "a browser's session is of browsers alone",
    "demo/orders.html": "it is a developer's own page, of the demo",
    "runs/task.html": "beside it stand three snippets, which are made of what is typed",
}


def pages() -> Iterator[tuple[str, str]]:
    """(name, source) of each template."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        yield str(path.relative_to(TEMPLATES)), path.read_text("utf-8")


def shown() -> list[tuple[str, str, str]]:
    """(template, command line, request) of all that is shown."""
    found = []
    for name, source in pages():
        for match in SHOWN.finditer(source):
            cli, http = match["cli"] or match["cli2"], match["http"] or match["http2"]
            found.append((name, cli, http))
    return found


def test_every_form_that_changes_something_shows_its_equivalent() -> None:
    forms = [(name, form) for name, source in pages() for form in FORM.findall(source)]
    assert len(forms) > 50, "the forms are somewhere else; mend this test"
    lacking = [
        f"{name}: {' '.join(form.split())[:120]}"
        for name, form in forms
        if name not in EXEMPT and "{% elsewhere" not in form and 'class="elsewhere"' not in form
    ]
    assert not lacking, "put {% elsewhere %} into these forms, or {% elsewhere_beside %} beside their single button"


def test_every_confirmation_is_given_its_equivalent() -> None:
    lacking = [
        f"{name}: {include}"
        for name, source in pages()
        for include in CONFIRM.findall(source)
        if name != "holdfast/design.html" and ' cli="' not in include
    ]
    assert not lacking


def test_what_needs_no_equivalent_is_still_there() -> None:
    assert set(EXEMPT) == {name for name, source in pages() if name in EXEMPT and FORM.search(source)}


@pytest.mark.parametrize(("template", "cli", "http"), shown(), ids=[f"{of}:{cli}" for of, cli, _ in shown()])
def test_what_is_shown_exists(template: str, cli: str, http: str) -> None:
    command, *arguments = shlex.split(cli.replace("{}", "1").replace("\\'", "'"))
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    parsed = parser.parse_args(arguments)  # raises CommandError where the command does not take it
    assert getattr(parsed, "verb", "") in ("", arguments[0])
    assert http in operations(), f"{template} shows {http}"


def operations() -> set[str]:
    """`POST /runs/{}/retry`, of every operation of the API."""
    from runs.api.api import api

    found = set()
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                found |= {f"{method} {re.sub(r'{[^}]*}', '{}', prefix + path)}" for method in operation.methods}
    return found
