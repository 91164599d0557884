"""Nothing happens here: ``flush_customerio`` drains, under a supervisor or from cron."""

from __future__ import annotations

from .base import Sender


class CommandSender(Sender):
    """Leaves sending to ``manage.py flush_customerio``."""

    def wake(self, using: str, *, sweep: bool = False) -> None:
        """Do nothing: the command looks by itself."""
