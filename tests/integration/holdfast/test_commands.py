"""Commands as processes: what they refuse in one line, and what they wait for."""

import os
import re
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from holdfast import env
from holdfast.management.commands.migrate import LOCK
from tests.conftest import Servers
from tests.support.up import Watched, environment, manage

CLOSED = "postgresql://u:s3cret@127.0.0.1:1/x"
NO_REDIS = "redis://:s3cret@127.0.0.1:1/0"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(manage(*words), env=environment(**variables), capture_output=True, text=True, check=False)


@pytest.fixture
def empty_database(servers: Servers) -> Iterator[str]:
    """The URL of a new database without tables."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        found = env.parse_database_url(servers.database_url)
        yield env.socket_database_url(Path(found.host), found.user, found.password, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": "sqlite:///x", "REDIS_URL": NO_REDIS}, "DATABASE_URL: the scheme is 'sqlite'"),
        ({"DATABASE_URL": CLOSED}, "REDIS_URL: it is not set, while DATABASE_URL is"),
        ({"DATABASE_URL": CLOSED, "REDIS_URL": NO_REDIS}, "DATABASE_URL: PostgreSQL cannot be reached ("),
        ({"HOLDFAST_TASKS": "no_such_tasks"}, "HOLDFAST_TASKS: there is no module 'no_such_tasks'"),
        ({"HOLDFAST_DATA_DIR": "/dev/null/x"}, "HOLDFAST_DATA_DIR: /dev/null is a file, not a folder"),
    ],
)
@pytest.mark.parametrize("command", ["up", "queues"])
def test_a_wrong_environment_is_one_line_and_exit_code_2(
    data_dir: Path, variables: dict[str, str], said: str, command: str
) -> None:
    words = [command] if command == "up" else [command, "list"]
    done = run(*words, **{"HOLDFAST_DATA_DIR": str(data_dir), **variables})
    assert done.returncode == 2, done
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith(said)
    assert "s3cret" not in line


def test_a_wrong_option_of_up_is_said_like_its_variable(data_dir: Path) -> None:
    done = run("up", "--data-dir", str(data_dir), "--tasks", "/nowhere/tasks.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("HOLDFAST_TASKS: there is no file /nowhere/tasks.py. Write the path of")


def test_a_redis_that_does_not_answer_is_one_line(servers: Servers, data_dir: Path) -> None:
    urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": NO_REDIS}
    done = run("up", HOLDFAST_DATA_DIR=str(data_dir), **urls)
    assert done.returncode == 2
    assert re.fullmatch(r"REDIS_URL: the server does not answer \(.*127\.0\.0\.1:1.*\n", done.stdout + done.stderr)
    assert "s3cret" not in done.stderr


def test_without_a_living_up_a_command_says_what_to_start(data_dir: Path) -> None:
    done = run("queues", "list", HOLDFAST_DATA_DIR=str(data_dir))
    assert done.returncode == 2
    assert done.stderr == (
        f"There is no database: no `manage.py up` is alive on the data folder {data_dir}. "
        "Start one, name its folder with --data-dir or in HOLDFAST_DATA_DIR, or set DATABASE_URL and REDIS_URL.\n"
    )


@pytest.mark.parametrize("words", [["help"], ["check"], ["up", "--help"], ["web", "--help"], ["--version"]])
def test_these_need_no_server(data_dir: Path, words: list[str]) -> None:
    done = run(*words, HOLDFAST_DATA_DIR=str(data_dir))
    assert done.returncode == 0, done.stderr


def test_models_and_migrations_agree_and_asking_needs_no_server(data_dir: Path) -> None:
    done = run("makemigrations", "--check", "--dry-run", HOLDFAST_DATA_DIR=str(data_dir))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_finds_the_servers_of_its_data_folder(servers: Servers) -> None:
    """The tests' own servers live in HOLDFAST_DATA_DIR, and a child that is told nothing else finds them."""
    done = run("showmigrations", "--list", HOLDFAST_DATA_DIR=str(settings.HOLDFAST_DATA_DIR))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", ["--data-dir {}", "--data-dir={}"])
def test_any_command_may_be_told_of_its_data_folder(servers: Servers, data_dir: Path, form: str) -> None:
    option = form.format(settings.HOLDFAST_DATA_DIR).split(" ")
    for words in (["showmigrations", *option, "--list"], [*["showmigrations", "--list"], *option]):
        done = run(*words, HOLDFAST_DATA_DIR=str(data_dir))
        assert done.returncode == 0, done.stderr


def test_a_data_folder_that_is_not_named_is_said_and_behind_two_dashes_it_is_no_option(data_dir: Path) -> None:
    done = run("queues", "list", "--data-dir")
    assert (done.returncode, done.stderr) == (2, "--data-dir: the folder is missing. Write --data-dir FOLDER.\n")
    done = run("queues", "--", "--data-dir", "/nowhere", HOLDFAST_DATA_DIR=str(data_dir))
    assert str(data_dir) in done.stderr


def test_web_waits_for_migrations_and_migrate_for_its_turn(empty_database: str, servers: Servers) -> None:
    urls = {"DATABASE_URL": empty_database, "REDIS_URL": servers.redis_url, "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(HOLDFAST_DATA_DIR=f"{folder}/data", **urls)
        with psycopg.connect(empty_database, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            with (
                Watched(manage("web", "--port", "0"), variables) as web,
                Watched(manage("migrate"), variables) as migrate,
            ):
                web.wait_for(r"waiting for \d+ migrations: run `manage.py migrate`")
                migrate.wait_for("Another process is migrating this database: waiting for it")
                other.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
                assert migrate.end() == 0, migrate.text
                web.wait_for(r"web server listens on 127\.0\.0\.1, port \d+")


def test_a_taken_port_is_one_line_for_web(child_environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            manage("web", "--port", port), env=child_environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == f"--port {port}: it is taken by another program. Choose another one.\n"


def test_the_tests_never_see_this_machines_own_installation() -> None:
    assert os.environ["HOLDFAST_DATA_DIR"] == str(settings.HOLDFAST_DATA_DIR)
    assert "holdfast-tests-" in str(settings.HOLDFAST_DATA_DIR)
