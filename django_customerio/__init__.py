"""Keep Customer.io in step with the database of a Django site.

The names below come when they are first asked for: the package root must be importable
while Django loads ``INSTALLED_APPS``, before there can be models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import get_client as get_client
    from .events import Event as Event
    from .mapping import PersonMap as PersonMap
    from .mapping import register as register
    from .mixins import CustomerIOMixin as CustomerIOMixin
    from .verbs import add_device as add_device
    from .verbs import aidentify as aidentify
    from .verbs import atrack as atrack
    from .verbs import delete as delete
    from .verbs import delete_device as delete_device
    from .verbs import erase as erase
    from .verbs import identify as identify
    from .verbs import merge as merge
    from .verbs import page as page
    from .verbs import relate as relate
    from .verbs import screen as screen
    from .verbs import suppress as suppress
    from .verbs import track as track
    from .verbs import unrelate as unrelate
    from .verbs import unsuppress as unsuppress

_HOMES = {
    "CustomerIOMixin": "mixins",
    "Event": "events",
    "PersonMap": "mapping",
    "get_client": "client",
    "register": "mapping",
    **dict.fromkeys(
        (
            "add_device",
            "aidentify",
            "atrack",
            "delete",
            "delete_device",
            "erase",
            "identify",
            "merge",
            "page",
            "relate",
            "screen",
            "suppress",
            "track",
            "unrelate",
            "unsuppress",
        ),
        "verbs",
    ),
}

__all__ = [
    "CustomerIOMixin",
    "Event",
    "PersonMap",
    "add_device",
    "aidentify",
    "atrack",
    "delete",
    "delete_device",
    "erase",
    "get_client",
    "identify",
    "merge",
    "page",
    "register",
    "relate",
    "screen",
    "suppress",
    "track",
    "unrelate",
    "unsuppress",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version  # it takes longer than all else here

        return version("django-customerio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
