"""A connection as the engine has it, and a worker that leases."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from holdfast import db
from queues import store
from queues.store import Conn


@pytest.fixture
def conn(transactional_db: None) -> Iterator[Conn]:
    with db.connect("test") as found:
        yield found


@pytest.fixture
def register(conn: Conn) -> Callable[[], int]:
    """Registers a worker."""

    def one() -> int:
        return store.worker_register(
            conn, name="w", pools=["default"], hostname="h", pid=1, version="", coroutines=9, threads=9
        )

    return one


@pytest.fixture
def worker(register: Callable[[], int]) -> int:
    return register()
