"""What the package offers to its users' tests."""

from __future__ import annotations

import pytest
from django.core import mail

import django_customerio as cio
from django_customerio.exceptions import SendingRefused
from django_customerio.models import OutboxMessage
from django_customerio.testing import capture, live

from .shop.models import Customer, Employee, Reader

pytestmark = pytest.mark.django_db


def make() -> Customer:
    return Customer.objects.create_user("ada", "ada@example.com", "pw", first_name="Ada")


def test_capture_sees_at_once(customerio_outbox):
    """Without a commit, and without rows."""
    ada = make()
    customerio_outbox.assert_identified(ada, first_name="Ada")
    assert not OutboxMessage.objects.exists()


def test_looks_at_one_person_count_once():
    """And tell the row as it is when asked."""
    with capture() as said:
        ada = make()
        ada.first_name = "Augusta"
        ada.save()
    assert len(said.identifies) == 1
    said.assert_identified(email="ada@example.com", first_name="Augusta")


def test_consent_is_not_told():
    """Neither in a test."""
    with capture() as said:
        make()
    assert "unsubscribed" not in said.identifies[0].data


def test_it_says_that_all_is_turned_off(settings):
    """A test that finds nothing is told why."""
    settings.CUSTOMERIO = {"ENABLED": False}
    with capture() as said:
        make()
    with pytest.raises(AssertionError, match=r'nothing, because CUSTOMERIO\["ENABLED"\] is off'):
        said.assert_identified()


def test_outside_of_a_test_run_it_refuses(monkeypatch):
    """There it would see nothing, and what is said would be sent."""
    monkeypatch.delattr(mail, "outbox")
    with pytest.raises(RuntimeError, match="setup_test_environment"), capture():
        pass


def test_blocks_nest():
    """The innermost collects."""
    with capture() as outer:
        cio.track("42", "a")
        with capture() as inner:
            cio.track("42", "b")
    assert [each.name for each in outer] == ["a"]
    assert [each.name for each in inner] == ["b"]


def test_the_excluded_and_the_deleted_are_not_told():
    """As when it is sent."""
    with capture() as said:
        Employee.objects.create(name="N", consented=False)
        Reader.objects.create(email="gone@example.com")
        Reader.objects.all().delete()
    assert [each.kind for each in said] == ["event", "delete"]
    said.assert_deleted({"email": "gone@example.com"})
    said.assert_not_tracked("hired")


def test_a_when_that_raises_shows(monkeypatch):
    """A test should see it."""
    from django_customerio.exceptions import InvalidMessage
    from django_customerio.mapping import registry

    employees = registry.get(Employee)
    monkeypatch.setattr(employees, "when", lambda employee: 1 / 0)
    employees.__dict__.pop("_reader", None)
    try:
        with capture() as said:
            Employee.objects.create(name="N")
        with pytest.raises(InvalidMessage, match="ZeroDivisionError"):
            said.messages  # noqa: B018
    finally:
        employees.__dict__.pop("_reader", None)


def test_assertions_say_what_was_said():
    """A failing one lists it."""
    with capture() as said:
        cio.track("42", "bought", {"n": 1})
    said.assert_tracked("bought", "42", n=1)
    for check in (
        lambda: said.assert_tracked("bought", "43"),
        lambda: said.assert_tracked("bought", n=2),
        lambda: said.assert_tracked("sold"),
        lambda: said.assert_identified(make()),
        lambda: said.assert_deleted(),
        lambda: said.assert_not_tracked("bought"),
        lambda: said.assert_nothing(),
    ):
        with pytest.raises(AssertionError, match="Said:"):
            check()


def test_what_was_missed_is_a_sentence():
    """Of a person, of anybody, and of somebody who is not saved yet."""
    with capture() as said:
        pass

    def text(check) -> str:
        with pytest.raises(AssertionError) as caught:
            check()
        return str(caught.value).partition("\n")[0]

    assert text(lambda: said.assert_identified("42", plan="pro")) == (
        "The person {'id': '42'} was not identified with {'plan': 'pro'}."
    )
    assert text(said.assert_identified) == "Nobody was identified."
    assert text(lambda: said.assert_deleted("42")) == "The person {'id': '42'} was not deleted."
    assert text(lambda: said.assert_tracked("bought", n=1)) == (
        "No event 'bought' was tracked with {'n': 1}."
    )
    assert text(lambda: said.assert_tracked("bought", "42")) == (
        "No event 'bought' was tracked of the person {'id': '42'}."
    )
    assert text(lambda: said.assert_identified(Reader())) == (
        "The person who has no identifier yet was not identified."
    )


def test_captured_is_short():
    """What pytest and a debugger show names what was said, and no values."""
    with capture() as said:
        assert repr(said) == "<Captured: nothing>"
        make()
        cio.track("42", "bought", {"n": 1})
        cio.delete("42")
        assert repr(said) == "<Captured: identify shop.customer, event 'bought', delete>"
        for _ in range(3):
            cio.track("42", "bought")
        assert repr(said).endswith(", event 'bought' and 1 more>")


def test_nothing_said_is_asserted_too():
    """And an empty list says so."""
    with capture() as said:
        pass
    said.assert_nothing()
    assert "nothing" in said.describe()
    cio.track("42", "a")
    assert len(said) == 0


def test_an_unsaved_person_was_told_of_nothing():
    """Asking is no error."""
    with capture() as said, pytest.raises(AssertionError):
        said.assert_tracked("bought", Reader())


def test_live_sends_to_this_machine_only(settings):
    """Not to the real service, whatever a test does."""
    settings.CUSTOMERIO = {"SITE_ID": "S", "API_KEY": "K"}
    with live(), pytest.raises(SendingRefused, match="this machine"):
        cio.get_client()


def test_outside_of_it_nothing_can_be_sent(settings):
    """The client refuses as well."""
    settings.CUSTOMERIO = {"SITE_ID": "S", "API_KEY": "K", "TRACK_URL": "http://127.0.0.1:9"}
    with pytest.raises(SendingRefused, match="test run"):
        cio.get_client()
