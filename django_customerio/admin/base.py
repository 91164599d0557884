"""What the outbox and the ledger share: lists to look at, on any database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import router
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_customerio.delivery import outbox_aliases

from . import display
from .filters import DATABASE

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class DatabaseChangeList(ChangeList):
    """Keeps the database in the addresses of the rows."""

    def url_for_result(self, result: Any) -> str:
        url = str(super().url_for_result(result))
        alias = result._state.db
        return url if alias == router.db_for_write(self.model) else f"{url}?{DATABASE}={alias}"


class ReadOnlyAdmin(_ModelAdmin):
    """A list and its details, to look at, of whichever database the address names."""

    list_per_page = 50
    show_full_result_count = False
    list_select_related = False
    empty_value_display = "-"
    change_list_template = "admin/django_customerio/change_list.html"
    fieldsets: ClassVar[Any] = ()
    query: Callable[[str], Q]
    """Translates a search term."""
    empty_text: Any = ""
    """What the list says when nothing is in it and nothing was searched for."""

    class Media:
        css = {"all": ("django_customerio/admin.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def database(self, request: HttpRequest) -> str:
        """Name the database whose rows are shown."""
        alias = request.GET.get(DATABASE)
        if alias and alias in outbox_aliases():
            return alias
        return router.db_for_write(self.model)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Never a replica: what is shown is what can be decided upon.
        queryset: QuerySet[Any] = self.model._default_manager.using(self.database(request))
        return queryset

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DatabaseChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return tuple(str(name) for _title, options in self.fieldsets for name in options["fields"])

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Find the message, and remember who looks: payloads and links need permissions."""
        message = super().get_object(request, object_id, from_field)
        if message is not None:
            message.request = request
        return message

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(self.query(search_term)) if search_term else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = {"empty_text": self.empty_text, **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=_("event"))
    def event(self, message: Any) -> str:
        """Name what happened: an event, a page or a screen."""
        return str(message.name) or self.empty_value_display

    @admin.display(description=_("object"))
    def about(self, message: Any) -> str | SafeString:
        """Link the row that the message is about."""
        return display.object_link(message, message.request, self.admin_site)

    @admin.display(description=_("cause"))
    def cause_line(self, message: Any) -> str | SafeString:
        """Show the cause in one line."""
        return display.one_line(message.cause, 60)

    @admin.display(description=_("attributes"))
    def attributes(self, message: Any) -> str:
        """List the names of the attributes, without values."""
        return str(message.attribute_names).replace(",", ", ") or self.empty_value_display
