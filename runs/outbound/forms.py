"""The form of endpoints. What fits is for the services to say; it only reads what a person wrote."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.forms import MAX_REASON, PLAIN, ErrorsForm
from runs.outbound import services
from runs.outbound.model import Endpoint

ALL = ["*"]


class EndpointForm(ErrorsForm):
    """An endpoint, made or edited."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(PLAIN), help_text="Such as crm.")
    url = forms.CharField(
        label="Address",
        widget=forms.TextInput({**PLAIN, "placeholder": "https://example.org/hooks"}),
        help_text="Where to POST to.",
    )
    tasks = forms.CharField(
        required=False,
        widget=forms.TextInput({**PLAIN, "list": "tasks"}),
        help_text="Of which tasks, with commas between. Empty: all.",
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON)
    events = forms.MultipleChoiceField(
        label="Told when a run has ended so",
        required=False,
        choices=[(event, event.removeprefix("run.").replace("_", " ")) for event in services.EVENTS],
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: whenever one has ended.",
    )

    @classmethod
    def of(cls, found: Endpoint, data: Any = None) -> EndpointForm:
        """The form of an endpoint that is there."""
        events = [] if "*" in found.events else found.events
        form = cls(data, initial={"url": found.url, "tasks": ", ".join(found.tasks), "events": events})
        del form.fields["name"]
        return form

    def clean_tasks(self) -> list[str]:
        return [task.strip() for task in self.cleaned_data["tasks"].split(",") if task.strip()]

    def clean_events(self) -> list[str]:
        return self.cleaned_data["events"] or ALL

    @property
    def values(self) -> dict[str, Any]:
        """The settings, as the services take them."""
        return {name: value for name, value in self.cleaned_data.items() if name in services.EDITABLE}
