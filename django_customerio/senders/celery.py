"""Celery's workers drain: for sites that run Celery anyway.

Two tasks: ``django_customerio.drain``, which a commit asks for, and ``django_customerio.sweep``,
which Celery beat asks for every minute and which finds what a lost message left.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from celery import current_app, shared_task
from django.core.exceptions import ImproperlyConfigured
from kombu.exceptions import OperationalError

from django_customerio.conf import get_settings

from .remote import Process, RemoteSender, work, work_everywhere

DRAIN = "django_customerio.drain"
SWEEP = "django_customerio.sweep"

TIMEOUT = 1.0
"""Seconds that a request waits for a broker that does not answer, for one step."""

EXPIRES = 600.0
"""Seconds after which a wake-up that no worker took is dropped, so that they do not pile up
while none runs. The sweep's message has no such end."""


class BrokerProcess(Process):
    """With this process's own connection to the broker."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: Any = None


class CelerySender(RemoteSender):
    """Sends a message to Celery after commits."""

    process_class = BrokerProcess

    def validate(self) -> None:
        """See whether the site's Celery app is loaded and has tasks done by workers."""
        setting = get_settings().path("SENDER")
        # Without an app Celery makes one up, which would talk to a broker on this machine. It
        # is named so and, unlike others, has no fix-ups.
        if current_app.main == "default" and not current_app.fixups:
            raise ImproperlyConfigured(
                f'{setting} is "celery", but no Celery app is loaded. Import the app in the '
                "__init__.py of the project's package, as Celery's guide for Django shows."
            )
        if current_app.conf.task_always_eager:
            raise ImproperlyConfigured(
                f'{setting} is "celery", but task_always_eager makes Celery run tasks inside the '
                'web request. Remove it, or choose the sender "immediate".'
            )

    def send(self, using: str, *, sweep: bool, delay: float) -> None:
        """Publish without retries, on a connection that is kept."""
        process = self.process
        assert isinstance(process, BrokerProcess)  # noqa: S101
        with process.lock:
            # Whoever was first here may just have found that the broker is down.
            if self.is_resting():
                return
            began = time.monotonic()
            try:
                if process.connection is not None:
                    try:
                        _publish(process.connection, using, sweep=sweep, delay=delay)
                    except OperationalError:
                        # Cut while it was idle, perhaps: then a new one helps at once. What
                        # took long is a broker that hangs, and one wait for it is enough.
                        if time.monotonic() - began >= TIMEOUT / 2:
                            raise
                        _drop(process)
                    else:
                        return
                process.connection = _connect()
                _publish(process.connection, using, sweep=sweep, delay=delay)
            except BaseException:
                self.rest()
                _drop(process)
                raise

    def close(self) -> None:
        """Cut the connection."""
        process = self.process
        assert isinstance(process, BrokerProcess)  # noqa: S101
        with process.lock:
            connection, process.connection = process.connection, None
            if connection is not None:
                connection.release()


def _connect() -> Any:
    """A connection of our own, since those of Celery's pool try again for long."""
    connection = current_app.connection_for_write(
        connect_timeout=TIMEOUT,
        transport_options={
            # Redis
            "socket_connect_timeout": TIMEOUT,
            "socket_timeout": TIMEOUT,
            # AMQP
            "read_timeout": TIMEOUT,
            "write_timeout": TIMEOUT,
            # Else a message that was written into a broken connection is lost in silence.
            "confirm_publish": True,
            # Both, where the connection is lost between this and the publishing.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
        },
    )
    left = max(1, len(connection.alt))

    def give_up(error: Exception, interval: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise error

    try:
        # Once for each of the addresses that the site has given.
        connection.ensure_connection(errback=give_up, interval_start=0, interval_step=0)
    except BaseException:
        connection.collect()
        raise
    return connection


def _publish(connection: Any, using: str, *, sweep: bool, delay: float) -> None:
    current_app.send_task(
        DRAIN,
        args=[using],
        kwargs={"sweep": sweep},
        producer=current_app.amqp.Producer(connection, auto_declare=False),
        countdown=delay or None,
        expires=delay + EXPIRES,
        retry=False,
        ignore_result=True,
        add_to_parent=False,
    )


def _drop(process: BrokerProcess) -> None:
    """Forget a connection that is broken, without asking the broker."""
    connection, process.connection = process.connection, None
    if connection is not None:
        with suppress(Exception):
            connection.collect()


def _drain(using: str, sweep: bool = False) -> None:
    """Drain one database."""
    work(using, sweep=sweep)


def _sweep() -> None:
    """Look at everything."""
    work_everywhere()


# Acknowledged when done, so that AMQP gives a killed worker's message to another at once. A
# repeated look does no harm.
drain = shared_task(name=DRAIN, ignore_result=True, acks_late=True)(_drain)
sweep = shared_task(name=SWEEP, ignore_result=True, acks_late=True)(_sweep)
