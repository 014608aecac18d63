"""What a test asked of the kit that cannot be, in words."""

from holdfast.errors import HoldfastError


class KitError(HoldfastError):
    """The test kit was asked for something that cannot be. The message says what to write instead."""


class BadCall(KitError):
    """A call of the kit does not fit: no task, an unknown crash point, a time that is no time."""


class InEventLoop(KitError):
    """`run_inline` was called where an event loop runs; `arun_inline` is its twin there."""


class CrashPointMissed(KitError):
    """The run ended without coming to a point at which it was to crash."""


class AnswerNotAsked(KitError):
    """The run ended without asking what the test had an answer for."""


class StillWaiting(KitError):
    """The run waits for an answer that the test does not give."""


class NotWaiting(KitError):
    """The run does not wait for what the test answers."""


class NotTheSameSteps(KitError):
    """The run was entered again and asked for other steps than before: a worker would park it."""


class Endless(KitError):
    """The run was entered again and again and did not end."""
