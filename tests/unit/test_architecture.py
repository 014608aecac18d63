"""Imports point down (DESIGN 3). Each rule: who, may not import whom, and why it would hurt."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FRONT = tuple(f"runs.{room}" for room in ("views", "api", "consumers", "routing", "urls", "forms", "tryit", "charts"))
WORKER = ("runs.engine",)

RULES = [
    ("queues", ("runs",), "an entry's id is opaque to the flow"),
    ("platform/holdfast/access", ("runs", "queues"), "access is the lowest room"),
    ("platform/holdfast/embedded", ("runs", "queues"), "servers know nothing of what uses them"),
    ("runs/engine", (*FRONT, "django.forms", "django.template", "django.shortcuts"), "a worker shows no pages"),
    ("runs/sdk", (*FRONT, *WORKER), "user code must not drag in the engine or the front"),
    ("runs/consumers.py", WORKER, "live pages do not run the worker's loop"),
    ("runs/views", WORKER, "pages do not run the worker's loop"),
    ("runs/api", WORKER, "the API does not run the worker's loop"),
    ("runs/store", (*FRONT, *WORKER, "runs.services", "runs.selectors", "runs.enqueue"), "the store is the lowest"),
    ("queues/store.py", ("queues.services", "queues.selectors", "queues.views"), "the store is the lowest"),
    ("runs/djangotasks", FRONT, "functions are declared and executed where there are no pages"),
    ("runs/states.py", ("django", "runs", "queues", "holdfast"), "states are plain words"),
]


def files(place: str) -> Iterator[Path]:
    path = ROOT / place
    yield from [path] if path.is_file() else (p for p in path.rglob("*.py") if "migrations" not in p.parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize(("place", "forbidden", "why"), RULES, ids=[rule[0] for rule in RULES])
def test_imports_point_down(place: str, forbidden: tuple[str, ...], why: str) -> None:
    checked = list(files(place))
    assert checked, f"{place} is gone; mend this rule"
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in checked
        for line, module in imports(path)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]
    assert not found, f"{why}: {found}"


def test_only_its_own_room_needs_django_tasks() -> None:
    """The package is an extra: whoever has not installed it must be able to import everything else."""
    found = {
        str(path.parent.relative_to(ROOT))
        for place in ("runs", "queues", "platform/holdfast")
        for path in files(place)
        if any(module.partition(".")[0] == "django_tasks" for _, module in imports(path))
    }
    assert found == {"runs/djangotasks"}


def test_only_stores_load_sql_files() -> None:
    loaders = {
        str(path.relative_to(ROOT))
        for place in ("runs", "queues", "platform/holdfast")
        for path in files(place)
        if any(module == "holdfast.sql" for _, module in imports(path))
    }
    assert loaders == {"runs/store/statements.py", "queues/store.py"}


def test_no_python_file_has_outgrown_its_room() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for place in ("runs", "queues", "platform/holdfast", "tests")
        for path in files(place)
        if (lines := len(path.read_text("utf-8").splitlines())) > 500
    }
    assert not long
