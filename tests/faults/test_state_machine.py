"""Fault 36: whatever workers, people and deaths come in whatever order, the invariants of the design hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from runs.engine import recovery
from tests.support.flowmachine import Flow, Hand

PICK = st.integers(0, 1_000)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self.flow.register()

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.flow.close()

    def everything_ends(self) -> None:
        """With a worker that lives, every run reaches a final state."""
        flow = self.flow
        for hand in [h for h in flow.hands if h.frozen]:
            flow.kill(hand)
        for run_id in flow.ids:
            flow.signal(run_id, 0)
        for _ in range(200):
            if not flow.one("SELECT count(*) FROM runs_run WHERE finished_at IS NULL"):
                return
            flow.recover()
            flow.pass_time()  # a run whose worker has died several times comes back after some seconds
            flow.tick()
            if not flow.hands:
                flow.register()
            for hand in flow.hands:
                flow.obey(hand)
                flow.lease(hand, 5)
                for run_id in list(hand.held):
                    flow.finish(hand, run_id, "completed")
            flow.check()
        raise AssertionError("some runs never end")

    def hand(self, pick: int) -> Hand:
        return self.flow.hands[pick % len(self.flow.hands)]

    @invariant()
    def holds(self) -> None:
        self.flow.check()

    @rule(count=st.integers(1, 3), delayed=st.booleans())
    def enqueue(self, count: int, delayed: bool) -> None:
        if len(self.flow.ids) < 4:  # few runs, so that much happens to each
            self.flow.enqueue(count, delayed=delayed)

    @rule()
    def register(self) -> None:
        if len(self.flow.hands) < 3:
            self.flow.register()

    @precondition(lambda self: self.flow.hands)
    @rule(pick=PICK, most=st.integers(1, 4))
    def lease(self, pick: int, most: int) -> None:
        self.flow.lease(self.hand(pick), most)

    @precondition(lambda self: any(h.held for h in self.flow.hands))
    @rule(
        pick=PICK,
        how=st.sampled_from(["step", "step", "open", "signal", "sleep", "completed", "failed", "retrying", "queued"]),
    )
    def work(self, pick: int, how: str) -> None:
        held = [(hand, run_id) for hand in self.flow.hands for run_id in hand.held]
        hand, run_id = held[pick % len(held)]
        if how == "step":
            self.flow.step(hand, run_id)
        elif how == "open":
            self.flow.open(hand, run_id)
        elif how in ("signal", "sleep"):
            self.flow.put_down(hand, run_id, how)
        else:
            self.flow.finish(hand, run_id, how)

    @precondition(lambda self: self.flow.hands)
    @rule(pick=PICK)
    def obey(self, pick: int) -> None:
        self.flow.obey(self.hand(pick))

    @precondition(lambda self: self.flow.hands)
    @rule(pick=PICK)
    def freeze(self, pick: int) -> None:
        self.flow.freeze(self.hand(pick))

    @precondition(lambda self: self.flow.hands)
    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        self.flow.kill(self.hand(pick))

    @rule()
    def recover(self) -> None:
        self.flow.recover()

    @rule()
    def tick(self) -> None:
        self.flow.tick()

    @precondition(lambda self: self.flow.ids)
    @rule(pick=PICK)
    def signal(self, pick: int) -> None:
        self.flow.signal(self.flow.ids[pick % len(self.flow.ids)], pick)

    @precondition(lambda self: self.flow.ids)
    @rule(pick=PICK, deed=st.sampled_from(["cancel", "retry"]))
    def steer(self, pick: int, deed: str) -> None:
        getattr(self.flow, deed)(self.flow.ids[pick % len(self.flow.ids)])

    @rule(limit=st.integers(1, 4))
    def edit(self, limit: int) -> None:
        self.flow.set_limit(limit)


@pytest.fixture
def certain() -> Iterator[None]:
    before = recovery.CERTAIN, recovery.SETTLED
    yield
    recovery.CERTAIN, recovery.SETTLED = before  # type: ignore[misc]


def test_fault_36_the_invariants_hold_after_every_move(registered: None, certain: None) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=50,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
