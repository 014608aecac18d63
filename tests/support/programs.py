"""Random programs for the task `program`: JSON lists of operations."""

from __future__ import annotations

import random
from typing import Any

Program = list[dict[str, Any]]

KINDS = ("step", "step", "step", "shaky", "checkpoint", "log", "sleep", "signal", "race", "together", "child")


def seeded(seed: int, *, length: int = 4, depth: int = 1) -> Program:
    """A random program, the same for the same seed."""
    choose = random.Random(seed)

    def written(count: int, deep: int, label: str) -> Program:
        found: Program = []
        for number in range(count):
            name = f"{label}{number}"
            kind = choose.choice(KINDS if deep else KINDS[:8])
            operation: dict[str, Any] = {"do": kind, "name": name}
            if kind == "together":
                operation["branches"] = [written(choose.randint(1, 2), deep - 1, f"{name}{b}") for b in "xy"]
            elif kind == "child":
                operation["programs"] = [written(2, 0, f"{name}c{n}") for n in range(choose.randint(1, 3))]
            found.append(operation)
        return found

    return written(length, depth, "a")


def signals(program: Program) -> list[str]:
    """The names of the signals that the program itself waits for (not its children)."""
    found = []
    for operation in program:
        if operation["do"] in ("signal", "race"):
            found.append(operation["name"])
        for branch in operation.get("branches", ()):
            found += signals(branch)
    return found
