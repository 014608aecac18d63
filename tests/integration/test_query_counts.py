"""How much each page, fragment and reading call of the API asks of PostgreSQL: the exact number of statements, the same
for few rows and for many. An address that is new fails here until it stands in the table."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Final

import pytest
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import resolve, reverse
from django.urls.converters import get_converters

from holdfast.access import urls as access_urls
from queues import urls as queues_urls
from runs import urls as runs_urls
from runs.api.api import api
from runs.views.now import PLOTLY_VERSION
from tests.support.counting import counted, listing
from tests.support.crowd import NAME, crowd
from tests.support.people import signed_in

FRAGMENT: Final = "fragment "
#: Addresses, `{names}` as `crowd` has them, and how many statements each takes. Three of them are the session, the
#: person and their role.
COUNTS: Final[dict[str, int]] = {
    "/": 20,
    f"{FRAGMENT}/": 19,
    "/charts/failure-rate.json": 6,
    "/charts/durations.json": 5,
    f"/assets/plotly-{PLOTLY_VERSION}.min.js": 0,
    "/verdict/": 15,
    "/pulse/": 4,
    "/find/": 4,
    f"/find/?q={NAME}": 15,
    "/runs/": 14,
    "/runs/?q=status:failed&columns=task,tags": 14,
    f"{FRAGMENT}/runs/?shown={{run}},{{failed}},{{child}}": 11,
    "/runs/export/": 5,
    "/runs/export/?columns=id,why": 10,
    "/runs/suggestions/?q=queue:": 4,
    "/runs/compare/": 4,
    "/runs/compare/?a={run}&b={failed}": 16,
    "/runs/{run}/": 15,
    f"{FRAGMENT}/runs/{{run}}/": 14,
    "/runs/{failed}/": 11,
    "/runs/{waiting}/": 16,
    "/runs/{child}/": 15,
    "/runs/{run}/live/": 10,
    "/runs/{child}/why/": 11,
    "/workers/{worker}/": 9,
    "/runs/{run}/log/": 4,
    "/runs/{run}/log/lines/": 5,
    "/runs/{run}/steps/": 4,
    "/runs/{run}/steps/overview/": 5,
    "/runs/{run}/snapshots/1/": 4,
    "/runs/{failed}/snapshots/1/fork/": 12,
    "/runs/{run}/updates/": 5,
    "/runs/{run}/children/": 6,
    "/retries/": 12,
    f"{FRAGMENT}/retries/": 11,
    "/approvals/": 5,
    f"{FRAGMENT}/approvals/": 5,
    "/waits/{wait}/": 5,
    "/waits/{signed}/": 4,
    "/schedules/": 6,
    f"/schedules/{NAME}/": 9,
    "/webhooks/": 8,
    f"/webhooks/in/{NAME}/": 8,
    f"/webhooks/in/{NAME}/deliveries/{{delivery}}/": 5,
    "/webhooks/out/": 8,
    f"/webhooks/out/{NAME}/": 7,
    "/explore/": 14,
    "/explore/?by=task": 14,
    "/explore/?over=100ms&under=10s": 15,
    "/explore/charts/throughput.json": 11,
    "/alerts/": 14,
    "/alerts/?new": 14,
    f"/alerts/{NAME}/": 15,
    f"/alerts/{NAME}/preview/": 12,
    "/alerts/channels/": 6,
    f"/alerts/channels/{NAME}/": 7,
    "/errors/": 11,
    "/errors/f00d/": 19,
    "/errors/f00d/chart/": 11,
    "/changes/": 7,
    "/bulk/": 7,
    f"{FRAGMENT}/bulk/": 6,
    "/bulk/new/?action=retry&q=status:failed": 10,
    "/bulk/matching/?q=status:failed": 9,
    "/bulk/{job}/": 10,
    f"{FRAGMENT}/bulk/{{job}}/": 9,
    "/tasks/": 7,
    "/tasks/echo/": 14,
    "/tasks/echo/?payload_of={failed}": 18,
    "/queues/": 10,
    f"{FRAGMENT}/queues/": 9,
    "/sign-in/": 2,
    "/sign-in/wrong/": 1,
    "/api/v1/verdict": 15,
    "/api/v1/tasks": 4,
    "/api/v1/tasks/echo": 4,
    "/api/v1/retries": 9,
    "/api/v1/compare?a={run}&b={failed}": 15,
    "/api/v1/runs/export": 5,
    "/api/v1/runs": 8,
    "/api/v1/runs/{run}": 7,
    "/api/v1/runs/{child}/why": 11,
    "/api/v1/runs/{run}/attempts": 6,
    "/api/v1/runs/{run}/snapshots": 6,
    "/api/v1/runs/{run}/logs": 5,
    "/api/v1/runs/{run}/streams/answer": 5,
    "/api/v1/waits": 7,
    "/api/v1/runs/{waiting}/waits": 6,
    "/api/v1/runs/{run}/updates": 5,
    "/api/v1/runs/{run}/updates/{update}": 4,
    "/api/v1/endpoints": 4,
    f"/api/v1/endpoints/{NAME}": 4,
    f"/api/v1/endpoints/{NAME}/deliveries": 5,
    "/api/v1/webhooks": 4,
    f"/api/v1/webhooks/{NAME}": 4,
    f"/api/v1/webhooks/{NAME}/deliveries": 5,
    "/api/v1/workers": 4,
    "/api/v1/changes": 5,
    f"/api/v1/find?q={NAME}": 14,
    "/api/v1/errors": 9,
    "/api/v1/errors/f00d": 10,
    "/api/v1/explore": 13,
    "/api/v1/explore/differences?over=100ms&under=10s": 11,
    "/api/v1/views": 4,
    "/api/v1/queues": 5,
    f"/api/v1/queues/{NAME}": 5,
    "/api/v1/breakers": 5,
    f"/api/v1/breakers/{NAME}": 5,
    "/api/v1/schedules": 4,
    f"/api/v1/schedules/{NAME}": 6,
    "/api/v1/alerts": 7,
    f"/api/v1/alerts/{NAME}": 7,
    f"/api/v1/alerts/{NAME}/preview": 11,
    f"/api/v1/alerts/{NAME}/firings": 5,
    "/api/v1/channels": 4,
    f"/api/v1/channels/{NAME}": 4,
    f"/api/v1/channels/{NAME}/deliveries": 5,
    "/api/v1/bulk": 6,
    "/api/v1/bulk/preview?action=retry&q=status:failed": 9,
    "/api/v1/bulk/{job}": 7,
    "/api/v1/bulk/{job}/items": 5,
}
#: Addresses that answer with something else than 200.
OTHERS: Final = {"/sign-in/": 302, "/sign-in/wrong/": 410}
#: Not counted here, and why.
EXEMPT: Final = {"runs:stream": "goes on for as long as its run does; test_stream_feed.py has it"}
#: What stands in addresses of which only the view counts, by the kind of the part.
KINDS: Final = {type(found): name for name, found in get_converters().items()}
ANY: Final = {"int": "1", "uuid": str(uuid.UUID(int=1)), "str": "x"}


@pytest.fixture
def client(registered: None) -> Client:
    return signed_in("admin")


def fetched(client: Client, address: str) -> HttpResponseBase:
    headers = {"HX-Request": "true"} if address.startswith(FRAGMENT) else {}
    return client.get(address.removeprefix(FRAGMENT), headers=headers)


def asked(client: Client, names: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    for address in COUNTS:
        path = address.format(**names)
        answer = fetched(client, path)  # what is kept in memory from the first time on is there
        with counted() as found:
            answer = fetched(client, path)
        assert answer.status_code == OTHERS.get(address, 200), f"{address}: {answer.status_code}"
        answer.close()
        yield address, found


@pytest.mark.parametrize("rows", [3, 30])
def test_every_page_and_call_asks_exactly_so_many_times_whatever_the_number_of_rows(client: Client, rows: int) -> None:
    found = dict(asked(client, crowd(rows)))
    wrong = {address: said for address, said in found.items() if len(said) != COUNTS[address]}
    told = [f"{a}: {len(said)} instead of {COUNTS[a]}\n{listing(said)}" for a, said in wrong.items()]
    assert not told, "\n".join(told)


def routes() -> dict[str, str]:
    """Every address of these three rooms by its name, with anything in it."""
    return {
        f"{urls.app_name}:{pattern.name}": reverse(
            f"{urls.app_name}:{pattern.name}",
            kwargs={name: ANY[KINDS[type(of)]] for name, of in pattern.pattern.converters.items()},
        )
        for urls in (runs_urls, queues_urls, access_urls)
        for pattern in urls.urlpatterns
    }


def test_no_page_and_no_fragment_is_missing_from_the_table(client: Client) -> None:
    """What is not in it takes nothing but POST."""
    names = dict.fromkeys(re.findall(r"{(\w+)}", " ".join(COUNTS)), ANY["uuid"]) | {"signed": "x", "worker": "1"}
    listed = {resolve(a.removeprefix(FRAGMENT).format(**names).partition("?")[0]).view_name for a in COUNTS}
    others = {name: path for name, path in routes().items() if name not in {*listed, *EXEMPT}}
    assert [name for name, path in others.items() if client.get(path).status_code != 405] == []


def test_no_reading_call_of_the_api_is_missing_from_the_table() -> None:
    paths = [a.removeprefix("/api/v1").partition("?")[0] for a in COUNTS if a.startswith("/api/")]
    shapes = {
        path: re.compile(re.sub(r"{\w+}", "[^/]+", path))
        for router in api._get_bound_routers()
        for path, view in router.path_operations.items()
        if any("GET" in operation.methods for operation in view.operations)
    }
    assert [path for path, shape in shapes.items() if not any(map(shape.fullmatch, paths))] == []
