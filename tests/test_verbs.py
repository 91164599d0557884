"""What code says about people."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils.functional import SimpleLazyObject

import django_customerio as cio
from django_customerio import fingerprints, settling
from django_customerio.exceptions import InvalidAttribute, InvalidMessage, NotMapped
from django_customerio.models import OutboxMessage, SentMessage
from django_customerio.testing import capture

from .shop.models import Customer, Lead, Plan, Reader


class PlanBought(cio.Event):
    """A typed event."""

    plan: Literal["free", "pro"]
    amount: Decimal


@pytest.fixture
def said(db):
    with capture() as captured:
        yield captured


def test_every_verb_renders_its_message(said):
    """With the identifiers of the person and the documented JSON."""
    cio.identify("42", {"plan": "pro"}, timestamp=1_700_000_000)
    cio.track("42", "bought", {"n": 1}, timestamp=1_700_000_000.9)
    cio.page("42", "https://example.com/p", {"referrer": "x"})
    cio.screen("42", "Home")
    cio.add_device("42", "token", "ios", last_used=1_700_000_000, attributes={"app_version": 2})
    cio.delete_device("42", "token")
    cio.relate("42", "acme", attributes={"role": "admin"})
    cio.unrelate("42", "acme", object_type_id=2)
    cio.merge("42", {"email": "b@example.com"})
    cio.suppress("42")
    cio.unsuppress("42")
    cio.delete("42")
    assert [each.kind for each in said] == [
        "identify", "event", "page", "screen", "add_device", "delete_device",
        "add_relationships", "delete_relationships", "merge", "suppress", "unsuppress", "delete",
    ]  # fmt: skip
    identify, event, page, *_ = said
    assert identify.json == {
        "type": "person",
        "action": "identify",
        "identifiers": {"id": "42"},
        "attributes": {"plan": "pro"},
        "timestamp": 1_700_000_000,
    }
    assert event.json["timestamp"] == 1_700_000_000
    assert page.json["name"] == "https://example.com/p"
    assert said.of_kind("add_device")[0].json["device"]["attributes"] == {"app_version": "2"}
    [relation] = said.of_kind("delete_relationships")[0].json["cio_relationships"]
    assert relation == {"identifiers": {"object_type_id": "2", "object_id": "acme"}}


@pytest.mark.parametrize(
    ("person", "identifiers"),
    [
        ("42", {"id": "42"}),
        (42, {"id": "42"}),
        (uuid.UUID(int=5), {"id": str(uuid.UUID(int=5))}),
        ({"email": "A@example.com"}, {"email": "A@example.com"}),
        ({"phone": "+4930123"}, {"phone": "+4930123"}),
        ({"cio_id": "cio_03000001"}, {"cio_id": "03000001"}),
        ({"anonymous_id": "visitor"}, {"anonymous_id": "visitor"}),
    ],
)
def test_a_person_is_named_in_every_documented_way(said, person, identifiers):
    """A plain id, or a mapping with one identifier."""
    cio.track(person, "looked")
    [event] = said
    assert event.person == identifiers


def test_a_visitor_can_look_at_pages_and_screens(said):
    """By the anonymous events of version 1."""
    cio.page({"anonymous_id": "visitor"}, "/p")
    cio.screen({"anonymous_id": "visitor"}, "Home")
    page, screen = said
    assert page.json["type"] == "page"
    assert screen.json["type"] == "screen"


def test_a_long_address_is_cut_and_kept_whole_in_the_data(said):
    """At 100 bytes, and at a character's end."""
    short, long = "/" + "x" * 99, "/ü" * 60
    cio.page("42", short)
    cio.page("42", long, {"title": "T"})
    cio.page("42", long, {"url": "mine"})
    assert [each.name for each in said] == [short, "/ü" * 33 + "/", "/ü" * 33 + "/"]
    assert [each.data for each in said] == [{}, {"url": long, "title": "T"}, {"url": "mine"}]


def test_an_instance_is_named_by_its_map(said):
    """With the reference that ``when`` needs; a lazy user is seen through."""
    ada = Customer.objects.create_user("ada", "ada@example.com", "pw")
    said.clear()
    lazy = SimpleLazyObject(lambda: ada)
    cio.track(lazy, "bought")
    ada.customerio.track("bought")
    assert [each.person for each in said] == [{"id": str(ada.uuid)}] * 2


def test_identify_without_attributes_is_a_look(said):
    """It tells the row as it is when it is sent."""
    ada = Customer.objects.create_user("ada", "ada@example.com", "pw")
    Customer.objects.filter(pk=ada.pk).update(first_name="Ada")
    said.clear()
    cio.identify(ada)
    said.assert_identified(ada, first_name="Ada")


def test_identify_of_an_update_only_map_never_creates(said):
    """With attributes too."""
    lead = Lead.objects.create(name="L")
    said.clear()
    cio.identify(lead, {"score": 5})
    assert said.identifies[0].json["attributes"] == {"score": 5, "_update": True}


def test_there_is_nothing_to_look_at_behind_a_plain_id(said):
    """The error says what to pass instead."""
    with pytest.raises(NotMapped, match="pass attributes"):
        cio.identify("42")


def test_a_model_that_is_not_mapped_is_refused(said):
    """By its label, with the cure."""
    with pytest.raises(NotMapped, match=r"shop\.Plan is not mapped.*CustomerIOMixin"):
        cio.track(Plan(name="pro"), "bought")


def test_a_model_is_no_person(said):
    """The text asks for an instance."""
    with pytest.raises(NotMapped, match="Customer is a model: pass an instance"):
        cio.track(Customer, "bought")


def test_nobody_who_is_logged_in_is_named(said):
    """``request.user`` is lazy; the text says what it holds."""
    with pytest.raises(InvalidMessage, match='not a "AnonymousUser"'):
        cio.track(SimpleLazyObject(AnonymousUser), "bought")


def test_nobody_is_told_who_can_be_somebody(said):
    """The text lists all that names a person, rows of mapped models among it."""
    with pytest.raises(InvalidMessage, match=r"an instance of a mapped model.*\"NoneType\""):
        cio.track(None, "bought")


@pytest.mark.parametrize("moment", [1_700_000_000_000, 1_700_000_000_000.0, 0, -1])
def test_created_at_that_is_no_time_is_refused_at_the_call(said, moment):
    """Customer.io would refuse the whole message for milliseconds."""
    with pytest.raises(InvalidAttribute, match=r"created_at.*divided by 1,000") as caught:
        cio.identify("42", {"created_at": moment})
    assert caught.value.field == "created_at"
    assert not said.messages


@pytest.mark.parametrize("moment", [1, 1_700_000_000, datetime(1997, 1, 1, tzinfo=UTC), None])
def test_created_at_in_seconds_is_taken(said, moment):
    """As history is, and a datetime, and None, which removes it."""
    cio.identify("42", {"created_at": moment})
    assert len(said.identifies) == 1


def test_an_instance_without_an_id_is_nobody_yet(said):
    """An unsaved row, or an empty e-mail address."""
    with pytest.raises(NotMapped, match="save it first"):
        cio.track(Reader(), "bought")


def test_typed_events_bring_their_data(said):
    """Name and data come from the class."""
    cio.track("42", PlanBought(plan="pro", amount=Decimal("9.50")))
    said.assert_tracked("plan_bought", "42", plan="pro", amount=9.5)
    with pytest.raises(InvalidMessage, match="PlanBought"):
        cio.track("42", PlanBought(plan="pro", amount=Decimal("9")), {"more": 1})


def test_an_unknown_workspace_is_refused(said):
    """By its name, with those that exist."""
    with pytest.raises(ImproperlyConfigured, match=r"brand_x.*default"):
        cio.track("42", "bought", workspace="brand_x")


def test_another_workspace(site, settings, drain):
    """A message goes to the workspace it names."""
    settings.CUSTOMERIO = {
        "SENDER": "command",
        "WORKSPACES": {
            "default": {"SITE_ID": "A", "API_KEY": "K", "TRACK_URL": site.url},
            "brand_b": {"SITE_ID": "B", "API_KEY": "K", "TRACK_URL": site.url},
        },
    }
    cio.track("42", "bought", workspace="brand_b")
    assert drain().accepted == 0
    assert drain(workspace="brand_b").accepted == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_using_names_the_transaction_it_joins(site):
    """A plain id has no database of its own."""
    cio.track("42", "bought", using="other")
    assert OutboxMessage.objects.using("other").count() == 1


def test_a_moment_can_be_a_datetime(said):
    """Or seconds; milliseconds are refused."""
    cio.track("42", "bought", timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert said.events[0].json["timestamp"] == 1_767_323_045
    with pytest.raises(InvalidMessage, match="timestamp"):
        cio.track("42", "bought", timestamp=1_561_231_234_000)


@pytest.mark.parametrize("use_tz", [True, False])
def test_expiry_is_a_moment_in_any_time_zone(site, settings, use_tz):
    """A datetime without time zone is one of the project's, as everywhere."""
    settings.TIME_ZONE = "Asia/Tokyo"
    settings.USE_TZ = use_tz
    for expires in (
        datetime(2030, 1, 1, 3, tzinfo=UTC),
        datetime(2030, 1, 1, 12),
        timedelta(days=9999),
    ):
        cio.delete_device("42", "token", expires=expires)
        cio.merge("42", "43", expires=expires)
    stored = OutboxMessage.objects.order_by("id").values_list("expires_at", flat=True)
    noon = datetime(2030, 1, 1, 3, tzinfo=UTC) if use_tz else datetime(2030, 1, 1, 12)
    assert list(stored)[:4] == [noon] * 4
    assert stored[4] > noon


def test_expiry_is_nothing_else(said):
    """Seconds could be a moment or a while."""
    with pytest.raises(InvalidMessage, match='not of the type "int"') as caught:
        cio.track("42", "bought", expires=60)
    assert caught.value.field == "expires"


def test_erase_forgets_here_and_there(site, drain):
    """Queued messages, ledger and fingerprint go; the person is suppressed over there."""
    ada = Customer.objects.create_user("ada", "ada@example.com", "pw")
    ada.customerio.track("bought")
    drain()
    ada.customerio.track("queued")
    cio.track("other", "stays")
    ada.customerio.erase()
    assert list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True)) == [
        "event",
        "suppress",
    ]
    assert not SentMessage.objects.filter(person=f"id:{ada.uuid}").exists()
    drain()
    assert site.people == {"id:other": {}}


def test_erase_in_a_test_run_is_captured(said):
    """As a suppression."""
    cio.erase("42")
    assert said.deletes[0].kind == "suppress"


def test_the_accessor_knows_every_verb(said):
    """On an instance."""
    ada = Customer.objects.create_user("ada", "ada@example.com", "pw")
    said.clear()
    ada.customerio.identify({"plan": "pro"})
    ada.customerio.track("bought")
    ada.customerio.page("/p")
    ada.customerio.screen("Home")
    ada.customerio.suppress()
    ada.customerio.unsuppress()
    ada.customerio.delete()
    ada.customerio.erase()
    assert [each.kind for each in said] == [
        "identify", "event", "page", "screen", "suppress", "unsuppress", "delete", "suppress",
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_async_code_has_its_own_verbs(site):
    """They queue in a thread."""

    async def say():
        await cio.atrack("42", "bought")
        await cio.aidentify("42", {"plan": "pro"})

    async_to_sync(say)()
    kinds = list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["event", "identify"]


def erase_elsewhere(person, errors):
    """Erase in a thread, which notes what goes wrong."""

    def run():
        try:
            cio.erase(person)
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    return threading.Thread(target=run)


@pytest.mark.parametrize(
    ("room", "name"), [(fingerprints, "store"), (settling, "_move_to_ledger")]
)
def test_erase_wins_over_a_batch_that_is_being_finished(site, drain, monkeypatch, room, name):
    """Without a deadlock, and nothing of the person is left in the ledger."""
    if connections["default"].vendor == "sqlite":
        pytest.skip("one writer at a time")
    lead = Lead.objects.create(name="L")
    cio.track(lead, "a")
    real, errors = getattr(room, name), []
    erasing = erase_elsewhere(lead, errors)

    def slow(*args, **options):
        real(*args, **options)
        if not erasing.ident:
            erasing.start()
            time.sleep(0.5)

    monkeypatch.setattr(room, name, slow)
    drain()
    erasing.join()
    assert errors == []
    assert not SentMessage.objects.exclude(kind="suppress").exists()
