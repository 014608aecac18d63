"""What the runs of this worker use, and whether their budgets have room.

Usage goes to the writer at once and is committed with the next batch. Whether a step may begin is decided here, and
costs no query: by what was committed for the budget's whole tree when this worker last saw it, and what this worker has
handed to its writer since. It sees the balances when a run begins a stay, with each of its own commits that draw on the
budget, and once a second.

The process of an isolated run is told the balances when its stay begins, and counts what it uses itself on top. What
others draw meanwhile it learns when it comes back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakValueDictionary

from runs.sdk.context import current_step
from runs.sdk.usage import digits
from runs.sdk.wait import WaitKind, WaitSpec
from runs.store import Balance, Charges, UsageRow

if TYPE_CHECKING:
    from runs.engine.context import ActiveRun

ZERO = Decimal()


class Account:
    """The budgets of one run, as this worker knows them. Amounts only ever grow, so the larger is the newer."""

    __slots__ = ("__weakref__", "amounts", "id", "pending", "spent")

    def __init__(self, id: UUID) -> None:  # noqa: A002
        self.id = id
        self.amounts: dict[str, Decimal] = {}
        self.spent: dict[str, Decimal] = {}  # committed, by all workers
        self.pending: dict[str, Decimal] = {}  # ours, not committed yet

    def exhausted(self) -> tuple[str, Decimal, Decimal] | None:
        """A unit that is used up: its name, what was spent and what may be."""
        for unit, amount in self.amounts.items():
            spent = self.spent.get(unit, ZERO) + self.pending.get(unit, ZERO)
            if spent >= amount:
                return unit, spent, amount
        return None


class Accounts:
    """The budgets on which runs in this worker draw. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[UUID, Account] = WeakValueDictionary()

    def of(self, ids: Sequence[UUID]) -> tuple[Account, ...]:
        """The accounts; they are known for as long as somebody keeps them."""
        with self._lock:
            return tuple(self._known.setdefault(i, Account(i)) for i in ids)

    @property
    def ids(self) -> list[UUID]:
        with self._lock:
            return list(self._known)

    def learn(self, balances: Iterable[Balance]) -> list[Account]:
        """What the database says."""
        found = []
        for balance in balances:
            (account,) = self.of([balance.account])
            found.append(account)
            with self._lock:
                known = account.amounts.get(balance.unit, ZERO), account.spent.get(balance.unit, ZERO)
                account.amounts[balance.unit] = max(known[0], balance.amount)
                account.spent[balance.unit] = max(known[1], balance.spent)
        return found

    def balances(self, account: Account) -> list[Balance]:
        """What an account holds as far as it is known here."""
        with self._lock:
            return [
                Balance(account.id, unit, amount, account.spent.get(unit, ZERO) + account.pending.get(unit, ZERO))
                for unit, amount in account.amounts.items()
            ]

    def spend(self, accounts: Iterable[Account], unit: str, amount: Decimal) -> None:
        """Handed to the writer."""
        with self._lock:
            for account in accounts:
                account.pending[unit] = account.pending.get(unit, ZERO) + amount

    def committed(self, drawn: Charges, balances: Iterable[Balance]) -> None:
        """What was handed to the writer is durable, and these are the balances since."""
        now = {(b.account, b.unit): b for b in balances}
        with self._lock:
            for (account_id, unit), amount in drawn.items():
                account = self._known.get(account_id)
                if account is None:
                    continue
                account.pending[unit] = account.pending.get(unit, ZERO) - amount
                spent = account.spent.get(unit, ZERO)
                balance = now.get((account_id, unit))
                # Without one, the commit's answer was lost with its connection.
                account.spent[unit] = max(spent, balance.spent) if balance is not None else spent + amount
                if balance is not None:
                    account.amounts[unit] = max(account.amounts.get(unit, ZERO), balance.amount)


class Spending:
    """What one run uses in one stay."""

    __slots__ = ("_accounts", "_ids", "_put", "_run", "_steps", "_used", "accounts")

    def __init__(self, run: ActiveRun, accounts: Accounts, put: Callable[[UsageRow], None]) -> None:
        self._run = run
        self._accounts = accounts
        self._put = put
        self._ids = tuple(run.started.accounts or ())
        self._steps: dict[str, dict[str, Decimal]] = {}
        self._used: dict[str, Decimal] = {}
        #: Budgets to look at before each step; most runs have none.
        self.accounts = accounts.of(self._ids) if self._ids else ()

    def add(self, amounts: Mapping[str, Decimal]) -> None:
        """Counts, also what a thread uses that the run has left behind: it is spent all the same."""
        step = current_step.get()
        if not step and self._run.is_replaying:
            return  # it was counted when the run came by here the first time
        for unit, amount in amounts.items():
            if step:
                used = self._steps.setdefault(step, {})
                used[unit] = used.get(unit, ZERO) + amount
            self._spend(unit, amount)
            self._put(UsageRow(self._run.id, self._run.attempt, self._run.task_id, unit, amount, self._ids))

    def pass_on(self, row: UsageRow) -> None:
        """What the process of an isolated run says that it has used."""
        self._spend(row.unit, row.amount)
        self._put(row)

    def _spend(self, unit: str, amount: Decimal) -> None:
        self._used[unit] = self._used.get(unit, ZERO) + amount
        self._accounts.spend(self.accounts, unit, amount)

    @property
    def used(self) -> str | None:
        """What was used in this stay, by unit, as JSON; None when nothing was. Tokens are those in and out, unless the
        run counts them itself."""
        if not self._used:
            return None
        tokens = self._used.get("tokens_in", ZERO) + self._used.get("tokens_out", ZERO)
        return _json({"tokens": tokens, **self._used} if tokens else self._used)

    def balances(self) -> list[Balance]:
        """For the process of an isolated run: the budgets, and what has been drawn on them or is about to be."""
        return [balance for account in self.accounts for balance in self._accounts.balances(account)]

    def of_try(self, step: str) -> str | None:
        """What this try of a step has used, as JSON; the next try begins at nothing."""
        if not self._steps or (used := self._steps.pop(step, None)) is None:
            return None
        return _json(used)

    def wait_for_room(self, step: str) -> WaitSpec | None:
        """What to wait for before this step begins: the first budget that is used up. None: it may begin."""
        for account in self.accounts:
            if (found := account.exhausted()) is not None:
                unit, spent, amount = found
                told: dict[str, Any] = {
                    "what": f"more budget: {digits(spent)} of {digits(amount)} {unit} spent",
                    "unit": unit,
                    "spent": digits(spent),
                    "budget": digits(amount),
                    "run": str(account.id),
                    "step": step,
                }
                return WaitSpec(WaitKind.BUDGET, str(account.id), detail=told, decode=self._learn)
        return None

    def _learn(self, amounts: Any) -> None:
        """A top-up has come, or came before we parked: the amounts are those of the budget that was waited for."""
        for account in self.accounts:
            if (new := amounts.get(str(account.id))) is not None:
                self._accounts.learn(Balance(account.id, unit, Decimal(most), ZERO) for unit, most in new.items())


def _json(amounts: Mapping[str, Decimal]) -> str:
    """Exact amounts by unit."""
    return "{" + ", ".join(f"{json.dumps(unit)}: {digits(amounts[unit])}" for unit in sorted(amounts)) + "}"
