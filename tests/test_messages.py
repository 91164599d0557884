from __future__ import annotations

import json
import math
import re
import traceback
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_customerio import messages
from django_customerio.exceptions import InvalidAttribute, InvalidMessage, MessageTooLarge
from django_customerio.ids import is_ulid
from django_customerio.messages import (
    AddDevice,
    AddRelationships,
    AnonymousEvent,
    Delete,
    DeleteDevice,
    DeleteRelationships,
    Event,
    Identifiers,
    Identify,
    Merge,
    Message,
    Page,
    Relationship,
    Screen,
    Suppress,
    Unsuppress,
    lane_of,
)

ULID = "01HB4HBDKTFWYZCK01DMRSWRFD"
SECRET = "s3cr3t-value"
PERSON = Identifiers("id", "5")
EMAIL = Identifiers("email", "b@e.com")


class Ids(StrEnum):
    FIVE = "5"


# -- who ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ("5", {"id": "5"}),
        (5, {"id": "5"}),
        (0, {"id": "0"}),
        (Ids.FIVE, {"id": "5"}),
        (mark_safe("5"), {"id": "5"}),
        (UUID(int=5), {"id": str(UUID(int=5))}),
        (" 5 ", {"id": " 5 "}),
        ("a/b c+d@e.com", {"id": "a/b c+d@e.com"}),
        ("cio_5", {"id": "cio_5"}),
        ({"id": 5}, {"id": "5"}),
        ({"email": "X@e.com"}, {"email": "X@e.com"}),
        ({"phone": "+491701234567"}, {"phone": "+491701234567"}),
        ({"cio_id": "03000001"}, {"cio_id": "03000001"}),
        ({"cio_id": "cio_03000001"}, {"cio_id": "03000001"}),
        ({"anonymous_id": "abc"}, {"anonymous_id": "abc"}),
        (PERSON, {"id": "5"}),
    ],
)
def test_who(person: Any, expected: dict[str, str]) -> None:
    """A person is an id or one named identifier; nothing is guessed from its look."""
    identifiers = Identifiers.parse(person)
    assert identifiers.as_dict() == expected
    assert type(identifiers.value) is str


@pytest.mark.parametrize(
    "person",
    [
        None,
        True,
        5.0,
        "",
        "  \t",
        f"{SECRET}\0",
        f"{SECRET}\ud800",
        b"5",
        [],
        {},
        {"id": None},
        {"id": True},
        {"id": 10**400},
        {"id": "5", "email": "x@e.com"},
        {"name": SECRET},
        {5: SECRET},
        {"email": " "},
        {"cio_id": "cio_"},
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)
def test_nobody(person: Any) -> None:
    """What names nobody is refused, without repeating it."""
    with pytest.raises(InvalidMessage) as caught:
        Identifiers.parse(person)
    assert caught.value.field
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("kind", "limit"), [("id", 150), ("email", 254), ("phone", 254)])
@pytest.mark.parametrize("character", ["a", "é", "€", "\N{GRINNING FACE}"])
def test_length_of_an_identifier(kind: Any, limit: int, character: str) -> None:
    """Identifiers are measured in bytes of UTF-8: 150 for an id, 254 for the others."""
    most = limit // len(character.encode())
    filler = "x" * (limit - most * len(character.encode()))
    assert Identifiers(kind, character * most + filler)
    with pytest.raises(InvalidMessage, match=str(limit)) as caught:
        Identifiers(kind, character * most + filler + "x")
    assert caught.value.field == kind


def test_keys() -> None:
    """A key tells people apart as Customer.io does: only the case of e-mails is ignored."""
    assert PERSON.key == "id:5"
    assert Identifiers("email", "Joe@E.com").key == Identifiers("email", "joe@e.com").key
    assert Identifiers("email", "Joe@E.com").as_dict() == {"email": "Joe@E.com"}
    assert Identifiers("id", "A").key != Identifiers("id", "a").key
    assert Identifiers("id", "b@e.com").key != EMAIL.key


def test_lanes() -> None:
    """A key has one of 64 lanes, everywhere the same, and people spread over all of them."""
    assert lane_of("id:5") == 51
    lanes = [lane_of(f"id:{number}") for number in range(10_000)]
    assert set(lanes) == set(range(64))
    assert max(map(lanes.count, range(64))) < 250
    assert lane_of("id:\N{GRINNING FACE}") in range(64)


# -- vectors of the fact sheet --------------------------------------------------------


def test_vector_v14() -> None:
    """Identify, event and suppress render as the operations of vector V14."""
    said = [
        Identify(person=PERSON, attributes={"plan": "pro"}),
        Event(person=PERSON, name="signup", id=ULID, timestamp=None),
        Suppress(person=Identifiers("id", "6")),
    ]
    assert [json.loads(each.as_json()) for each in said] == [
        {
            "type": "person",
            "action": "identify",
            "identifiers": {"id": "5"},
            "attributes": {"plan": "pro"},
        },
        {
            "type": "person",
            "action": "event",
            "identifiers": {"id": "5"},
            "name": "signup",
            "id": ULID,
            "attributes": {},
        },
        {"type": "person", "action": "suppress", "identifiers": {"id": "6"}},
    ]


def test_vectors_v1_v2() -> None:
    """Naive and aware times become the seconds of vectors V1 and V2; the id stays as it is."""
    moment = datetime(2026, 1, 2, 3, 4, 5)
    message = Identify(
        person=Identifiers.parse("a/b c+d@e.com"),
        attributes={
            "email": "x@e.com",
            "joined": moment,
            "left": moment.replace(tzinfo=timezone(timedelta(hours=-5))),
        },
    )
    assert message.as_dict()["identifiers"] == {"id": "a/b c+d@e.com"}
    assert message.as_dict()["attributes"] == {
        "email": "x@e.com",
        "joined": 1767323045,
        "left": 1767341045,
    }


def test_vector_v3() -> None:
    """An update that never creates says so; the time is the envelope's in v2."""
    message = Identify(
        person=PERSON, attributes={"plan": "pro"}, timestamp=1767323045, update_only=True
    )
    assert message.as_dict()["attributes"] == {"plan": "pro", "_update": True}
    assert message.as_dict()["timestamp"] == 1767323045
    assert message.attribute_names == ("plan",)


def test_vector_v4() -> None:
    """Identifiers change by attributes, of a person named by cio_id."""
    message = Identify(
        person=Identifiers("cio_id", "03000001"), attributes={"email": "new@e.com", "id": "99"}
    )
    assert message.as_dict()["identifiers"] == {"cio_id": "03000001"}
    assert message.as_dict()["attributes"] == {"email": "new@e.com", "id": "99"}


def test_vector_v5() -> None:
    """One topic is changed by its dotted key."""
    topic = {"cio_subscription_preferences.topics.topic_3": False}
    assert Identify(person=PERSON, attributes=topic).as_dict()["attributes"] == topic


def test_vector_v6() -> None:
    """An event with id and time says both, and its data."""
    event = Event(
        person=PERSON, name="purchased", data={"price": 23.45}, id=ULID, timestamp=1561231234
    )
    assert event.as_dict() == {
        "type": "person",
        "action": "event",
        "identifiers": {"id": "5"},
        "name": "purchased",
        "id": ULID,
        "timestamp": 1561231234,
        "attributes": {"price": 23.45},
    }


@pytest.mark.parametrize("time", [1561231234000, 999_999_999, 100_000_000_000, 0, -1])
def test_vector_v7(time: int) -> None:
    """Milliseconds, and all else that is no time in seconds, are refused."""
    with pytest.raises(InvalidMessage, match=r"Milliseconds must be divided by 1,000") as caught:
        Event(person=PERSON, name="purchased", timestamp=time)
    assert caught.value.field == "timestamp"


def test_vector_v8() -> None:
    """A page view has the address as its name."""
    page = Page(person=PERSON, name="https://e.com/p", data={"referrer": "x"}, id=ULID)
    assert page.as_dict()["action"] == "page"
    assert page.as_dict()["name"] == page.name == "https://e.com/p"
    assert page.as_dict()["attributes"] == {"referrer": "x"}
    assert Screen(person=PERSON, name="home").as_dict()["action"] == "screen"


def test_vector_v9() -> None:
    """An anonymous event has the shape of v1."""
    event = AnonymousEvent(anonymous_id="abc123", name="watched_video", id=ULID, timestamp=None)
    assert event.as_dict() == {
        "name": "watched_video",
        "data": {},
        "anonymous_id": "abc123",
        "id": ULID,
    }
    assert event.person == Identifiers("anonymous_id", "abc123")


def test_vector_v10() -> None:
    """An invitation has a recipient and no anonymous_id at all."""
    event = AnonymousEvent(
        name="invite", data={"recipient": "x@e.com"}, id=ULID, timestamp=1561231234
    )
    assert event.as_dict() == {
        "name": "invite",
        "data": {"recipient": "x@e.com"},
        "id": ULID,
        "timestamp": 1561231234,
    }
    assert event.person is None


def test_vector_v11() -> None:
    """A device says ``token`` in v2, where v1 says ``id``."""
    add = AddDevice(
        person=PERSON,
        token="tok/1",
        platform="ios",
        last_used=1514764800,
        attributes={"app_version": "1.2"},
    )
    assert add.as_dict() == {
        "type": "person",
        "action": "add_device",
        "identifiers": {"id": "5"},
        "device": {
            "token": "tok/1",
            "platform": "ios",
            "last_used": 1514764800,
            "attributes": {"app_version": "1.2"},
        },
    }
    bare = AddDevice(person=PERSON, token="t", platform="android")
    assert bare.as_dict()["device"] == {"token": "t", "platform": "android"}
    assert DeleteDevice(person=PERSON, token="tok/1").as_dict() == {
        "type": "person",
        "action": "delete_device",
        "identifiers": {"id": "5"},
        "device": {"token": "tok/1"},
    }


def test_vector_v12() -> None:
    """A merge names two people, integers as strings."""
    merge = Merge(primary=Identifiers.parse(5), secondary=EMAIL)
    assert merge.as_dict() == {
        "type": "person",
        "action": "merge",
        "primary": {"id": "5"},
        "secondary": {"email": "b@e.com"},
    }
    assert merge.person == PERSON


def test_vector_v16() -> None:
    """An item of 32,000 bytes is taken, one of 32,001 refused."""
    empty = len(Event(person=PERSON, name="e", data={"a": ""}).as_json())
    fits = Event(person=PERSON, name="e", data={"a": "x" * (32_000 - empty)})
    assert len(fits.as_json()) == 32_000
    over = Event(person=PERSON, name="e", data={"a": "x" * (32_001 - empty)})
    with pytest.raises(MessageTooLarge, match=r"event message has 32,001 bytes"):
        over.as_json()


# -- limits ---------------------------------------------------------------------------


@given(st.characters(codec="utf-8"))
def test_item_is_measured_on_the_wire(character: str) -> None:
    """Whatever the characters, the limit is 32,000 bytes of the text that is sent."""

    def event(count: int, filler: int = 0) -> Event:
        data = {"a": character * count, "b": "x" * filler}
        return Event(person=PERSON, name="e", data=data)

    empty = len(event(0).as_json().encode())
    each = len(event(1).as_json().encode()) - empty
    count, filler = divmod(32_000 - empty, each)
    assert len(event(count, filler).as_json().encode()) == 32_000
    with pytest.raises(MessageTooLarge):
        event(count, filler + 1).as_json()


@pytest.mark.parametrize("kind", [Event, Page, Screen])
@pytest.mark.parametrize("character", ["a", "é", "€", "\N{GRINNING FACE}"])
def test_length_of_a_name(kind: Any, character: str) -> None:
    """Names have 100 bytes of UTF-8, without the spaces around them."""
    width = len(character.encode())
    name = character * (100 // width) + "x" * (100 % width)
    assert kind(person=PERSON, name=f"  {name} \n").name == name
    with pytest.raises(InvalidMessage, match="101 bytes") as caught:
        kind(person=PERSON, name=name + "x")
    assert caught.value.field == "name"


@pytest.mark.parametrize("name", ["", " \n", "a\0b", "a\ud800", None, 5, b"a"], ids=repr)
@pytest.mark.parametrize("make", [Event, AnonymousEvent])
def test_bad_names(make: Any, name: Any) -> None:
    """Names are strings that say something."""
    who = {"anonymous_id": "a"} if make is AnonymousEvent else {"person": PERSON}
    with pytest.raises(InvalidMessage) as caught:
        make(name=name, **who)
    assert caught.value.field == "name"


def test_name_of_choices() -> None:
    """The name may be an Enum of strings; plain text comes out."""
    event = Event(person=PERSON, name=Ids.FIVE)
    assert event.name == "5"
    assert type(event.name) is str


def test_number_of_attributes() -> None:
    """An identify has 300 attributes at most."""
    assert Identify(person=PERSON, attributes={f"a{n}": n for n in range(300)}).as_json()
    with pytest.raises(InvalidMessage, match="301 attributes") as caught:
        Identify(person=PERSON, attributes={f"a{n}": n for n in range(301)})
    assert caught.value.field == "attributes"


@pytest.mark.parametrize("character", ["a", "é", "€", "\N{GRINNING FACE}"])
def test_length_of_an_attribute(character: str) -> None:
    """Names of attributes have 150 bytes, values 1,000, in UTF-8."""
    width = len(character.encode())
    name = character * (150 // width) + "x" * (150 % width)
    value = character * (1_000 // width) + "x" * (1_000 % width)
    assert Identify(person=PERSON, attributes={name: value}).attribute_names == (name,)
    with pytest.raises(InvalidAttribute, match="151 bytes"):
        Identify(person=PERSON, attributes={f"{name}x": 1})
    with pytest.raises(InvalidAttribute, match="1,001 bytes") as caught:
        Identify(person=PERSON, attributes={"bio": f"{value}x"})
    assert caught.value.field == "bio"


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (["x" * 996], ["x" * 997]),
        ({"a": "x" * 992}, {"a": "x" * 993}),
        (10**999, 10**1001),
    ],
    ids=["list", "dict", "int"],
)
def test_length_of_other_values(most: Any, more: Any) -> None:
    """Values that are no strings are measured as JSON."""
    assert Identify(person=PERSON, attributes={"a": most}).as_json()
    with pytest.raises(InvalidAttribute, match="bytes"):
        Identify(person=PERSON, attributes={"a": more})


@pytest.mark.parametrize(
    "name",
    [
        "cio_id",
        "cio_relationships",
        "_update",
        "_timestamp",
        "_anything",
        "_cio_subscription_preferences_computed",
        "",
        " ",
        "a\0",
        "a\ud800",
    ],
    ids=repr,
)
def test_names_that_attributes_cannot_have(name: str) -> None:
    """Reserved and unprintable names are refused, with what to use instead."""
    with pytest.raises(InvalidAttribute):
        Identify(person=PERSON, attributes={name: 1})


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "email",
        "phone",
        "anonymous_id",
        "created_at",
        "unsubscribed",
        "cio_subscription_preferences",
        "cio_subscription_preferences.topics.topic_1",
        "First Name",
    ],
)
def test_names_that_attributes_can_have(name: str) -> None:
    """Customer.io's documented attributes can be set like any other."""
    assert Identify(person=PERSON, attributes={name: "1"}).attribute_names == (name,)


def test_none_is_null() -> None:
    """None goes out as null, which removes an attribute."""
    assert '"attributes":{"a":null}' in Identify(person=PERSON, attributes={"a": None}).as_json()


# -- history --------------------------------------------------------------------------


def test_event_has_id_and_time_of_its_own() -> None:
    """An event that is given neither has a new ULID and the present, both kept for ever."""
    with time_machine.travel(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), tick=False):
        event = Event(person=PERSON, name="e")
    assert event.timestamp == 1767323045
    assert is_ulid(event.id)
    assert event.as_json() == event.as_json()
    assert Event(person=PERSON, name="e").id != event.id


def test_time_of_an_event() -> None:
    """The time may be a datetime; the future is allowed, too."""
    moment = datetime(2036, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert Event(person=PERSON, name="e", timestamp=moment).timestamp == 2082855845
    assert Event(person=PERSON, name="e", timestamp=1_000_000_000).as_json()
    assert Event(person=PERSON, name="e", timestamp=99_999_999_999).as_json()


def test_time_of_old_history() -> None:
    """A datetime cannot be milliseconds by mistake, so it may lie before 2001, not 1970."""
    assert Event(person=PERSON, name="e", timestamp=datetime(1997, 1, 1, tzinfo=UTC)).as_json()
    with pytest.raises(InvalidMessage) as caught:
        Event(person=PERSON, name="e", timestamp=datetime(1969, 12, 31, tzinfo=UTC))
    assert caught.value.field == "timestamp"


@pytest.mark.parametrize("time", [True, 1561231234.5, "1561231234", math.nan], ids=repr)
def test_what_is_no_time(time: Any) -> None:
    """Neither booleans nor floats nor strings are times."""
    with pytest.raises(InvalidMessage) as caught:
        Event(person=PERSON, name="e", timestamp=time)
    assert caught.value.field == "timestamp"
    with pytest.raises(InvalidMessage) as caught:
        AddDevice(person=PERSON, token="t", platform="ios", last_used=time)
    assert caught.value.field == "last_used"


@pytest.mark.parametrize("ulid", ["", "1", "01HB4HBDKTFWYZCK01DMRSWRFU", None, 5])
def test_what_is_no_id(ulid: Any) -> None:
    """The id of an event is a ULID, or Customer.io could not drop repeats by it."""
    with pytest.raises(InvalidMessage) as caught:
        Event(person=PERSON, name="e", id=ulid)
    assert caught.value.field == "id"


def test_data_is_converted_and_kept() -> None:
    """Data is said as it was when the event was made."""
    items = [Decimal("9.00")]
    event = Event(person=PERSON, name="e", data={"items": items})
    items.append(Decimal("1"))
    assert event.as_dict()["attributes"] == {"items": [9]}


def test_reserved_keys_of_data() -> None:
    """Data may say where a mail goes: it is explicit."""
    data = {"recipient": "a@e.com", "from_address": "b@e.com", "reply_to": "c@e.com"}
    assert Event(person=PERSON, name="e", data=data).as_dict()["attributes"] == data


@pytest.mark.parametrize("data", [[1], "a", 5], ids=repr)
def test_data_is_a_dict(data: Any) -> None:
    """Data that is no dict is refused; None is none."""
    assert Event(person=PERSON, name="e", data=None).data == {}  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage) as caught:
        Event(person=PERSON, name="e", data=data)
    assert caught.value.field == "data"


def test_anonymous_page() -> None:
    """Pages and screens of anonymous visitors say their type."""
    page = AnonymousEvent(anonymous_id="a", name="/", type="page")
    assert page.as_dict()["type"] == "page"
    with pytest.raises(InvalidMessage) as caught:
        AnonymousEvent(anonymous_id="a", name="/", type="visit")  # type: ignore[arg-type]
    assert caught.value.field == "type"


def test_event_of_nobody() -> None:
    """An event without anonymous_id and recipient reaches nobody and is refused."""
    with pytest.raises(InvalidMessage) as caught:
        AnonymousEvent(name="e")
    assert caught.value.field == "anonymous_id"


# -- devices, relationships, merges ---------------------------------------------------


def test_attributes_of_a_device() -> None:
    """Values of a device are strings; booleans and numbers become them."""
    device = AddDevice(
        person=PERSON,
        token="t",
        platform="android",
        attributes={"push_enabled": True, "n": 1.5, "os": "14"},
    )
    assert device.as_dict()["device"] == {
        "token": "t",
        "platform": "android",
        "attributes": {"push_enabled": "true", "n": "1.5", "os": "14"},
    }
    for attributes in ({"a": [1]}, {"a": None}, {"_last_status": "x"}, ["a"]):
        with pytest.raises(InvalidAttribute):
            AddDevice(
                person=PERSON,
                token="t",
                platform="ios",
                attributes=attributes,  # type: ignore[arg-type]
            )


@pytest.mark.parametrize("token", ["", " ", "a\0", "a\ud800", None, 5], ids=repr)
def test_bad_tokens(token: Any) -> None:
    """A token is a string that says something."""
    for make in (
        lambda: DeleteDevice(person=PERSON, token=token),
        lambda: AddDevice(person=PERSON, token=token, platform="ios"),
    ):
        with pytest.raises(InvalidMessage) as caught:
            make()
        assert caught.value.field == "token"


def test_bad_platform() -> None:
    """There are two platforms."""
    with pytest.raises(InvalidMessage, match=r'"ios" or "android"'):
        AddDevice(person=PERSON, token="t", platform="windows")  # type: ignore[arg-type]


def test_relationships() -> None:
    """Relationships are an array in v2, given as values or as the API's own dicts."""
    company = Relationship(object_type_id="1", object_id="acme", attributes={"role": "owner"})
    raw = {
        "identifiers": {"object_type_id": 1, "object_id": "acme"},
        "relationship_attributes": {"role": "owner"},
    }
    rendered = [
        {
            "identifiers": {"object_type_id": "1", "object_id": "acme"},
            "relationship_attributes": {"role": "owner"},
        }
    ]
    for kind in (AddRelationships, DeleteRelationships):
        for given_ in (company, raw):
            message = kind(person=PERSON, relationships=[given_])
            assert message.as_dict() == {
                "type": "person",
                "action": message.kind,
                "identifiers": {"id": "5"},
                "cio_relationships": rendered,
            }
    identify = Identify(person=PERSON, relationships=[{"identifiers": {"cio_object_id": "ob1"}}])
    assert identify.as_dict()["cio_relationships"] == [{"identifiers": {"cio_object_id": "ob1"}}]


@pytest.mark.parametrize(
    "relationships",
    [
        (),
        None,
        "acme",
        {"identifiers": {"cio_object_id": "ob1"}},
        ["acme"],
        [{}],
        [{"identifiers": {}}],
        [{"identifiers": {"object_id": "a"}}],
        [{"identifiers": {"object_type_id": "1"}}],
        [{"identifiers": {"object_type_id": "1", "object_id": " "}}],
        [{"identifiers": {"object_type_id": "1", "object_id": "a" * 151}}],
        [{"identifiers": {"object_type_id": True, "object_id": "a"}}],
        [{"identifiers": {"object_type_id": "company", "object_id": "a"}}],
        [{"identifiers": {"object_type_id": "1", "object_id": "a\0"}}],
        [{"identifiers": {"object_type_id": "1", "object_id": "a", "cio_object_id": "b"}}],
        [{"identifiers": {"cio_object_id": "b", "other": "c"}}],
        [{"identifiers": {"cio_object_id": "b"}, "role": "c"}],
        [{"identifiers": {"cio_object_id": "b"}, "relationship_attributes": ["c"]}],
        [{"identifiers": {"cio_object_id": "b"}, "relationship_attributes": {"c": "x" * 1001}}],
    ],
    ids=repr,
)
def test_bad_relationships(relationships: Any) -> None:
    """What names no object is refused before it is stored."""
    with pytest.raises(InvalidMessage):
        AddRelationships(person=PERSON, relationships=relationships)


def test_bad_merges() -> None:
    """Nobody is merged into themselves, nor by phone."""
    with pytest.raises(InvalidMessage) as caught:
        Merge(primary=EMAIL, secondary=Identifiers("email", "B@E.com"))
    assert caught.value.field == "secondary"
    with pytest.raises(InvalidMessage, match="phone") as caught:
        Merge(primary=Identifiers("phone", "+49170"), secondary=EMAIL)
    assert caught.value.field == "primary"


# -- all of them ----------------------------------------------------------------------

ALL: list[Message] = [
    Identify(person=PERSON, attributes={"a": SECRET}, timestamp=1561231234),
    Delete(person=PERSON),
    Event(person=PERSON, name="e", data={"a": SECRET}),
    Page(person=PERSON, name="e", data={"a": SECRET}),
    Screen(person=PERSON, name="e", data={"a": SECRET}),
    AnonymousEvent(anonymous_id=SECRET, name="e", data={"a": SECRET}),
    AddDevice(person=PERSON, token=SECRET, platform="ios", attributes={"a": SECRET}),
    DeleteDevice(person=PERSON, token=SECRET),
    Suppress(person=PERSON),
    Unsuppress(person=PERSON),
    Merge(primary=Identifiers("id", SECRET), secondary=EMAIL),
    AddRelationships(
        person=PERSON, relationships=[Relationship(object_type_id="1", object_id=SECRET)]
    ),
    DeleteRelationships(
        person=PERSON, relationships=[Relationship(object_type_id="1", object_id=SECRET)]
    ),
]


def test_kinds() -> None:
    """Each kind that the outbox knows, but state, is one of the messages."""
    from django_customerio.models import OutboxMessage

    kinds = {message.kind for message in ALL}
    assert kinds == {*OutboxMessage.Kind.values} - {"state"}
    assert messages.LANES == 64


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.kind)
class TestAll:
    def test_frozen(self, message: Message) -> None:
        """A message cannot be changed once it is made, nor given other attributes."""
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            message.person = PERSON  # type: ignore[attr-defined]
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            message.extra = 1  # type: ignore[attr-defined]
        assert not hasattr(message, "__dict__")

    def test_text(self, message: Message) -> None:
        """The text is the object, compact."""
        text = message.as_json()
        assert json.loads(text) == message.as_dict()
        assert text == json.dumps(message.as_dict(), separators=(",", ":"))

    def test_repr(self, message: Message) -> None:
        """The repr, which ends up in logs, shows no value."""
        assert SECRET not in repr(message)
        assert type(message).__name__ in repr(message)

    def test_names(self, message: Message) -> None:
        """Only what happened has a name, only an identify sets attributes of the person."""
        assert message.name == ("e" if hasattr(message, "data") else "")
        assert message.attribute_names == (("a",) if message.kind == "identify" else ())


@pytest.mark.parametrize("kind", [Identify, Delete, Suppress, Unsuppress])
def test_anonymous_people(kind: Any) -> None:
    """Of an anonymous visitor only events can be told."""
    with pytest.raises(InvalidMessage, match="anonymous") as caught:
        kind(person=Identifiers("anonymous_id", "a"))
    assert caught.value.field == "anonymous_id"


def test_person_is_parsed() -> None:
    """A message takes for its person whatever names one."""
    assert Delete(person=5) == Delete(person=PERSON)  # type: ignore[arg-type]


def test_everything_needs_a_name() -> None:
    """An event cannot be made without a name by mistake."""
    with pytest.raises(TypeError):
        Event(person=PERSON)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        AnonymousEvent(anonymous_id="a")  # type: ignore[call-arg]


def test_attributes_are_a_dict() -> None:
    """Attributes that are no dict are refused."""
    with pytest.raises(InvalidAttribute):
        Identify(person=PERSON, attributes=["a"])  # type: ignore[arg-type]


def test_base() -> None:
    """A message of no kind says nothing."""
    with pytest.raises(NotImplementedError):
        Message().as_json()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Identify(person=PERSON, attributes={"a": SECRET * 100}),
        lambda: Identify(person=PERSON, attributes={"a": f"{SECRET}\ud800"}),
        lambda: Event(person=PERSON, name=SECRET * 10),
        lambda: Event(person=PERSON, name="e", data={"a": SECRET.encode()}),
        lambda: Event(person=PERSON, name="e", id=SECRET),
        lambda: Event(person=PERSON, name="e", data={"a": SECRET * 5000}).as_json(),
        lambda: Identifiers.parse(f"{SECRET}\0"),
        lambda: Identifiers.parse(f"{SECRET}\ud800"),
        lambda: AddDevice(person=PERSON, token=f"{SECRET}\ud800", platform="ios"),
    ],
)
def test_errors_say_no_values(make: Any) -> None:
    """Neither the text nor the traceback of an error shows what was refused."""
    with pytest.raises(InvalidMessage) as caught:
        make()
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in re.sub(r"^    .*$", "", shown, flags=re.MULTILINE)
