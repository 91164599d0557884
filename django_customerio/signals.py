"""Signals about messages, for instrumentation.

Each is sent with ``OutboxMessage`` as sender and these keyword arguments:

``ulid`` (str)
    The message's ULID, the same on every attempt.
``message_id`` (int)
    Id of its outbox row; ``message_queued`` does not know it yet and leaves it out.
``kind`` (str)
    One of ``OutboxMessage.Kind``.
``workspace`` (str)
    Alias of the workspace.
``using`` (str)
    Alias of the database.

They hold no person, payload, attribute value or key, so that a receiver may log all of them.
A receiver's error is logged by Django and stops nothing: they are sent with ``send_robust``.
"""

from __future__ import annotations

from django.dispatch import Signal

message_queued = Signal()
"""A row was inserted, inside the caller's transaction: it can still be rolled back."""

message_sent = Signal()
"""Customer.io accepted the message. Sent outside any transaction of the sender."""

message_failed = Signal()
"""An attempt that counts failed, and there will be another.

Also passes ``error`` (str): the name of the exception's class, such as ``"ServerError"``.
A request that failed as a whole says nothing about the messages in it and sends no such
signal: an outage would be told once for each of them, again and again.
"""

message_dead = Signal()
"""The message will not be tried again by itself.

Also passes ``error`` (str): the name of the exception's class, or ``"refused"`` where
Customer.io named the message. Its reason is in the row's ``answer``.
"""
