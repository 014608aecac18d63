"""The README's first command, as a newcomer copies it: a fresh folder, a fresh environment, a completed run."""

import json
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.up import ROOT, Watched, environment

BLOCK = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
PATIENCE = 90.0  # seconds for a run of research-agent, which takes ten


def commands() -> list[str]:
    """The shell commands that the README tells a newcomer to copy, in their order."""
    return BLOCK.findall((ROOT / "README.md").read_text("utf-8"))


def test_what_ci_runs_is_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert script[-1] == commands()[1]


def test_the_first_command_leads_from_nothing_to_a_completed_run(data_dir: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout with spaces"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    variables = environment(HOLDFAST_DATA_DIR=str(data_dir))
    with Watched(["/bin/sh", "-c", f"exec 2>&1; {commands()[0]}"], variables, cwd=checkout) as up:
        address = up.wait_for(r"(http://\S+?)/sign-in/\S+")[1]
        token = run_in(checkout, variables, "token", "create", "newcomer", "--role", "developer", "--quiet").strip()
        run = call(f"{address}/api/v1/tasks/research-agent/runs", token, {"payload": {"topic": "kelp"}})
        assert run["status"] in {"queued", "running"}
        deadline = time.monotonic() + PATIENCE
        while run["status"] not in {"completed", "failed"} and time.monotonic() < deadline:
            run = call(f"{address}/api/v1/runs/{run['id']}", token)
            time.sleep(0.2)
        assert (run["status"], run["attempt"], run["output"]["topic"]) == ("completed", 2, "kelp"), up.text
        supervisor = next(p for p in up.family() if p.cmdline()[-2:] == ["manage.py", "up"])
        supervisor.send_signal(signal.SIGINT)
        assert up.end() == 0, up.text
        assert up.alive() == []


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
