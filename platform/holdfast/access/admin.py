"""Access in Django's admin: tokens are made through the service, the audit log is for reading."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import JSONField, QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from holdfast.access import services
from holdfast.access.errors import AccessError
from holdfast.access.grants import actor_of
from holdfast.access.models import ApiToken, AuditEntry, Membership, SignInLink
from holdfast.redaction import redacted


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """Writes through services: what a service refuses is said on the page, and Django's transaction is rolled back."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return _say_refusals(request, super().changeform_view, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return _say_refusals(request, super().delete_view, object_id, extra_context)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return _say_refusals(request, super().changelist_view, extra_context)


def _say_refusals(request: HttpRequest, view: Callable[..., HttpResponse], *args: Any) -> HttpResponse:
    try:
        with transaction.atomic():
            return view(request, *args)
    except AccessError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(request.path)


class ReadOnlyAdmin(ServiceAdmin):
    """Looks, never touches. Values that are shown to nobody are masked."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found: Any = super().get_object(request, object_id, from_field)
        for field in found._meta.concrete_fields if found is not None else ():
            if isinstance(field, JSONField) and field.attname not in found.get_deferred_fields():
                setattr(found, field.attname, redacted(getattr(found, field.attname)))
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def password_change(request: HttpRequest) -> HttpResponse:
    """Somebody's own password, by Django's form, and with a trace of it."""
    with transaction.atomic():
        response = admin.site.password_change(request)
        if request.method == "POST" and response.status_code == HTTPStatus.FOUND:
            services.audit(request.user, "access.password_set", "user", request.user.pk)
    return response


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "role", "prefix", "created_by", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_filter = ("role",)
    search_fields = ("name", "prefix")
    fields = ("name", "role", "expires_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return self.list_display if obj else self.fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Form, change: bool) -> None:
        token, plaintext = services.token_create(
            name=obj.name, role=obj.role, expires_at=obj.expires_at, actor=request.user
        )
        obj.__dict__.update(token.__dict__)
        messages.success(request, f"Copy this token now; it is not shown again: {plaintext}")

    @admin.action(description="Revoke at once", permissions=["add"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        revoked = sum(services.token_revoke(token=token, actor=request.user) for token in queryset)
        messages.success(request, f"Revoked: {revoked}.")


@admin.register(SignInLink)
class SignInLinkAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "created_at", "expires_at", "used_at")
    fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: SignInLink | None = None) -> bool:
        return request.user.is_superuser

    def delete_model(self, request: HttpRequest, obj: SignInLink) -> None:
        services.signin_link_delete(link=obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[SignInLink]) -> None:
        for link in queryset:
            services.signin_link_delete(link=link, actor=request.user)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_label", "action", "object_type", "object_id", "reason")
    search_fields = ("object_id", "actor_label", "action")  # no filters: each would read the whole log for its choices
    show_full_result_count = False


class MembershipInline(admin.StackedInline):  # type: ignore[type-arg]
    """The role on the user's page; written by the user admin below."""

    model = Membership
    fields = ("role",)
    can_delete = False
    max_num = 1


admin.site.unregister((User, Group))


@admin.register(User)
class HoldfastUserAdmin(ServiceAdmin, UserAdmin):  # type: ignore[type-arg]
    """Users with a role instead of Django's flags and groups; every change is in the audit log."""

    list_display = ("username", "email", "role", "is_active", "last_login")
    list_filter = ("is_active",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active",)}),
    )
    inlines = (MembershipInline,)

    @admin.display(description="role")
    def role(self, user: User) -> str:
        return str(actor_of(user).role or "none yet")

    def save_model(self, request: HttpRequest, obj: User, form: Form, change: bool) -> None:
        fields = [f for f in form.changed_data if "password" not in f]  # a hash has no place in the log
        if change and "is_active" in fields and not obj.is_active:
            services.require_other_admin(obj)
        super().save_model(request, obj, form, change)
        before = {f: form.initial.get(f) for f in fields} if change else None
        after = {f: form.cleaned_data[f] for f in fields}
        action = "access.user_edit" if change else "access.user_create"
        services.audit(request.user, action, "user", obj.pk, "", before, after)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if request.method == "POST" and response.status_code == HTTPStatus.FOUND:
                services.audit(request.user, "access.password_set", "user", id)
        return response

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        services.user_delete(user=obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            services.user_delete(user=user, actor=request.user)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for membership in formset.save(commit=False):
            services.role_set(user=form.instance, role=membership.role, actor=request.user)
        formset.save_m2m()
