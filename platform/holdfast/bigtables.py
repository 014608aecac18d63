"""Django's admin over tables of millions of rows: looks, never counts them all, never sorts what has no index."""

import uuid
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from holdfast.access.admin import ReadOnlyAdmin

#: Rows that a list counts and pages through; search finds the others.
MAX_ROWS: Final = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not generic when it runs
    """Counts up to MAX_ROWS."""

    @cached_property
    def count(self) -> int:
        found: Any = self.object_list
        return int(found[:MAX_ROWS].count())


class BigTableAdmin(ReadOnlyAdmin):
    """A list in the order of an index, newest first, that is searched by one id.

    `heavy` names columns that a list does not read. `found_by` names the columns that an id is looked up in.
    """

    heavy: ClassVar[tuple[str, ...]] = ()
    found_by: ClassVar[tuple[str, ...]] = ("run_id",)
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    sortable_by = ()
    search_fields = ("pk",)  # shows the field; get_search_results says what it does
    search_help_text = "A run's id."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        is_list = request.resolver_match is not None and (request.resolver_match.url_name or "").endswith("_changelist")
        return found.defer(*self.heavy) if is_list and self.heavy else found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (self.search(queryset, term) if term else queryset), False

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """The rows that a search shows; what is no UUID finds none."""
        if not is_uuid(term):
            return queryset.none()
        return queryset.filter(reduce(or_, (Q(**{name: uuid.UUID(term)}) for name in self.found_by)))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Every column, those that no form shows as well."""
        return [field.name for field in self.opts.concrete_fields]


def is_uuid(text: str) -> bool:
    """True when `text` is a UUID in any spelling."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
