"""What a drain did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Report:
    """What a drain did. Messages are rows of the outbox."""

    accepted: int = 0
    dead: int = 0
    dropped: int = 0
    """Nothing to say: unchanged, gone or excluded."""
    discarded: int = 0
    """Older than the delete of their person."""
    expired: int = 0
    held: int = 0
    requests: int = 0
    outcome: str = "empty"
    """``empty``, ``busy`` (other workers hold the lanes), ``paused``, ``stopped`` (by its
    caller or its budget), ``disabled`` or ``unconfigured`` (no credentials)."""
    reason: str = ""
    resume_in: float | None = None
    """Seconds until another look is worth while."""

    @property
    def settled(self) -> int:
        """Messages that left the queue, one way or another."""
        return self.accepted + self.dead + self.dropped + self.discarded + self.expired + self.held
