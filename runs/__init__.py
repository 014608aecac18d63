"""Durable tasks as plain functions.

    from runs import task, step, checkpoint, wait, log, usage, current_run, Retry, Abort

These names are loaded on first use, so that importing the app (which Django does before its settings are complete)
costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runs.errors import (
        CompletionFailed,
        HeartbeatLost,
        OutcomeUnknown,
        RunFailed,
        UpdateRefused,
        UpdateTimeout,
        WaitTimeout,
    )
    from runs.schedules.declare import Schedule
    from runs.sdk.checkpoint import acheckpoint, checkpoint
    from runs.sdk.completion import acompletion, completion
    from runs.sdk.context import current_run
    from runs.sdk.continuing import continue_as_new
    from runs.sdk.debounce import Debounce
    from runs.sdk.events import aemit, emit
    from runs.sdk.handle import RunHandle
    from runs.sdk.heartbeat import heartbeat
    from runs.sdk.hooks import Failure
    from runs.sdk.isolation import GiB, MiB
    from runs.sdk.log import log
    from runs.sdk.retry import Abort, Retry
    from runs.sdk.safety import Reconciled
    from runs.sdk.step import step
    from runs.sdk.stream import stream
    from runs.sdk.task import task
    from runs.sdk.update import Update
    from runs.sdk.usage import usage
    from runs.sdk.wait import Decision, wait

_ROOMS = {
    "task": "runs.sdk.task",
    "usage": "runs.sdk.usage",
    "step": "runs.sdk.step",
    "wait": "runs.sdk.wait",
    "Decision": "runs.sdk.wait",
    "WaitTimeout": "runs.errors",
    "Update": "runs.sdk.update",
    "UpdateRefused": "runs.errors",
    "UpdateTimeout": "runs.errors",
    "RunFailed": "runs.errors",
    "stream": "runs.sdk.stream",
    "checkpoint": "runs.sdk.checkpoint",
    "acheckpoint": "runs.sdk.checkpoint",
    "log": "runs.sdk.log",
    "current_run": "runs.sdk.context",
    "Retry": "runs.sdk.retry",
    "Schedule": "runs.schedules.declare",
    "Abort": "runs.sdk.retry",
    "Debounce": "runs.sdk.debounce",
    "emit": "runs.sdk.events",
    "aemit": "runs.sdk.events",
    "RunHandle": "runs.sdk.handle",
    "Failure": "runs.sdk.hooks",
    "Reconciled": "runs.sdk.safety",
    "OutcomeUnknown": "runs.errors",
    "heartbeat": "runs.sdk.heartbeat",
    "HeartbeatLost": "runs.errors",
    "completion": "runs.sdk.completion",
    "acompletion": "runs.sdk.completion",
    "CompletionFailed": "runs.errors",
    "continue_as_new": "runs.sdk.continuing",
    "MiB": "runs.sdk.isolation",
    "GiB": "runs.sdk.isolation",
}

__all__ = [
    "Abort",
    "CompletionFailed",
    "Debounce",
    "Decision",
    "Failure",
    "GiB",
    "HeartbeatLost",
    "MiB",
    "OutcomeUnknown",
    "Reconciled",
    "Retry",
    "RunFailed",
    "RunHandle",
    "Schedule",
    "Update",
    "UpdateRefused",
    "UpdateTimeout",
    "WaitTimeout",
    "acheckpoint",
    "acompletion",
    "aemit",
    "checkpoint",
    "completion",
    "continue_as_new",
    "current_run",
    "emit",
    "heartbeat",
    "log",
    "step",
    "stream",
    "task",
    "usage",
    "wait",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _ROOMS:
        raise AttributeError(f"module 'runs' has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value
