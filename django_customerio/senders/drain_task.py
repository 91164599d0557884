"""The task of ``django.tasks``: workers find it by the path of this module.

Importing it makes the backend, so nothing imports it before there is something to send.
"""

from __future__ import annotations

from .remote import work
from .tasks import library, route


def drain(using: str, sweep: bool = False) -> None:
    """Drain one database."""
    work(using, sweep=sweep)


_alias, _queue = route()
drain = library().task(backend=_alias, queue_name=_queue)(drain)
