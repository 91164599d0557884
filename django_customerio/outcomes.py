"""What becomes of messages that need no request, or have come to their end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import settling, tombstones
from .batches import Item, Plan
from .conf import WorkspaceSettings
from .exceptions import ItemError, RetriesExhausted
from .identifiers import lane_of
from .lanes import Lease
from .models import OutboxMessage
from .report import Report
from .rows import Row
from .signals import message_dead

if TYPE_CHECKING:
    from django.dispatch import Signal

logger = logging.getLogger(__name__)

UNMAPPED_LOOKS = 10
"""Looks at a row of a model that is not mapped here, before it is dead."""

UNMAPPED_WAIT = 60.0
"""Seconds from one such look to the next."""


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Outcomes of one turn, under the leases of its lanes."""

    using: str
    workspace: WorkspaceSettings
    report: Report
    leases: Sequence[Lease]
    settled: set[int] = field(default_factory=set)
    """Ids of rows that need no more work."""

    def settle_unsaid(self, plan: Plan) -> None:
        """Finish the rows of which nothing is to be said."""
        gone = [*plan.dropped, *plan.discarded, *plan.expired]
        if plan.learned:
            ours = settling.held(set(map(lane_of, plan.learned)), self.leases, using=self.using)
            settling.learn(
                {who: each for who, each in plan.learned.items() if lane_of(who) in ours},
                using=self.using,
                workspace=self.workspace,
            )
        if plan.superseded:
            tombstones.lay_to_rest(plan.superseded, using=self.using)
        if gone:
            settling.delete([row.id for row in gone], using=self.using)
        if plan.held:
            settling.hold(plan.held, using=self.using)
            logger.error(
                "Held %d messages of workspace %r: they were queued for another SITE_ID. Resend "
                "or discard them in the admin.",
                len(plan.held),
                self.workspace.alias,
            )
        for row, error in plan.broken:
            if error.field == "model" and row.attempts < UNMAPPED_LOOKS:
                self._let_wait(row, str(error))
            else:
                self.die([row], answer=str(error), error=error)
        self.report.dropped += len(plan.dropped)
        self.report.discarded += len(plan.discarded)
        self.report.expired += len(plan.expired)
        self.report.held += len(plan.held)
        self.settled.update(row.id for row in gone)
        self.settled.update(row.id for row in plan.held)

    def _let_wait(self, row: Row, answer: str) -> None:
        """In a rolling deploy another process may know the model already."""
        settling.count_attempt([row], using=self.using, wait=UNMAPPED_WAIT, answer=answer)
        for lease in self.leases:
            if lease.number == row.lane:
                lease.closed.add(row.person)

    def bury(self, item: Item) -> None:
        """Do not repeat a delete that came to its end."""
        if item.tombstone is not None:
            tombstones.lay_to_rest([item.tombstone], using=self.using)

    def die(self, rows: Sequence[Row], *, answer: str, error: Exception | None) -> None:
        """Give up on messages."""
        if not rows:
            return
        settling.die(rows, using=self.using, answer=answer)
        self.settled.update(row.id for row in rows)
        self.report.dead += len(rows)
        self.tell(message_dead, rows, error=class_of(error) if error else "refused")

    def tell(self, signal: Signal, rows: Iterable[Row], **more: str) -> None:
        """Send a signal for each message, if anybody listens."""
        if not signal.receivers:
            return
        for row in rows:
            signal.send_robust(
                OutboxMessage,
                ulid=row.ulid,
                message_id=row.id,
                kind=row.kind,
                workspace=self.workspace.alias,
                using=self.using,
                **more,
            )


def class_of(error: Exception) -> str:
    """Name an error without quoting it."""
    last = error.last if isinstance(error, RetriesExhausted) else error
    return type(last).__name__


def words_of(error: ItemError) -> str:
    """What Customer.io says about an item, as one line."""
    parts = [part for part in (error.reason, error.field, error.message) if part]
    return ": ".join(parts)[:500] or "refused without a reason"
