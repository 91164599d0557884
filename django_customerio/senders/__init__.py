"""Who drains the outbox: the sender that ``CUSTOMERIO["SENDER"]`` names.

A sender is only woken. What there is to send stands in the outbox, so a wake-up that is
lost, late or repeated costs a moment and never a message.
"""

from __future__ import annotations

import logging
from functools import cache

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started, setting_changed
from django.utils.module_loading import import_string

from django_customerio.conf import get_settings
from django_customerio.exceptions import CustomerIOError
from django_customerio.testmode import is_quiet

from .base import Sender

logger = logging.getLogger(__name__)

__all__ = ["Sender", "get_sender", "wake"]

BUILT_IN = {
    "thread": "django_customerio.senders.thread.ThreadSender",
    "command": "django_customerio.senders.command.CommandSender",
    "celery": "django_customerio.senders.celery.CelerySender",
    "tasks": "django_customerio.senders.tasks.TasksSender",
    "immediate": "django_customerio.senders.immediate.ImmediateSender",
}


@cache
def get_sender() -> Sender:
    """The sender of this process, made when first asked for."""
    name = get_settings().sender
    try:
        sender: Sender = import_string(BUILT_IN.get(name, name))()
    except ModuleNotFoundError as error:
        if name != "celery" or error.name not in ("celery", "kombu"):
            raise
        raise ImproperlyConfigured(
            f'{get_settings().path("SENDER")} is "celery", but Celery is not installed. Run: '
            'pip install "django-customerio[celery]"'
        ) from None
    return sender


def wake(using: str, *, sweep: bool = False) -> None:
    """Tell the sender that something was committed on a database.

    Nothing that goes wrong reaches the caller: what was committed stays in the outbox.

    Args:
        sweep: look at everything: old rows became pending again.
    """
    try:
        get_sender().wake(using, sweep=sweep)
    except Exception as error:
        # Foreign errors may quote values, and so may their tracebacks.
        is_ours = isinstance(error, CustomerIOError | ImproperlyConfigured)
        logger.error(
            "The sender failed after a commit on database %r; what was committed waits in the "
            "outbox: %s",
            using,
            error if is_ours else type(error).__name__,
        )


def _start(**kwargs: object) -> None:
    """The first request of a process shows that it has forked, if it ever will."""
    if is_quiet():
        return
    try:
        get_sender().start()
    except ImproperlyConfigured as error:
        # The system check tells it too; the request must not pay for it.
        logger.error("The sender cannot start: %s", error)
    except Exception as error:
        logger.error("The sender cannot start (%s).", type(error).__name__)


def connect() -> None:
    """Start with the first request, so that a backlog drains without a new commit."""
    request_started.connect(_start, dispatch_uid="django_customerio.senders.start")


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "CUSTOMERIO" and get_sender.cache_info().currsize:
        get_sender().close()
        get_sender.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_customerio.senders")
