"""Queues in Django's admin: limits are edited through the service and so audited; what flows is for reading."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from holdfast.access.admin import ReadOnlyAdmin
from holdfast.access.grants import require
from holdfast.bigtables import BigTableAdmin
from queues import services
from queues.editable import SETTINGS
from queues.errors import QueueError
from queues.forms import SettingsForm, written
from queues.models import Entry, Lease, Queue, Timer, Worker


class QueueForm(SettingsForm, forms.ModelForm):  # type: ignore[type-arg]  # not generic when it runs
    """A queue's settings, and why they are changed."""

    reason = forms.CharField(
        required=False, max_length=services.MAX_REASON, help_text="Why the limits change; kept in the audit log."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial.update(written(self.instance))

    class Meta:
        model = Queue
        fields = ()


@admin.register(Queue)
class QueueAdmin(ReadOnlyAdmin):
    form = QueueForm
    list_display = ("name", "pool", "concurrency_limit", "rate", "edited", "paused_at", "paused_by", "pause_reason")
    list_filter = ("pool", ("paused_at", admin.EmptyFieldListFilter))
    search_fields = ("name",)
    list_per_page = 100
    actions = ("pause", "resume", "take_edit_back")
    readonly_fields = (
        "name",
        "pool",
        "declared",
        "edited",
        "paused_at",
        "paused_by",
        "pause_reason",
        "created_at",
        "updated_at",
    )
    fields = ("name", "pool", *SETTINGS, "reason", *readonly_fields[2:])

    def has_change_permission(self, request: HttpRequest, obj: Queue | None = None) -> bool:
        return request.user.is_superuser

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        changes = {name: form.cleaned_data[name] for name in SETTINGS if name in form.changed_data}
        if changes:
            actor = require(request.user, "queues.edit")
            services.queue_update(obj.name, actor, reason=form.cleaned_data["reason"], **changes)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What the service refuses is said on the page; the transaction around the view is rolled back."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except QueueError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(request.get_full_path())

    @admin.action(description="Pause: start no more runs", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        actor = require(request.user, "queues.pause")
        for queue in queryset:
            services.queue_pause(queue.name, actor, "paused in Django's admin")

    @admin.action(description="Resume: start runs again", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        actor = require(request.user, "queues.pause")
        for queue in queryset:
            services.queue_resume(queue.name, actor)

    @admin.action(description="Take edits back: the limits that code declares", permissions=["change"])
    def take_edit_back(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        actor = require(request.user, "queues.edit")
        for queue in queryset:
            services.queue_as_declared(queue.name, actor)


@admin.register(Worker)
class WorkerAdmin(BigTableAdmin):
    list_display = (
        "name",
        "pools",
        "hostname",
        "pid",
        "started_at",
        "heartbeat_at",
        "running",
        "stopped_at",
        "lost_at",
    )
    ordering = ("-id",)
    search_help_text = "A worker's name."

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(name=term)


class FlowAdmin(BigTableAdmin):
    """Entries, timers and leases, in the order of their ids: that is, oldest first."""

    found_by = ("entry_id",)
    list_select_related: ClassVar[tuple[str, ...]] = ("queue",)
    ordering = ("entry_id",)


@admin.register(Entry)
class EntryAdmin(FlowAdmin):
    list_display = ("entry_id", "queue", "lane", "priority", "ready_at", "concurrency_key")


@admin.register(Timer)
class TimerAdmin(FlowAdmin):
    list_display = ("entry_id", "queue", "lane", "priority", "due_at", "concurrency_key")


@admin.register(Lease)
class LeaseAdmin(FlowAdmin):
    list_display = ("entry_id", "queue", "worker", "token", "lane", "priority", "ready_at", "leased_at")
    list_select_related = ("queue", "worker")
