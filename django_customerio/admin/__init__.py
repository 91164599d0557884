"""The outbox and the ledger in Django's admin."""

from __future__ import annotations

from .ledger import SentMessageAdmin
from .outbox import OutboxMessageAdmin

__all__ = ["OutboxMessageAdmin", "SentMessageAdmin"]
