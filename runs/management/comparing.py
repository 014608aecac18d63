"""What `manage.py runs` has about comparing runs."""

from __future__ import annotations

from typing import Any, Final

from holdfast.management.verbs import VerbCommand
from holdfast.words import duration
from runs.compare import selectors
from runs.compare.selectors import Done, Part

_MARKS: Final = {"same": " ", "gone": "-", "new": "+", "cut": "…"}


def add_verbs(verbs: Any) -> None:
    """`compare`."""
    compare = verbs.add_parser("compare", help="Compare two runs, or two attempts.")
    for name in "ab":
        compare.add_argument(name, help="A run's id, or id:2 for its second attempt.")


def do_compare(command: VerbCommand, options: dict[str, Any]) -> None:
    """Prints what differs."""
    found = selectors.compare(options["a"], options["b"])
    if options["json"]:
        command.json(selectors.as_json(found))
        return
    rows = [(f"{'*' if f.differs else ' '} {f.name}", f.a or "–", f.b or "–") for f in found.facts if f.a or f.b]
    command.table([("", "A", "B"), *rows])
    for step in found.steps:
        result = "  another result" if step.other_result else ""
        mark = "*" if step.differs else " "
        command.stdout.write(f"{mark} {step.key}: {_took(step.a)} and {_took(step.b)}{result}")
    for name, part in (("payload", found.payload), ("result", found.output), ("log", found.log)):
        _print(command, name, part)


def _took(done: Done | None) -> str:
    return duration(done.seconds) if done else "–"


def _print(command: VerbCommand, name: str, part: Part) -> None:
    if not part.lines:
        command.stdout.write(f"{name}: the same")
        return
    command.stdout.write(f"{name}:")
    for line in part.lines:
        command.stdout.write(f"  {_MARKS[line.kind]} {line.text}")
    if part.cut:
        command.stdout.write(f"  (only the first {selectors.MAX_LINES} lines)")
