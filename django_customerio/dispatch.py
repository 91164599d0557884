"""Send the items of a batch and judge the answer.

What Customer.io said decides over each message: accepted, dead, or to be sent again. What
it did not say, because it was out of reach, decides over none: then lanes and workspace
wait, and no message row is touched.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import batches, breaker, lanes, settling, tombstones
from .batches import Item, Kind
from .exceptions import (
    APIError,
    AuthenticationFailed,
    ItemError,
    RequestRefused,
    UnusableAnswer,
    WrongEndpoint,
)
from .lanes import Lease
from .outcomes import Outcomes, class_of, words_of
from .signals import message_failed, message_sent

if TYPE_CHECKING:
    from .client import TrackClient

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 12
"""Attempts of a message that fails alone while others are accepted, before it is dead."""

RECENT = 900.0
"""Seconds: without a success as recent as that, nothing dies of failing."""

LANE_PAUSE_CAP = 900.0
"""Seconds, the longest wait of a lane or of a message that fails alone."""

SECOND = 1.0
"""The grain of Customer.io's timestamps: what is read after a failed request must bear a
later one, or the failed one could still undo it."""

RETRY_AFTER_CAP = 300.0
"""Seconds of ``Retry-After`` that are respected."""

FAILURES_BEFORE_SUSPICION = 3
"""Failures of a lane's batches, while others are accepted, before its messages go alone."""

LONE_FAILURES = 3
"""Messages that may fail alone one after another before that looks like an outage."""


@dataclass(slots=True, kw_only=True)
class Dispatch(Outcomes):
    """The requests of one turn, under the leases of its lanes."""

    client: TrackClient
    gate: breaker.Gate
    lease: float
    """Seconds of a lease."""
    patience: float
    """Seconds that whoever drains waits for one request at most."""
    noted: float
    """When success was last written down, by the monotonic clock."""
    troubled: bool = field(init=False)
    """The workspace's row tells of failures that a success would end."""
    lone_failures: int = 0

    def __post_init__(self) -> None:
        self.troubled = bool(self.gate.failures or self.gate.refusals)

    @property
    def deadline(self) -> float:
        """Seconds for one request with its retries, well within a lease."""
        return min(self.patience, self.lease * 2 / 3)

    @property
    def settle(self) -> float:
        """Seconds after which no request that was under way can be applied any longer."""
        return self.lease * 5 / 3

    def is_suspect(self, lease: Lease) -> bool:
        """Whether a lane's batches failed again and again while others were accepted."""
        return (
            lease.failures >= FAILURES_BEFORE_SUSPICION
            and self.gate.last_success > lease.failing_since
        )

    # Requests.

    def send(self, items: Sequence[Item]) -> bool:
        """Send items, in one request where that is possible.

        Returns:
            False when sending has to stop for now; the reason is in the report or the leases.
        """
        if self.gate.refusals > breaker.HANDFUL:
            # Only a success shows that not everything is refused: not always the same first.
            rank: dict[str, float] = defaultdict(random.random)
            items = sorted(items, key=lambda item: rank[item.person])
        together = [item for item in items if item.kind != Kind.ANONYMOUS_EVENT]
        # Only version 1 of the API has anonymous events, and only one a request.
        alone = [item for item in items if item.kind == Kind.ANONYMOUS_EVENT]
        return all(self._send(part) for part in [together, *([item] for item in alone)] if part)

    def _send(self, items: Sequence[Item]) -> bool:
        items = self._still_ours(items)
        if not items:
            return True
        if self._kills(items):
            return True
        self.report.requests += 1
        try:
            errors = self._request(items)
        except RequestRefused as error:
            return self._divide(items, error)
        except UnusableAnswer as error:
            self._doubt(items)
            if len(items) == 1:
                return self._fail(items, error)
            return all(self._send([item]) for item in items)
        except AuthenticationFailed as error:
            if self._accepts_key():
                # Some firewall on the way dislikes a payload.
                return self._divide(items, error)
            return self._pause(error, seconds=breaker.KEY_PAUSE, key_hash=self.workspace.key_hash)
        except WrongEndpoint as error:
            return self._pause(error, seconds=breaker.SETTINGS_PAUSE)
        except APIError as error:
            self._doubt(items)
            return self._fail(items, error)
        return self._accept(items, errors)

    def _doubt(self, items: Sequence[Item]) -> None:
        settling.doubt(items, using=self.using, workspace=self.workspace, leases=self.leases)

    def _request(self, items: Sequence[Item]) -> tuple[ItemError, ...]:
        counted = self._count_before_lapse(items)
        try:
            return self._post(items)
        except APIError:
            if counted:
                # This worker lives: whatever that was, it was no lapse.
                settling.take_back_attempt(items[0].rows, using=self.using)
            raise

    def _post(self, items: Sequence[Item]) -> tuple[ItemError, ...]:
        if items[0].kind == Kind.ANONYMOUS_EVENT:
            self.client.post_anonymous_event(items[0].text.encode(), deadline=self.deadline)
            return ()
        return self.client.post_batch(
            batches.join(items), count=len(items), deadline=self.deadline
        ).errors

    def _still_ours(self, items: Sequence[Item]) -> Sequence[Item]:
        """Leave out what another worker may be sending: a request must end within the lease."""
        lost = {
            lease.number
            for lease in self.leases
            if not lease.outlasts(self.deadline + 1)
            and not lanes.renew(lease, using=self.using, seconds=self.lease)
        }
        if not lost:
            return items
        return [item for item in items if item.lane not in lost]

    def _may_lapse(self, items: Sequence[Item]) -> bool:
        """Whether a message is alone in its batch because its lane's owners vanished."""
        lapses = self.leases[0].lapses
        return len(items) == len(self.leases) == 1 and lapses >= len(batches.STEPS) - 1

    def _kills(self, items: Sequence[Item]) -> bool:
        """Whether this vanishes with its worker each time; then it is dead."""
        rows = items[0].rows
        if not self._may_lapse(items) or all(row.attempts < MAX_ATTEMPTS for row in rows):
            return False
        self.die(rows, answer="Its worker vanished each time this was sent.", error=None)
        return True

    def _count_before_lapse(self, items: Sequence[Item]) -> bool:
        """Count an attempt that may kill this worker before it is made.

        Only a message alone in its batch is counted, or rolling deploys would kill the
        innocent.
        """
        rows = items[0].rows
        if not rows or not self._may_lapse(items):
            return False
        settling.count_attempt(
            rows,
            using=self.using,
            wait=breaker.backoff(rows[0].attempts + 1, cap=LANE_PAUSE_CAP),
            answer="The worker that sent this vanished.",
        )
        return True

    # Answers.

    def _accept(self, items: Sequence[Item], errors: Sequence[ItemError]) -> bool:
        listed = {error.index: error for error in errors}
        done = [item for number, item in enumerate(items) if number not in listed]
        if not done:
            if len(items) > 1:
                # Can all of them be wrong? One by one it costs a handful at most to know.
                return all(self._send([item]) for item in items)
            return self._refuse(items[0], errors[0])
        finished = settling.accept(
            done,
            using=self.using,
            workspace=self.workspace,
            leases=self.leases,
            answer="207" if errors else "200",
            settle=self.settle,
        )
        rows = [row for item in finished for row in item.rows]
        self.settled.update(row.id for row in rows)
        self.report.accepted += len(rows)
        for number, error in listed.items():
            self.die(items[number].rows, answer=words_of(error), error=None)
            self.bury(items[number])
        for lease in self.leases:
            # Where one is looked for that fails alone, a success of another tells nothing.
            if not self.is_suspect(lease):
                lease.failures, lease.failing_since = 0, 0
        self.lone_failures = 0
        self._note_success()
        self.tell(message_sent, rows)
        return True

    def _note_success(self) -> None:
        now = time.monotonic()
        if self.troubled or now - self.noted > breaker.LIFE_SIGN:
            breaker.succeeded(using=self.using, workspace=self.workspace.alias)
            self.noted, self.troubled = now, False

    def _divide(self, items: Sequence[Item], error: APIError) -> bool:
        """Find out which items make Customer.io refuse a whole request."""
        if len(items) == 1:
            return self._refuse(items[0], error)
        middle = len(items) // 2
        return self._send(items[:middle]) and self._send(items[middle:])

    def _refuse(self, item: Item, error: ItemError | APIError) -> bool:
        """A message that was refused alone is dead, unless everything is refused."""
        self.troubled = True
        if not breaker.refused(using=self.using, workspace=self.workspace.alias):
            return self._pause(
                error if isinstance(error, APIError) else None,
                seconds=breaker.SETTINGS_PAUSE,
                reason="Customer.io refuses every message",
            )
        answer = (
            words_of(error)
            if isinstance(error, ItemError)
            else "; ".join(map(words_of, error.errors)) or str(error)
        )
        self.die(item.rows, answer=answer, error=error if isinstance(error, APIError) else None)
        self.bury(item)
        return True

    def _fail(self, items: Sequence[Item], error: APIError) -> bool:
        """The request failed, which says nothing of the messages in it."""
        if len(items) == 1 and self._fails_alone(items[0]):
            return self._fail_alone(items[0], error)
        logger.warning(
            "A request for workspace %r failed; its %d message(s) will be sent again: %s",
            self.workspace.alias,
            len(items),
            error,
            extra={"customerio_workspace": self.workspace.alias},
        )
        self.troubled = True
        repeated = [item.tombstone for item in items if item.tombstone is not None]
        if repeated:
            tombstones.postpone(repeated, using=self.using, seconds=self.settle)
        wait = min(error.retry_after or 0.0, RETRY_AFTER_CAP)
        paused = breaker.failed(
            using=self.using,
            workspace=self.workspace.alias,
            reason=str(error),
            retry_after=wait or None,
        )
        numbers = {item.lane for item in items}
        for lease in self.leases:
            if lease.number in numbers:
                lease.failures += 1
                lease.failing_since = lease.failing_since or self.gate.now
                # While the whole workspace waits the lane need not, or it would be late when
                # the outage is over.
                backoff = breaker.backoff(lease.failures, cap=LANE_PAUSE_CAP)
                lease.pause = 0.0 if paused else max(SECOND, wait, backoff)
        if paused:
            self.report.outcome, self.report.reason = "paused", str(error)
            self.report.resume_in = paused
        return False

    def _fails_alone(self, item: Item) -> bool:
        return bool(item.rows) and (
            item.is_suspect or (len(self.leases) == 1 and self.is_suspect(self.leases[0]))
        )

    def _fail_alone(self, item: Item, error: APIError) -> bool:
        """Others are accepted and this one is not: it waits, and counts, by itself."""
        self.lone_failures += 1
        row = item.rows[0]
        recent = self.gate.now - self.gate.last_success < RECENT * 1000
        if recent and (row.attempts + 1 >= MAX_ATTEMPTS or row.overdue):
            self.die(item.rows, answer=f"Failed {row.attempts + 1} times. {error}", error=error)
            self.bury(item)
            return True
        wait = max(
            min(error.retry_after or 0.0, RETRY_AFTER_CAP),
            breaker.backoff(row.attempts + 1, cap=LANE_PAUSE_CAP),
        )
        # An outage brings nothing to the brink of death.
        counts = recent or row.attempts < MAX_ATTEMPTS // 2
        settling.count_attempt(
            item.rows, using=self.using, wait=wait, answer=str(error), number=int(counts)
        )
        self.tell(message_failed, item.rows, error=class_of(error))
        for lease in self.leases:
            if lease.number == row.lane:
                lease.closed.add(row.person)
                # It is found: its neighbours share batches again.
                lease.failures, lease.failing_since = 0, 0
        return self.lone_failures < LONE_FAILURES

    def _accepts_key(self) -> bool:
        """Ask whether the key is refused everywhere, or only this payload."""
        try:
            self.client.region()
        except APIError:
            return False
        return True

    def _pause(
        self, error: APIError | None, *, seconds: float, reason: str = "", key_hash: str = ""
    ) -> bool:
        """Only a person can mend this: stop for a while, and say so loudly."""
        reason = f"{reason}. {error}" if reason and error else reason or str(error)
        breaker.pause(
            using=self.using,
            workspace=self.workspace.alias,
            reason=reason,
            seconds=seconds,
            key_hash=key_hash,
        )
        logger.error(
            "Workspace %r is paused for %d s, its messages wait: %s",
            self.workspace.alias,
            seconds,
            reason,
            extra={"customerio_workspace": self.workspace.alias},
        )
        self.report.outcome, self.report.reason = "paused", reason
        self.report.resume_in = seconds
        return False
