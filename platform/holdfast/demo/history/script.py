"""What happens to a run while a worker has it: its steps, how long they take, and how they fail."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from holdfast.demo.history import catalog, incidents, plan
from holdfast.demo.history.catalog import Failure, StepShape

if TYPE_CHECKING:
    from holdfast.demo.history.line import Line
    from holdfast.demo.history.plan import Plan, PlannedRun, Try

#: An ordinary day by `PlannedRun.luck`: the first fail for good, the next heal by a retry, then come those that
#: somebody cancels and those that take too long.
DOOMED, FLAKY, CANCELLED, LATE = 0.010, 0.045, 0.049, 0.051
#: As the scheduler ends a run that takes too long.
OUT_OF_TIME: Final = {
    "type": "RunTimeout",
    "message": "the run did not end within its run_timeout",
    "fingerprint": "run-timeout",
    "traceback": "",
}
#: Seconds that a worker spends on a run beside its steps.
OVERHEAD: Final = 0.004
#: What a million tokens cost, in and out.
PRICE_IN, PRICE_OUT = 3.0, 15.0


class Script:
    """Serves the runs of one queue."""

    def __init__(self, of: Plan, line: Line[PlannedRun], rng: random.Random) -> None:
        self._plan = of
        self._line = line
        self._rng = rng
        self._incidents = of.incidents
        self._shifts = of.shifts
        self._left: dict[PlannedRun, int] = {}
        #: Those that runs of the queue have enqueued.
        self.children: list[PlannedRun] = []

    def serve(self, run: PlannedRun, at: float, ready_for: float) -> float:
        """One stay of a run in a worker. Returns when it leaves it."""
        waited = ready_for + self._rng.lognormvariate(-5.0, 0.6)  # a lease takes some milliseconds
        begun = at + waited - ready_for
        start = plan.Start(begun, waited, self._worker(begun))
        if run.children:
            attempt = run.tries[-1]
            attempt.starts.append(start)
        else:
            attempt = plan.Try(self._plan.version(run.task, begun), [start])
            run.tries.append(attempt)
        left, failure = self._steps(run, attempt, begun)
        attempt.active += left - begun
        attempt.end = left
        if failure is not None:
            self._failed(run, attempt, failure)
        elif attempt.status:  # cancelled, or out of time
            run.status = attempt.status
            attempt.error = dict(OUT_OF_TIME) if run.status == "timed_out" else None
        elif run.task.children and not run.children:
            self._fan_out(run, left)
        else:
            run.status = attempt.status = "completed"
        if run.status and run.parent is not None:
            self._child_is_over(run.parent, left)
        return left

    def _worker(self, at: float) -> int:
        first = sum(at >= shift.end for shift in self._shifts[:: plan.WORKERS][:-1]) * plan.WORKERS
        return first + self._rng.randrange(plan.WORKERS)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _steps(self, run: PlannedRun, attempt: Try, begun: float) -> tuple[float, Failure | None]:
        """Goes through the steps that are left. Returns when it ends, and how it fails if it does."""
        now = begun + OVERHEAD / 2
        steps = run.task.steps
        until = 1 if run.task.children and not run.children else len(steps)
        for place in range(run.done, until):
            step = steps[place]
            failure = self._fails(run, attempt, step, now)
            seconds = self._seconds(run, attempt, step, failure)
            if self._stops(run, place):
                attempt.status = "cancelled" if run.luck < CANCELLED else "timed_out"
                return now + (seconds * 0.4 if run.luck < CANCELLED else seconds * 20), None
            usage = self._usage(run, step) if failure is None else None
            attempt.steps.append(
                plan.StepTry(step.name, now, now + seconds, attempt.worker, failure is not None, usage)
            )
            now += seconds
            if failure is not None:
                return now + OVERHEAD / 2, failure
            run.done += 1
        return now + OVERHEAD / 2, None

    def _stops(self, run: PlannedRun, place: int) -> bool:
        """Somebody cancels it in its last step, or that one's time is over."""
        return FLAKY <= run.luck < LATE and len(run.tries) == 1 and place == len(run.task.steps) - 1

    def _fails(self, run: PlannedRun, attempt: Try, step: StepShape, now: float) -> Failure | None:
        outage, deploy = self._incidents.outage, self._incidents.bad_deploy
        if outage.resource == run.task.resource and step.name == catalog.OUTAGE.step and outage.during(now):
            return catalog.OUTAGE
        if attempt.version == deploy.version and step.name == catalog.REGRESSION.step:
            # A part of the invoices has lines that the new code cannot read: another try of the same fails again.
            return catalog.REGRESSION if run.luck >= 1 - incidents.BAD_SHARE else None
        if run.luck < DOOMED or (run.luck < FLAKY and len(run.tries) == 1):
            known = run.task.failures
            # A day's bad luck is always of the same kind for one run.
            kind = known[run.number % len(known)] if known else None
            if kind is not None and kind.step == step.name and not (kind.aborts and run.luck >= DOOMED):
                return kind
        return None

    def _seconds(self, run: PlannedRun, attempt: Try, step: StepShape, failure: Failure | None) -> float:
        flood, deploy = self._incidents.noisy_tenant, self._incidents.bad_deploy
        rng = self._rng
        if run.key == flood.key and run.task.id in flood.tasks and flood.during(run.created):
            # So much of it that the slots are taken for as long as the incident lasts.
            share = 0.7 if step.name == "fetch" else 0.3
            slots = catalog.QUEUES[flood.queue]
            return share * slots * (flood.end - flood.start) / max(1, self._plan.flood) * rng.uniform(0.8, 1.2)
        seconds = rng.lognormvariate(math.log(step.median), step.spread)
        if failure is catalog.OUTAGE:
            return rng.uniform(3.0, 10.0)  # until its client gives up
        if attempt.version == deploy.version and step.name == catalog.REGRESSION.step:
            return seconds * incidents.SLOWER
        return seconds

    def _usage(self, run: PlannedRun, step: StepShape) -> dict[str, str] | None:
        if not run.task.spends or step.name != "ask-model":
            return None
        tokens_in, tokens_out = int(self._rng.lognormvariate(7.3, 0.5)), int(self._rng.lognormvariate(5.9, 0.5))
        cost = (tokens_in * PRICE_IN + tokens_out * PRICE_OUT) / 1_000_000
        return {"cost": f"{cost:.6f}", "tokens_in": str(tokens_in), "tokens_out": str(tokens_out)}

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _failed(self, run: PlannedRun, attempt: Try, failure: Failure) -> None:
        attempt.status = "failed"
        attempt.error = described(failure, self._rng.randint(2, 900))
        retry = run.task.retry
        if failure.aborts or len(run.tries) >= retry.max_attempts:
            run.status = "failed"
            return
        delay = retry.delay(run.failures, uniform=self._rng.uniform)
        self._line.push(attempt.end + delay, run, run.key)

    def _fan_out(self, run: PlannedRun, at: float) -> None:
        number = self._rng.randint(*plan.CHILDREN)
        task = catalog.BY_NAME[run.task.children]
        run.waited_from, self._left[run] = at, number
        for place in range(number):
            luck = self._rng.uniform(LATE, 1.0)  # so that its parent completes
            child_id = plan.run_id(at, self._rng, place)
            child = plan.PlannedRun(child_id, task, run.tenant, run.number, at, luck, None, run)
            run.children.append(child)
            self.children.append(child)
            self._line.push(at, child)

    def _child_is_over(self, parent: PlannedRun, at: float) -> None:
        parent.waited_until = max(parent.waited_until, at)
        self._left[parent] -= 1
        if not self._left[parent]:
            self._line.push(parent.waited_until, parent)


def described(failure: Failure, number: int) -> dict[str, str]:
    """An error as the engine stores it."""
    message = failure.message.replace("{n}", str(number))
    trace = (
        "Traceback (most recent call last):\n"
        f'  File "/srv/shop/tasks.py", line {40 + len(failure.step)}, in {failure.step.replace("-", "_")}\n'
        f"    return client.{failure.step.replace('-', '_')}(**arguments)\n"
        f"{failure.type}: {message}\n"
    )
    return {
        "type": failure.type,
        "message": message,
        "fingerprint": failure.fingerprint,
        "traceback": trace,
        "step": f"{failure.step}#1",
    }
