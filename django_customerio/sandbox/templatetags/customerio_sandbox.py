"""Times on the sandbox's pages."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


def iso(milliseconds: int | None) -> str | None:
    """An instant in ISO 8601, in UTC; None stays None, and so does what no year can hold."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


@register.filter
def moment(milliseconds: int | None) -> SafeString | str:
    """An instant as a ``<time>``: UTC, until the script shows it in the reader's own zone."""
    text = iso(milliseconds)
    if text is None:
        return ""
    shown = f"{text[:10]} {text[11:19]} UTC"
    return format_html('<time datetime="{}">{}</time>', text, shown)


@register.filter
def count(number: int) -> str:
    """A number with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
