"""Resend and discard: what a person decides about messages that stopped.

Both are conditional on the state in the statement that writes, so they cannot fight a
worker, and each row that was really touched is entered in the admin's log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_customerio import recovery
from django_customerio.models import OutboxMessage

LIMIT = 1000
"""Rows of one decision in the admin; the command takes any number."""

_State = OutboxMessage.State


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing that can be decided."""

    name: str
    perform: Callable[..., list[int]]
    states: frozenset[str]
    """States in which it is possible."""
    flag: int
    log: str | Promise
    label: str | Promise
    question: str | Promise
    confirm: str | Promise
    destructive: bool

    @property
    def permission(self) -> str:
        """The permission it takes."""
        return f"django_customerio.{self.name}_outboxmessage"


RESEND = Decision(
    name="resend",
    perform=recovery.resend,
    states=frozenset({_State.DEAD.value, _State.HELD.value}),
    flag=CHANGE,
    log=gettext_lazy("Resent."),
    label=gettext_lazy("Resend"),
    question=gettext_lazy("Resend these messages?"),
    confirm=gettext_lazy("Yes, resend"),
    destructive=False,
)
DISCARD = Decision(
    name="discard",
    perform=recovery.discard,
    states=frozenset(_State.values),
    flag=DELETION,
    log=gettext_lazy("Discarded."),
    label=gettext_lazy("Discard"),
    question=gettext_lazy("Discard these messages?"),
    confirm=gettext_lazy("Yes, discard"),
    destructive=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the rows that were chosen."""

    decision: Decision
    chosen: int
    done: int
    pending: int
    gone: int

    def text(self) -> str:
        """Say it in one sentence: how many of how many, and why not the others."""
        resend = self.decision.name == "resend"
        if resend:
            head = ngettext(
                "%(done)d of %(chosen)d message will be sent again.",
                "%(done)d of %(chosen)d messages will be sent again.",
                self.chosen,
            )
        else:
            head = ngettext(
                "%(done)d of %(chosen)d message was discarded.",
                "%(done)d of %(chosen)d messages were discarded.",
                self.chosen,
            )
        parts = [head % {"done": self.done, "chosen": self.chosen}]
        if self.pending:
            parts.append(
                ngettext(
                    "Skipped %d that is on its way already.",
                    "Skipped %d that are on their way already.",
                    self.pending,
                )
                % self.pending
            )
        if self.gone:
            parts.append(
                ngettext(
                    "Skipped %d that was sent or discarded meanwhile.",
                    "Skipped %d that were sent or discarded meanwhile.",
                    self.gone,
                )
                % self.gone
            )
        return " ".join(parts)


def decide(
    decision: Decision, rows: QuerySet[OutboxMessage], *, chosen: int, user_id: Any
) -> Outcome:
    """Perform a decision on rows, and log it for each row that it reached.

    Args:
        rows: those among the chosen that still exist.
        chosen: how many were chosen, for the account.
        user_id: primary key of who decides.
    """
    # A few fields say all that the log needs; bodies may be large.
    found = {row.pk: row for row in rows.order_by("pk").only("pk", "kind", "ulid", "state")}
    with transaction.atomic(using=rows.db):
        reached = [found[pk] for pk in decision.perform(found, using=rows.db)]
        if reached:
            LogEntry.objects.log_actions(
                user_id,
                reached,  # it only iterates
                decision.flag,
                str(decision.log),
            )
    states = Counter(row.state for row in found.values())
    pending = states[OutboxMessage.State.PENDING] if decision is RESEND else 0
    return Outcome(
        decision=decision,
        chosen=chosen,
        done=len(reached),
        pending=pending,
        gone=chosen - len(reached) - pending,
    )


def summary(decision: Decision) -> str:
    """Say what a decision does, for the page that asks for it."""
    if decision is RESEND:
        return _(
            "They go to Customer.io again, in the order in which they were said. A state is "
            "read from the database anew; everything else is sent as it was said."
        )
    return _("They are deleted and never sent. This cannot be undone.")
