"""The verdict, in one sentence, and the causes that it is made of. Pure.

A cause has a key that stays the same for as long as it is there: what it is, and of what (`saturated:llm-calls`). The
verdict is about the causes of the worst kind; those that somebody has snoozed are left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

from holdfast import words
from queues.selectors import QueueFlow
from queues.workers import pools_served
from runs.causes.facts import Facts, TaskHour
from runs.charts import FAILED
from runs.search.terms import finished_since
from runs.states import Status
from runs.words import EXACT_UP_TO, count

#: "Failing" from this share and number of failures in the last quarter of an hour.
FAILING_SHARE, FAILING_RUNS = 0.1, 3
#: That quarter of an hour: what `ended_by_task` of sql/dashboard.sql counts as lately.
LATELY: Final = timedelta(minutes=15)
#: Seconds after which a scheduler that takes a sample a minute is away.
SCHEDULER_AWAY: Final = 180.0
_FAILED: Final = ",".join(sorted(FAILED))
#: Finds what the depth of queues counts: not only what is `queued`, also what is to be tried or to go on again.
_READY: Final = "is:ready"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether things flow, in one sentence. `mood` is the colour of its dot: good, warn, bad or nothing."""

    kind: str
    words: str
    mood: str = ""
    hint: str = ""

    @property
    def is_down(self) -> bool:
        """Whether somebody has to look now: then the favicon is red."""
        return self.mood == "bad"

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look: it flows, has nothing to do, or does as much as its limits allow."""
        return self.kind == "saturated" or self.mood in ("good", "")


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that keeps work from flowing. `family` and `name` make its key; `size` is how many runs wait for it, or
    have failed of it: by that it becomes worse."""

    family: str
    name: str
    kind: str  # of the verdict
    mood: str  # bad or warn
    words: str
    size: int = 1
    address: str = ""  # of its runs, or of what it is about
    hint: str = ""  # a command that helps

    @property
    def key(self) -> str:
        return f"{self.family}:{self.name}" if self.name else self.family

    @property
    def sentence(self) -> str:
        """Its words where they stand alone; names keep their letters."""
        text = f"queue {self.words}" if self.family == "saturated" else self.words
        return text[:1].upper() + text[1:]


def causes(facts: Facts, now: datetime) -> list[Cause]:
    """All that there are, the worst first."""
    return [cause for find in _FAMILIES for cause in find(facts, now)]


def verdict(facts: Facts, now: datetime, snoozed: Collection[str] = ()) -> Verdict:
    """The sentence: the worst that is true, but for causes with these keys. A paused queue is no fault; what waits in
    one is not stuck."""
    there = causes(facts, now)
    found = [cause for cause in there if cause.key not in snoozed]
    if "failing" in {cause.family for cause in found}:  # of the tasks that are left, together
        hours = [hour for hour in facts.hours if f"failing:{hour.task}" not in snoozed]
        if not _fails(hours):
            found = [cause for cause in found if cause.family != "failing"]
        elif found[0].family == "failing":
            return _failing_together(hours)
    if not found:
        return _but(_flowing(facts) or _idle(facts), sum(cause.key in snoozed for cause in there))
    first = found[0]
    if first.family == "idle":
        return _idle(facts, first)
    more = sum(cause.family == first.family for cause in found) - 1
    named = first.kind if first.kind != "flowing" else "flowing, but slower"
    text = f"{named.capitalize()}: {first.words}.{_others(first.family, more)}"
    return Verdict(first.kind, text, first.mood, first.hint)


def _but(well: Verdict, snoozed: int) -> Verdict:
    """What is left out is told, and not green: nobody looks at it."""
    if not snoozed:
        return well
    said = "1 cause is snoozed" if snoozed == 1 else f"{snoozed} causes are snoozed"
    return replace(well, words=f"{well.words} {said}.", mood="")


def _others(family: str, more: int) -> str:
    if not more:
        return ""
    one, many = _MORE.get(family, ("There is one more such cause.", "There are {} more such causes."))
    return " " + (one if more == 1 else many.format(more))


_MORE: Final = {
    "no-worker": ("So it is for one more pool.", "So it is for {} more pools."),
    "standing": ("So does one more queue.", "So do {} more queues."),
    "saturated": ("One more queue is full.", "{} more queues are full."),
    "breaker": ("One more breaker is open.", "{} more breakers are open."),
}


# ── kinds of causes, the worst first ─────────────────────────────────────────────────────────────────────────────


def ready(facts: Facts) -> list[QueueFlow]:
    """Queues in which something waits, and that nobody has paused."""
    return [flow for flow in facts.flows if flow.depth and not flow.queue.paused]


def _no_worker(facts: Facts, now: datetime) -> Iterator[Cause]:
    served = pools_served(facts.workers)
    if "workers" in facts.unread:
        return
    waiting = ready(facts)
    for pool in sorted({flow.queue.pool for flow in waiting} - served):
        flows = [flow for flow in waiting if flow.queue.pool == pool]
        depth = _depth(flows)
        are = "1 run is ready" if depth == 1 else f"{count(depth)} runs are ready"
        text = f"{are}, but no worker is alive for pool {pool}"
        hint = f"manage.py work --pool {pool}"
        asked = {"queue": flows[0].queue.name} if len(flows) == 1 else {}
        yield Cause("no-worker", pool, "stalled", "bad", text, depth, _runs(**asked, q=_READY), hint)


def _standing(facts: Facts, now: datetime) -> Iterator[Cause]:
    for queue in facts.still:
        waits = "1 run is ready" if queue.startable == 1 else f"{count(queue.startable)} runs are ready"
        waited = words.duration(queue.head_wait)
        text = f"{waits} in {queue.queue} and nothing holds them, but the first has waited for {waited}"
        at = _runs(queue=queue.queue, q=_READY)
        yield Cause("standing", queue.queue, "stalled", "bad", text, queue.startable, at)


def _suspended(facts: Facts, now: datetime) -> Iterator[Cause]:
    if facts.suspended and (depth := _depth(ready(facts))):
        are = "1 run is ready" if depth == 1 else f"{count(depth)} runs are ready"
        text = f"{are}, but all workers are suspended"
        yield Cause("suspended", "", "stalled", "warn", text, depth, _runs(q=_READY), "manage.py rqresume")


def _failing(facts: Facts, now: datetime) -> Iterator[Cause]:
    if not _fails(facts.hours):
        return
    worst = sorted((hour for hour in facts.hours if hour.failed_lately), key=lambda hour: -hour.failed_lately)
    for place, hour in enumerate(worst):
        if place == 0 or (hour.failed_lately >= FAILING_RUNS and _share(hour) >= FAILING_SHARE):
            of = f"{hour.failed_lately:,} of {hour.ended_lately:,} runs"
            text = f"{of} of {hour.task} failed in the last 15 minutes"
            at = _runs(task=hour.task, status=_FAILED, q=finished_since(now - LATELY))
            yield Cause("failing", hour.task, "failing", "bad", text, hour.failed_lately, at)


def _scheduler(facts: Facts, now: datetime) -> Iterator[Cause]:
    if facts.sampled is not None and (away := (now - facts.sampled).total_seconds()) > SCHEDULER_AWAY:
        still = "timers, retries and schedules stand still, and nothing that is stuck is noticed"
        text = f"no scheduler has looked for {words.duration(away)}: {still}"
        yield Cause("scheduler", "", "blind", "bad", text, hint="manage.py schedule")


def _silent(facts: Facts, now: datetime) -> Iterator[Cause]:
    silent = [worker for worker in facts.workers if worker.silent]
    if not silent:
        return
    are = f"{len(silent)} of {len(facts.workers)} workers {'is' if len(silent) == 1 else 'are'} silent"
    held = sum(worker.running for worker in silent)
    runs = "1 run" if held == 1 else f"{held:,} runs"
    text = f"{are}: what becomes of the {runs} in their hands is not known"
    mood = "warn" if any(worker.takes_work for worker in facts.workers) else "bad"
    if held or mood == "warn":
        yield Cause("silent-workers", "", "blind", mood, text, len(silent), "/queues/#workers")


def _unread(facts: Facts, now: datetime) -> Iterator[Cause]:
    for name, why in facts.unread.items():
        yield Cause("unread", name, "blind", "warn", f"{READ[name]} could not be read: {why}")


def _redis(facts: Facts, now: datetime) -> Iterator[Cause]:
    if facts.redis is None:
        yield Cause("redis", "", "flowing", "warn", "Redis does not answer, and workers find what is ready by polling")


def _transaction(facts: Facts, now: datetime) -> Iterator[Cause]:
    held = facts.horizon
    if held.is_held(now):
        seconds = held.open_for(now)
        behind = f"is {held.age:,} transactions behind"
        does = behind if seconds is None else f"has been open for {words.duration(seconds)}"
        text = f"{held.holder} {does}: {held.dead:,} rows of the line cannot be cleared away, and runs start later"
        yield Cause("transaction", "", "flowing", "warn", text)


def _breakers(facts: Facts, now: datetime) -> Iterator[Cause]:
    for breaker in facts.open_breakers:
        if not breaker.forced:  # held open is somebody's wish
            for_long = words.duration((now - breaker.since).total_seconds())
            text = f"breaker {breaker.name} has been open for {for_long}: no call that it protects gets through"
            at = f"/queues/#breaker-{quote(breaker.name)}"
            yield Cause("breaker", breaker.name, "failing", "warn", text, address=at)


def _saturated(facts: Facts, now: datetime) -> Iterator[Cause]:
    for flow in sorted((flow for flow in ready(facts) if is_full(flow)), key=lambda flow: -flow.depth):
        waits = "1 waits" if flow.depth == 1 else f"{count(flow.depth)} wait"
        name, limit = flow.queue.name, flow.queue.concurrency_limit
        text = f"{name} runs {flow.running:,} of {limit:,}, and {waits} for a slot"
        yield Cause("saturated", name, "saturated", "warn", text, flow.depth, _runs(queue=name, q=_READY))


def _stuck(facts: Facts, now: datetime) -> Iterator[Cause]:
    if found := facts.stuck.count:
        gets = "1 run in a worker's hands gets" if found == 1 else f"{count(found)} runs in workers' hands get"
        yield Cause("stuck", "", "stalled", "warn", f"{gets} nothing new done", found, "/runs/?q=is:stuck")


def _nobody(facts: Facts, now: datetime) -> Iterator[Cause]:
    """There is nothing to do, and nobody to do it."""
    if _flowing(facts) or facts.unread or any(worker.takes_work for worker in facts.workers):
        return
    text = "No worker is alive: what is enqueued now will wait"
    yield Cause("idle", "", "idle", "warn", text, address="/queues/#workers", hint="manage.py work")


_FAMILIES: Final[tuple[Callable[[Facts, datetime], Iterator[Cause]], ...]] = (
    _no_worker, _standing, _failing, _scheduler, _silent, _suspended, _unread, _redis, _breakers, _saturated, _stuck,
    _transaction, _nobody,
)  # fmt: skip

#: What the parts of the facts are called.
READ: Final = {
    "runs": "how many runs there are",
    "outcomes": "how runs ended",
    "queues": "how queues stand",
    "workers": "who works",
    "heads": "how long the first in line waits",
    "breakers": "which breakers are open",
    "stuck": "which runs are stuck",
    "scheduler": "when the scheduler was there",
    "transactions": "which transactions are open",
}


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_full(flow: QueueFlow) -> bool:
    limit = flow.queue.concurrency_limit
    return limit is not None and flow.running >= limit


def _fails(hours: Sequence[TaskHour]) -> bool:
    failed = sum(hour.failed_lately for hour in hours)
    return failed >= FAILING_RUNS and failed >= FAILING_SHARE * sum(hour.ended_lately for hour in hours)


def _share(hour: TaskHour) -> float:
    return hour.failed_lately / hour.ended_lately if hour.ended_lately else 0.0


def _failing_together(hours: Sequence[TaskHour]) -> Verdict:
    failed = sum(hour.failed_lately for hour in hours)
    ended = sum(hour.ended_lately for hour in hours)
    worst = max(hours, key=lambda hour: hour.failed_lately)
    mostly = "all of" if worst.failed_lately == failed else "mostly"
    text = f"Failing: {failed:,} of {ended:,} runs failed in the last 15 minutes, {mostly} {worst.task}."
    return Verdict("failing", text, "bad")


def _flowing(facts: Facts) -> Verdict | None:
    waiting = ready(facts)
    if not facts.running and not waiting:
        return None
    slotless = [flow for flow in waiting if is_full(flow)]
    held = [flow for flow in waiting if flow not in slotless and _is_held(flow, facts)]
    starting = _depth([flow for flow in waiting if flow not in slotless and flow not in held])
    said = [f"{count(starting)} {'is' if starting == 1 else 'are'} about to start"] if starting else []
    for flows, what in ((slotless, "for a slot"), (held, "for a worker")):
        if depth := _depth(flows):
            said.append(f"{count(depth)} {'waits' if depth == 1 else 'wait'} {what}")
    said = said or ["nothing waits for a slot"]
    return Verdict("flowing", f"Flowing: {count(facts.running)} running, {', '.join(said)}.", "good")


def _is_held(flow: QueueFlow, facts: Facts) -> bool:
    """Whether no worker takes what waits there: a cause of its own, which may be snoozed."""
    unserved = "workers" not in facts.unread and flow.queue.pool not in pools_served(facts.workers)
    return unserved or facts.suspended or any(queue.queue == flow.queue.name for queue in facts.still)


def _idle(facts: Facts, nobody: Cause | None = None) -> Verdict:
    later = sum(facts.counts.get(status, 0) for status in (Status.RETRYING, Status.SCHEDULED, Status.WAITING))
    rest = f"{count(min(later, EXACT_UP_TO + 1))} will go on later" if later else "nothing waits"
    said = f"Idle: nothing runs and {rest}."
    return Verdict("idle", f"{said} {nobody.words}.", nobody.mood, nobody.hint) if nobody else Verdict("idle", said)


def _depth(flows: Sequence[QueueFlow]) -> int:
    return min(sum(flow.depth for flow in flows), EXACT_UP_TO + 1)


def _runs(**asked: str) -> str:
    return f"/runs/?{urlencode(asked, safe=',:')}"
