"""Weeks of runs that never happened, from a seed and an end: the same twice, and nothing is written or read.

Arrivals follow the rhythm of their task; each queue is then served slot by slot (`line.py`), so that waits, retries and
concurrency agree with each other and with the queue's limit. Runs that would not be over at the end are left out:
nothing of the history is alive (see `services.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final
from uuid import UUID

from holdfast.demo.history import catalog, incidents
from holdfast.demo.history.catalog import TaskShape
from holdfast.demo.history.incidents import DAY, HOUR, MINUTE, Incidents
from holdfast.demo.history.line import Line
from holdfast.demo.history.script import Script

#: Children of one run.
CHILDREN: Final = (2, 6)
#: Worker processes at any time; all of them begin anew with a deploy.
WORKERS: Final = 3
#: Of the hosts on which they are.
DOMAIN: Final = "seeded.example"


@dataclass(frozen=True, slots=True)
class Shift:
    """The life of a worker process."""

    name: str
    hostname: str
    pid: int
    start: float
    end: float


@dataclass(slots=True)
class StepTry:
    """A try of a step in an attempt; `failed` when it raised."""

    name: str
    start: float
    end: float
    worker: int
    failed: bool = False
    usage: dict[str, str] | None = None


@dataclass(slots=True)
class Start:
    """A lease: how long the run had been ready, and who took it."""

    at: float
    waited: float
    worker: int


@dataclass(slots=True)
class Try:
    """An attempt of a run. It has two starts where the run has waited for children in it."""

    version: str
    starts: list[Start]
    steps: list[StepTry] = field(default_factory=list)
    active: float = 0.0
    end: float = 0.0
    status: str = ""
    error: dict[str, str] | None = None

    @property
    def worker(self) -> int:
        return self.starts[-1].worker


@dataclass(slots=True, eq=False)
class PlannedRun:
    """A run. `status` is empty while it is not over."""

    id: UUID
    task: TaskShape
    tenant: str
    number: int
    created: float
    luck: float  # what becomes of it on an ordinary day
    key: str | None
    parent: PlannedRun | None = None
    tries: list[Try] = field(default_factory=list)
    done: int = 0  # steps that it has behind it
    status: str = ""
    children: list[PlannedRun] = field(default_factory=list)
    waited_from: float = 0.0  # for its children
    waited_until: float = 0.0

    @property
    def end(self) -> float:
        return self.tries[-1].end

    @property
    def failures(self) -> int:
        return sum(attempt.status == "failed" for attempt in self.tries)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. `end` is Unix time; `runs` is met to a few in a hundred."""

    end: float
    days: int
    runs: int
    seed: int

    @property
    def start(self) -> float:
        return self.end - self.days * DAY

    @property
    def incidents(self) -> Incidents:
        return incidents.before(self.end)

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """Workers, which begin anew when the code of `invoice` changes."""
        rng = self.rng("workers")
        deploy = self.incidents.bad_deploy
        spans = ((self.start, deploy.start), (deploy.start, deploy.end), (deploy.end, self.end))
        return tuple(
            Shift(f"{catalog.PREFIX}worker-{n + 1}", f"app-{n + 1}.{DOMAIN}", rng.randint(300, 32_000), *span)
            for span in spans
            for n in range(WORKERS)
        )

    def rng(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")  # noqa: S311 - made up, and the same twice

    def version(self, task: TaskShape, at: float) -> str:
        """The code of a task at that time."""
        deploy = self.incidents.bad_deploy
        if task.id in deploy.tasks:
            return task.version(1 + (at >= deploy.start) + (at >= deploy.end))
        return task.version(1)

    def by_queue(self) -> Iterator[list[PlannedRun]]:
        """The runs of one queue after the other, each queue's in the order of their ids."""
        for queue, slots in catalog.QUEUES.items():
            runs = [run for task in catalog.TASKS if task.queue == queue for run in self._arrivals(task)]
            yield self._served(sorted(runs, key=lambda run: run.id), queue, slots)

    def _served(self, runs: list[PlannedRun], queue: str, slots: int) -> list[PlannedRun]:
        line: Line[PlannedRun] = Line(slots)
        if queue == self.incidents.bad_deploy.queue:
            line.pause(*self.incidents.pause)
        if queue == self.incidents.noisy_tenant.queue:
            line.limit_keys(self.incidents.key_limited, incidents.KEY_LIMIT)
        script = Script(self, line, self.rng(queue))
        for run in runs:
            line.push(run.created, run, run.key)
        line.drive(script.serve)
        over = [run for run in (*runs, *script.children) if run.status and run.end < self.end]
        kept = [run for run in over if run.parent is None or (run.parent.status and run.parent.end < self.end)]
        return sorted(kept, key=lambda run: run.id)

    # ── arrivals ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _arrivals(self, task: TaskShape) -> list[PlannedRun]:
        rng = self.rng(task.name)
        number = round(self._ordinary * task.share / (1 + (sum(CHILDREN) / 2 if task.children else 0)))
        times = [self.start + at for at in self._rhythmic(task, number, rng)]
        made = [self._run(task, at, rng, place) for place, at in enumerate(times)]
        for incident in self.incidents.all:
            # A small history has few runs in so short a time; those who meet an incident are the point of it.
            if incident.queue == task.queue and (incident.key or task.id in incident.tasks):
                met = sum(incident.during(at) for at in times)
                for _ in range(max(0, incidents.FLOOR - met)):
                    at = rng.uniform(incident.start, incident.end)
                    made.append(self._run(task, at, rng, len(made), without=incident.key))
        if task.id in self.incidents.noisy_tenant.tasks:
            flood = self.incidents.noisy_tenant
            for _ in range(self.flood):
                at = rng.uniform(flood.start, flood.start + 10 * MINUTE)
                made.append(self._run(task, at, rng, len(made), tenant=flood.key))
        return made

    @property
    def flood(self) -> int:
        """Runs that the noisy tenant asks for at once."""
        return min(incidents.FLOOD_RUNS, round(self.runs * incidents.FLOOD_SHARE))

    @property
    def _ordinary(self) -> int:
        return self.runs - self.flood

    def _rhythmic(self, task: TaskShape, number: int, rng: random.Random) -> list[float]:
        """Seconds since the start, drawn by the hour."""
        by_hour, weekend = catalog.RHYTHMS[task.rhythm]
        hours = range(self.days * 24)
        weights = []
        for hour in hours:
            at = self.start + hour * HOUR
            weights.append(by_hour[int(at % DAY // HOUR)] * (weekend if incidents.weekday(at) >= 5 else 1.0))
        drawn = rng.choices(hours, cum_weights=list(accumulate(weights)), k=number)
        return sorted(hour * HOUR + rng.random() * HOUR for hour in drawn)

    def _run(
        self, task: TaskShape, at: float, rng: random.Random, number: int, *, tenant: str = "", without: str = ""
    ) -> PlannedRun:
        chosen = tenant or rng.choices(catalog.TENANTS, catalog.TENANT_WEIGHTS)[0]
        if chosen == without:
            chosen = catalog.TENANTS[0]
        key = chosen if task.keyed else None
        return PlannedRun(run_id(at, rng), task, chosen, 10_000 + number, at, rng.random(), key)


def run_id(at: float, rng: random.Random, place: int | None = None) -> UUID:
    """A UUIDv7 of that time. Those of one time are in the order of their `place`."""
    counter = rng.getrandbits(12) if place is None else place & 0xFFF
    return UUID(int=int(at * 1000) << 80 | 7 << 76 | counter << 64 | 2 << 62 | rng.getrandbits(62))
