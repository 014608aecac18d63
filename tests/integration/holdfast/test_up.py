"""`manage.py up` on real folders, with real servers, as root and as an ordinary user."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.up import Watched, as_ordinary_user, environment, manage, start_up
from tests.support.waiting import eventually

READY = r"(?P<base>http://\S+?)/sign-in/\S+"


@pytest.fixture(params=["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"])
def ordinary(request: pytest.FixtureRequest, data_dir: Path) -> bool:
    """Whether `up` runs as a user without rights. Root's tests run it both ways."""
    if request.param == "ordinary" and os.geteuid() == 0:
        os.chown(data_dir, 65534, 65534)
    return bool(request.param == "ordinary")


@pytest.fixture
def reaped(data_dir: Path) -> Iterator[None]:
    """Whatever a broken test leaves running on the folder is ended, so that it cannot hold up the next one."""
    yield
    for process in servers_of(data_dir):
        process.kill()


def servers_of(data_dir: Path) -> list[psutil.Process]:
    """Processes whose working folder lies in the data folder: that is where the servers live."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(data_dir) and process.name() in {"postgres", "valkey-server"}:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def ready(up: Watched) -> str:
    """Waits for the sign-in link, and returns the address before it."""
    return up.wait_for(READY)["base"]


def get(address: str) -> dict[str, str]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return dict(json.load(answer))


def answers(address: str) -> bool:
    try:
        return bool(get(address))
    except urllib.error.HTTPError:
        return False


@pytest.mark.usefixtures("reaped")
def test_it_runs_twice_on_one_folder_and_ctrl_c_stops_every_child(data_dir: Path, ordinary: bool) -> None:
    with start_up(data_dir, ordinary=ordinary) as up:
        address = ready(up)
        assert get(f"{address}/readyz") == {"database": "ok", "migrations": "ok", "redis": "ok"}
        assert {"postgres", "valkey-server"} <= up.names()
        with start_up(data_dir, ordinary=ordinary) as second:
            assert second.end() == 2
            assert second.lines == [
                f"{data_dir} is in use by the process {up.pid}. "
                "Stop that one first, or name another folder with --data-dir."
            ]
        up.send(signal.SIGINT)
        assert up.end() == 0, up.text
        assert up.alive() == []
        assert servers_of(data_dir) == []
    with start_up(data_dir, ordinary=ordinary) as up:
        address = ready(up)
        assert get(f"{address}/readyz")["database"] == "ok"
        assert "Making" not in up.text
        assert "No migrations to apply" in up.text
        up.send(signal.SIGTERM)
        assert up.end() == 0, up.text
        assert up.alive() == []


@pytest.mark.usefixtures("reaped")
def test_after_kill_9_its_children_end_and_the_next_one_takes_the_servers_over(data_dir: Path, ordinary: bool) -> None:
    with start_up(data_dir, ordinary=ordinary) as up:
        ready(up)
        up.wait_for("worker .* serves")
        servers = {p.pid for p in servers_of(data_dir)}
        up.send(signal.SIGKILL)
        up.end()
        eventually(lambda: {p.pid for p in up.alive()} <= servers, "the children of a killed up end", timeout=90)
        with start_up(data_dir, ordinary=ordinary) as following:
            ready(following)
            taken = {int(pid) for pid in re.findall(r"runs already \(pid (\d+)\): taken over", following.text)}
            assert len(taken) == 2
            assert taken <= servers
            following.send(signal.SIGINT)
            assert following.end() == 0
        assert servers_of(data_dir) == []


@pytest.mark.usefixtures("reaped")
def test_whoever_is_killed_is_started_again(data_dir: Path) -> None:
    with start_up(data_dir) as up:
        address = ready(up)
        worker = psutil.Process(int(up.wait_for(r"worker-1 started \(pid (\d+)\)")[1]))
        before = len(up.lines)
        worker.kill()
        up.wait_for(r"worker-1 ended \(killed by SIGKILL\); starting again", after=before)
        up.wait_for(r"worker-1 started \(pid \d+\)", after=before)
        for name in ("PostgreSQL", "Valkey"):
            before = len(up.lines)
            pid = re.findall(rf"{name} started \(pid (\d+)\)", up.text)[-1]
            psutil.Process(int(pid)).kill()
            up.wait_for(rf"{name} started \(pid \d+\)", after=before)
        eventually(lambda: answers(f"{address}/readyz"), "it can do its work again")
        assert get(f"{address}/readyz") == {"database": "ok", "migrations": "ok", "redis": "ok"}
        up.send(signal.SIGINT)
        assert up.end() == 0


@pytest.mark.usefixtures("reaped")
def test_a_port_that_is_taken_gives_way_to_the_next_free_one(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start_up(data_dir, "--port", str(port)) as up:
            said = up.wait_for(rf"port {port} is taken; using (\d+)")
            assert int(said[1]) > port
            assert ready(up) == f"http://127.0.0.1:{said[1]}"


@pytest.mark.usefixtures("reaped")
def test_tasks_that_cannot_be_imported_stop_it_with_exit_code_2_and_the_line_to_correct(data_dir: Path) -> None:
    tasks = data_dir.with_suffix(".py")
    tasks.write_text("import json\n\nfrom runs import nonsense\n")
    try:
        with start_up(data_dir, "--tasks", str(tasks)) as up:
            assert up.end() == 2, up.text
            assert f"Tasks cannot be imported. {tasks}, line 3: ImportError: cannot import name 'nonsense'" in up.text
            assert "cannot work with this configuration" in up.text
            assert up.alive() == []
    finally:
        tasks.unlink()


TASKS = """
from runs import task


@task(id="sync-customer")
def sync_customer(customer: int) -> int:
    return customer
"""


@pytest.fixture
def tasks(data_dir: Path) -> Iterator[Path]:
    """A file with a task, beside the data folder."""
    path = data_dir.with_name(f"{data_dir.name}_tasks.py")
    path.write_text(TASKS)
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.usefixtures("reaped")
def test_a_command_in_another_shell_knows_the_tasks_that_it_was_started_with(data_dir: Path, tasks: Path) -> None:
    def said(*words: str, code: int = 0, **variables: str) -> str:
        env = environment(HOLDFAST_DATA_DIR=str(data_dir), **variables)
        done = subprocess.run(manage(*words), env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        return done.stderr if code else done.stdout

    enqueue = ("enqueue", "sync-customer", '{"customer": 42}')
    with start_up(data_dir, "--tasks", f"../{tasks.name}") as up:
        ready(up)
        first = said(*enqueue).split()[0]
        assert "replays" in said("runs", "replay", first)

        other = tasks.with_name(f"{data_dir.name}_other.py")
        try:
            other.write_text("")
            refused = said(*enqueue, code=2, HOLDFAST_TASKS=str(other))
            assert refused == (
                "CommandError: There is no task 'sync-customer' here: it is registered, but this process has not "
                "loaded its code. Set HOLDFAST_TASKS to the module or file that declares it.\n"
            )
        finally:
            other.unlink()

        tasks.unlink()
        assert said(*enqueue, code=2) == (
            f"The `manage.py up` of this data folder names {data_dir}/../{tasks.name}, which is no readable file. Set "
            "HOLDFAST_TASKS to modules that Python can import from here, or paths of .py files, with commas between "
            "them.\n"
        )
        assert first in said("runs", "show", first)
        assert "default" in said("queues", "list")


def test_an_ordinary_user_is_told_that_a_folder_of_root_is_not_theirs(data_dir: Path) -> None:
    if os.geteuid() != 0:
        data_dir.chmod(0o500)
    with start_up(data_dir, ordinary=True) as up:
        assert up.end() == 2
        (line,) = up.lines
        assert line.startswith(f"HOLDFAST_DATA_DIR: {data_dir} cannot be written to by the user ")


def test_the_ordinary_user_of_these_tests_has_no_rights() -> None:
    command = as_ordinary_user(["id", "-u"])
    with Watched(command, dict(os.environ)) as asked:
        asked.end()
        assert asked.text != "0"
