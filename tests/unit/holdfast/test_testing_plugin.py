"""The test kit as its users have it: a pytest of its own, without Django settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from holdfast.testing import POINTS
from tests.support.readme import python_of

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "platform/docs/testing.md").read_text("utf-8")
PLUGIN = "holdfast.testing.plugin"

UNUSED = """
import sys


def test_nothing_is_loaded_that_nobody_asked_for():
    loaded = [name for name in sys.modules if name.partition(".")[0] in ("django", "runs", "queues", "pydantic")]
    assert loaded == []
"""
FAILS = """
from holdfast.testing import run_inline
from runs import log, step, task


@step
def fetch():
    log.info("fetching")


@task(id="told")
def told():
    fetch()


def test_it_fails(holdfast_clock):
    assert run_inline(told, clock=holdfast_clock).status == "failed"
"""


def pytest_in(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What a developer's own pytest says to a file."""
    (folder / "test_theirs.py").write_text(text, "utf-8")
    foreign = ("HOLDFAST_", "DJANGO_", "DATABASE_URL", "REDIS_URL", "PYTEST_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of our own tests are not theirs
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "-W", "error"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_the_package_brings_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"holdfast": PLUGIN}


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, python_of("testing.md"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


def test_the_page_has_the_table_of_crash_points() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+?) \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert {point: text.replace("`", "") for point, text in rows.items()} == POINTS


def test_a_session_that_does_not_use_the_kit_loads_none_of_it(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, UNUSED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failed_test_tells_the_story_of_its_runs(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, FAILS)
    assert done.returncode == 1, done.stderr
    assert "Holdfast run" in done.stdout
    assert "<run of told completed; attempts 1 completed; steps called fetch×1>" in done.stdout
    assert "info fetching" in done.stdout
