"""What a run needs of its worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs.engine.clock import Clock
    from runs.engine.context import ActiveRun
    from runs.engine.spending import Accounts
    from runs.engine.writer import Writer

#: What is counted into a rollup: kind, task, queue, name, version, status, seconds.
Sample = tuple[str, str, int, str, str, str, float]


class Port:
    """What a run needs of its worker."""

    __slots__ = ("accounts", "clock", "handing_over", "watch", "writer")

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        handing_over: Callable[[], bool],
        watch: Callable[[ActiveRun], None],
        accounts: Accounts,
    ) -> None:
        self.accounts = accounts
        self.writer = writer
        self.clock = clock
        self.handing_over = handing_over
        self.watch = watch
