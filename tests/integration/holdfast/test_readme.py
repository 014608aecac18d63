"""The README's first command, as a newcomer copies it: a fresh folder, a fresh environment, a completed run."""

import json
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.readme import command_with
from tests.support.up import ROOT, Watched, environment
from tests.support.waiting import eventually

INSTALLING = 900.0  # seconds: it downloads some 150 MB
RUNNING = 120.0  # seconds for a run of research-agent, which takes ten on a machine that does nothing else
ENDS = {"completed", "failed", "crashed", "timed_out", "expired", "cancelled"}
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "tests")


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of the checkout below a path that a careless script would break on."""
    with tempfile.TemporaryDirectory(prefix="holdfast-readme-") as folder:
        yield Path(shutil.copytree(ROOT, Path(folder) / "a source with ümlauts and spaces", ignore=NOT_COPIED))


@pytest.mark.last
def test_the_first_command_leads_from_nothing_to_a_completed_run(checkout: Path, data_dir: Path) -> None:
    variables = environment(HOLDFAST_DATA_DIR=str(data_dir), PYTHONUNBUFFERED="1")
    with Watched(["/bin/sh", "-c", command_with("manage.py up")], variables, cwd=checkout) as up:
        address = up.wait_for(r"(http://\S+?)/sign-in/\S+", patience=INSTALLING)[1]
        token = run_in(checkout, variables, "token", "create", "newcomer", "--role", "developer", "--quiet").strip()
        run = call(f"{address}/api/v1/tasks/research-agent/runs", token, {"payload": {"topic": "kelp"}})
        assert run["status"] in {"queued", "running"}

        def ended() -> dict[str, Any]:
            found = call(f"{address}/api/v1/runs/{run['id']}", token)
            return found if found["status"] in ENDS else {}

        run = eventually(ended, "research-agent ends", timeout=RUNNING)
        assert (run["status"], run["attempt"], run["output"]["topic"]) == ("completed", 2, "kelp"), up.text

        supervisor = up.of_command("manage.py", "up")
        supervisor.send_signal(signal.SIGINT)
        assert up.end() == 0, up.text
        assert up.alive() == []
    assert "Traceback" not in up.text


def run_in(checkout: Path, variables: dict[str, str], *words: str) -> str:
    """A second terminal in the same checkout: it finds the servers of the living `up` by itself."""
    command = [str(checkout / ".venv" / "bin" / "python"), "manage.py", *words]
    done = subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(address: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=30) as answer:
        return dict(json.load(answer))
