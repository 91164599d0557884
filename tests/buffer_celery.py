"""A Celery app whose task says something with ``QUEUE = "memory"``."""

from __future__ import annotations

from pathlib import Path

from .queue_app import app

__all__ = ["app"]


@app.task(name="tests.track")
def track(event: str, path: str) -> None:
    """Say something, then show that it is done."""
    import django_customerio as cio

    cio.track("42", event)
    Path(path).touch()
