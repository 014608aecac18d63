"""The form of Explore. What it may hold is said by `asked.Asked`, which the API asks as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms

from runs.errors import InvalidFilter
from runs.explore.asked import NAMES, Asked
from runs.forms import PLAIN, ErrorsForm

_LABELS: Final = {
    "from": ("From (UTC)", "datetime-local", ""),
    "to": ("To (UTC)", "datetime-local", ""),
    "task": ("Task", "text", "tasks"),
    "queue": ("Queue", "text", "queues"),
    "version": ("Version", "text", ""),
    "worker": ("Worker", "text", ""),
}
_BOX_LABELS: Final = {
    "since": ("Ended since (UTC)", "datetime-local", ""),
    "until": ("Ended before (UTC)", "datetime-local", ""),
    "over": ("Took at least", "text", ""),
    "under": ("Took less than", "text", ""),
}


class _TextForm(ErrorsForm):
    """Fields of text by their labels, kinds and lists of values; the rest of the address is hidden in it."""

    labels: Mapping[str, tuple[str, str, str]] = {}

    def __init__(self, asked: Asked, raw: Mapping[str, str], refusal: InvalidFilter | None) -> None:
        super().__init__(dict(raw) if refusal else dict(asked.params()), auto_id=f"{type(self).__name__.lower()}-%s")
        for name, (label, kind, choices) in self.labels.items():
            hints = {**PLAIN, "type": kind, **({"list": choices} if choices else {})}
            self.fields[name] = forms.CharField(label=label, required=False, widget=forms.TextInput(hints))
        self.hidden = [(name, self.data[name]) for name in self.kept if self.data.get(name)]
        self.is_valid()
        if refusal:
            self.add_refusal(refusal)

    @property
    def kept(self) -> list[str]:
        return [name for name in NAMES if name not in self.labels]


class LookForm(_TextForm):
    """The time, and what runs must be. Another time has no box yet."""

    labels = _LABELS

    @property
    def kept(self) -> list[str]:
        return ["span", "by"]


class BoxForm(_TextForm):
    """A box of the map, for those who do not drag one."""

    labels = _BOX_LABELS

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.fields["over"].widget.attrs["placeholder"] = "30s"
        self.fields["under"].widget.attrs["placeholder"] = "1h30m"
