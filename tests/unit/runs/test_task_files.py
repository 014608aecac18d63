"""Files that HOLDFAST_TASKS names: each is imported once and whole, or said to be in the way of another."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pytest_django import Settings

from runs import registration
from runs.errors import DeclarationError

NAME = "holdfast_tasks_of_one_name"


def written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "of_one_name.py"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test imports is gone after it."""
    monkeypatch.setitem(sys.modules, NAME, ModuleType(NAME))
    del sys.modules[NAME]


def imported(settings: Settings, *paths: Path) -> ModuleType:
    settings.HOLDFAST_TASKS, settings.HOLDFAST_TASKS_FROM = [str(path) for path in paths], "HOLDFAST_TASKS"
    registration.discover()
    return sys.modules[NAME]


def test_a_second_file_of_the_same_name_is_refused_with_both_paths(tmp_path: Path, settings: Settings) -> None:
    shop, mail = written(tmp_path / "shop", "FROM = 'shop'\n"), written(tmp_path / "mail", "FROM = 'mail'\n")
    said = (
        f"HOLDFAST_TASKS names {mail}, and {shop}, which has the same name. Give one of the files another name, or put "
        "them into packages and name their modules, such as shop.tasks."
    )
    with pytest.raises(DeclarationError, match=f"^{re.escape(said)}$"):
        imported(settings, shop, mail)
    assert sys.modules[NAME].FROM == "shop"


def test_the_same_file_is_imported_once_whatever_path_leads_to_it(tmp_path: Path, settings: Settings) -> None:
    path = written(tmp_path / "shop", "")
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    first = imported(settings, path, tmp_path / "link" / path.name)
    assert imported(settings, path) is first


def test_a_file_that_failed_is_imported_anew_when_it_is_mended(tmp_path: Path, settings: Settings) -> None:
    path = written(tmp_path, "HALF = True\n1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            imported(settings, path)
        assert NAME not in sys.modules
    written(tmp_path, "WHOLE = True  # longer than before, so no cache is taken for it\n")
    assert imported(settings, path).WHOLE
