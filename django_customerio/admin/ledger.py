"""The ledger in the admin: who was told what, when and why; no values."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_customerio.models import SentMessage

from . import display
from .base import ReadOnlyAdmin
from .filters import DatabaseFilter, WorkspaceFilter
from .search import ledger_query


@admin.register(SentMessage)
class SentMessageAdmin(ReadOnlyAdmin):
    """What Customer.io accepted."""

    list_display = (
        "kind",
        "person",
        "event",
        "attributes_line",
        "sent_age",
        "cause_line",
    )
    list_display_links = ("kind",)
    list_filter = ("kind", WorkspaceFilter, DatabaseFilter)
    search_fields = ("person__exact",)
    query = staticmethod(ledger_query)
    search_help_text = _("Exactly a person: 42, id:42 or ada@example.com.")
    ordering = ("-id",)
    sortable_by = ()
    empty_text = _("Nothing was sent yet, or the ledger is not kept (KEEP_SENT).")
    fieldsets = (
        (None, {"fields": ("sent_badge", "kind", "person", "about", "event", "attributes")}),
        (_("Delivery"), {"fields": ("sent", "queued", "answer")}),
        (_("Origin"), {"fields": ("cause", "workspace", "ulid")}),
    )

    @admin.display(description=_("state"))
    def sent_badge(self, message: SentMessage) -> SafeString:
        """Say that it was accepted."""
        return display.badge("sent", str(_("accepted")))

    @admin.display(description=_("attributes"))
    def attributes_line(self, message: SentMessage) -> str | SafeString:
        """List the names of the attributes in one line."""
        return display.one_line(self.attributes(message), 60)

    @admin.display(description=_("sent ago"))
    def sent_age(self, message: Any) -> SafeString:
        """Show how long ago it was accepted; the exact time is in the title."""
        return display.age(message.sent_at)

    @admin.display(description=_("sent"))
    def sent(self, message: Any) -> SafeString:
        """Show when it was accepted."""
        return display.moment_with_age(message.sent_at)

    @admin.display(description=_("queued"))
    def queued(self, message: Any) -> SafeString:
        """Show when it was said."""
        return display.moment_with_age(message.queued_at)
