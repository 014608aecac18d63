"""The folder `platform/` must never hide the standard library's module `platform`."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = (
    "import json, platform, uuid, holdfast, runs, queues;"
    "print(json.dumps([platform.system(), holdfast.__file__, runs.__file__, queues.__file__]))"
)


def test_the_folder_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.parametrize("folder", [".", "platform", "platform/holdfast/embedded", "tests", "/", None])
def test_from_any_folder_python_finds_its_own_module_and_ours(folder: str | None, tmp_path: Path) -> None:
    cwd = tmp_path if folder is None else ROOT / folder
    done = subprocess.run([sys.executable, "-c", ASK], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    system, *files = json.loads(done.stdout)
    assert system == platform.system()
    assert files == [str(ROOT / p / "__init__.py") for p in ("platform/holdfast", "runs", "queues")]


def test_nothing_of_ours_is_called_like_a_module_that_python_imports_at_its_start() -> None:
    ours = {path.name for path in (ROOT / "platform").iterdir() if path.is_dir()}
    assert ours.isdisjoint(sys.stdlib_module_names)
