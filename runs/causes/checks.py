"""What was ruled out: what was looked at, with its number. Pure.

good    it is well
cause   it is not: a cause says so
held    it is not as usual, because somebody wants it so
unmade  it could not be looked at, or there is nothing to judge by: never green
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast import words
from queues.workers import pools_served
from runs.causes.facts import Facts
from runs.causes.judging import READ, SCHEDULER_AWAY, causes, is_full, ready
from runs.words import count

#: Names of queues and breakers that one check has.
NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: str  # good, cause, held, unmade
    words: str


def checks(facts: Facts, now: datetime) -> list[Check]:
    """All of them, in the order in which one would look."""
    blamed = {cause.family for cause in causes(facts, now)}
    return [_check(name, facts, now, blamed) for name in _LOOKS]


def _check(name: str, facts: Facts, now: datetime, blamed: set[str]) -> Check:
    needs, families, look = _LOOKS[name]
    if lacking := [part for part in needs if part in facts.unread]:
        return Check(name, "unmade", _first(f"{READ[lacking[0]]} could not be read: {facts.unread[lacking[0]]}"))
    state, text = look(facts, now)
    return Check(name, "cause" if blamed & set(families) and state == "good" else state, text)


Looked = tuple[str, str]


def _database(facts: Facts, now: datetime) -> Looked:
    return "good", f"PostgreSQL counts what is open in {words.duration(facts.database)}"


def _transactions(facts: Facts, now: datetime) -> Looked:
    held = facts.horizon
    waits = f"{_number(held.dead, 'row')} of the line {'waits' if held.dead == 1 else 'wait'} to be cleared away"
    if not held.holder:
        return "good", f"{waits}, and nobody sees them any more"
    seconds = held.open_for(now)
    since = f"{held.age:,} transactions behind" if seconds is None else f"open for {words.duration(seconds)}"
    return "good", f"{waits}; who sees the oldest: {held.holder}, {since}"


def _redis(facts: Facts, now: datetime) -> Looked:
    if facts.redis is None:
        return "cause", "Redis does not answer"
    return "good", f"Redis answers in {words.duration(facts.redis)}"


def _scheduler(facts: Facts, now: datetime) -> Looked:
    if facts.sampled is None:
        return "unmade", "The scheduler was never seen: it is known by its samples of queues, and there is none"
    text = f"The scheduler took a sample {words.relative(facts.sampled, now)}; it takes one a minute"
    return ("cause" if (now - facts.sampled).total_seconds() > SCHEDULER_AWAY else "good"), text


def _workers(facts: Facts, now: datetime) -> Looked:
    alive = [worker for worker in facts.workers if not worker.silent]
    if not facts.workers:
        return "cause", "No worker is alive"
    beat = words.relative(max(worker.heartbeat_at for worker in facts.workers), now)
    silent = len(facts.workers) - len(alive)
    text = f"Workers: {len(alive)} alive{f', {silent} silent' if silent else ''}, last heartbeat {beat}"
    draining = sum(worker.draining_at is not None for worker in alive)
    return ("cause" if silent else "good"), f"{text}, {draining} draining" if draining else text


def _pools(facts: Facts, now: datetime) -> Looked:
    waiting = {flow.queue.pool for flow in ready(facts)}
    if unserved := sorted(waiting - pools_served(facts.workers)):
        return "cause", f"No worker is alive for {_listed('pool', unserved)}, where something waits"
    if not waiting:
        return "good", "No pool lacks a worker: nothing waits for one"
    return "good", f"No pool lacks a worker: something waits for {len(waiting)}, and each is served"


def _suspended(facts: Facts, now: datetime) -> Looked:
    if facts.redis is None:
        return "unmade", "Whether workers are suspended is not known: Redis does not answer"
    return ("held", "All workers are suspended") if facts.suspended else ("good", "Workers are not suspended")


def _heads(facts: Facts, now: datetime) -> Looked:
    if facts.still:
        return "cause", f"The first in line waits for long in {_listed('queue', [one.queue for one in facts.still])}"
    since = [flow.waiting_since for flow in ready(facts) if flow.waiting_since is not None]
    if not since:
        return "good", "No queue stands still: nothing waits"
    longest = words.duration(max(0.0, (now - min(since)).total_seconds()))
    return "good", f"No queue stands still beside idle workers; the first in line has waited for {longest}"


def _limits(facts: Facts, now: datetime) -> Looked:
    full = [flow.queue.name for flow in ready(facts) if is_full(flow)]
    if full:
        return "cause", _first(f"{_listed('queue', full)} {'is' if len(full) == 1 else 'are'} full, and more waits")
    return "good", f"No queue is full while something waits in it, of {_number(len(facts.flows), 'queue')}"


def _paused(facts: Facts, now: datetime) -> Looked:
    paused = [flow.queue.name for flow in facts.flows if flow.queue.paused]
    if paused:
        return "held", _first(f"{_listed('queue', paused)} {'is' if len(paused) == 1 else 'are'} paused")
    return "good", f"No queue is paused, of {_number(len(facts.flows), 'queue')}"


def _outcomes(facts: Facts, now: datetime) -> Looked:
    failed = sum(hour.failed_lately for hour in facts.hours)
    ended = sum(hour.ended_lately for hour in facts.hours)
    if not ended:
        return "unmade", "Whether runs fail is not known: none ended in the last 15 minutes"
    return "good", f"{failed:,} of {ended:,} runs failed in the last 15 minutes ({words.share(failed / ended)})"


def _breakers(facts: Facts, now: datetime) -> Looked:
    if not facts.open_breakers:
        return "good", "No breaker is open"
    names = [breaker.name for breaker in facts.open_breakers]
    held = all(breaker.forced for breaker in facts.open_breakers)
    are = "is" if len(names) == 1 else "are"
    said = _first(f"{_listed('breaker', names)} {are}")
    return ("held", f"{said} held open") if held else ("cause", f"{said} open")


def _stuck(facts: Facts, now: datetime) -> Looked:
    if facts.stuck.count:
        return "cause", f"{count(facts.stuck.count)} of the runs in workers' hands are stuck"
    if _scheduler(facts, now)[0] != "good":
        return "unmade", "Whether a run is stuck is not known: the scheduler finds that out"
    return "good", "No run is stuck, of those that are measured"


Look = Callable[[Facts, datetime], Looked]
#: By name: the parts of the facts that it needs, the causes that are about it, and how one looks.
_LOOKS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], Look]]] = {
    "database": (("runs",), (), _database),
    "transactions": (("transactions",), ("transaction",), _transactions),
    "redis": ((), ("redis",), _redis),
    "scheduler": (("scheduler",), ("scheduler",), _scheduler),
    "workers": (("workers",), ("idle", "silent-workers"), _workers),
    "pools": (("queues", "workers"), ("no-worker",), _pools),
    "suspended": ((), ("suspended",), _suspended),
    "heads": (("queues", "workers", "heads"), ("standing",), _heads),
    "limits": (("queues",), ("saturated",), _limits),
    "paused": (("queues",), (), _paused),
    "outcomes": (("outcomes",), ("failing",), _outcomes),
    "breakers": (("breakers",), ("breaker",), _breakers),
    "stuck": (("stuck", "scheduler"), ("stuck",), _stuck),
}


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f"{what}{'s' if len(names) > 1 else ''} {', '.join(names[:NAMES])}{more}"


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _first(text: str) -> str:
    """With a capital letter; names keep theirs."""
    return text[:1].upper() + text[1:]
