"""The test kit: runs a task in the test's own process, without servers, by the engine's own rules.

    from holdfast.testing import Clock, complete_approval, crash_at, inline, run_inline

See `platform/docs/testing.md`. These names are loaded on first use: the pytest plugin lies in this package, and costs
a test session that never asks for them nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.answers import complete_approval, complete_token, reject_approval, send_signal, send_update
    from holdfast.testing.clock import Clock
    from holdfast.testing.crashes import POINTS, crash_at
    from holdfast.testing.result import InlineResult
    from holdfast.testing.script import Inline, arun_inline, inline, run_inline

_ROOMS = {
    "Clock": "clock",
    "Inline": "script",
    "InlineResult": "result",
    "POINTS": "crashes",
    "arun_inline": "script",
    "complete_approval": "answers",
    "complete_token": "answers",
    "crash_at": "crashes",
    "inline": "script",
    "reject_approval": "answers",
    "run_inline": "script",
    "send_signal": "answers",
    "send_update": "answers",
}

__all__ = [
    "POINTS",
    "Clock",
    "Inline",
    "InlineResult",
    "arun_inline",
    "complete_approval",
    "complete_token",
    "crash_at",
    "inline",
    "reject_approval",
    "run_inline",
    "send_signal",
    "send_update",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _ROOMS:
        raise AttributeError(f"module 'holdfast.testing' has no attribute {name!r}")
    if name in ("Inline", "arun_inline", "inline", "run_inline"):
        from holdfast.testing.ready import make_ready

        make_ready()
    value = getattr(import_module(f"holdfast.testing.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value
