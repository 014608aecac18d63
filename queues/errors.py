"""What can go wrong with a queue, in words that say the next step. The HTTP status is the API's."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any


class QueueError(Exception):
    """Something about a queue was refused. `data["errors"]`, if it is there, lists {field, message}."""

    status = 400
    code = "queue_error"

    def __init__(self, message: str = "", **data: Any) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.data))


def _rebuild(cls: type[QueueError], message: str, data: dict[str, Any]) -> QueueError:
    return cls(message, **data)


class QueueNotFound(QueueError):
    """No such queue."""

    status, code = 404, "unknown_queue"


class InvalidChange(QueueError):
    """A change of a queue that does not fit. `data["errors"]` is a list of {field, message}."""

    status, code = 422, "invalid_change"


def not_found(name: str, names: list[str]) -> QueueNotFound:
    """The error for a queue that is not there, with the names nearest to it."""
    near = get_close_matches(name[:200], names, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return QueueNotFound(f"There is no queue {name!r:.220}.{hint}", near=near)


def invalid(field: str, message: str) -> InvalidChange:
    """The error for one field."""
    return InvalidChange(f"{field} {message}.", errors=[{"field": field, "message": message}])
