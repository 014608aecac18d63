import html
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template
from django.test import RequestFactory

from holdfast.access.grants import Actor
from holdfast.access.roles import Role
from holdfast.icons import ICONS
from holdfast.navigation import KEYS, PLACES
from holdfast.templatetags.holdfast import LONGEST_JSON
from runs.states import Status

EVIL = '<script>alert("x")</script>'


def render(source: str, **context: object) -> str:
    return Template("{% load holdfast %}" + source).render(Context(context))


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_pill_with_words_and_a_shape_of_its_own(status):
    pill = ElementTree.fromstring(render("{% status s %}", s=status))
    assert pill.attrib == {"class": "pill", "data-status": str(status)}
    assert "".join(pill.itertext()) == str(status).replace("_", " ")
    assert pill.find("svg").attrib["aria-hidden"] == "true"
    assert sum(ICONS[status] == ICONS[other] for other in Status) == 1


def test_a_pill_says_more_when_there_is_more_to_say():
    assert "<small>2 of 5</small>" in render('{% status "retrying" "2 of 5" %}')


@pytest.mark.parametrize(
    "source", ["{% status x x %}", "{% json_view x x x %}", '{% include "holdfast/_code.html" with code=x %}']
)
def test_what_comes_from_outside_stays_text(source):
    assert "<script" not in render(source, x=EVIL)


@pytest.mark.parametrize("name", ICONS)
def test_icons_are_well_formed(name):
    assert ElementTree.fromstring(render("{% icon n %}", n=name)).tag == "svg"


def test_a_time_is_relative_in_words_and_exact_on_hover():
    at = datetime.now(UTC) - timedelta(minutes=5, seconds=1)
    element = ElementTree.fromstring(render("{% when at %}", at=at).replace(" data-relative", ""))
    assert element.text == "5 m ago"
    assert element.attrib["title"].endswith(" UTC")
    assert datetime.fromisoformat(element.attrib["datetime"]) == at
    assert render("{% when none %}", none=None) == "–"


def test_what_goes_on_ticks_and_what_has_ended_does_not():
    start = datetime.now(UTC) - timedelta(hours=2)
    assert "data-ticking" in render("{% lasting a %}", a=start)
    assert render("{% lasting a b %}", a=start, b=start + timedelta(seconds=12.5)) == "12.5 s"
    assert render("{% lasting a %}", a=None) == "–"


def test_json_that_is_too_long_is_cut_and_says_so():
    page = render("{% json_view v 'Payload' %}", v="x" * (LONGEST_JSON + 1))
    assert "the HTTP API has all of it" in page
    assert "x" * LONGEST_JSON not in page
    assert "the HTTP API" not in render("{% json_view v %}", v={"n": 9007199254740993123})
    assert "9007199254740993123" in render("{% json_view v %}", v={"n": 9007199254740993123})


def request_of(role: Role | None, path: str = "/"):
    request = RequestFactory().get(path)
    request.user = AnonymousUser()
    if role:
        request.user = type("User", (), {"is_authenticated": True})()
        request.actor = Actor("user", "1", "ann", role)
    return request


@pytest.mark.parametrize(
    ("path", "current"),
    [
        ("/", "Now"),
        ("/runs/", "Runs"),
        ("/runs/019a/", "Runs"),
        ("/approvals/", "Approvals"),
        ("/waits/019a/", "Approvals"),
        ("/queues/", "Queues"),
        ("/schedules/daily/", "Schedules"),
        ("/webhooks/out/crm/", "Webhooks"),
        ("/alerts/invoices/", "Alerts"),
        ("/x/", None),
    ],
)
def test_the_navigation_marks_where_the_person_is(path, current):
    nav = ElementTree.fromstring(render("{% nav %}", request=request_of(Role.VIEWER, path)))
    links = {"".join(a.itertext()).strip(): a.get("aria-current") for a in nav.iter("a")}
    grants = Actor("user", "1", "ann", Role.VIEWER).grants
    assert list(links) == [place.name for place in PLACES if place.grant in grants]
    assert {"Now", "Runs", "Queues"} < links.keys()
    assert "Admin" not in links
    assert [name for name, mark in links.items() if mark] == ([current] if current else [])


def test_admins_see_their_place_and_others_do_not():
    assert 'href="/admin/"' in render("{% nav %}", request=request_of(Role.ADMIN))
    assert 'href="/admin/"' not in render("{% nav %}", request=request_of(Role.DEVELOPER))


def test_a_stranger_sees_no_places():
    assert "<a" not in render("{% nav %}", request=request_of(None))


def test_buttons_are_shown_to_those_who_may_press_them():
    source = '{% may "runs.retry" as yes %}{{ yes }}'
    shown = {role: render(source, request=request_of(role)) for role in (None, Role.VIEWER, Role.OPERATOR)}
    assert shown == {None: "False", Role.VIEWER: "False", Role.OPERATOR: "True"}


def test_each_letter_leads_to_one_place():
    assert len(set(KEYS.values())) == len(KEYS)
    assert all(len(letter) == 1 and letter.islower() for letter in KEYS.values())
    shown = render("{% shortcuts %}", request=request_of(Role.VIEWER))
    assert "<kbd>r</kbd>" in shown
    assert "Admin" not in shown


def test_what_does_the_same_elsewhere_is_told_safely():
    shown = render(
        "{% elsewhere 'runs retry {}' 'POST /runs/{}/retry' of delay=7 why=of %}",
        request=request_of(None),
        of="a'b c/<",
    )
    told = html.unescape(shown)
    assert """manage.py runs retry 'a'"'"'b c/<'""" in told
    assert "curl -X POST http://testserver/api/v1/runs/a%27b%20c%2F%3C/retry" in told
    assert """-d '{"delay": 7, "why": "a'"'"'b c/<"}'""" in told
    assert "<'" not in shown.replace("&#x27;", "'").replace("&lt;", "")
