"""Into the outbox with the caller's transaction, and what wakes the sender."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from django.db import DatabaseError, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import django_customerio as cio
from django_customerio import queue, senders
from django_customerio.conf import get_workspace
from django_customerio.exceptions import InvalidMessage
from django_customerio.models import OutboxMessage
from django_customerio.senders import Sender

from .shop.models import Customer, Reader

WAKES: list[tuple[str, bool]] = []


class CountingSender(Sender):
    """Notes its wakes."""

    def wake(self, using: str, *, sweep: bool = False) -> None:
        WAKES.append((using, sweep))


@pytest.fixture
def wakes(site, customerio):
    """What the sender is told."""
    WAKES.clear()
    customerio(SENDER="tests.test_queue.CountingSender")
    return WAKES


def test_one_statement_more(site):
    """A save in a transaction costs one INSERT, and nothing is read."""
    reader = Reader.objects.create(email="a@example.com")
    with transaction.atomic(), CaptureQueriesContext(connections["default"]) as queries:
        reader.name = "A"
        reader.save()
    statements = [query["sql"].split()[0] for query in queries]
    assert statements == ["UPDATE", "INSERT"]


def test_a_row_carries_what_delivery_needs(site):
    """Workspace, site, person, reference and cause, and no value of the row."""
    ada = Customer.objects.create_user("ada", "ada@example.com", "pw", first_name="Augusta")
    row = OutboxMessage.objects.get()
    assert (row.kind, row.model, row.object_pk) == ("state", "shop.customer", str(ada.pk))
    assert (row.person, row.site) == (f"id:{ada.uuid}", get_workspace().site)
    assert len(row.ulid) == 26
    assert row.cause.startswith("program ")
    assert abs(row.created_at - timezone.now()) < timedelta(minutes=1)
    assert "Augusta" not in str(list(OutboxMessage.objects.values()))
    assert "ada@" not in str(list(OutboxMessage.objects.values()))


def test_history_is_rendered_when_it_is_said(site):
    """The body is the JSON to send, with its size and expiry."""
    cio.track("42", "bought", {"wörd": "ü"}, expires=timedelta(hours=1))
    row = OutboxMessage.objects.get()
    assert '"attributes":{"wörd":"ü"}' in row.body
    assert row.size == len(row.body.encode())
    assert row.ulid in row.body
    assert row.expires_at > timezone.now()


def test_every_character_survives(site, drain):
    """Emoji, NUL and line separators arrive as they were said, on every database."""
    text = "🦄 \x00 \u2028 ü ' \" \\ %s"
    cio.track("4🦄2", "bought", {"text": text})
    drain()
    assert site.applied[0]["attributes"]["text"] == text
    assert site.applied[0]["identifiers"] == {"id": "4🦄2"}


def test_what_breaks_a_limit_is_refused_before_any_sql(site, django_assert_num_queries):
    """The caller sees why, and nothing is stored."""
    with django_assert_num_queries(0), pytest.raises(InvalidMessage, match="32,000"):
        cio.track("42", "bought", {"text": "x" * 32_000})


@pytest.mark.parametrize("fails", ["inner", "outer", "none"])
def test_savepoints_decide_over_rows_and_wakes(wakes, fails):
    """Invariant 1: what rolls back leaves no row; what commits is always woken for."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            cio.track("42", "inner")
            if fails == "inner":
                raise ZeroDivisionError
        cio.track("42", "outer")
        if fails == "outer":
            raise ZeroDivisionError
    names = list(OutboxMessage.objects.order_by("id").values_list("name", flat=True))
    assert names == {"inner": ["outer"], "outer": [], "none": ["inner", "outer"]}[fails]
    assert bool(wakes) is bool(names)


def test_one_wake_up_a_transaction_is_enough(wakes):
    """A bulk import does not register one callback a row."""
    with transaction.atomic():
        for number in range(50):
            cio.track("42", f"step_{number}")
        with transaction.atomic():
            cio.track("42", "in_a_savepoint")
    assert wakes == [("default", False)]


def test_a_wake_up_registered_in_a_lost_savepoint_does_not_count(wakes):
    """The later message registers its own."""
    with transaction.atomic():
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            cio.track("42", "lost")
            raise ZeroDivisionError
        cio.track("42", "kept")
    assert wakes == [("default", False)]


def test_a_sender_that_fails_breaks_nothing(site, customerio, caplog):
    """The commit stands, and the log names no more than the error's class."""
    customerio(SENDER="tests.test_queue.FailingSender")
    cio.track("42", "bought")
    assert OutboxMessage.objects.count() == 1
    assert "waits in the outbox: RuntimeError" in caplog.text
    assert "hush" not in caplog.text


class FailingSender(Sender):
    """Cannot be woken."""

    def wake(self, using: str, *, sweep: bool = False) -> None:
        raise RuntimeError("hush")


def test_an_error_of_our_insert_is_the_callers(site, monkeypatch):
    """It has spoilt the transaction on PostgreSQL: hiding it would lose the caller's work."""
    monkeypatch.setattr(queue, "_statement", lambda using: "INSERT INTO nowhere VALUES (%s)")
    with pytest.raises(DatabaseError):
        cio.track("42", "bought")


def test_a_database_without_our_table_is_skipped_and_logged_once(site, caplog):
    """The save of the host goes through; the log names the cure."""
    with connections["default"].schema_editor() as editor:
        editor.delete_model(OutboxMessage)
    queue.forget_tables()
    try:
        with transaction.atomic():
            Reader.objects.create(email="a@example.com")
            Reader.objects.create(email="b@example.com")
        assert Reader.objects.count() == 2
        assert caplog.text.count("manage.py migrate") == 1
    finally:
        with connections["default"].schema_editor() as editor:
            editor.create_model(OutboxMessage)
        queue.forget_tables()


class NoOutboxOnOther:
    """Keeps our tables off one alias."""

    def allow_migrate(self, db, app_label, **hints):
        return False if (db, app_label) == ("other", "django_customerio") else None


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_alias_that_a_router_keeps_us_off_is_skipped(site, settings, caplog):
    """No error reaches the host; the log names the cure."""
    settings.DATABASE_ROUTERS = [NoOutboxOnOther()]
    Reader.objects.using("other").create(email="a@example.com")
    assert "Route the app" in caplog.text
    assert not OutboxMessage.objects.using("other").exists()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_names_the_aliases_with_an_outbox(site, customerio, caplog):
    """What is not named is skipped."""
    customerio(DATABASES=["default"])
    Reader.objects.using("other").create(email="a@example.com")
    assert not OutboxMessage.objects.using("other").exists()
    assert "has no outbox" in caplog.text


@pytest.mark.django_db
def test_a_test_run_writes_and_sends_nothing(django_assert_num_queries):
    """Invariant 13: unless a test asks."""
    with django_assert_num_queries(0):
        cio.track("42", "bought")
        cio.delete("42")
    assert not OutboxMessage.objects.exists()


def test_a_resend_wakes_with_a_sweep(wakes):
    """Old rows lie below the floors."""
    from django_customerio.recovery import resend

    cio.track("42", "bought")
    OutboxMessage.objects.update(state="dead")
    wakes.clear()
    resend(OutboxMessage.objects.values_list("pk", flat=True), using="default")
    assert wakes == [("default", True)]


def test_the_sender_is_made_anew_with_the_settings(site, customerio):
    """As ``override_settings`` needs it."""
    customerio(SENDER="tests.test_queue.CountingSender")
    assert isinstance(senders.get_sender(), CountingSender)
    customerio(SENDER="command")
    assert type(senders.get_sender()).__name__ == "CommandSender"
