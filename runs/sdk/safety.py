"""What a step promises beyond "at least once": `transaction=True` (exactly once, on Django's ORM) and
`safety="unsafe"` (never again without knowing). See `platform/docs/steps.md`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from runs.errors import DeclarationError

Safety = Literal["safe", "unsafe"]
_STEP_KEY: Final = "step_key"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A reconcile hook's answer about a step that was begun and of which nothing is known since."""

    verdict: Literal["happened", "did_not_happen", "cannot_tell"]
    result: Any = None
    reason: str = ""

    @classmethod
    def happened(cls, result: Any = None) -> Reconciled:
        """It happened, and returned `result`: the run goes on with that."""
        return cls("happened", result)

    @classmethod
    def did_not_happen(cls) -> Reconciled:
        """It did not happen: it is called again."""
        return cls("did_not_happen")

    @classmethod
    def cannot_tell(cls, reason: str = "") -> Reconciled:
        """A person has to find out: the run ends as `unknown`, with `reason` in its error."""
        return cls("cannot_tell", reason=reason)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What one step promises. The plain one costs nothing."""

    transaction: bool = False
    unsafe: bool = False
    reconcile: Callable[..., Any] | None = None
    local: bool = False  # its result lies on the host


AT_LEAST_ONCE: Final = Guarantee()


def guarantee(
    where: str,
    *,
    is_async: bool,
    transaction: Any,
    safety: Any,
    reconcile: Callable[..., Any] | None,
    local: Any = False,
) -> Guarantee:
    """Raises DeclarationError where the promises cannot be kept."""
    if not isinstance(transaction, bool):
        raise DeclarationError(
            f"{where}: transaction is {transaction!r:.60}; write True or False. The transaction is always one of the "
            "database `default`, because the snapshot lies there: no transaction spans two databases."
        )
    if safety not in ("safe", "unsafe"):
        raise DeclarationError(f'{where}: safety is {safety!r:.60}; write "safe" or "unsafe"')
    if transaction and is_async:
        raise DeclarationError(
            f"{where}: transaction=True needs a plain `def`, because a transaction of Django's belongs to one thread. "
            "Write `def`, with Django's sync ORM; an `async def` task awaits the step all the same."
        )
    if transaction and safety == "unsafe":
        raise DeclarationError(
            f'{where}: transaction=True and safety="unsafe" stand side by side. A transaction leaves nothing half '
            "done, so drop safety; a call of an outside service belongs into an unsafe step of its own."
        )
    if reconcile is not None:
        _check_hook(where, reconcile, is_async=is_async, unsafe=safety == "unsafe")
    if not isinstance(local, bool):
        raise DeclarationError(f"{where}: local is {local!r:.60}; write True or False")
    if local and (transaction or safety == "unsafe"):
        raise DeclarationError(
            f"{where}: a local step is called again where its run has to move to another host, and one with "
            'transaction=True or safety="unsafe" never is. Do what must not be done twice in a step of its own.'
        )
    if not transaction and not local and safety == "safe":
        return AT_LEAST_ONCE
    return Guarantee(transaction, safety == "unsafe", reconcile, local)


def _check_hook(where: str, hook: Any, *, is_async: bool, unsafe: bool) -> None:
    if not unsafe:
        raise DeclarationError(f'{where}: reconcile is for steps with safety="unsafe"; add that, or drop reconcile')
    if not callable(hook):
        raise DeclarationError(f"{where}: reconcile is {hook!r:.60}; give a function")
    if inspect.iscoroutinefunction(hook) is not is_async:
        kind = "`async def`, as the step is" if is_async else "a plain function, as the step is"
        raise DeclarationError(f"{where}: its reconcile hook must be {kind}")
    parameters = inspect.signature(hook).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD or p.name == _STEP_KEY for p in parameters):
        raise DeclarationError(
            f"{where}: its reconcile hook takes no `{_STEP_KEY}`. It is called with the step's arguments and "
            f"{_STEP_KEY}=…; write def {getattr(hook, '__name__', 'hook')}(…, *, {_STEP_KEY}: str)."
        )
