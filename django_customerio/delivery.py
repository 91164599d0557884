"""The drain loop: take lanes, fill batches, have them sent, give the lanes back.

A turn takes one deep lane or several shallow ones. No transaction is open and no row is
locked while a request is under way.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import connections

from . import batches, breaker, lanes, tombstones
from . import rows as outbox
from .batches import Item
from .client import get_client
from .conf import WorkspaceSettings, get_settings, get_workspace
from .dispatch import Dispatch
from .exceptions import SendingRefused
from .lanes import LaneView, Lease
from .report import Report
from .rows import Row, outbox_aliases

if TYPE_CHECKING:
    from .client import TrackClient

__all__ = ["Report", "drain", "outbox_aliases"]

PATIENCE = 72 * 3600.0
"""Seconds from its first failure after which a message that fails alone is dead."""

BATCHES_PER_TURN = 40
"""After so many the lane is given back, so that others have their turn."""

SWEEP = 15.0
"""Seconds of uninterrupted work after which looks begin at zero."""

IDLE_PAUSE = 1.0
"""Seconds that a lane waits when all its messages have to."""


def drain(
    *,
    using: str,
    workspace: str = "default",
    budget: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Report], None] | None = None,
    sweep: bool = True,
    company: bool = False,
    patience: float = math.inf,
) -> Report:
    """Send what is queued on one database for one workspace.

    Args:
        budget: seconds after which no new batch is begun.
        should_stop: asked between batches.
        progress: called after each batch.
        sweep: end with a look at everything, not only from the lanes' floors.
        company: a small request soon after another one waits a moment for more messages.
        patience: seconds that one request with its retries may take, where somebody waits.

    Raises:
        SendingRefused: a transaction is open, or a test run did not ask for it.
        ImproperlyConfigured: the settings are wrong.
    """
    settings = get_settings()
    if not settings.enabled:
        return Report(outcome="disabled")
    where = get_workspace(workspace)
    if not where.configured:
        return Report(outcome="unconfigured")
    if connections[using].in_atomic_block or not connections[using].get_autocommit():
        raise SendingRefused(
            f"A transaction is open on database {using!r}: sending inside it would hold its "
            f"locks during requests. Drain after it has ended, and in autocommit mode."
        )
    ends = None if budget is None else time.monotonic() + budget
    worker = _Worker(
        using=using,
        workspace=where,
        client=get_client(workspace),
        stopped=lambda: bool(
            (should_stop and should_stop()) or (ends and time.monotonic() >= ends)
        ),
        progress=progress or (lambda report: None),
        lease=settings.lease,
        sweep=sweep,
        is_full=not company,
        company=company,
        patience=patience,
    )
    return worker.run()


@dataclass(slots=True, kw_only=True)
class _Worker:
    using: str
    workspace: WorkspaceSettings
    client: TrackClient
    stopped: Callable[[], bool]
    progress: Callable[[Report], None]
    lease: float
    sweep: bool
    company: bool
    patience: float
    is_full: bool
    """Whether the last batch was: then the next one need not wait for company."""
    report: Report = field(default_factory=Report)
    leases: list[Lease] = field(default_factory=list)
    limit: int = batches.BATCH_ITEMS
    """Rows to read for one batch; follows the size of what is queued."""
    sweeping: bool = False
    started: float = field(default_factory=time.monotonic)
    noted: float = 0.0
    """When success was last written down, by the monotonic clock."""

    def run(self) -> Report:
        self.report.outcome = "stopped"
        while not self.stopped():
            if not self._turn():
                break
        return self.report

    def _turn(self) -> bool:
        """Take some lanes and send what they hold; False when there is nothing to take."""
        gate = breaker.look(
            using=self.using, workspace=self.workspace.alias, key_hash=self.workspace.key_hash
        )
        if gate.paused_for:
            return self._end("paused", gate.reason, gate.paused_for)
        if self.sweep and time.monotonic() - self.started >= SWEEP:
            # Where there is no end of work, nobody would ever see what committed late.
            self._begin_to_sweep(gate)
        where = {"using": self.using, "workspace": self.workspace.alias}
        views = lanes.look(**where, sweep=self.sweeping)
        due = tombstones.due_lanes(**where, now=gate.now)
        candidates = [
            view
            for view in views
            if (view.first_id is not None or view.number in due)
            and not view.busy_for
            and not view.paused_for
        ]
        if not candidates:
            if self.sweep and not self.sweeping:
                self._begin_to_sweep(gate)
                return True
            return self._nothing_to_take(views, gate)
        if not self.is_full and (gate.slot_in or not breaker.take_slot(**where)):
            time.sleep(gate.slot_in or 0.005)
            return True
        first = gate.failures >= breaker.FAILURES_BEFORE_PAUSE
        if first and not breaker.try_first(
            gate, using=self.using, workspace=self.workspace.alias, seconds=self.lease
        ):
            return self._end("paused", "another worker tries first", IDLE_PAUSE)
        requests = self.report.requests
        try:
            rows = self._take(candidates)
            if not self.leases:
                # Other workers were quicker at every one of them.
                return self._end("busy", "other workers hold the lanes", IDLE_PAUSE)
            return self._send_lanes(rows, gate)
        except BaseException:
            # Nobody knows what became of the request under way, as if its worker had vanished.
            for lease in self.leases:
                lease.lapses = max(lease.lapses, 1)
            raise
        finally:
            # They go back even when this thread is asked to end. When the database is what
            # failed, their leases lapse by themselves.
            with suppress(DatabaseError):
                self._release()
                if first and self.report.requests == requests:
                    # There was nothing to try with.
                    breaker.pause(**where, reason="", seconds=0)

    def _begin_to_sweep(self, gate: breaker.Gate) -> None:
        if not self.sweeping:
            self.sweeping = True
            tombstones.forget(using=self.using, workspace=self.workspace.alias, now=gate.now)

    def _end(self, outcome: str, reason: str = "", resume_in: float | None = None) -> bool:
        self.report.outcome, self.report.reason = outcome, reason
        self.report.resume_in = resume_in
        return False

    def _nothing_to_take(self, views: Sequence[LaneView], gate: breaker.Gate) -> bool:
        waiting = [view for view in views if view.first_id is not None]
        busy = [view.busy_for for view in waiting if view.busy_for]
        paused = [view.paused_for for view in waiting if view.paused_for]
        if (gate.now - gate.heartbeat) / 1000 > breaker.LIFE_SIGN:
            breaker.beat(using=self.using, workspace=self.workspace.alias)
        if busy:
            return self._end("busy", "other workers hold the lanes", min(busy))
        if paused:
            return self._end("paused", "lanes wait after failures", min(paused))
        return self._end("empty")

    def _take(self, candidates: Sequence[LaneView]) -> list[Row]:
        """Lease lanes until a batch is full: one when it is deep, more when they are shallow."""
        start = random.randrange(len(candidates))  # noqa: S311
        views = [*candidates[start:], *candidates[:start]]
        if _is_special(views[0]):
            views = views[:1]
        else:
            views = [view for view in views if not _is_special(view)]
        rows: list[Row] = []
        number, position = 1, 0
        # Nearly full is full: for a few rows more another lane would be broken up, and the
        # rest of it cost one more lease.
        while position < len(views) and len(rows) < self.limit * 3 // 4:
            chosen = sorted(views[position : position + number], key=lambda view: view.number)
            position += number
            taken = [
                lease
                for view in chosen
                if (lease := lanes.lease(view, using=self.using, seconds=self.lease))
            ]
            if taken:
                self.leases += taken
                rows += self._read(taken, max(1, (self.limit - len(rows)) // len(taken)))
                number *= 2
        rows.sort(key=lambda row: row.id)
        return rows

    def _read(self, leases: Sequence[Lease], limit: int) -> list[Row]:
        return outbox.read(
            leases,
            using=self.using,
            workspace=self.workspace.alias,
            limit=limit,
            patience=PATIENCE,
        )

    def _send_lanes(self, rows: Sequence[Row], gate: breaker.Gate) -> bool:
        """Send batch after batch of the leased lanes; False when sending has to pause."""
        dispatch = Dispatch(
            using=self.using,
            workspace=self.workspace,
            client=self.client,
            report=self.report,
            leases=self.leases,
            gate=gate,
            lease=self.lease,
            patience=self.patience,
            noted=self.noted,
        )
        lane = self.leases[0] if len(self.leases) == 1 else None
        where = {"using": self.using, "workspace": self.workspace.alias}
        buried = tombstones.are_in(self.leases, **where)
        again = buried
        careful = lane is not None and dispatch.is_suspect(lane)
        cleared = 0
        start = self._moved()
        for _ in range(BATCHES_PER_TURN):
            limit, is_full = _reach(lane, dispatch), len(rows) >= self.limit
            repeated = (
                tombstones.repetitions(self.leases, **where, now=gate.now, limit=limit)
                if again
                else []
            )
            again = False
            plan = batches.plan(
                rows,
                using=self.using,
                workspace=self.workspace,
                tombstones=tombstones.of(rows, self.leases, **where) if buried else [],
                closed={person for lease in self.leases for person in lease.closed}
                | {item.person for item in repeated},
                doubtful={lease.number for lease in self.leases if lease.lapses},
                limit=limit - len(repeated),
                room=batches.ROOM - batches.size(repeated),
            )
            before = self._moved()
            dispatch.settle_unsaid(plan)
            items = [*repeated, *plan.items]
            going = dispatch.send(items) if items else True
            has_more = self._close_waiting(rows) and is_full
            self._raise_floors(rows, dispatch.settled)
            self._fit_limit(plan.items)
            self.progress(self.report)
            if before == self._moved() and not has_more:
                break
            if lane is not None and lane.lapses:
                cleared += len(plan.items)
                step = min(lane.lapses, len(batches.STEPS) - 1) - 1
                if cleared >= batches.STEPS[step]:
                    # Past all that its vanished owner may have been sending.
                    lane.lapses, cleared = step, 0
            if not going or lane is None or self.stopped():
                break
            buried = buried or any(item.kind in batches.ALONE for item in items)
            rows = self._read(self.leases, self.limit)
            if len(rows) < self.limit // 4 and not (careful or lane.lapses or has_more):
                # Few are left: better with the few of other lanes.
                break
        if start == self._moved():
            # Everything here has to wait, for a moment at least.
            for lease in self.leases:
                lease.pause = max(lease.pause, IDLE_PAUSE)
        if lane is not None and not rows and not lane.closed:
            lane.lapses = 0
        if lane is not None and careful:
            # None of so many failed alone.
            lane.failures, lane.failing_since = 0, 0
        self.noted = dispatch.noted
        return self.report.outcome != "paused"

    def _moved(self) -> tuple[int, int]:
        return self.report.settled, self.report.requests

    def _close_waiting(self, rows: Sequence[Row]) -> bool:
        """Read no more of people with a message that waits; False where none is new."""
        found = False
        for lease in self.leases:
            waiting = {row.person for row in rows if row.waiting and row.lane == lease.number}
            found = found or not waiting <= lease.closed
            lease.closed |= waiting
        return found

    def _fit_limit(self, items: Sequence[Item]) -> None:
        """Read about as many rows as fill a batch: large ones need not be read in vain."""
        self.is_full = not self.company or len(items) * 2 >= self.limit
        if items:
            average = sum(len(item.text) for item in items) / len(items)
            self.limit = max(
                16, min(batches.BATCH_ITEMS, int(1.2 * batches.BATCH_BYTES / average))
            )

    def _raise_floors(self, rows: Sequence[Row], settled: set[int]) -> None:
        for lease in self.leases:
            if lease.closed:
                # Some of what was passed over was not even read.
                continue
            mine = [row.id for row in rows if row.lane == lease.number]
            left = [each for each in mine if each not in settled]
            if left:
                lease.floor = max(lease.floor, lanes.floor_below(min(left)))
            elif mine:
                lease.floor = max(lease.floor, lanes.floor_below(max(mine) + 1))

    def _release(self) -> None:
        leases, self.leases = self.leases, []
        lanes.release(leases, using=self.using)


def _is_special(view: LaneView) -> bool:
    """Whether a lane shall not share its batches: it is in trouble, others are not."""
    return bool(view.failures or view.lapses)


def _reach(lane: Lease | None, dispatch: Dispatch) -> int:
    """Most items of a batch."""
    if lane is None:
        return batches.BATCH_ITEMS
    if dispatch.is_suspect(lane):
        return 1
    return batches.STEPS[min(lane.lapses, len(batches.STEPS) - 1)]
