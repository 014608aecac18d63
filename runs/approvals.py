"""Waits as pages show them to somebody: who is asked, whether it is you, and what happens if nobody answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

from holdfast.access.grants import Actor
from runs import answers, waitlinks, waits
from runs.models import Wait

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A wait as one person sees it. `link` is the signed address, for those who may hand it on."""

    wait: Wait
    may: bool
    link: str

    @property
    def asked(self) -> str:
        """Who is asked; nothing when everybody is who may answer at all."""
        return answers.asked_words(self.wait)

    @property
    def has_form(self) -> bool:
        return bool((self.wait.detail or {}).get("schema"))

    @property
    def has_context(self) -> bool:
        return "context" in (self.wait.detail or {})

    @property
    def has_answer(self) -> bool:
        """Whether a value was given: to a token, or in the form of an approval."""
        return self.wait.outcome == "completed" and (self.wait.kind == "token" or self._form is not None)

    @property
    def answer(self) -> Any:
        """What was given. Only if `has_answer`."""
        return self.wait.output if self.wait.kind == "token" else self._form

    @property
    def _form(self) -> Any:
        return self.wait.output.get("form") if self.wait.kind == "approval" and self.wait.output else None

    @property
    def default(self) -> str:
        """What the deadline brings."""
        default = (self.wait.detail or {}).get("default")
        if not isinstance(default, dict):
            return "ends" if self.wait.kind == "sleep" else "times out"
        return "is approved" if default.get("approved") else "is rejected"

    @property
    def is_page(self) -> bool:
        """Whether it has a page of its own, where it is answered."""
        return self.wait.kind in ("approval", "token")


@dataclass(frozen=True, slots=True)
class Listing:
    rows: list[Row]
    next: str | None


def page(actor: Actor, cursor: str | None) -> Listing:
    """Open approvals, oldest first. Raises InvalidFilter for a cursor that is none."""
    found = waits.open_waits(("approval",), cursor=cursor, limit=PAGE)
    return Listing(rows(found.items, actor, ""), found.next)


def rows(found: Iterable[Wait], actor: Actor, base: str) -> list[Row]:
    """Waits as `actor` sees them. Addresses begin with `base`, unless the setting says where browsers reach us."""
    listed = list(found)
    asks = any(answers.asked_words(wait) for wait in listed)
    groups = answers.groups_of(actor) if asks else frozenset[str]()
    return [_row(wait, actor, groups, base) for wait in listed]


def _row(wait: Wait, actor: Actor, groups: frozenset[str], base: str) -> Row:
    passes_on = answers.may_pass_on(wait, actor, groups)
    may = "runs.answer" in actor.grants and answers.is_asked(wait, actor, groups)
    return Row(wait, may, urljoin(base, waitlinks.page_url(wait.pk)) if passes_on else "")
