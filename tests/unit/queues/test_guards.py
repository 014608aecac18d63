"""Breakers of queues, as code declares them."""

from __future__ import annotations

from typing import Any

import pytest

from queues import Breaker, Queue
from queues.declare import guards
from queues.naming import QueueDeclarationError
from runs import step


def test_a_queue_names_its_breaker_or_brings_it() -> None:
    brought = Breaker("unit-brought", cooldown=3)
    Queue("unit-guarded", breaker=brought)
    Queue("unit-guarded-by-name", breaker="unit-brought")
    Queue("unit-unguarded")
    assert guards()["unit-guarded"] is brought
    assert guards()["unit-guarded-by-name"] is brought
    assert "unit-unguarded" not in guards()


def test_a_name_may_stand_before_its_declaration() -> None:
    """In an order of imports that nobody chose."""

    @step(breaker="unit-named-first")
    def calls() -> None: ...

    Queue("unit-named-first", breaker="unit-named-first")
    assert calls.breaker is not None
    assert calls.breaker.cooldown == guards()["unit-named-first"].cooldown == 30
    brought = Breaker("unit-named-first", cooldown=3)
    assert calls.breaker is guards()["unit-named-first"] is brought
    Queue("unit-named-first", breaker="unit-named-first")


@pytest.mark.parametrize("wrong", [7, True, ["openai"], "no name!", ""])
def test_what_is_no_breaker_is_refused_in_words(wrong: Any) -> None:
    with pytest.raises(QueueDeclarationError, match=r"(?i)breaker"):
        Queue("unit-badly-guarded", breaker=wrong)
    assert "unit-badly-guarded" not in Queue.declared
