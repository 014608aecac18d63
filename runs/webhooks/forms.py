"""Forms of inbound webhooks. What fits is for the services to say; these only read what a person wrote."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.forms import MAX_REASON, PLAIN, ErrorsForm
from runs.webhooks import schemes, services
from runs.webhooks.model import Webhook

_NUMBER = {**PLAIN, "inputmode": "numeric"}
_CODE = {**PLAIN, "rows": 3, "class": "mono"}
#: How the schemes are called in the form.
SCHEMES = ((schemes.STANDARD, "Standard Webhooks"), (schemes.GITHUB, "GitHub"), (schemes.STRIPE, "Stripe"))


def secret_field() -> forms.CharField:
    """The sender's own secret. A refused form does not show it again."""
    look = forms.PasswordInput({"autocomplete": "new-password"})
    told = "Only if the sender made it, as Stripe does. Otherwise one is made and shown once."
    return forms.CharField(required=False, max_length=200, widget=look, help_text=told)


def whole(text: str) -> int:
    """The whole number that a person wrote, with separators or without."""
    plain = text.strip().replace(",", "")
    if not (plain.isascii() and plain.isdecimal() and len(plain) <= 15):
        raise forms.ValidationError(f"is {text[:60]!r}; write a whole number")
    return int(plain)


class WebhookForm(ErrorsForm):
    """A webhook, made or edited."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(PLAIN), help_text="Its address is /hooks/NAME.")
    task_id = forms.CharField(label="Task", max_length=200, widget=forms.TextInput({**PLAIN, "list": "tasks"}))
    scheme = forms.ChoiceField(label="Signed as by", choices=SCHEMES)
    secret = secret_field()
    filter = forms.CharField(
        required=False, widget=forms.Textarea(_CODE), help_text="JMESPath: which requests start a run. Empty: all."
    )
    mapping = forms.CharField(
        required=False, widget=forms.Textarea(_CODE), help_text="JMESPath: the task's payload. Empty: the body is it."
    )
    window = forms.CharField(
        label="Time window",
        initial="300",
        max_length=20,
        widget=forms.TextInput(_NUMBER),
        help_text="Seconds that a signed time may be from now.",
    )
    body_limit = forms.CharField(
        label="Body limit", initial="262144", max_length=20, widget=forms.TextInput(_NUMBER), help_text="Bytes."
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    @classmethod
    def of(cls, found: Webhook, data: Any = None) -> WebhookForm:
        """The form of a webhook that is there."""
        form = cls(data, initial={name: getattr(found, name) for name in services.EDITABLE})
        for name in ("name", "scheme", "secret"):
            del form.fields[name]
        return form

    def clean_window(self) -> int:
        return whole(self.cleaned_data["window"])

    def clean_body_limit(self) -> int:
        return whole(self.cleaned_data["body_limit"])

    @property
    def values(self) -> dict[str, Any]:
        """The settings, as the services take them."""
        return {name: value for name, value in self.cleaned_data.items() if name in services.EDITABLE}


class RotateForm(ErrorsForm):
    """A new secret, and how long the old one stays valid."""

    secret = secret_field()
    overlap = forms.CharField(
        label="The old one stays valid for",
        initial=str(services.OVERLAP),
        max_length=20,
        widget=forms.TextInput(_NUMBER),
        help_text="Seconds; 0 ends it at once.",
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    def clean_overlap(self) -> int:
        return whole(self.cleaned_data["overlap"])
