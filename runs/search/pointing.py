"""Errors of a search beside its text, for those who look at it."""

from dataclasses import dataclass

from holdfast.words import printable
from runs.errors import InvalidFilter


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a search, what is wrong with it, and the whole search as it would be right."""

    before: str
    meant: str
    after: str
    message: str
    suggestion: str = ""

    @property
    def mended(self) -> str:
        return f"{self.before}{self.suggestion}{self.after}" if self.suggestion else ""


def places(error: InvalidFilter) -> list[Place]:
    """Where a search is wrong; nothing when something else is."""
    text: str = error.data.get("q", "")
    found = [fault for fault in error.data.get("errors", ()) if "at" in fault]
    return [
        Place(
            text[: fault["at"]],
            text[fault["at"] : fault["at"] + fault["length"]],
            text[fault["at"] + fault["length"] :],
            fault["message"],
            fault.get("suggestion", ""),
        )
        for fault in found
    ]


def drawn(error: InvalidFilter) -> str:
    """The search, a caret below each character that is meant, and what is wrong; empty when something else is."""
    lines = []
    for place in places(error):
        line = printable(f"{place.before}{place.meant}{place.after}")
        lines += [f"  {line}", f"  {' ' * len(place.before)}{'^' * len(place.meant)} {place.message}"]
    return "\n".join(["The search cannot be read.", *lines]) if lines else ""
