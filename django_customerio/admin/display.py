"""How values look in the admin: badges, ages, JSON; no inline style, so any CSP holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from django_customerio.mapping import registry
from django_customerio.models import OutboxMessage, SentMessage

_ICONS = {
    "pending": '<circle cx="8" cy="8" r="6.5"/><path d="M8 4.5V8l2.5 1.5"/>',
    "held": '<path d="M5.5 3.5v9M10.5 3.5v9"/>',
    "dead": '<path d="M4 4l8 8M12 4l-8 8"/>',
    "sent": '<path d="M3 8.5l3.5 3.5L13 4.5"/>',
}


def badge(state: str, label: str) -> SafeString:
    """Show a state as text with a colour and an icon, never a colour alone."""
    return format_html(
        '<span class="cio-badge cio-badge-{}"><svg class="cio-icon" viewBox="0 0 16 16" '
        'width="12" height="12" aria-hidden="true" focusable="false">{}</svg>{}</span>',
        state,
        mark_safe(_ICONS[state]),  # noqa: S308
        label,
    )


def duration(seconds: float) -> str:
    """Say a duration in its largest unit: "3 hours"."""
    if seconds < 60:
        return _("%d s") % round(seconds)
    now = datetime(2001, 1, 1, tzinfo=UTC)
    # A month and a year are not needed here: days say more.
    if seconds >= 14 * 86400:
        return _("%d days") % (seconds // 86400)
    return timesince(now - timedelta(seconds=seconds), now, depth=1)


def exact(moment: datetime) -> str:
    """Say a moment exactly, in the current time zone."""
    if timezone.is_aware(moment):
        moment = timezone.localtime(moment)
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _seconds_since(moment: datetime) -> float:
    return (timezone.now() - moment).total_seconds()


def age(moment: datetime) -> SafeString:
    """Show how long ago a moment was; its exact time is in the title."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        exact(moment),
        duration(max(0.0, _seconds_since(moment))),
    )


def moment_with_age(moment: datetime) -> SafeString:
    """Show a moment in full, and how long ago it was or how long it will take."""
    seconds = _seconds_since(moment)
    text = _("%s ago") if seconds >= 0 else _("in %s")
    return format_html(
        '<time datetime="{}" title="{}">{}</time> <span class="cio-quiet">({})</span>',
        moment.isoformat(),
        exact(moment),
        formats.localize(timezone.localtime(moment) if timezone.is_aware(moment) else moment),
        text % duration(abs(seconds)),
    )


def one_line(text: str, length: int = 80) -> str | SafeString:
    """Show the beginning of a text in one line; all of it is in the title."""
    line = " ".join(text.split())
    short = Truncator(line).chars(length)
    if short == line:
        return line
    return format_html('<span title="{}">{}</span>', line, short)


def pretty_json(value: Any) -> SafeString:
    """Show a JSON value, or JSON text, over several lines.

    Text that is no JSON is shown as it is.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return format_html('<pre class="cio-payload" tabindex="0">{}</pre>', value)
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return format_html('<pre class="cio-payload" tabindex="0">{}</pre>', text)


def sentences(lines: list[str]) -> SafeString:
    """Show sentences, one below the other."""
    items = [format_html("<li>{}</li>", line) for line in lines]
    return format_html('<ul class="cio-sentences">{}</ul>', mark_safe("".join(items)))  # noqa: S308


def object_link(
    message: OutboxMessage | SentMessage, request: HttpRequest, site: AdminSite
) -> str | SafeString:
    """Name the row a message is about, with a link if this person may see it."""
    label, pk = str(message.model), str(message.object_pk)
    if not label:
        return "-"
    text = f"{label} {pk}"
    person_map = registry.by_label(label)
    if person_map is None:
        return text
    model = person_map.model
    opts = model._meta
    admin = site._registry.get(model)
    if admin is None or not admin.has_view_or_change_permission(request):
        return text
    try:
        url = reverse(
            f"admin:{opts.app_label}_{opts.model_name}_change",
            args=[quote(pk)],
            current_app=site.name,
        )
    except NoReverseMatch:
        return text
    return format_html('<a href="{}">{}</a>', url, text)
