"""A browser that takes nothing any more: the server lets go of it, and keeps nothing for it."""

from __future__ import annotations

import base64
import os
import socket

import pytest
from django.conf import settings
from django.db import connection

from tests.support import stored
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.waiting import eventually
from tests.support.web import port_of

LINES, LENGTH = 4_000, 7_500  # 30 MB
#: What may lie between the server and a client that does not read: the buffers of the kernel, and one message.
IN_BETWEEN = 12 * 1024 * 1024


def upgraded(port: int, path: str, cookie: str) -> socket.socket:
    """A websocket of which nothing but the server's consent was read."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    found.connect(("127.0.0.1", port))
    found.settimeout(30)
    key = base64.b64encode(os.urandom(16)).decode()
    found.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        f"Cookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    said = b""
    while b"\r\n\r\n" not in said:
        said += found.recv(1)
    assert said.startswith(b"HTTP/1.1 101"), said
    return found


def pages_open() -> int:
    """Connections of live pages to PostgreSQL; the last page takes them along."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'holdfast live' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.django_db(transaction=True)
def test_a_client_that_stops_reading_is_let_go_and_nothing_is_piled_up_for_it(fleet: Fleet) -> None:
    run = stored.run("running")
    stored.lines(run, *("x" * LENGTH for _ in range(LINES)))
    client = signed_in("viewer")
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    web = fleet.start("web", "web", "--port", "0")
    port = port_of(web)
    with upgraded(port, f"/ws/runs/{run.id}?after=0", cookie) as viewer:
        eventually(pages_open, "the page is open")
        before = resident(web.pid)
        eventually(lambda: pages_open() == 0, "the page is let go")
        assert resident(web.pid) - before < LINES * LENGTH, "the rest of the log is not waiting in memory"
        taken = 0
        try:
            while part := viewer.recv(1 << 20):
                taken += len(part)
        except ConnectionResetError:
            pass
        assert taken < IN_BETWEEN, f"{taken:,} bytes were on their way"
