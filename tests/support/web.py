"""A web server of a fleet."""

from __future__ import annotations

import re

from tests.support.processes import Process
from tests.support.waiting import eventually


def port_of(web: Process) -> int:
    """The port on which a `manage.py web --port 0` listens, once it does."""

    def port() -> int | None:
        assert web.popen.poll() is None, f"web ended: {web.said()}"
        found = re.search(r"listens on \S+ port (\d+)", web.said())
        return int(found[1]) if found else None

    found = eventually(port, "web listens", timeout=90)
    assert found is not None
    return found
