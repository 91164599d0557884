"""Fixtures of the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations

from django_customerio import delivery
from django_customerio.delivery import Report
from django_customerio.models import Lane, OutboxMessage, Tombstone, WorkspaceStatus
from django_customerio.testing import live

from .fake import FakeCustomerIO, serve


@pytest.fixture
def fake() -> Iterator[FakeCustomerIO]:
    """A Customer.io on loopback."""
    with serve() as server:
        yield server


@pytest.fixture
def customerio(settings: Any, fake: FakeCustomerIO) -> Callable[..., None]:
    """Change the setting; always points to the fake, with quick retries."""

    def change(**options: Any) -> None:
        settings.CUSTOMERIO = {
            "SITE_ID": "SITE",
            "API_KEY": "hush-key",
            "TRACK_URL": fake.url,
            "SENDER": "command",
            "RETRIES": 0,
            "RETRY_BASE": 0.01,
            "RETRY_CAP": 0.02,
            **options,
        }

    change()
    return change


@pytest.fixture
def site(
    transactional_db: None, customerio: Callable[..., None], fake: FakeCustomerIO
) -> Iterator[FakeCustomerIO]:
    """A site that really queues and sends, to the fake that it returns."""
    with live():
        yield fake


@pytest.fixture
def drain() -> Callable[..., Report]:
    """Send what is queued on the default database."""

    def run(**options: Any) -> Report:
        return delivery.drain(**{"using": "default", **options})

    return run


@pytest.fixture
def settle() -> Callable[[], None]:
    """Let so much time pass that no old request can be applied any longer."""

    def run() -> None:
        Tombstone.objects.filter(repeat_at__gt=0).update(repeat_at=1)

    return run


@pytest.fixture
def wait() -> Callable[[], None]:
    """Let all pauses and waits pass."""

    def run() -> None:
        Lane.objects.update(paused_until=0)
        WorkspaceStatus.objects.update(paused_until=0)
        OutboxMessage.objects.update(retry_at=0)

    return run


@pytest.fixture(scope="session", autouse=True)
def _flush_by_delete() -> None:
    """Empty tables by DELETE on PostgreSQL: TRUNCATE of so many takes a third of a second."""

    def sql_flush(
        self: Any, style: Any, tables: Any, *, reset_sequences: bool = False, **options: Any
    ) -> list[str]:
        return [f"DELETE FROM {self.quote_name(table)};" for table in tables]

    DatabaseOperations.sql_flush = sql_flush
