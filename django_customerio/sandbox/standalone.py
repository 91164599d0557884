"""The sandbox as a server of its own: ``python -m django_customerio.sandbox``.

It needs no project: the settings are made here, and what it keeps is one SQLite file.
"""

from __future__ import annotations

import argparse
import errno
import logging
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import django
from django.conf import settings
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


def settings_for(database: str, site_id: str, api_key: str) -> dict[str, Any]:
    """Settings of a project that is nothing but the sandbox."""
    return {
        # Not for development: with DEBUG each statement would be kept, and timed.
        "DEBUG": False,
        "SECRET_KEY": secrets.token_urlsafe(32),
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"],
        "ROOT_URLCONF": "django_customerio.sandbox.root_urls",
        "INSTALLED_APPS": ["django.contrib.staticfiles", "django_customerio.sandbox"],
        "MIDDLEWARE": [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        "TEMPLATES": [
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                    "timeout": 20,
                },
            }
        },
        "STATIC_URL": "/static/",
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        # A page shown on localhost beside the site's own must not take its cookie for ours.
        "CSRF_COOKIE_NAME": "sandbox_csrftoken",
        "CUSTOMERIO_SANDBOX": {"SITE_ID": site_id, "API_KEY": api_key, "ALLOW": True},
        # Accidents are told; refusals and faults have their pages.
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stderr": {"class": "logging.StreamHandler", "level": "ERROR"}},
            "root": {"handlers": ["stderr"]},
            "loggers": {"django.server": {"handlers": [], "level": "CRITICAL"}},
        },
    }


class _Handler(WSGIRequestHandler):
    # Head and body leave as one packet: two would wait for the reader's delayed answer.
    disable_nagle_algorithm = True
    wbufsize = 65536


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    request_queue_size = 128


def serve(address: str, port: int) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    try:
        server = _Server((address, port), _Handler, ipv6=":" in address)
    except OSError as error:
        reason = "in use" if error.errno == errno.EADDRINUSE else "not to be had"
        print(f"{address}:{port} is {reason}; name another one.", file=sys.stderr)
        return 1
    server.set_app(StaticFilesHandler(get_wsgi_application()))

    def stop(number: int, frame: FrameType | None) -> None:
        # shutdown() waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    shown = f"[{address}]" if ":" in address else address
    print(f"Customer.io sandbox at http://{shown}:{server.server_port}/", flush=True)
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, migrates the file and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m django_customerio.sandbox",
        description="Serves a Customer.io sandbox.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "addrport",
        nargs="?",
        default="127.0.0.1:8001",
        metavar="[addr:]port",
        help="Where to serve",
    )
    parser.add_argument(
        "--database",
        default="customerio-sandbox.sqlite3",
        metavar="FILE",
        help="SQLite file, made if it is not there",
    )
    parser.add_argument("--site-id", default="sandbox", help="Site ID callers must show")
    parser.add_argument("--api-key", default="sandbox", help="Track API key callers must show")
    options = parser.parse_args(argv)
    address, _, port = options.addrport.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        parser.error("the port must be a number up to 65535")
    settings.configure(
        **settings_for(str(Path(options.database).resolve()), options.site_id, options.api_key)
    )
    django.setup()
    from django.core.management import call_command
    from django.db import DatabaseError

    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as error:
        print(
            f"{options.database} cannot be used ({error}); name another file by --database.",
            file=sys.stderr,
        )
        return 2
    logging.captureWarnings(True)
    return serve(address.strip("[]") or "127.0.0.1", int(port))
