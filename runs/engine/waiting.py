"""The waits of one stay of a run: answered from what is known, or parked until the run comes to rest (DESIGN D5).

A run is *at rest* when each of its branches waits: no step's function is at work, and every asyncio task that the run's
code has started is parked here, or waits for others that are (`rest.py`). Then the run is put down: it leaves the
worker and comes back when one of its waits is over. Until it is at rest, or while the next wait ends within HOLD
seconds, it stays, and answers are brought to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from runs import store
from runs.engine import database, rest, updating
from runs.engine.again import RAISED
from runs.engine.outcome import PutDown
from runs.errors import StepMisuse
from runs.models import SnapshotKind
from runs.sdk import codec, signals
from runs.sdk.wait import First, WaitKind, WaitSpec

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

#: A wait, or a step's next try, that is over within so many seconds is waited for in the worker.
HOLD: Final = 2.0
#: Waits that a page is told of.
MAX_TOLD: Final = 20
#: Turns of the event loop in which what has ended reaches those who wait for it.
SETTLE: Final = 3
FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Runner:
    """One wait with its identity. A race has several, every other wait one."""

    spec: WaitSpec
    key: str
    id: uuid.UUID


@dataclass(eq=False, slots=True)
class Parked:
    """A branch that waits in this worker."""

    runners: Sequence[Runner]
    future: asyncio.Future[None]
    task: asyncio.Task[Any] | None


class Waits:
    """See the module. Everything but `wait_sync`, `open` and `deliver` is called on the event loop."""

    __slots__ = ("_children", "_dues", "_facts", "_looking", "_loop", "_number", "_parked", "_run", "_taken")

    def __init__(self, run: ActiveRun, facts: Iterable[store.WaitFact]) -> None:
        self._run = run
        self._facts = {fact.key: fact for fact in facts}
        self._number = len(self._facts)
        self._dues: dict[str, float] = {f.key: f.due if f.due is not None else FOREVER for f in self._facts.values()}
        #: Ids of the waits for children, by key: they depend on the payloads as well.
        self._children = {fact.key: fact.id for fact in self._facts.values() if fact.kind == WaitKind.CHILDREN}
        self._parked: set[Parked] = set()
        #: Waits that have given the code what they brought, or lost a race.
        self._taken: set[str] = set()
        self._looking = False
        self._loop: asyncio.AbstractEventLoop | None = None

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def wait_async(self, spec: WaitSpec) -> Any:
        if spec.spawn is not None and not spec.spawn.payloads:
            return spec.decode([])
        key, runners = self._identify(spec)
        if (known := self._recall(key, runners)) is not None:
            return _value(spec, json.loads(known))
        self._run.boundary()
        if acks := [ack for runner in runners if (ack := self._open(runner)) is not None]:
            await asyncio.gather(*(asyncio.wrap_future(ack) for ack in acks))
        while True:
            if (winner := self._winner(runners)) is None:
                await self._park(runners)
            elif (refused := self._refuse_unfit(runners, winner)) is not None:
                await asyncio.wrap_future(refused)
            else:
                break
        return self._take(spec, key, runners, winner)

    def wait_sync(self, spec: WaitSpec) -> Any:
        if spec.spawn is not None and not spec.spawn.payloads:
            return spec.decode([])
        key, runners = self._identify(spec)
        if (known := self._recall(key, runners)) is not None:
            return _value(spec, json.loads(known))
        if spec.kind != WaitKind.BUDGET and database.in_transaction():
            raise StepMisuse(
                f"{spec.label} was waited for inside transaction.atomic(). The run leaves its worker while it waits, "
                "and a transaction cannot: end the block first."
            )
        self._run.boundary()
        for runner in runners:
            if (ack := self._open(runner)) is not None:
                ack.result()
        winner = self._winner(runners)
        while winner is not None and (refused := self._refuse_unfit(runners, winner)) is not None:
            refused.result()
            winner = self._winner(runners)
        if winner is None and spec.kind == WaitKind.SLEEP and self._left(runners) <= HOLD:
            self._run.rest(max(0.0, self._left(runners)))
            self._run.boundary()
            now = self._run.now()
            winner = store.WaitFact(runners[0].id, key, spec.kind, "completed", None, now, now, now)
        if winner is None:
            raise self._run.unwind(self._put_down(runners))
        return self._take(spec, key, runners, winner)

    def open(self, spec: WaitSpec) -> tuple[str, uuid.UUID, Future[None] | None]:
        """Begins a wait without waiting: its key, its id, and what is done when it is durable (None: it is)."""
        key, runners = self._identify(spec)
        if self._run.recall(key, blocking=False) is not None:
            return key, runners[0].id, None
        return key, runners[0].id, self._open(runners[0], acknowledged=True)

    async def pause(self, step: str, number: int, delay: float | None = None) -> None:
        """Until a step's next try is due; without a delay, one that an earlier stay began."""
        key = f"retry:{step}:{self._run.attempt}:{number}"
        if delay is None and key not in self._dues:
            return
        await self.wait_async(WaitSpec(WaitKind.RETRY, step, delay=delay, key=key, of_step=True))

    async def room_async(self, step: str) -> None:
        """Until the budgets have room for a step."""
        while (spec := self._run.spending.wait_for_room(step)) is not None:
            await self.wait_async(replace(spec, key=self.next_key(f"budget:{step}"), of_step=True))

    def room_sync(self, step: str) -> None:
        """`room_async` of a plain function."""
        while (spec := self._run.spending.wait_for_room(step)) is not None:
            self.wait_sync(replace(spec, key=self.next_key(f"budget:{step}"), of_step=True))

    def next_key(self, key: str) -> str:
        """The wait of this name that is not over: there may have been others in the same place."""
        number = 1
        while (fact := self._facts.get(f"{key}:{number}")) is not None and fact.resolved is not None:
            number += 1
        return f"{key}:{number}"

    def knows(self, key: str) -> bool:
        """True for a wait that the run has begun, in whichever stay."""
        return key in self._dues

    @property
    def round(self) -> str:
        """What the keys of a later round have beside those of the first: a token is for one round."""
        number = self._run.started.round
        return f"/{number}" if number > 1 else ""

    def untaken(self) -> tuple[uuid.UUID, ...]:
        """The waits that have begun, and of which the code has not taken what they bring."""
        keys = [key for key in self._dues if key not in self._taken]
        return tuple(self._children.get(key) or wait_id(self._run.id, key) for key in keys)

    def is_void(self, key: str) -> bool:
        """True for a wait that is over and has brought no value."""
        return (fact := self._facts.get(key)) is not None and fact.outcome not in (None, "completed")

    def open_id(self, key: str) -> uuid.UUID | None:
        """The id of a wait that the run has begun and that is not known to be over."""
        fact = self._facts.get(key)
        is_over = key not in self._dues or (fact is not None and fact.outcome is not None)
        return None if is_over else wait_id(self._run.id, key)

    def opened_at(self, key: str) -> float:
        """Unix time at which a wait was begun, as far as this stay knows: otherwise now."""
        return self._facts[key].created if key in self._facts else self._run.now()

    @property
    def any(self) -> bool:
        """True when the run has ever waited."""
        return bool(self._dues)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def parked(self) -> bool:
        """Whether a branch waits here."""
        return bool(self._parked)

    @property
    def next_due(self) -> float:
        """Unix time at which the next parked wait is over by itself; infinity when none is."""
        return min((self._due(runner) for parked in tuple(self._parked) for runner in parked.runners), default=FOREVER)

    def deliver(self, facts: Iterable[store.WaitFact]) -> None:
        """What has become of the waits meanwhile. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._deliver, list(facts))

    def _deliver(self, facts: list[store.WaitFact]) -> None:
        self._facts.update({fact.key: fact for fact in facts})
        for parked in tuple(self._parked):
            if self._winner(parked.runners) is not None and not parked.future.done():
                parked.future.set_result(None)

    # ── rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def look_soon(self) -> None:
        """A branch parked or ended: look whether the run is at rest, once those that are ready have moved."""
        if self._parked and not self._looking and self._loop is not None:
            self._looking = True
            self._loop.call_soon(self._look, SETTLE)

    def _look(self, turns: int) -> None:
        if turns and self._loop is not None:
            self._loop.call_soon(self._look, turns - 1)
            return
        self._looking = False
        run = self._run
        if run.over or run.unwound is not None or not self._parked or not self._at_rest():
            return
        if any(self._winner(parked.runners) is not None for parked in self._parked):
            return  # about to go on
        runners = [runner for parked in self._parked for runner in parked.runners]
        if self._left(runners) <= run.hold and run.hold > 0:
            return
        run.unwind(self._put_down(runners))
        if run.main is not None:
            run.main.cancel()

    def _at_rest(self) -> bool:
        if any(not self._run.is_handed(key) for key in tuple(self._run.executing)):
            return False  # a step's function is at work, in whichever branch: `step_left` looks again
        waiting = {parked.task for parked in self._parked}
        alive = {task: parent for task, parent in self._run.tasks.items() if not task.done()}
        parents = set(alive.values())
        branches = [task for task in (self._run.main, *alive) if task is not None]
        if any(rest.moves(task) for task in branches):
            self.look_soon()
            return False
        # The leaves have to be parked; and who has started others, to wait for them.
        if not all(task in waiting or task in parents for task in branches):
            return False  # a leaf that parks, or ends, has us look again
        busy = [task for task in branches if task not in waiting and not rest.waits_for_tasks(task)]
        for task in busy:
            if (future := rest.hangs_in(task)) is not None:
                future.remove_done_callback(self._look_again)
                future.add_done_callback(self._look_again)
        return not busy

    def _look_again(self, _: asyncio.Future[Any]) -> None:
        self.look_soon()

    def _put_down(self, runners: Sequence[Runner]) -> PutDown:
        told: dict[str, Any] = {"kind": runners[0].spec.kind, "what": runners[0].spec.label, "count": len(runners)}
        told["waits"] = [{"kind": r.spec.kind, "name": r.spec.name, "key": r.key} for r in runners[:MAX_TOLD]]
        if runners[0].spec.kind == WaitKind.RETRY:
            told |= {
                "kind": "step_retry",
                "what": f"the next try of {runners[0].spec.name}",
                "step": runners[0].spec.name,
            }
        if runners[0].spec.kind in (WaitKind.RETRY, WaitKind.BUDGET):
            told |= runners[0].spec.detail
        parked = tuple(runner.id for runner in runners if runner.spec.kind not in (WaitKind.SLEEP, WaitKind.RETRY))
        return PutDown(max(0.0, self._left(runners)), json.dumps(told), parked)

    # ── one wait ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _identify(self, spec: WaitSpec) -> tuple[str, list[Runner]]:
        for one in spec.runners or (spec,):
            if one.kind == WaitKind.SIGNAL:
                signals.check(self._run.task, one.name)
        key, mark = self._key(spec)
        if spec.kind != WaitKind.FIRST:
            return key, [self._runner(spec, key)]
        # A race that is asked again asks all of its waits again.
        keys = [runner.key or f"{self._counted(runner)}{mark}" for runner in spec.runners]
        runners = zip(spec.runners, keys, strict=True)
        return key, [self._runner(runner, key) for runner, key in runners]

    def _runner(self, spec: WaitSpec, key: str) -> Runner:
        """Raises Mismatch for children whose payloads are those of another wait: it would get that one's results."""
        if spec.spawn is None:
            return Runner(spec, key, wait_id(self._run.id, key))
        payloads = _digest(spec.spawn.payloads)
        found = wait_id(self._run.id, f"{key} {payloads}")
        if (known := self._children.get(key, found)) != found and not self._run.started.accepted:
            for other, id_ in self._children.items():
                if id_ == wait_id(self._run.id, f"{other} {payloads}"):
                    self._run.refuse_swapped(key, other)
        return Runner(spec, key, known)

    def _key(self, spec: WaitSpec) -> tuple[str, str]:
        """The key of a wait, and what stands behind its count when it is asked again."""
        if spec.key is not None:
            return spec.key, ""
        counted = self._counted(spec)
        key = self._run.key_now(counted)
        return key, key.removeprefix(counted)

    def _counted(self, spec: WaitSpec) -> str:
        return self._run.number(f"{spec.kind}:{spec.name}{self.round}")

    def _recall(self, key: str, runners: Sequence[Runner]) -> str | None:
        """What the code has taken from this wait in an earlier stay."""
        if (known := self._run.recall(key)) is not None:
            index = json.loads(known).get("index", 0)
            self._take_from(runners, runners[index].key if index < len(runners) else "")
        return known

    def _take_from(self, runners: Sequence[Runner], winner: str) -> None:
        """The wait is over. A token that lost a race stays open: the code has it, and may wait for it again."""
        self._taken.update(r.key for r in runners if r.key == winner or r.spec.kind != WaitKind.TOKEN)

    def _open(self, runner: Runner, *, acknowledged: bool = False) -> Future[None] | None:
        """Begins a wait that is new to the run; children wait for an acknowledgement, because they may be refused."""
        if runner.key in self._dues:
            return None
        spec, run = runner.spec, self._run
        self._number += 1
        until = spec.until.timestamp() if spec.until is not None else None
        detail = codec.dump(None, spec.detail, "detail") if spec.detail else None
        row = store.WaitRow(
            run.id, runner.id, runner.key, spec.kind, spec.name, self._number, spec.delay, until, detail
        )
        self._dues[runner.key] = until or (run.now() + spec.delay if spec.delay is not None else FOREVER)
        if spec.spawn is None:
            ack: Future[None] | None = Future() if acknowledged else None
            run.put(row, ack)
            return ack
        ack = Future()
        self._children[runner.key] = runner.id
        accounts = run.started.accounts  # children draw on the budgets of those who wait for them
        run.put(store.SpawnRow(run.id, row, replace(spec.spawn, accounts=accounts)), ack)
        return ack

    async def _park(self, runners: Sequence[Runner]) -> None:
        if not self._run.is_async:  # a plain function's own loop, whose other branches nobody knows
            raise self._run.unwind(self._put_down(runners))
        self._loop = asyncio.get_running_loop()
        parked = Parked(runners, self._loop.create_future(), asyncio.current_task())
        self._parked.add(parked)
        self._run.watch()
        self.look_soon()
        try:
            await parked.future
        except asyncio.CancelledError:
            self._run.boundary()  # put down, or stopped: `except CancelledError` must not keep it
            raise
        finally:
            self._parked.discard(parked)

    def _due(self, runner: Runner) -> float:
        return self._dues.get(runner.key, FOREVER)

    def _left(self, runners: Sequence[Runner]) -> float:
        return min(map(self._due, runners)) - self._run.now()

    def _winner(self, runners: Sequence[Runner]) -> store.WaitFact | None:
        """The first of the waits that is over, by the database's clock; of equals the first in line."""
        facts = [f for r in runners if (f := self._facts.get(r.key)) is not None and f.resolved is not None]
        return min(facts, key=lambda fact: fact.resolved or 0.0, default=None)

    def _refuse_unfit(self, runners: Sequence[Runner], winner: store.WaitFact) -> Future[None] | None:
        """The wait goes on when it has brought an update that does not fit. A fact of it that was read before may
        still be delivered: then the same is done once more, and changes nothing."""
        if winner.kind != WaitKind.UPDATE or winner.outcome != "completed":
            return None
        spec = next(runner.spec for runner in runners if runner.key == winner.key)
        if (ack := updating.refuse_unfit(self._run, spec, winner)) is not None:
            self._facts.pop(winner.key, None)
        return ack

    def _take(self, spec: WaitSpec, key: str, runners: Sequence[Runner], fact: store.WaitFact) -> Any:
        """Keeps what a wait brought as a snapshot, which answers from now on."""
        if fact.outcome == "cancelled":  # by a race of an earlier release, which gave up tokens that lost
            raise StepMisuse(f"{spec.label} was given up when it lost an earlier race: it cannot be waited for again.")
        self._take_from(runners, fact.key)
        output: Any = None if fact.output is None else json.loads(fact.output)
        brought = {"outcome": fact.outcome, "value": output}
        if spec.kind == WaitKind.FIRST:
            brought["index"] = next(i for i, runner in enumerate(runners) if runner.key == fact.key)
            if losers := [r.id for r in runners if r.key != fact.key and r.spec.kind != WaitKind.TOKEN]:
                self._run.put(store.GiveUpRow(self._run.id, losers))
        raised: Exception | None = None
        value: Any = None
        try:
            value = _value(spec, brought)
        except Exception as error:
            raised, brought[RAISED] = error, True
        if not spec.of_step:
            text = codec.dump(None, brought, spec.label, codec.MAX_STORED)
            self._run.keep(SnapshotKind.WAIT, spec.name or str(spec.kind), key, text, fact.created, fact.resolved)
        if raised is not None:
            raise raised
        return value


def wait_id(run_id: uuid.UUID, key: str) -> uuid.UUID:
    """The id of a run's wait: the same in every stay, so that a token handed out earlier is still the one."""
    return uuid.uuid5(run_id, key)


def _digest(payloads: Sequence[str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for text in payloads:  # JSON, which has no line ends of its own
        found.update(text.encode() + b"\n")
    return found.hexdigest()


def _value(spec: WaitSpec, brought: dict[str, Any]) -> Any:
    if spec.kind == WaitKind.FIRST:
        index = int(brought["index"])
        return First(index, spec.runners[index].value(brought["outcome"], brought["value"]))
    return spec.value(brought["outcome"], brought["value"])
