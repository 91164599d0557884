"""Customer.io over HTTP: the only place that knows requests and tenacity.

``track`` (with the calls of ``v1``) and ``app`` are the two APIs, ``transport`` one request
with its retries, ``sockets`` the time it may take, ``answers`` what comes back, ``paths``
values within addresses, ``shared`` the clients of the settings.
"""

from __future__ import annotations

from django_customerio.client.answers import BatchAnswer
from django_customerio.client.app import AppClient, Delivery, FoundPerson
from django_customerio.client.shared import get_app_client, get_client, sending_allowed
from django_customerio.client.track import BATCH_BYTES, BATCH_ITEMS, Region, TrackClient

__all__ = [
    "BATCH_BYTES",
    "BATCH_ITEMS",
    "AppClient",
    "BatchAnswer",
    "Delivery",
    "FoundPerson",
    "Region",
    "TrackClient",
    "get_app_client",
    "get_client",
    "sending_allowed",
]
