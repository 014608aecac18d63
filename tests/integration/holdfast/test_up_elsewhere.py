"""`manage.py up` with DATABASE_URL and REDIS_URL: the servers are somebody else's, and stay."""

import json
import re
import signal
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from holdfast import env
from tests.conftest import Servers
from tests.support.up import start_up

OWN_NUMBER = 63  # in Valkey; the tests' own have the first ones


@pytest.fixture
def elsewhere(servers: Servers) -> Iterator[dict[str, str]]:
    """The variables of an installation whose servers are run by somebody else, without any tables yet."""
    name = f"elsewhere_{uuid.uuid4().hex}"
    found = env.parse_database_url(servers.database_url)
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {
            "DATABASE_URL": env.socket_database_url(Path(found.host), found.user, found.password, name),
            "REDIS_URL": re.sub(r"db=\d+", f"db={OWN_NUMBER}", servers.redis_url),
        }
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_up_uses_the_servers_that_are_named_and_leaves_them_running(
    data_dir: Path, elsewhere: dict[str, str], servers: Servers
) -> None:
    with start_up(data_dir, **elsewhere) as up:
        base = up.wait_for(r"(http://\S+?)/sign-in/\S+")[1]
        up.wait_for("worker .* serves")
        with urllib.request.urlopen(f"{base}/readyz", timeout=30) as answer:
            assert json.load(answer) == {"database": "ok", "migrations": "ok", "redis": "ok"}
        assert not {"postgres", "valkey-server"} & up.names()
        assert not (data_dir / "postgres").exists()
        with start_up(data_dir, **elsewhere) as second:
            assert second.end() == 2
            assert second.lines[0].startswith(f"{data_dir} is in use by the process {up.pid}.")
        up.send(signal.SIGINT)
        assert up.end() == 0, up.text
        assert up.alive() == []
    with psycopg.connect(elsewhere["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM django_migrations").fetchone() == (True,)
    with redis.Redis.from_url(servers.redis_url) as broker:
        assert broker.ping()
