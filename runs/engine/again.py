"""Which waits an attempt asks again.

A wait that raised in an earlier attempt (its time was up, or a child that it was for had failed) has failed as a step
fails: the next attempt asks again, under a key of its own (`approval:publish#1~2` in attempt 2), so that people and
other systems get a new token. What the code went on from stays as it was: where the wait's branch came to anything
afterwards, the code has handled the exception, and is led the same way again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from runs.engine.history import ANY, branch_of
from runs.models import SnapshotKind
from runs.store import Fact, WaitFact

#: What a wait's snapshot holds when it raised.
RAISED = "raised"
_MARK = "~"


def asked_again(facts: Sequence[Fact], waits: Iterable[WaitFact], attempt: int) -> dict[str, list[str]]:
    """By the key that the code's count gives, the keys under which it was asked; the last one is to be used now."""
    chains: dict[str, list[str]] = {}
    last: dict[str, Fact] = {}  # of each branch
    for fact in facts:
        if fact.kind == SnapshotKind.CHECKPOINT or branch_of(fact) == ANY:
            last.clear()
        if fact.kind != SnapshotKind.CHECKPOINT:
            last[branch_of(fact)] = fact
        if fact.kind == SnapshotKind.WAIT:
            _add(chains, fact.key)
    for wait in waits:
        _add(chains, wait.key)
    for fact in last.values():
        if fact.kind == SnapshotKind.WAIT and fact.attempt < attempt and _raised(fact.output):
            chain = chains[_base(fact.key)]
            if chain[-1] == fact.key:
                chain.append(f"{chain[0]}{_MARK}{attempt}")
    return {base: chain for base, chain in chains.items() if len(chain) > 1}


def _add(chains: dict[str, list[str]], key: str) -> None:
    chain = chains.setdefault(_base(key), [_base(key)])
    if key not in chain:
        chain.append(key)
        chain.sort(key=_number)


def _base(key: str) -> str:
    """The key without the mark, which stands behind the count alone."""
    head, mark, number = key.rpartition(_MARK)
    return head if mark and number.isdecimal() and "#" in head else key


def _number(key: str) -> int:
    return int(key.removeprefix(_base(key)).lstrip(_MARK) or 0)


def _raised(output: str | None) -> bool:
    return output is not None and bool(json.loads(output).get(RAISED))
