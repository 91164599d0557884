"""What the admin says in words: where a message stands, and what it would say now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_customerio import figures as outbox_figures
from django_customerio.clock import now_ms
from django_customerio.conf import get_workspace
from django_customerio.lanes import PAUSE_LIMIT
from django_customerio.mapping import registry
from django_customerio.models import Lane, OutboxMessage, WorkspaceStatus
from django_customerio.preview import preview

from . import display

Number = tuple[str, Any, str]


@dataclass(slots=True)
class WorkspaceFigures:
    """The figures of a workspace, ready to be shown: label, value and tone of each."""

    name: str
    numbers: list[Number] = field(default_factory=list)
    pause: str = ""


def figures(each: outbox_figures.Figures) -> WorkspaceFigures:
    """Word the figures of a workspace."""
    made = WorkspaceFigures(each.workspace)
    old = each.oldest_pending_age
    made.numbers = [
        (_("pending"), each.pending, ""),
        (_("held"), each.held, "odd" if each.held else ""),
        (_("dead"), each.dead, "bad" if each.dead else ""),
        (_("oldest pending"), "-" if old is None else display.duration(old), ""),
        (_("last success"), _ago(each.last_success), ""),
        (_("worker last seen"), _ago(each.heartbeat), ""),
    ]
    if each.paused_lanes:
        made.numbers.append((_("paused lanes"), each.paused_lanes, "odd"))
    if each.paused_for is not None:
        made.pause = _("Sending is paused for another %(time)s: %(reason)s") % {
            "time": display.duration(each.paused_for),
            "reason": each.pause_reason or _("no reason is known"),
        }
    return made


def _ago(seconds: float | None) -> str:
    return _("never") if seconds is None else _("%s ago") % display.duration(seconds)


def standing(message: OutboxMessage, using: str) -> list[str]:
    """Say in sentences what the state means and what happens next."""
    if message.state == OutboxMessage.State.DEAD:
        return [
            _(
                "It was refused or failed too often, and is not sent again by itself. Resend it "
                "once the cause is gone, or discard it."
            )
        ]
    if message.state == OutboxMessage.State.HELD:
        return [_held(message)]
    return [_("It waits to be sent."), *_delays(message, using)]


def _held(message: OutboxMessage) -> str:
    try:
        here = get_workspace(message.workspace).site
    except ImproperlyConfigured:
        return _(
            "It belongs to the workspace “%s”, which the settings no longer name. Discard it, or "
            "name the workspace again."
        ) % (message.workspace,)
    if message.site == here:
        return _("It was meant for another Customer.io site when it was held; now it fits.")
    return _(
        "It was meant for another Customer.io site than this one, as in a copied database. "
        "Resending sends it to the site that is configured here."
    )


def _delays(message: OutboxMessage, using: str) -> list[str]:
    now = now_ms(using)
    lane = Lane.objects.using(using).filter(workspace=message.workspace, number=message.lane)
    status = WorkspaceStatus.objects.using(using).filter(workspace=message.workspace)
    said = []
    for until, reason in status.values_list("paused_until", "pause_reason"):
        if _ahead(until, now):
            said.append(
                _("Its workspace is paused for another %(time)s: %(reason)s")
                % {"time": display.duration(_ahead(until, now)), "reason": reason}
            )
    for until, failures in lane.values_list("paused_until", "failures"):
        if _ahead(until, now):
            said.append(
                _("Its lane is paused for another %(time)s after %(failures)d failures.")
                % {"time": display.duration(_ahead(until, now)), "failures": failures}
            )
    if _ahead(message.retry_at, now):
        said.append(
            _("It failed alone and is tried again in %s.")
            % display.duration(_ahead(message.retry_at, now))
        )
    return said


def _ahead(until: int, now: int) -> float:
    seconds = (until - now) / 1000
    return seconds if 0 < seconds <= PAUSE_LIMIT else 0.0


def payload(message: OutboxMessage, using: str) -> SafeString:
    """Show what is stored, or what a state would say now."""
    if message.kind != OutboxMessage.Kind.STATE:
        return display.pretty_json(message.body)
    person_map = registry.by_label(message.model)
    if person_map is None:
        return display.sentences(
            [_("The model %s is not mapped any more: nothing can be said.") % message.model]
        )
    try:
        made = preview(person_map, message.object_pk, using=using, key=message.person)
    except Exception as error:
        return display.sentences(
            [_("Reading the row failed with %s in the site's own code.") % type(error).__name__]
        )
    lines = display.sentences([made.text])
    if made.message is not None:
        lines = format_html("{}{}", lines, display.pretty_json(made.message))
    if made.left_out:
        left = display.sentences([f"{each.name}: {each.text}" for each in made.left_out])
        title = _("Left out")
        lines = format_html('{}<p class="cio-quiet">{}</p>{}', lines, title, left)
    return lines
