"""Forms of the pages of alerts. What fits is for the services to say; these only read what a person wrote."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from holdfast.access.errors import AccessError
from runs.alerts import words
from runs.alerts.choices import DEFAULTS, USES, ChannelKind, Kind
from runs.alerts.model import Alert, Channel
from runs.alerts.settings import THRESHOLDS
from runs.errors import HoldfastError
from runs.forms import MAX_REASON, PLAIN, ErrorsForm

#: Silences that are offered: seconds and words.
SILENCES: Final = (("30m", "30 minutes"), ("1h", "1 hour"), ("4h", "4 hours"), ("1d", "a day"), ("7d", "a week"))
#: What a field means that is left empty.
_EMPTY: Final = {**DEFAULTS, "hold": 0}
_NUMBERS: Final = {"min_runs": int, "percentile": float}


def _text(placeholder: str = "", **attributes: str) -> forms.TextInput:
    return forms.TextInput({**PLAIN, **({"placeholder": placeholder} if placeholder else {}), **attributes})


class AlertForm(ErrorsForm):
    """An alert, made or edited. A field that its kind has no use for is left out, whatever stands in it."""

    name = forms.CharField(max_length=80, widget=_text(), help_text="Such as invoices-fail.")
    kind = forms.ChoiceField(label="Watches", choices=Kind.choices)
    task = forms.CharField(required=False, widget=_text(list="tasks"), help_text="Of this task. Empty: of all.")
    queue = forms.CharField(required=False, widget=_text(list="queues"), help_text="Of this queue, instead of a task.")
    schedule = forms.CharField(required=False, widget=_text(list="schedules"), help_text="Empty: of all.")
    unit = forms.CharField(required=False, widget=_text("cost"), help_text="As runs say what they use.")
    threshold = forms.CharField(
        label="Fires above", widget=_text(), help_text="Percent, a duration such as 30s or 5m, or a number."
    )
    percentile = forms.CharField(required=False, widget=_text("95"), help_text="Such as 50, 95 or 99.")
    window = forms.CharField(label="Over", required=False, widget=_text("1h"), help_text="The last so long.")
    min_runs = forms.CharField(
        label="At least runs", required=False, widget=_text("20"), help_text="With fewer it is unmeasured."
    )
    hold = forms.CharField(
        label="For", required=False, widget=_text("5m"), help_text="Above for so long. Empty: at once."
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON, widget=_text())
    channels = forms.MultipleChoiceField(label="Tell", required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, kind: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known_kind = kind
        names = Channel.objects.order_by("name").values_list("name", flat=True)
        self.fields["channels"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    @classmethod
    def of(cls, found: Alert, data: Any = None) -> AlertForm:
        """The form of an alert that is there."""
        shown: dict[str, Any] = {name: getattr(found, name) for name in ("task", "queue", "schedule", "unit")}
        shown |= {"min_runs": found.min_runs, "percentile": f"{found.percentile:g}"}
        shown |= {"window": words.span(found.window), "hold": words.span(found.hold) if found.hold else ""}
        in_time = found.kind in words.SECONDS
        shown["threshold"] = words.span(found.threshold) if in_time else f"{found.threshold:g}"
        shown["channels"] = [channel.name for channel in found.channels.all()]
        form = cls(data, initial=shown, kind=found.kind)
        for name in ("name", "kind", *(set(DEFAULTS) - set(USES[found.kind]))):
            del form.fields[name]
        return form

    @property
    def uses(self) -> dict[str, str]:
        """Of each field that not every kind has, the kinds that have it."""
        return {name: " ".join(kind for kind in USES if name in USES[kind]) for name in DEFAULTS}

    def clean(self) -> dict[str, Any]:
        """Durations and numbers are read; those that the kind has no use for are not looked at."""
        cleaned = super().clean() or {}
        kind = cleaned.get("kind", self.known_kind)
        for name in self._asked(kind):
            text = str(cleaned.get(name, "")).strip()
            if name in self.errors or not text:
                continue
            try:
                cleaned[name] = self._read(name, text, kind)
            except ValueError:
                self.add_error(name, self._how(name, text, kind))
        return cleaned

    @property
    def values(self) -> dict[str, Any]:
        """The settings, as the services take them; what was left empty is as usual."""
        kind = self.cleaned_data.get("kind", self.known_kind)
        asked = {name: self.cleaned_data[name] for name in self._asked(kind) if name in self.cleaned_data}
        asked = {name: _EMPTY.get(name) if value == "" else value for name, value in asked.items()}
        if "kind" in self.cleaned_data:
            asked["kind"] = kind
        return {**asked, "channels": self.cleaned_data.get("channels", [])}

    def add_refusal(self, error: HoldfastError | AccessError) -> None:
        """What the services say in seconds is said as the fields take it, of what was typed."""
        super().add_refusal(error)
        for name in ("threshold", "window", "hold"):
            typed, said = str(self.data.get(name, "")).strip(), self.errors.get(name)
            if typed and said:
                how = self._bounds(name) or str(said[0]).partition("; write ")[2]
                said.data[:] = [ValidationError(f"is {typed[:60]!r}; write {how}")]

    def _bounds(self, name: str) -> str:
        """What a field of a duration takes."""
        kind = self.cleaned_data.get("kind", self.known_kind)
        if name == "window":
            return "whole minutes from 1m to 1d, such as 5m or 1h"
        if name == "hold":
            return "a duration of at most 1d, such as 30s or 5m, or nothing"
        if kind not in words.SECONDS:
            return ""
        low, high, _ = THRESHOLDS[kind]
        return f"a duration from {words.span(low)} to {words.span(high)}"

    def _asked(self, kind: str) -> tuple[str, ...]:
        return (*USES.get(kind, ()), "threshold", "hold")

    def _read(self, name: str, text: str, kind: str) -> Any:
        if name in ("window", "hold"):
            return int(words.seconds(text))
        if name in _NUMBERS:
            return _NUMBERS[name](text.replace(",", ""))
        if name != "threshold":
            return text
        return words.seconds(text) if kind in words.SECONDS else float(text.removesuffix("%").replace(",", ""))

    def _how(self, name: str, text: str, kind: str) -> str:
        in_time = name in ("window", "hold") or (name == "threshold" and kind in words.SECONDS)
        return f"is {text[:60]!r}; write {'a duration such as 30s, 5m or 1h30m' if in_time else 'a number'}"


class SilenceForm(ErrorsForm):
    """For how long nobody is told, and why."""

    time = forms.ChoiceField(label="For", choices=SILENCES, initial="1h")
    reason = forms.CharField(required=False, max_length=MAX_REASON, widget=_text())

    @property
    def seconds(self) -> float:
        return words.seconds(self.cleaned_data["time"])


class ChannelForm(ErrorsForm):
    """A channel, made or edited. The address of a webhook is not shown again: left empty, it stays."""

    name = forms.CharField(max_length=80, widget=_text(), help_text="Such as ops.")
    kind = forms.ChoiceField(choices=ChannelKind.choices)
    recipients = forms.CharField(
        required=False, widget=_text("ops@example.org"), help_text="Of e-mail, with commas between."
    )
    url = forms.CharField(
        label="Address", required=False, widget=_text("https://hooks.example.org/…"), help_text="Of a webhook."
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON, widget=_text())

    @classmethod
    def of(cls, found: Channel, data: Any = None) -> ChannelForm:
        """The form of a channel that is there."""
        form = cls(data, initial={"recipients": ", ".join(found.recipients)})
        for name in ("name", "kind", "url" if found.kind == ChannelKind.EMAIL else "recipients"):
            del form.fields[name]
        if "url" in form.fields:
            form.fields["url"].help_text = "Where to POST to. Empty: as it is."
        return form

    @property
    def uses(self) -> dict[str, str]:
        """Of each field that not every kind has, the kinds that have it."""
        return {"recipients": ChannelKind.EMAIL.value, "url": f"{ChannelKind.SLACK} {ChannelKind.JSON}"}

    def clean_recipients(self) -> list[str]:
        return [address.strip() for address in self.cleaned_data["recipients"].split(",") if address.strip()]

    @property
    def values(self) -> dict[str, Any]:
        """The settings, as the services take them."""
        kind = self.cleaned_data.get("kind")
        chosen = {name: self.cleaned_data[name] for name in ("recipients", "url") if self.cleaned_data.get(name)}
        return {name: value for name, value in chosen.items() if kind is None or kind in self.uses[name].split()}
