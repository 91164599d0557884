"""The outbox in the admin: what waits, what stopped and why, resend and discard."""

from __future__ import annotations

from typing import Any

import django
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_customerio.campaigns import count_fresh_events
from django_customerio.conf import get_settings
from django_customerio.figures import read_figures
from django_customerio.models import OutboxMessage

from . import display, says
from .base import ReadOnlyAdmin
from .decisions import DISCARD, LIMIT, RESEND, Decision, decide, summary
from .filters import DATABASE, AgeFilter, DatabaseFilter, ModelFilter, WorkspaceFilter
from .search import outbox_query

SHOWN = 20
"""Rows that a confirmation page lists."""


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    """Messages that Customer.io has not accepted yet."""

    list_display = (
        "state_badge",
        "kind",
        "person",
        "event",
        "age",
        "attempts",
        "answer_line",
        "cause_line",
    )
    list_display_links = ("state_badge", "kind")
    list_filter = (
        "state",
        "kind",
        ModelFilter,
        WorkspaceFilter,
        AgeFilter,
        DatabaseFilter,
    )
    search_fields = ("person__exact",)
    query = staticmethod(outbox_query)
    search_help_text = gettext_lazy(
        "Exactly a person (42, id:42, ada@example.com), a ULID, an event name or the primary "
        "key of an object."
    )
    ordering = ("-id",)
    sortable_by = ("age",)
    actions = ("resend", "discard")
    change_form_template = "admin/django_customerio/outboxmessage/change_form.html"
    change_list_template = "admin/django_customerio/outboxmessage/change_list.html"
    empty_text = gettext_lazy("Nothing waits: Customer.io has accepted all there was to say.")
    fieldsets = (
        (None, {"fields": ("state_badge", "standing", "kind", "person", "about", "event")}),
        (gettext_lazy("What it says"), {"fields": ("payload", "attributes", "size_text")}),
        (
            gettext_lazy("Delivery"),
            {"fields": ("answer_text", "attempts", "first_failed", "expires")},
        ),
        (
            gettext_lazy("Origin"),
            {"fields": ("created", "cause", "workspace", "site", "lane", "ulid")},
        ),
    )

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Bodies may be large and a list shows none.
        return super().get_queryset(request).defer("body", "attribute_names")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list below the figures of each workspace."""
        figures = []
        if request.method == "GET" and self.has_view_permission(request):
            figures = read_figures(self.database(request), get_settings().workspaces)
        context = {
            "figures": [says.figures(each) for each in figures],
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, message: OutboxMessage) -> SafeString:
        """Show the state as text, colour and icon."""
        return display.badge(message.state, message.get_state_display())

    @admin.display(description=gettext_lazy("age"), ordering="id")
    def age(self, message: Any) -> SafeString:
        """Show the age; the exact time is in the title."""
        return display.age(message.created_at)

    @admin.display(description=gettext_lazy("last answer"))
    def answer_line(self, message: OutboxMessage) -> str | SafeString:
        """Show what Customer.io answered, in one line."""
        return display.one_line(message.answer)

    # The details

    @admin.display(description=gettext_lazy("what next"))
    def standing(self, message: Any) -> SafeString:
        """Say in sentences what the state means for this message."""
        return display.sentences(says.standing(message, self.database(message.request)))

    @admin.display(description=gettext_lazy("payload"))
    def payload(self, message: Any) -> str | SafeString:
        """Show the JSON that would go now, to those who may see it."""
        if not message.request.user.has_perm("django_customerio.view_payload"):
            return _(
                "Payloads hold personal data. You may see them with the permission "
                "“Can view payloads of outbox messages”."
            )
        return says.payload(message, self.database(message.request))

    @admin.display(description=gettext_lazy("size"))
    def size_text(self, message: OutboxMessage) -> str:
        """Show the size of what is stored."""
        if message.kind == OutboxMessage.Kind.STATE:
            return _("none: a state is read from the database when it is sent")
        return ngettext("%d byte", "%d bytes", message.size) % message.size

    @admin.display(description=gettext_lazy("last answer"))
    def answer_text(self, message: OutboxMessage) -> SafeString | str:
        """Show Customer.io's own words."""
        if not message.answer:
            return self.empty_value_display
        return display.sentences(message.answer.splitlines())

    @admin.display(description=gettext_lazy("first failed"))
    def first_failed(self, message: Any) -> SafeString | str:
        """Show when it first failed."""
        if message.first_failed_at is None:
            return self.empty_value_display
        return display.moment_with_age(message.first_failed_at)

    @admin.display(description=gettext_lazy("expires"))
    def expires(self, message: Any) -> SafeString | str:
        """Show when it is no longer worth saying."""
        if message.expires_at is None:
            return _("never")
        return display.moment_with_age(message.expires_at)

    @admin.display(description=gettext_lazy("created"))
    def created(self, message: Any) -> SafeString:
        """Show when it was said."""
        return display.moment_with_age(message.created_at)

    # Resend and discard

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Say whether this person may resend."""
        return request.user.has_perm(RESEND.permission)

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Say whether this person may discard."""
        return request.user.has_perm(DISCARD.permission)

    @admin.action(description=gettext_lazy("Resend selected messages"), permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Send dead and held messages again."""
        return self._bulk(request, queryset, RESEND)

    @admin.action(description=gettext_lazy("Discard selected messages"), permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Delete messages: dead, held, or not sent yet."""
        return self._bulk(request, queryset, DISCARD)

    def _bulk(
        self, request: HttpRequest, queryset: QuerySet[Any], decision: Decision
    ) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if chosen and request.POST.get("select_across") != "1":
            # Not the filtered list: a row whose state changed meanwhile has left it, and the
            # answer shall say so.
            ids = [int(pk) for pk in chosen]
        else:
            ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: LIMIT + 1])
        if len(ids) > LIMIT:
            ids = ids[:LIMIT]
            self.message_user(
                request,
                _(
                    "Only the first %(limit)d are taken at a time. For more, use "
                    "manage.py customerio_resend."
                )
                % {"limit": LIMIT},
                messages.WARNING,
            )
        return self._decide(request, ids, decision, action=decision.name)

    def get_urls(self) -> list[Any]:
        """Add the addresses of the buttons on the detail page."""
        opts = self.opts
        prefix = f"{opts.app_label}_{opts.model_name}"
        return [
            path(
                f"<path:object_id>/{decision.name}/",
                self.admin_site.admin_view(self._view(decision)),
                name=f"{prefix}_{decision.name}",
            )
            for decision in (RESEND, DISCARD)
        ] + super().get_urls()

    def _view(self, decision: Decision) -> Any:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            """Ask (GET) or do (POST)."""
            if not (
                self.has_view_permission(request) and request.user.has_perm(decision.permission)
            ):
                raise PermissionDenied
            if request.method not in ("GET", "HEAD", "POST"):
                return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
            message = self.get_object(request, unquote(object_id))
            if message is None:
                self.message_user(
                    request, _("The message was sent or discarded meanwhile."), messages.WARNING
                )
                return HttpResponseRedirect(self._list_url(request))
            return self._decide(request, [message.pk], decision) or HttpResponseRedirect(
                self._list_url(request)
            )

        return view

    def _decide(
        self, request: HttpRequest, ids: list[int], decision: Decision, action: str = ""
    ) -> HttpResponse | None:
        """Ask where something is lost or may surprise; otherwise do it and say what came of it."""
        rows = self.get_queryset(request).filter(pk__in=ids)
        confirmed = request.method == "POST" and "confirmed" in request.POST
        if not confirmed:
            fresh = count_fresh_events(rows) if decision is RESEND else 0
            if request.method != "POST" or decision.destructive or fresh:
                return self._confirmation(request, ids, decision, action, fresh)
        outcome = decide(decision, rows, chosen=len(ids), user_id=request.user.pk)
        level = messages.SUCCESS if outcome.done else messages.WARNING
        self.message_user(request, outcome.text(), level)
        return None

    def _confirmation(
        self,
        request: HttpRequest,
        ids: list[int],
        decision: Decision,
        action: str,
        fresh: int,
    ) -> HttpResponse:
        rows = self.get_queryset(request).filter(pk__in=ids)
        rows = rows.filter(state__in=decision.states)
        count = rows.count()
        context = {
            **self.admin_site.each_context(request),
            "title": decision.question,
            "opts": self.opts,
            "media": self.media,
            "decision": decision,
            "summary": summary(decision),
            "action": action,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "ids": ids,
            "rows": [(row, self.state_badge(row), self.age(row)) for row in rows[:SHOWN]],
            "chosen": len(ids),
            "count": count,
            "more": max(0, count - SHOWN),
            "fresh": fresh,
            "list_url": self._list_url(request),
            "breadcrumb_list": django.VERSION >= (6, 1),
        }
        return TemplateResponse(
            request, "admin/django_customerio/outboxmessage/confirmation.html", context
        )

    def _list_url(self, request: HttpRequest) -> str:
        opts = self.opts
        url = reverse(
            f"admin:{opts.app_label}_{opts.model_name}_changelist",
            current_app=self.admin_site.name,
        )
        if DATABASE in request.GET:
            url = f"{url}?{DATABASE}={self.database(request)}"
        return add_preserved_filters(
            {"preserved_filters": self.get_preserved_filters(request), "opts": opts}, url
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Add the buttons that the state and this person's permissions allow."""
        # There is always a message: nobody may add one.
        message = kwargs["obj"]
        context["buttons"] = [
            (decision, self._button_url(request, message, decision))
            for decision in (RESEND, DISCARD)
            if message.state in decision.states and request.user.has_perm(decision.permission)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _button_url(self, request: HttpRequest, message: Any, decision: Decision) -> str:
        opts = self.opts
        url = reverse(
            f"admin:{opts.app_label}_{opts.model_name}_{decision.name}",
            args=[message.pk],
            current_app=self.admin_site.name,
        )
        return f"{url}?{request.GET.urlencode()}" if request.GET else url
