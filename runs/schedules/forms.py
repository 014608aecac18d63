"""Forms of the page Schedules. What fits is for the services to say; these only read what a person wrote."""

from __future__ import annotations

from typing import Any

from django import forms

from holdfast.words import pretty_json
from runs import jsonvalue
from runs.errors import HoldfastError
from runs.forms import PLAIN, ErrorsForm
from runs.schedules.choices import CatchUp, Overlap
from runs.schedules.model import Schedule
from runs.schedules.services import MAX_REASON


class ScheduleForm(ErrorsForm):
    """A schedule, made or edited."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(PLAIN), help_text="Such as daily-report.")
    task_id = forms.CharField(label="Task", max_length=200, widget=forms.TextInput({**PLAIN, "list": "tasks"}))
    cron = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput({**PLAIN, "placeholder": "0 6 * * 1-5"}),
        help_text="Minute, hour, day, month, weekday.",
    )
    every = forms.CharField(
        label="Or every",
        required=False,
        max_length=20,
        widget=forms.TextInput({**PLAIN, "inputmode": "decimal"}),
        help_text="Seconds, instead of cron.",
    )
    timezone = forms.CharField(
        label="Time zone",
        initial="UTC",
        max_length=64,
        widget=forms.TextInput(PLAIN),
        help_text="Such as Europe/Berlin.",
    )
    payload = forms.CharField(
        required=False,
        initial="{}",
        widget=forms.Textarea({"rows": 4, "spellcheck": "false", "class": "mono"}),
        help_text="The task's parameters, as JSON.",
    )
    catch_up = forms.ChoiceField(
        label="Of missed ticks",
        choices=[(c.value, f"catch up with {c.label}") for c in CatchUp],
        initial=CatchUp.LATEST,
    )
    overlap = forms.ChoiceField(
        label="While the run before goes on",
        choices=[(o.value, f"a tick {o.label}") for o in Overlap],
        initial=Overlap.ALLOW,
    )
    jitter = forms.CharField(
        required=False, initial="0", max_length=20, widget=forms.TextInput({**PLAIN, "inputmode": "decimal"}),
        help_text="Seconds by which a run begins later at most.",
    )  # fmt: skip
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    @classmethod
    def of(cls, found: Schedule, data: Any = None) -> ScheduleForm:
        """The form of a schedule that is there."""
        shown = {name: getattr(found, name) for name in cls.base_fields if hasattr(found, name)}
        for name in ("every", "jitter"):
            shown[name] = "" if shown[name] is None else f"{shown[name]:g}"
        shown |= {"payload": pretty_json(found.payload)}
        form = cls(data, initial=shown)
        del form.fields["name"]
        return form

    def clean_every(self) -> float | None:
        return self._seconds("every")

    def clean_jitter(self) -> float:
        return self._seconds("jitter") or 0.0

    def clean_cron(self) -> str | None:
        return self.cleaned_data["cron"].strip() or None

    def clean_payload(self) -> Any:
        text = self.cleaned_data["payload"].strip() or "{}"
        try:
            return jsonvalue.parse(text.encode("utf-8", "replace"))
        except HoldfastError as error:
            raise forms.ValidationError(str(error)) from None

    def _seconds(self, name: str) -> float | None:
        text = self.cleaned_data[name].strip().replace(",", "")
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise forms.ValidationError(f"is {text[:60]!r}; write a number of seconds") from None

    @property
    def values(self) -> dict[str, Any]:
        """As the services take them."""
        return {name: value for name, value in self.cleaned_data.items() if name not in ("name", "reason")}


class BackfillForm(ErrorsForm):
    """From which tick to which."""

    #: Named as the service names them.
    field_order = ("from", "to", "reason")

    to = forms.CharField(label="To", widget=forms.TextInput({**PLAIN, "placeholder": "2026-01-31T23:59Z"}))
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        look = forms.TextInput({**PLAIN, "placeholder": "2026-01-01T00:00Z"})
        self.fields["from"] = forms.CharField(label="From", widget=look)
        self.order_fields(self.field_order)
