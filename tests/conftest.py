"""The tests' own installation: a temporary data folder, and one pair of servers that starts when a test needs it.

Unit tests start no server. Under pytest-xdist the controller starts the pair before its workers, and each worker has a
database of its own in it. If pytest is killed, the kernel ends the servers.
"""

import gc
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

pytest_plugins = ["tests.support.fixtures"]

#: Workers that share the whole suite: on two cores a third one uses what the others leave while they wait.
PROCESSES = 3
#: As far back as a test seeds a history (`--days 30`), and a week.
DAYS = 37
OURS = "HOLDFAST_TESTS_"  # how the controller of xdist tells its workers


def _isolate() -> Path:
    """Before Django's settings load: nothing of this machine's own installation may reach a test."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    for name in list(os.environ):
        foreign = name.startswith("HOLDFAST_") and not (is_worker and name.startswith(OURS))
        if foreign or name in {"DATABASE_URL", "REDIS_URL"}:
            del os.environ[name]
    folder = Path(os.environ.get(f"{OURS}DIR") or tempfile.mkdtemp(prefix="holdfast-tests-"))
    os.environ[f"{OURS}DIR"] = os.environ["HOLDFAST_DATA_DIR"] = str(folder)
    os.environ["HOLDFAST_SECRET_KEY"] = "only-for-tests-" * 4
    os.environ["DJANGO_SETTINGS_MODULE"] = "holdfast.settings"
    # Tests start more than a thousand processes: where bytecode is not to be written, each would compile our code anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    return folder


FOLDER = _isolate()
# How long an example takes is the machine's business.
hypothesis.settings.register_profile("holdfast", deadline=None)
hypothesis.settings.load_profile("holdfast")

from django.conf import settings  # noqa: E402 - the environment comes first

from holdfast import env  # noqa: E402
from holdfast.embedded import EmbeddedServers  # noqa: E402

_started: EmbeddedServers | None = None


def _start() -> EmbeddedServers:
    global _started
    if _started is None:
        _started = EmbeddedServers(FOLDER, durable=False, die_with_parent=True)
        _started.start()
    return _started


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite is shared by a few workers: most of its time goes by in processes that start, die and are waited
    for. `pytest -n 0` runs it in one; some files alone always do."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_worker = "PYTEST_XDIST_WORKER" in os.environ  # it is given the same paths, and shares them with nobody
    if whole and not is_worker and config.option.numprocesses is None and not config.getoption("usepdb"):
        config.option.numprocesses, config.option.dist = PROCESSES, "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: takes minutes; runs when everything else has passed or failed")
    config.addinivalue_line("markers", "first: takes so long that others should go on beside it from the beginning")
    assert settings.DEBUG is False  # loads the settings: pytest-django sets Django up once they are there
    only_unit = bool(config.args) and all("tests/unit" in str(Path(arg).absolute()) for arg in config.args)
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput") and not only_unit:
        servers = _start()
        os.environ[f"{OURS}DATABASE_URL"] = servers.database_url
        os.environ[f"{OURS}REDIS_URL"] = servers.redis_url


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Stable: otherwise the order stays random.
    items.sort(key=lambda item: (not item.get_closest_marker("first"), bool(item.get_closest_marker("last"))))


def pytest_collection_finish() -> None:
    """What is there by now stays: thousands of tests and all of Django need not be walked through again by each
    collection, in this process and in those that tests fork off it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    global _started
    if hasattr(config, "workerinput"):
        return
    if _started is not None:
        _started.stop()
        _started = None
    shutil.rmtree(FOLDER, ignore_errors=True)


@dataclass(frozen=True)
class Servers:
    """Where the servers are. Each worker of xdist has its own number in Valkey."""

    database_url: str
    redis_url: str


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The running pair."""
    shared = os.environ.get(f"{OURS}DATABASE_URL")
    if shared is None:
        started = _start()
        return Servers(started.database_url, started.redis_url)
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) + 1
    return Servers(shared, re.sub(r"db=\d+", f"db={number}", os.environ[f"{OURS}REDIS_URL"]))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: Servers, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Points Django at the pair before pytest-django makes the test database in it."""
    from tests.support import emptying

    emptying.install()
    found = env.parse_database_url(servers.database_url)
    settings.DATABASES["default"].update(
        NAME=found.name, USER=found.user, PASSWORD=found.password, HOST=found.host, PORT=found.port
    )
    settings.HOLDFAST_REDIS_URL = servers.redis_url
    for queue in settings.RQ_QUEUES.values():
        queue["URL"] = servers.redis_url
    settings.CHANNEL_LAYERS["default"]["CONFIG"] = {
        "hosts": [servers.redis_url],
        "prefix": f"holdfast{env.redis_number(servers.redis_url)}",
    }
    settings.CACHES["default"]["LOCATION"] = servers.redis_url


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The partitions of a seeded history are there: a test that has read their tables in a transaction that it leaves
    open would be in the way of making them."""
    from holdfast import db
    from runs import partitions

    with django_db_blocker.unblock(), db.connect("tests") as conn:
        partitions.ensure_partitions(conn, days_ago=DAYS)


@pytest.fixture(scope="session")
def child_environment(servers: Servers, django_db_setup: None) -> dict[str, str]:
    """The environment of a `manage.py` process that works on the test's database."""
    database = settings.DATABASES["default"]
    url = env.socket_database_url(Path(database["HOST"]), database["USER"], database["PASSWORD"], database["NAME"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "DATABASE_URL": url, "REDIS_URL": servers.redis_url}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty folder that the servers' account may enter; pytest's own `tmp_path` is closed to it under root."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lets fixtures see how the test ended."""
    report = yield
    if report.when == "call":
        item.outcome_of_call = report  # type: ignore[attr-defined]
    return report
