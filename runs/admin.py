"""Runs in Django's admin, for reading: what may be done to a run is done on its page or through the API."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html_join

from holdfast.access.admin import ReadOnlyAdmin
from holdfast.bigtables import MAX_ROWS, BigTableAdmin, is_uuid
from runs.models import (
    Attempt,
    Deadline,
    DebounceKey,
    IdempotencyKey,
    LogLine,
    Rollup,
    Run,
    Signal,
    Snapshot,
    Task,
    Update,
    Wait,
)


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("id", "queue", "lane", "max_duration", "version", "registered_at")
    list_select_related = ("queue",)
    search_fields = ("id", "module")
    list_per_page = 100


@admin.register(Run)
class RunAdmin(BigTableAdmin):
    list_display = ("id", "task_id", "queue", "status", "attempt", "created_at", "finished_at")
    list_select_related = ("queue",)
    list_filter = ("status",)
    ordering = ("-id",)
    heavy = ("payload", "output", "error", "waiting_for")
    search_help_text = "A run's id (also of its parent), or a task's id."
    found_by = ("pk", "parent_id")
    readonly_fields = ("parts",)

    def get_fields(self, request: Any, obj: Any = None) -> list[Any]:
        return ["parts", *super().get_fields(request, obj)]

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return super().search(queryset, term) if is_uuid(term) else queryset.filter(task_id=term)

    def view_on_site(self, obj: Run) -> str:
        return reverse("runs:run", args=(obj.pk,))

    @admin.display(description="parts")
    def parts(self, run: Run) -> str:
        """Links to what belongs to the run."""
        models = (Attempt, Snapshot, Wait, Signal, Update, Deadline, LogLine)
        links = ((reverse(f"admin:runs_{m._meta.model_name}_changelist"), run.pk, m._meta.verbose_name) for m in models)
        return format_html_join(" · ", '<a href="{}?q={}">{}s</a>', links)


@admin.register(Attempt)
class AttemptAdmin(BigTableAdmin):
    list_display = ("run_id", "number", "status", "worker", "started_at", "finished_at", "overlap_at")
    list_select_related = ("worker",)
    ordering = ("-id",)
    heavy = ("error",)


@admin.register(Snapshot)
class SnapshotAdmin(BigTableAdmin):
    list_display = ("run_id", "sequence", "kind", "name", "attempt", "started_at", "finished_at")
    ordering = ("-id",)
    heavy = ("input", "output", "state", "error")


@admin.register(LogLine)
class LogLineAdmin(BigTableAdmin):
    list_display = ("sequence", "run_id", "at", "level", "short", "attempt", "step")
    ordering = ("-sequence",)
    heavy = ("fields",)

    @admin.display(description="message")
    def short(self, line: LogLine) -> str:
        """The beginning of the message."""
        return line.message[:200]


@admin.register(Wait)
class WaitAdmin(BigTableAdmin):
    list_display = ("id", "run_id", "kind", "name", "created_at", "due_at", "resolved_at", "outcome", "resolved_by")
    ordering = ("-id",)
    heavy = ("detail", "output")
    search_help_text = "A run's id, or a wait's."
    found_by = ("pk", "run_id")


@admin.register(Signal)
class SignalAdmin(BigTableAdmin):
    list_display = ("id", "run_id", "name", "sent_at", "sent_by", "wait_id")
    ordering = ("-id",)
    heavy = ("payload",)

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        if not is_uuid(term):
            return queryset.none()
        # Signals have two indexes: the unread by their run, the taken by the wait that took them.
        waits = list(Wait.objects.filter(run_id=term).order_by().values_list("pk", flat=True)[:MAX_ROWS])
        return queryset.filter(Q(run_id=term, wait_id=None) | Q(wait_id__in=waits))


@admin.register(Update)
class UpdateAdmin(BigTableAdmin):
    list_display = ("id", "run_id", "name", "sent_at", "sent_by", "wait_id", "outcome", "answered_at")
    ordering = ("-id",)
    heavy = ("payload", "reply")
    search_help_text = "A run's id, or an update's."
    found_by = ("pk", "run_id")


@admin.register(Deadline)
class DeadlineAdmin(BigTableAdmin):
    list_display = ("id", "run_id", "kind", "at")
    ordering = ("-id",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(BigTableAdmin):
    list_display = ("task_id", "key", "run_id", "created_at", "expires_at")
    ordering = ("-id",)


@admin.register(DebounceKey)
class DebounceKeyAdmin(BigTableAdmin):
    list_display = ("task_id", "key", "run_id", "began_at", "quiet_at")
    ordering = ("-id",)


@admin.register(Rollup)
class RollupAdmin(BigTableAdmin):
    list_display = ("minute", "kind", "task_id", "name", "status", "bucket", "count", "seconds")
    ordering = ("-id",)
    search_help_text = "A task's id."

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(task_id=term)
