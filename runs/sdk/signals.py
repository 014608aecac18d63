"""The signals that a task declares: then one that is misspelled is refused, where it would wait for ever."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runs.errors import DeclarationError, UnknownSignal
from runs.sdk.declared import names_of
from runs.sdk.options import MAX_KEY, is_word

if TYPE_CHECKING:
    from runs.sdk.task import Task


def declared(names: Iterable[str] | None, where: str) -> frozenset[str] | None:
    """The names; None when any may come. Raises DeclarationError."""
    if names is None:
        return None
    found = names_of(names)
    if found is None or not all(is_word(name, MAX_KEY) for name in found):
        raise DeclarationError(
            f"{where}: signals is {names!r:.80}; write a list of names, such as ['paid', 'cancelled']"
        )
    return frozenset(found)


def check(task: Task[..., Any] | None, name: str) -> None:
    """Raises UnknownSignal for one that a task which declares its signals has not declared."""
    if task is None or task.signals is None or name in task.signals:
        return
    known = sorted(task.signals)
    near = get_close_matches(name[:200], known, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else f"It declares {', '.join(known) or 'none'}."
    message = f"is no signal of task {task.id}. {hint}"
    raise UnknownSignal(
        f"{name!r:.220} {message} Send and wait for one of these, or add it to @task(signals=…).",
        near=near,
        errors=[{"field": "name", "message": message}],
    )
