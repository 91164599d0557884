"""Log lines: one for each thing that happens to a message, and no value in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.dispatch import Signal

from django_customerio import observe, signals
from django_customerio.models import OutboxMessage

TOLD = {
    "ulid": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "message_id": 7,
    "kind": "event",
    "workspace": "default",
    "using": "default",
}


@pytest.fixture
def reconnect() -> Iterator[None]:
    """Leaves the receivers as they were."""
    kept = [(signal, list(signal.receivers)) for signal, *_ in observe.LINES]
    for signal, _ in kept:
        signal.receivers = []
        signal.sender_receivers_cache.clear()
    yield
    for signal, receivers in kept:
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize(
    ("signal", "level", "error", "expected"),
    [
        (signals.message_queued, logging.DEBUG, None, " queued"),
        (signals.message_sent, logging.DEBUG, None, " sent"),
        (
            signals.message_failed,
            logging.WARNING,
            "ServerError",
            " failed and will be tried again (ServerError)",
        ),
        (
            signals.message_dead,
            logging.ERROR,
            "refused",
            " is dead: look at it, then resend or discard it (refused)",
        ),
    ],
)
def test_lines(
    reconnect: None,
    caplog: pytest.LogCaptureFixture,
    signal: Signal,
    level: int,
    error: str | None,
    expected: str,
) -> None:
    """Each signal has its line and level, and what it tells as prefixed extras."""
    told = TOLD | ({"error": error} if error else {})
    with caplog.at_level(logging.DEBUG, logger="django_customerio"):
        observe.connect()
        signal.send_robust(OutboxMessage, **told)

    (record,) = caplog.records
    assert record.name == "django_customerio"
    assert record.levelno == level
    assert record.getMessage() == f"event 01ARZ3NDEKTSV4RRFFQ69G5FAV{expected}"
    extras = {
        key.removeprefix("customerio_"): value
        for key, value in vars(record).items()
        if key.startswith("customerio_")
    }
    assert extras == told


def test_only_what_the_contract_names_is_logged(
    reconnect: None, caplog: pytest.LogCaptureFixture
) -> None:
    """An argument that is not for logs does not get there."""
    with caplog.at_level(logging.WARNING, logger="django_customerio"):
        observe.connect()
        signals.message_dead.send_robust(OutboxMessage, **TOLD, name="s3cr3t", body="s3cr3t")

    (record,) = caplog.records
    assert "s3cr3t" not in str(vars(record))


def test_an_exception_is_logged_by_its_class(
    reconnect: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Should somebody pass an exception, its text stays out of the log."""
    with caplog.at_level(logging.WARNING, logger="django_customerio"):
        observe.connect()
        signals.message_dead.send_robust(OutboxMessage, **TOLD, error=ValueError("s3cr3t"))

    (record,) = caplog.records
    assert record.getMessage().endswith("(ValueError)")
    assert "s3cr3t" not in str(vars(record))


def test_a_line_for_each_message_costs_nothing_where_nobody_reads_it(
    reconnect: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Below DEBUG the two lines of every message are not connected at all."""
    with caplog.at_level(logging.INFO, logger="django_customerio"):
        observe.connect()
        observe.connect()

    assert signals.message_queued.receivers == []
    assert signals.message_sent.receivers == []
    assert len(signals.message_failed.receivers) == 1
    assert len(signals.message_dead.receivers) == 1


def test_a_level_that_was_raised_later(reconnect: None, caplog: pytest.LogCaptureFixture) -> None:
    """A level that is raised while the process runs is respected."""
    observe.connect()
    with caplog.at_level(logging.CRITICAL, logger="django_customerio"):
        signals.message_dead.send_robust(OutboxMessage, **TOLD, error="refused")

    assert caplog.records == []
