"""Brokers and workers of task queues, real ones, for the tests of the senders."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from .processes import ROOT, environment

BROKERS = {
    "redis": os.environ.get("CIO_REDIS_URL", "redis://127.0.0.1:6379/9"),
    "rabbitmq": os.environ.get("CIO_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}


def new_queue() -> str:
    """A name that no other run uses."""
    return f"cio_test_{os.getpid()}_{secrets.token_hex(4)}"


def ask(broker: str) -> str:
    """Why the broker does not answer, or nothing."""
    from kombu import Connection

    connection = Connection(broker, connect_timeout=2, transport_options={"max_retries": 1})
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except Exception as error:
        return f"{broker.partition(':')[0]} does not answer: {type(error).__name__}"
    finally:
        connection.release()
    return ""


def remove(broker: str, queue: str) -> None:
    """Leave nothing of a queue behind."""
    from kombu import Connection

    with Connection(broker) as connection:
        with suppress(*connection.channel_errors):
            connection.default_channel.queue_delete(queue)
        if broker.startswith("amqp"):
            connection.default_channel.exchange_delete(queue)
        else:
            kinds = ("binding", "binding_permanent")
            keys = [queue, *(f"_kombu.{kind}.{queue}" for kind in kinds)]
            connection.default_channel.client.delete(*keys)


def messages(broker: str, queue: str) -> list[Any]:
    """Take what waits in a queue."""
    from kombu import Connection

    found = []
    with Connection(broker) as connection:
        channel = connection.default_channel
        with suppress(*connection.channel_errors):
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                found.append(channel.message_to_python(message) if broker[0] == "a" else message)
    return found


@contextmanager
def process(*command: str, **queues: Any) -> Iterator[subprocess.Popen[str]]:
    """A worker on the databases and settings of the test, in a group of its own."""
    chosen = {
        "databases": {each: connections[each].settings_dict["NAME"] for each in connections},
        "customerio": settings.CUSTOMERIO,
        **queues,
    }
    # A file: a pipe would stay open as long as any child of a killed worker.
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115
    worker = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(
            DJANGO_SETTINGS_MODULE="tests.queue_settings", CIO_QUEUES=json.dumps(chosen)
        ),
        stdout=said,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        if worker.poll() is None:
            kill(worker)
        said.seek(0)
        print(said.read())
        said.close()


def kill(worker: subprocess.Popen[str]) -> None:
    """The worker and its children, at once."""
    worker.kill()
    for each in _session(worker.pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    worker.wait()


def _session(pid: int) -> list[int]:
    """Who belongs to the session of a process, whatever group or parent it has by now."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold spaces: state, parent, group, session.
            if int(each.read_text().rpartition(")")[2].split()[3]) == pid:
                found.append(int(each.parent.name))
    return found


def celery_worker(broker: str, queue: str, *, pool: str = "solo") -> Any:
    """A worker of Celery on one queue."""
    options = ["-P", pool, "-c", "2", "-Q", queue, "-l", "WARNING"]
    quick = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return process(
        *("celery", "-A", "tests.queue_app", "worker", *options, *quick),
        broker=broker,
        queue=queue,
    )


class Proxy:
    """Stands before a server, and cuts or holds up what passes."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.accepted = 0
        self.is_stalled = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(self.target)
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.is_stalled:
                    sink.sendall(data)

    def cut(self) -> None:
        """End every connection."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Listen no longer."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
