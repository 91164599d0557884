"""Serves the shop and a Customer.io sandbox, each as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.models import Customer

HOST = "127.0.0.1"
ROOT = settings.BASE_DIR.parent
STAFF, PASSWORD = "staff@example.com", "demo-password"
STOP_SECONDS = 10

TRY = """
  Shop      http://{host}:{port}/
  Sandbox   http://{host}:{sandbox_port}/          what Customer.io has got, live
  Outbox    http://{host}:{port}/admin/    log in as {staff} with {password}

  Try this, with shop and sandbox side by side:
    1. Sign up. The person and "signed_up" arrive in the sandbox.
    2. Buy a plan, change your profile, cancel. Look at your timeline there.
    3. Let the sandbox fail: http://{host}:{sandbox_port}/sandbox/faults
       The shop carries on; switch the fault off, and everything arrives, in order.
    4. Delete your account. The person is gone over there, too.

  Ctrl-C stops both.
"""


class Command(BaseCommand):
    help = "Serves the shop and a Customer.io sandbox on this machine, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Port of the shop.")
        parser.add_argument("--sandbox-port", type=int, default=8001, help="Of the sandbox.")
        parser.add_argument(
            "--sandbox-database",
            type=Path,
            default=settings.BASE_DIR / "sandbox.sqlite3",
            help="SQLite file of the sandbox.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        port, sandbox_port = options["port"], options["sandbox_port"]
        if port == sandbox_port:
            raise CommandError("The shop and the sandbox need two different ports.")
        for number, option in ((port, "--port"), (sandbox_port, "--sandbox-port")):
            _check_free(number, option)
        call_command("migrate", verbosity=0, interactive=False)
        self._add_staff()
        # Caught signals, unlike ignored ones, are back to their defaults in the children.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        children: list[subprocess.Popen[bytes]] = []
        try:
            children.append(_start(*_sandbox(sandbox_port, options["sandbox_database"])))
            children.append(
                _start(
                    *("manage.py", "runserver", "--noreload", f"{HOST}:{port}"),
                    CUSTOMERIO_TRACK_URL=f"http://{HOST}:{sandbox_port}",
                )
            )
            _wait_for_ports([sandbox_port, port], children)
            self.stdout.write(
                TRY.format(
                    host=HOST,
                    port=port,
                    sandbox_port=sandbox_port,
                    staff=STAFF,
                    password=PASSWORD,
                )
            )
            self.stdout.flush()
            while all(child.poll() is None for child in children):
                time.sleep(0.2)
            raise CommandError("The shop or the sandbox has stopped by itself; see above.")
        except KeyboardInterrupt:
            self.stdout.write("Stopping.")
        finally:
            _stop(children)

    def _add_staff(self) -> None:
        if not Customer.objects.filter(email=STAFF).exists():
            Customer.objects.create_superuser(STAFF, PASSWORD, first_name="Staff")


def _sandbox(port: int, database: Path) -> list[str]:
    keys = settings.CUSTOMERIO
    return [
        *("-m", "django_customerio.sandbox", f"{HOST}:{port}"),
        *("--database", str(database.resolve())),
        *("--site-id", keys["SITE_ID"], "--api-key", keys["API_KEY"]),
    ]


def _start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.DEVNULL,
        # Ctrl-C reaches this process only, which then stops the others in order.
        start_new_session=True,
    )


def _check_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise CommandError(
                f"Port {port} is in use or not allowed. Choose another one with {option}."
            ) from None


def _wait_for_ports(ports: list[int], children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 60
    for port in ports:
        while time.monotonic() < deadline:
            if any(child.poll() is not None for child in children):
                raise CommandError("The shop or the sandbox could not start; see above.")
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise CommandError(f"Nothing answers at port {port} after a minute.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    # A second Ctrl-C must not leave one of them behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # The shop first: what it still has to say finds the sandbox there.
    for child in reversed(children):
        if child.poll() is None:
            # Not SIGTERM, at which a development server would leave without its goodbyes.
            child.send_signal(signal.SIGINT)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
