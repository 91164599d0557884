"""What made the site say something: a route, a command or a task, and the release.

Only the pattern of a route is kept (``accounts/<int:pk>/``), never the path, which may
hold tokens and names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from django.core.signals import request_finished, request_started
from django.urls import Resolver404, resolve

from .conf import get_settings

_MAX_LENGTH = 200


class _Request:
    """The request under way; its route is resolved once, and only if somebody asks."""

    __slots__ = ("_path", "_route")

    def __init__(self, path: str) -> None:
        self._path = path
        self._route: str | None = None

    @property
    def route(self) -> str:
        if self._route is None:
            try:
                self._route = "/" + resolve(self._path).route
            except Resolver404:
                self._route = "(unknown route)"
        return self._route


_request: ContextVar[_Request | None] = ContextVar("customerio_request", default=None)


def _begin_request(
    sender: object,
    environ: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    **kwargs: object,
) -> None:
    path = (environ or {}).get("PATH_INFO") or (scope or {}).get("path") or "/"
    if isinstance(path, str):
        _request.set(_Request(path))


def _end_request(**kwargs: object) -> None:
    _request.set(None)


def connect() -> None:
    """Listen to the start and end of requests."""
    request_finished.connect(_end_request, dispatch_uid="django_customerio.cause.end")
    request_started.connect(_begin_request, dispatch_uid="django_customerio.cause")


def current_cause() -> str:
    """Name the route, task or command that is running, and the release if one is set."""
    request = _request.get()
    if request is not None:
        cause = request.route
    else:
        cause = _task() or _command()
    release = get_settings().release
    return f"{cause} @ {release}"[:_MAX_LENGTH] if release else cause[:_MAX_LENGTH]


def _task() -> str:
    # Looked at only where the site itself has loaded Celery.
    celery = sys.modules.get("celery")
    task = getattr(celery, "current_task", None)
    name = getattr(task, "name", None)
    return f"task {name}" if name else ""


def _command() -> str:
    return _named(*sys.argv[:2])


@lru_cache(maxsize=4)
def _named(program: str = "", argument: str = "") -> str:
    path = PurePath(program)
    runs_commands = path.name in ("manage.py", "django-admin") or (
        path.name == "__main__.py" and path.parent.name == "django"
    )
    if runs_commands and argument and not argument.startswith("-"):
        return f"command {argument}"
    return f"program {path.name}" if path.name else ""
