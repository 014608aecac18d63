"""Forms of the page Queues."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import capfirst

from queues.editable import SETTINGS, Setting
from queues.models import Queue
from queues.services import MAX_PAUSE, MAX_REASON

_MINUTES = f"Write minutes from 0.017 (one second) to {MAX_PAUSE // 60:,}, or nothing until somebody resumes it."


class SettingField(forms.CharField):
    """A setting of a queue, as a person writes it: text, so that the browser lets the server say what is wrong."""

    def __init__(self, setting: Setting) -> None:
        look = {"autocomplete": "off", "spellcheck": "false", "title": f"{capfirst(setting.hint)}."}
        widget: forms.Widget = forms.TextInput({**look, "size": 14})
        if setting.lines:
            widget = forms.Textarea({**look, "rows": 2, "cols": 18})
        super().__init__(required=False, label=setting.label, help_text=setting.help, widget=widget)
        self.setting = setting

    def clean(self, value: Any) -> Any:
        try:
            return self.setting.parse(super().clean(value))
        except ValueError as error:
            hint = self.setting.hint
            said = str(error).removesuffix(f"; {hint}")
            raise forms.ValidationError(f"{capfirst(hint)}: this {said}.") from None


class SettingsForm(forms.Form):
    """A field for each setting."""

    concurrency_limit = SettingField(SETTINGS["concurrency_limit"])
    key_concurrency_limit = SettingField(SETTINGS["key_concurrency_limit"])
    rate = SettingField(SETTINGS["rate"])
    key_rate = SettingField(SETTINGS["key_rate"])
    key_weights = SettingField(SETTINGS["key_weights"])


def written(queue: Queue) -> dict[str, str]:
    """A queue's settings as their fields show them."""
    return {name: setting.words(getattr(queue, name)) for name, setting in SETTINGS.items()}


class LimitForm(SettingsForm):
    """A queue's settings, edited in its row."""

    @classmethod
    def of(cls, queue: Queue) -> LimitForm:
        """What the queue has now."""
        return cls(initial=written(queue), auto_id=f"id_{queue.name}_%s")

    @property
    def asked(self) -> dict[str, Any]:
        """What was sent, and only that."""
        return {name: self.cleaned_data[name] for name in self.fields if name in self.data}


class ReasonForm(forms.Form):
    """Why something is done."""

    reason = forms.CharField(max_length=MAX_REASON, required=False, label="Reason")

    def add_refusal(self, errors: Any) -> None:
        """Puts a service's {field, message} pairs at their fields."""
        for error in errors:
            self.add_error(error["field"] if error["field"] in self.fields else None, error["message"])


class PauseForm(ReasonForm):
    """Why a queue is paused, and for how long."""

    minutes = forms.FloatField(
        required=False,
        min_value=1 / 60,
        max_value=MAX_PAUSE / 60,
        label="Minutes",
        help_text="Then it ends by itself.",
        widget=forms.TextInput({"inputmode": "decimal", "autocomplete": "off", "size": 6}),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), _MINUTES),
    )
    drain = forms.BooleanField(required=False, label="Work off what is there; only what comes later waits")

    @property
    def asked(self) -> dict[str, Any]:
        """As the service takes it."""
        minutes = self.cleaned_data["minutes"]
        return {
            "reason": self.cleaned_data["reason"],
            "seconds": None if minutes is None else max(1.0, round(60 * minutes, 3)),
            "drain": self.cleaned_data["drain"],
        }
