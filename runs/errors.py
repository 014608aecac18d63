"""What can go wrong, in words that say the object, its state and the next step. The HTTP status is the API's.

Each error is picklable, carries its data in attributes, and its message is fit to be shown to a user.
"""

from __future__ import annotations

from typing import Any

import holdfast.errors


class HoldfastError(holdfast.errors.HoldfastError):
    """Holdfast refused. The message says why and what to do instead."""

    exit_code = 2
    status = 400
    code = "error"
    #: Seconds after which to try again, where that is what helps.
    retry_after: int | None = None

    def __init__(self, message: str = "", **data: Any) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.data))


def _rebuild(cls: type[HoldfastError], message: str, data: dict[str, Any]) -> HoldfastError:
    error = cls.__new__(cls)
    HoldfastError.__init__(error, message, **data)
    return error


class OwnTask(HoldfastError):
    """A task of Holdfast itself is not enqueued by people."""

    status, code = 422, "own_task"


class UnknownTask(HoldfastError):
    """No such task."""

    status, code = 404, "unknown_task"


class UnknownRun(HoldfastError):
    """No such run."""

    status, code = 404, "unknown_run"


class UnknownView(HoldfastError):
    """No such saved view."""

    status, code = 404, "unknown_view"


class UnknownQueue(HoldfastError):
    """No such queue."""

    status, code = 404, "unknown_queue"


class InvalidPayload(HoldfastError):
    """The payload does not fit the task. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_payload"


class InvalidOption(HoldfastError):
    """An option of the enqueue does not fit. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_option"


class PayloadTooLarge(HoldfastError):
    """The payload is over the limit."""

    status, code = 413, "payload_too_large"


class InvalidFilter(HoldfastError):
    """What a list was asked for does not fit. `data["errors"]` is a list of {field, message}; those of a search also
    have `at` and `length`, the characters that are meant, and `suggestion`, what could stand there instead."""

    status, code = 422, "invalid_filter"


class SearchTooSlow(InvalidFilter):
    """A search took too long. It has to be narrowed."""

    code = "search_too_slow"


class IdempotencyConflict(HoldfastError):
    """This idempotency key was used with another payload."""

    status, code = 409, "idempotency_conflict"


class WrongState(HoldfastError):
    """The run is in a state in which this cannot be done."""

    status, code = 409, "wrong_state"


class NoAnswer(HoldfastError):
    """The worker of a run was asked where it is, and did not answer in time."""

    status, code = 504, "worker_silent"


class NotInRun(HoldfastError):
    """This can only be called inside a run."""

    code = "not_in_run"


class StepMisuse(HoldfastError):
    """A step was used in a way that cannot be made durable."""

    code = "step_misuse"


class OutcomeUnknown(HoldfastError):
    """Nobody knows whether this step happened. Raise it in an unsafe step that cannot tell (`raise OutcomeUnknown("the
    gateway did not answer")`): its reconcile hook is asked, or a person."""

    code = "outcome_unknown"


class HeartbeatLost(HoldfastError):
    """A step gave no heartbeat within its `heartbeat_timeout`. `data` has its last details, as JSON."""

    code = "heartbeat_lost"


class NotSerializable(HoldfastError):
    """A value cannot be stored as JSON. `data["path"]` is where in the value it stands."""

    status, code = 422, "not_serializable"


class InvalidResult(NotSerializable):
    """What a task or step returned is not what its annotation says. `data["errors"]` is a list of {field, message}."""

    code = "invalid_result"


class MiddlewareMisuse(HoldfastError):
    """A middleware is no context manager, or does what it must not."""

    code = "middleware_misuse"


class InvalidProgress(HoldfastError):
    """What a run says of itself cannot be shown."""

    status, code = 422, "invalid_progress"


class InvalidUsage(HoldfastError):
    """What was said to be used is no amount of a unit. `data` has the unit."""

    status, code = 422, "invalid_usage"


class StreamMisuse(HoldfastError):
    """A stream was used in a way that cannot work."""

    code = "stream_misuse"


class StreamTokenRefused(HoldfastError):
    """This stream token is wrong or has expired. Issue a new one: RunHandle.stream_token()."""

    status, code = 403, "stream_token_refused"


class RunFailed(HoldfastError):
    """The run that was waited for did not complete. `data` has status and error."""

    code = "run_failed"


class WaitTimeout(HoldfastError):
    """Nothing answered a wait in time. `data` has its kind and name."""

    code = "wait_timeout"


class CompletionFailed(HoldfastError):
    """Whoever was to complete a token has said that it failed. `data` has the token's name."""

    code = "completion_failed"


class UnknownWait(HoldfastError):
    """No such wait."""

    status, code = 404, "unknown_wait"


class InvalidLink(HoldfastError):
    """This names no wait, or its signature is wrong. Use the token's id, or the whole address that the run gave out."""

    status, code = 404, "unknown_wait"


class NotAsked(HoldfastError):
    """Somebody else is asked."""

    status, code = 403, "not_asked"


class WaitOver(HoldfastError):
    """The wait is over already. `data` has its outcome and who answered it."""

    status, code = 409, "wait_over"


class UpdateRefused(HoldfastError):
    """The run refused the update. The message is its reason; `data` has the update's id."""

    status, code = 409, "update_refused"


class UpdateTimeout(HoldfastError):
    """Nobody has answered the update yet. It is kept: asking again with the same key waits for the same one."""

    status, code = 504, "update_timeout"


class UnknownSignal(HoldfastError):
    """The task declares its signals, and not this one."""

    status, code = 422, "unknown_signal"


class UnknownUpdate(HoldfastError):
    """No such update."""

    status, code = 404, "unknown_update"


class ProcessDied(HoldfastError):
    """The process of an isolated run ended before the run did. `data` has signal, exit_code, peak_memory (bytes)."""

    code = "process_died"


class OutOfMemory(ProcessDied):
    """An isolated run ran out of memory. `data` has memory_limit (bytes; None: the machine's own)."""

    code = "out_of_memory"


class NonDeterministic(HoldfastError):
    """The code asked for another step than the one that its history holds at this place."""

    code = "non_deterministic"


class DeclarationError(HoldfastError):
    """A task, step, queue or retry policy is declared in a way that cannot work."""

    code = "declaration"
