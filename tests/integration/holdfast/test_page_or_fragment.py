"""Where one address answers with a page or with a part of it, caches are told what decides."""

from __future__ import annotations

import pytest

from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


def test_a_cache_keeps_a_page_and_its_fragment_apart() -> None:
    run = stored.run("completed")
    client = signed_in("operator")
    for path in ("/", "/runs/", f"/runs/{run.id}/", "/approvals/", "/retries/", "/queues/", "/bulk/"):
        for headers, whole in (({}, True), ({"HX-Request": "true"}, False)):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 200, path
            assert ("<html" in answer.content.decode()) is whole, path
            assert {"Cookie", "HX-Request"} <= set(answer["Vary"].split(", ")), path
