"""The sandbox: a Customer.io on one's own machine."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from django_customerio.ids import new_ulid
from django_customerio.sandbox import pages, rules, standalone
from django_customerio.sandbox.checks import check_enabled
from django_customerio.sandbox.conf import get_sandbox_settings
from django_customerio.sandbox.models import (
    Activity,
    Device,
    Person,
    Relationship,
    Suppression,
    Workspace,
)
from django_customerio.sandbox.templatetags.customerio_sandbox import count, iso, moment

pytestmark = [pytest.mark.django_db, pytest.mark.urls("django_customerio.sandbox.root_urls")]

NOW = 1_763_942_400
ULID = "01HB4HBDKTFWYZCK01DMRSWRFD"


class Track:
    """A caller of the API."""

    def __init__(self, key: str = "SITE:KEY") -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers = {"Authorization": "Basic " + b64encode(key.encode()).decode()}

    def call(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        return self.client.generic(
            method, path, data, content_type="application/json", headers=self.headers, **extra
        )

    def batch(self, *items: Any) -> Any:
        return self.call("POST", "/api/v2/batch", {"batch": list(items)})

    def entity(self, item: Any) -> Any:
        return self.call("POST", "/api/v2/entity", item)

    def say(self, action: str, who: Any = "42", **more: Any) -> Any:
        """One item that must be taken."""
        answer = self.entity(item(action, who, **more))
        assert (answer.status_code, answer.json()) == (200, {}), answer.content
        return Activity.objects.latest("id")


def item(action: str, who: Any = "42", **more: Any) -> dict[str, Any]:
    identifiers = who if isinstance(who, dict) else {"id": who}
    return {"type": "person", "action": action, "identifiers": identifiers, **more}


@pytest.fixture
def track() -> Track:
    return Track()


def only_person() -> Person:
    return Person.objects.get(state="active")


# The door


def test_region(track: Track) -> None:
    """The look-up answers the configured region and the sandbox's own address."""
    answer = track.call("GET", "/api/v1/accounts/region")
    assert answer.json() == {"url": "http://testserver", "region": "us", "environment_id": 1}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic //8=",
        "Bearer " + b64encode(b"SITE:KEY").decode(),
        "Basic " + b64encode(b"SITE:WRONG").decode(),
    ],
)
def test_wrong_credentials_are_refused(track: Track, header: str) -> None:
    """Anything but the Basic credentials is answered by 401 and noted, without the key."""
    track.headers = {"Authorization": header}
    assert track.call("GET", "/api/v1/accounts/region").status_code == 401
    noted = Activity.objects.get()
    assert (noted.outcome, noted.name) == ("refused", "GET /api/v1/accounts/region")
    assert "WRONG" not in f"{noted.note}{noted.payload}"


def test_nobody_gets_in_without_configured_credentials(track: Track, settings: Any) -> None:
    """Empty credentials in the settings let nobody in, not everybody."""
    settings.CUSTOMERIO_SANDBOX = {"SITE_ID": "", "API_KEY": "", "ALLOW": True}
    track.headers = {"Authorization": "Basic " + b64encode(b":").decode()}
    assert track.call("GET", "/api/v1/accounts/region").status_code == 401


def test_credentials_default_to_those_of_the_workspace(settings: Any) -> None:
    """Without credentials of its own the sandbox takes those of CUSTOMERIO."""
    settings.CUSTOMERIO = {"SITE_ID": "s", "API_KEY": "k"}
    settings.CUSTOMERIO_SANDBOX = {"ALLOW": True}
    wanted = get_sandbox_settings()
    assert (wanted.site_id, wanted.api_key) == ("s", "k")
    assert "'s'" not in repr(wanted)
    assert "'k'" not in repr(wanted)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "must be a dict"),
        ({"SIDE_ID": "x"}, "unknown key 'SIDE_ID'"),
        ({"ALLOW": "yes"}, "must be a bool"),
        ({"REGION": "moon"}, '"us" or "eu"'),
    ],
)
def test_wrong_settings_are_named(settings: Any, value: Any, text: str) -> None:
    """A wrong setting is an error that says which, and a system check."""
    settings.CUSTOMERIO_SANDBOX = value
    with pytest.raises(ImproperlyConfigured, match=text):
        get_sandbox_settings()
    assert [error.id for error in check_enabled()] == ["customerio_sandbox.E001"]


def test_it_is_closed_in_production(track: Track, settings: Any) -> None:
    """With DEBUG off and no permission everything is 404, and a check says why."""
    assert run_checks(tags=["security"]) == []
    settings.CUSTOMERIO_SANDBOX = {"SITE_ID": "SITE", "API_KEY": "KEY"}
    assert track.call("GET", "/api/v1/accounts/region").status_code == 404
    assert track.client.get("/").status_code == 404
    assert [error.id for error in check_enabled()] == ["customerio_sandbox.E002"]
    settings.DEBUG = True
    assert track.call("GET", "/api/v1/accounts/region").status_code == 200


def test_a_sandbox_without_credentials_is_reported(settings: Any) -> None:
    """A check tells of a sandbox that could let nobody in."""
    settings.CUSTOMERIO_SANDBOX = {"SITE_ID": "", "ALLOW": True}
    assert [error.id for error in check_enabled()] == ["customerio_sandbox.E003"]


def test_other_methods_are_refused(track: Track) -> None:
    """A method the API does not have is answered by 405 with the right ones."""
    answer = track.call("GET", "/api/v2/batch")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_help_of_the_server_names_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option says what holds without it."""
    with pytest.raises(SystemExit):
        standalone.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in ("127.0.0.1:8001", "customerio-sandbox.sqlite3", "sandbox"):
        assert f"(default: {default})" in text


# What is refused

LONG = "x" * 40_000


@pytest.mark.parametrize(
    ("broken", "reason", "field"),
    [
        ("text", "invalid", ""),
        ({**item("delete"), "type": "object"}, "invalid", "type"),
        ({"action": "delete"}, "required", "type"),
        ({"type": "person"}, "required", "action"),
        (item("explode"), "invalid", "action"),
        ({**item("delete"), "action": ["delete"]}, "invalid", "action"),
        ({"type": "person", "action": "delete"}, "required", "identifiers"),
        (item("delete", {}), "invalid", "identifiers"),
        (item("delete", {"id": "1", "email": "a@b.c"}), "invalid", "identifiers"),
        (item("delete", {"anonymous_id": "1"}), "invalid", "identifiers"),
        ({**item("delete"), "identifiers": "42"}, "invalid", "identifiers"),
        (item("delete", {"id": 42}), "invalid", "identifiers.id"),
        (item("delete", {"id": "  "}), "invalid", "identifiers.id"),
        (item("delete", {"id": "a\0b"}), "invalid", "identifiers.id"),
        (item("delete", {"id": "ä" * 76}), "too_large", "identifiers.id"),
        (item("delete", {"email": "nobody"}), "invalid", "identifiers.email"),
        (item("delete", {"email": "a b@example.com"}), "invalid", "identifiers.email"),
        (item("delete", {"phone": "0555"}), "invalid", "identifiers.phone"),
        (item("delete", {"cio_id": "cio_1"}), "invalid", "identifiers.cio_id"),
        (item("delete", attributes={}), "unknown", "attributes"),
        (item("identify", attributes=[]), "invalid", "attributes"),
        (item("identify", data={}), "unknown", "data"),
        (item("identify", _timestamp=NOW), "unknown", "_timestamp"),
        (item("identify", attributes={" ": 1}), "invalid", "attributes"),
        (item("identify", attributes={"n" * 151: 1}), "too_large", "attributes." + "n" * 100),
        (item("identify", attributes={"a": "ä" * 501}), "too_large", "attributes.a"),
        (item("identify", attributes={"a": ["x" * 1000]}), "too_large", "attributes.a"),
        (item("identify", attributes={f"a{n}": n for n in range(301)}), "too_large", "attributes"),
        (item("identify", attributes={"_update": 1}), "invalid", "attributes._update"),
        (item("identify", attributes={"id": 7}), "invalid", "attributes.id"),
        (item("identify", attributes={"email": "nobody"}), "invalid", "attributes.email"),
        (item("identify", attributes={"email": "a b@example.com"}), "invalid", "attributes.email"),
        (item("identify", attributes={"email": "a@b@c"}), "invalid", "attributes.email"),
        (item("identify", attributes={"created_at": "2026"}), "invalid", "attributes.created_at"),
        (
            item("identify", attributes={"cio_subscription_preferences": 1}),
            "invalid",
            "attributes.cio_subscription_preferences",
        ),
        (
            item("identify", attributes={"cio_subscription_preferences.topics.topic_1": 1}),
            "invalid",
            "attributes.cio_subscription_preferences.topics.topic_1",
        ),
        (item("identify", timestamp=NOW * 1000), "invalid", "timestamp"),
        (item("identify", timestamp=True), "invalid", "timestamp"),
        (item("identify", cio_relationships={}), "invalid", "cio_relationships"),
        (item("event"), "required", "name"),
        (item("event", name=""), "invalid", "name"),
        (item("event", name=5), "invalid", "name"),
        (item("event", name="ä" * 51), "too_large", "name"),
        (item("event", name="x", id="17"), "invalid", "id"),
        (item("event", name="x", id="Z" + ULID[1:]), "invalid", "id"),
        (item("event", name="x", timestamp="2026-01-01"), "invalid", "timestamp"),
        (item("event", name="x", attributes=None), "invalid", "attributes"),
        (item("event", name="x", attributes={"text": LONG}), "too_large", ""),
        (item("event", name="x", attributes={"half": "\ud83d"}), "invalid", ""),
        (item("add_device"), "required", "device"),
        (item("add_device", device={"platform": "ios"}), "required", "device.token"),
        (item("add_device", device={"token": "t"}), "required", "device.platform"),
        (
            item("add_device", device={"token": "t", "platform": "palm"}),
            "invalid",
            "device.platform",
        ),
        (
            item("add_device", device={"token": "t", "platform": "ios", "id": "t"}),
            "unknown",
            "device.id",
        ),
        (
            item("add_device", device={"token": "t", "platform": "ios", "last_used": "now"}),
            "invalid",
            "device.last_used",
        ),
        (
            item("add_device", device={"token": "t", "platform": "ios", "attributes": []}),
            "invalid",
            "device.attributes",
        ),
        (
            item("add_device", device={"token": "t", "platform": "ios", "attributes": {"v": 1}}),
            "invalid",
            "device.attributes.v",
        ),
        (item("delete_device", device={}), "required", "device.token"),
        (item("merge"), "unknown", "identifiers"),
        ({"type": "person", "action": "merge"}, "required", "primary"),
        (
            {
                "type": "person",
                "action": "merge",
                "primary": {"id": "1"},
                "secondary": {"phone": "+15551234567"},
            },
            "invalid",
            "secondary",
        ),
        (item("add_relationships"), "required", "cio_relationships"),
        (item("add_relationships", cio_relationships=["x"]), "invalid", "cio_relationships[0]"),
        (
            item("add_relationships", cio_relationships=[{"identifiers": {"object_id": "a"}}]),
            "invalid",
            "cio_relationships[0].identifiers",
        ),
        (
            item("add_relationships", cio_relationships=[{"who": 1}]),
            "unknown",
            "cio_relationships[0].who",
        ),
        (
            item(
                "add_relationships",
                cio_relationships=[{"identifiers": {"object_type_id": "x", "object_id": "a"}}],
            ),
            "invalid",
            "cio_relationships[0].identifiers.object_type_id",
        ),
        (
            item(
                "add_relationships",
                cio_relationships=[
                    {"identifiers": {"cio_object_id": "ob1"}, "relationship_attributes": []}
                ],
            ),
            "invalid",
            "cio_relationships[0].relationship_attributes",
        ),
    ],
)
def test_an_item_against_the_rules(track: Track, broken: Any, reason: str, field: str) -> None:
    """A batch names the bad item by its index and takes the others."""
    answer = track.batch(item("event", "1", name="good"), broken)
    assert answer.status_code == 207
    (error,) = answer.json()["errors"]
    assert (error["batch_index"], error["reason"], error["field"]) == (1, reason, field)
    assert error["message"]
    assert sorted(Activity.objects.values_list("outcome", flat=True)) == ["applied", "refused"]


def test_an_entity_against_the_rules(track: Track) -> None:
    """A single bad item is a 400 in v2's shape, and is kept with its reason."""
    answer = track.entity(item("event", name=""))
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error == {"reason": "invalid", "field": "name", "message": "must not be blank"}
    assert "name: must not be blank" in track.client.get("/sandbox/refused").content.decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"batch": []}',
        b'{"batch": {}}',
        b"{}",
        b'{"batch": [NaN]}',
        b"[" * 200_000,
    ],
)
def test_a_malformed_batch(track: Track, body: bytes) -> None:
    """What is no batch at all is a 400 for the whole, and changes nobody."""
    answer = track.call("POST", "/api/v2/batch", body)
    assert answer.status_code == 400
    assert set(answer.json()["errors"][0]) == {"reason", "field", "message"}
    assert not Person.objects.exists()


def test_a_batch_that_is_too_large(track: Track) -> None:
    """More than 500,000 bytes are a 413; just as many are taken."""
    small = json.dumps({"batch": [item("event", name="x")]}).encode()
    assert track.call("POST", "/api/v2/batch", small.ljust(500_000)).status_code == 200
    assert track.call("POST", "/api/v2/batch", small.ljust(500_001)).status_code == 413


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.fixed_dictionaries(
        {"type": st.just("person"), "action": st.sampled_from(sorted(rules._ACTIONS))},
        optional={
            name: st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.text())
            for name in ("identifiers", "name", "device", "attributes", "timestamp", "primary")
        },
    )
)
def test_no_item_breaks_the_rules_themselves(thing: Any) -> None:
    """Whatever JSON arrives is taken or refused with a reason, never an accident."""
    reason = "none"
    try:
        rules.check_item(thing, json.dumps(thing))
    except rules.Refusal as refusal:
        reason = refusal.reason
    assert reason in {"none", "required", "invalid", "too_large", "unknown"}


# Identify


def test_identify_creates_and_updates(track: Track) -> None:
    """Attributes add up over calls; null and "" take one away."""
    assert track.say("identify", attributes={"plan": "pro", "a": 1, "b": 2}).note == "new person"
    track.say("identify", attributes={"plan": "free", "a": None, "b": ""})
    assert only_person().attributes == {"id": "42", "plan": "free"}
    assert Person.objects.count() == 1


def test_older_updates_do_not_win(track: Track) -> None:
    """The timestamp orders racing updates, attribute by attribute, arrival decides ties."""
    track.say("identify", attributes={"plan": "new"}, timestamp=NOW)
    late = track.say("identify", attributes={"plan": "old", "city": "Rome"}, timestamp=NOW - 9)
    assert late.note == "older than what is known: 1"
    assert only_person().attributes == {"id": "42", "plan": "new", "city": "Rome"}
    assert track.say("identify", attributes={"plan": "x"}, timestamp=NOW - 1).outcome == "ignored"
    track.say("identify", attributes={"plan": "tie"}, timestamp=NOW)
    track.say("identify", attributes={"plan": None}, timestamp=NOW + 1)
    track.say("identify", attributes={"plan": "late"}, timestamp=NOW)
    assert only_person().attributes == {"id": "42", "city": "Rome"}


def test_update_only_creates_nobody(track: Track) -> None:
    """`_update` for somebody unknown is a failed attribute change, answered by 200."""
    noted = track.say("identify", attributes={"_update": True, "plan": "pro"})
    assert (noted.outcome, Person.objects.count()) == ("failed", 0)
    track.say("identify")
    track.say("identify", attributes={"_update": True, "plan": "pro"})
    assert only_person().attributes == {"id": "42", "plan": "pro"}


def test_an_unknown_cio_id_is_dropped(track: Track) -> None:
    """Nobody is created by a cio_id, in any action."""
    who = {"cio_id": "nobody"}
    for said in (
        item("identify", who),
        item("event", who, name="x"),
        item("add_device", who, device={"token": "t", "platform": "ios"}),
        item(
            "add_relationships", who, cio_relationships=[{"identifiers": {"cio_object_id": "o"}}]
        ),
    ):
        assert track.entity(said).status_code == 200
        assert Activity.objects.latest("id").outcome == "ignored"
    assert not Person.objects.exists()


def test_a_new_id_for_a_known_address(track: Track) -> None:
    """A new id with an e-mail address that exists updates the person and their id."""
    track.say("identify", "1", attributes={"email": "Ann@Example.com"})
    track.say("identify", "2", attributes={"email": "ann@example.com", "plan": "pro"})
    person = only_person()
    assert (person.identifier, person.attributes["id"], person.attributes["plan"]) == (
        "2",
        "2",
        "pro",
    )
    track.say("event", {"email": "ANN@example.com"}, name="x")
    assert Person.objects.count() == 1


def test_one_person_by_two_identifiers_in_a_batch(track: Track) -> None:
    """Known by id and by address, a person is one; an address given up is free at once."""
    track.say("identify", "1", attributes={"email": "a@b.c"})
    track.batch(
        item("identify", "1", attributes={"x": 1}),
        item("identify", {"email": "a@b.c"}, attributes={"y": 2}),
    )
    assert only_person().attributes == {"id": "1", "email": "a@b.c", "x": 1, "y": 2}
    track.batch(
        item("identify", "1", attributes={"email": "new@b.c"}),
        item("identify", {"email": "a@b.c"}, attributes={"z": 3}),
    )
    assert Person.objects.get(email="a@b.c").attributes == {"email": "a@b.c", "z": 3}
    assert Person.objects.get(identifier="1").email == "new@b.c"


def test_a_telephone_for_a_known_address(track: Track) -> None:
    """A phone number, too, is given to the person whose address comes with it."""
    track.say("identify", "1", attributes={"email": "a@b.c"})
    track.say("identify", {"phone": "+15551234567"}, attributes={"email": "a@b.c"})
    person = only_person()
    assert (person.identifier, person.phone) == ("1", "+15551234567")
    assert "phone" not in person.attributes


def test_addresses_may_be_no_identifiers(track: Track, settings: Any) -> None:
    """A workspace that knows people by id only lets two have one address."""
    settings.CUSTOMERIO_SANDBOX = {**settings.CUSTOMERIO_SANDBOX, "EMAIL_IDENTIFIES": False}
    track.say("identify", "1", attributes={"email": "a@b.c"})
    track.say("identify", "2", attributes={"email": "a@b.c"})
    assert Person.objects.filter(email="a@b.c").count() == 2


def test_an_address_of_somebody_else(track: Track) -> None:
    """An identifier that belongs to somebody else stays there; the rest is taken."""
    track.say("identify", "1", attributes={"email": "a@b.c"})
    track.say("identify", "2")
    noted = track.say("identify", "2", attributes={"email": "a@b.c", "plan": "pro"})
    assert (noted.outcome, noted.note) == (
        "failed",
        "failed attribute update: email belongs to somebody else",
    )
    second = Person.objects.get(identifier="2")
    assert (second.email, second.attributes["plan"]) == ("", "pro")


def test_changing_an_address(track: Track, settings: Any) -> None:
    """By id it depends on the workspace's setting; by cio_id it is always allowed."""
    track.say("identify", attributes={"email": "a@b.c"})
    track.say("identify", attributes={"email": "d@b.c"})
    assert only_person().email == "d@b.c"
    settings.CUSTOMERIO_SANDBOX = {**settings.CUSTOMERIO_SANDBOX, "EMAIL_CHANGES": False}
    assert track.say("identify", attributes={"email": "x@b.c"}).outcome == "failed"
    assert only_person().email == "d@b.c"
    who = {"cio_id": only_person().cio_id}
    track.say("identify", who, attributes={"email": "x@b.c", "id": "43"})
    person = only_person()
    assert (person.email, person.identifier) == ("x@b.c", "43")
    assert person.attributes == {"id": "43", "email": "x@b.c"}
    track.say("identify", who, attributes={"email": None})
    person = only_person()
    assert (person.email, person.attributes) == ("", {"id": "43"})


def test_an_id_is_kept(track: Track) -> None:
    """Addressed by id, the id neither changes nor goes; by e-mail a first one may come."""
    track.say("identify", {"email": "a@b.c"}, attributes={"id": "7"})
    assert only_person().identifier == "7"
    assert track.say("identify", "7", attributes={"id": "8"}).outcome == "failed"
    assert track.say("identify", "7", attributes={"id": ""}).outcome == "failed"
    assert only_person().identifier == "7"


def test_one_preference_changes_alone(track: Track) -> None:
    """A dotted name changes one topic, the nested object all of them."""
    name = "cio_subscription_preferences"
    track.say("identify", attributes={f"{name}.topics.topic_1": False})
    track.say("identify", attributes={f"{name}.topics.topic_2": True})
    assert only_person().attributes[name] == {"topics": {"topic_1": False, "topic_2": True}}
    track.say("identify", attributes={name: {"topics": {"topic_3": True}}})
    assert only_person().attributes[name] == {"topics": {"topic_3": True}}


def test_no_person_has_more_than_300_attributes(track: Track) -> None:
    """What a person has too much is left out, and said."""
    track.say("identify", attributes={f"a{n}": n for n in range(299)})
    assert "300" in track.say("identify", attributes={"b": 1, "c": 2}).note
    assert len(only_person().attributes) == 300


def test_ids_tell_cases_apart(track: Track) -> None:
    """ "A" and "a" are two people; addresses are compared without case."""
    track.batch(item("identify", "A"), item("identify", "a"), item("identify", "ä"))
    track.batch(item("identify", "A"), item("identify", "a"), item("identify", "ä"))
    assert Person.objects.count() == 3


# Events


def test_events_keep_their_own_time(track: Track) -> None:
    """An event keeps its time, data and trimmed name, and may create its person."""
    noted = track.say(
        "event", name=" purchased ", id=ULID, timestamp=852_076_800, attributes={"price": 23.45}
    )
    assert (noted.name, noted.happened_at, noted.note) == (
        "purchased",
        852_076_800_000,
        "new person",
    )
    assert noted.data["attributes"] == {"price": 23.45}
    assert (noted.is_history, noted.person) == (True, only_person())


def test_a_repeated_ulid_is_dropped_and_counted(track: Track) -> None:
    """A ULID that was there before, in any case and batch, is a repeat."""
    again = item("event", name="x", id=ULID)
    track.batch(again, again)
    track.batch({**again, "id": ULID.lower()}, item("event", name="x"), item("event", name="x"))
    outcomes = list(Activity.objects.order_by("id").values_list("outcome", flat=True))
    assert outcomes == ["applied", "repeat", "repeat", "applied", "applied"]
    assert Activity.objects.filter(outcome="repeat", person=only_person()).count() == 2


def test_a_refused_event_may_come_again(track: Track) -> None:
    """Only events that were taken use up their ULID."""
    assert track.entity(item("event", name="", id=ULID)).status_code == 400
    assert track.say("event", name="x", id=ULID).outcome == "applied"


def test_pages_and_screens_are_events_too(track: Track) -> None:
    """All three kinds are in the export."""
    for kind in ("page", "screen"):
        track.say(kind, name="/plans")
    events = json.loads(export(track))["events"]
    assert [event["type"] for event in events] == ["page", "screen"]


# Delete, suppress, merge


def test_delete_and_return(track: Track) -> None:
    """A deleted person is gone; a later call creates another one, with nothing left."""
    track.say("identify", attributes={"plan": "pro"})
    track.say("add_device", device={"token": "t", "platform": "ios"})
    assert track.say("delete").outcome == "applied"
    assert track.say("delete").outcome == "ignored"
    assert not Device.objects.exists()
    assert track.say("identify").note == "new person"
    assert only_person().attributes == {"id": "42"}
    assert Person.objects.filter(state="deleted").count() == 1


def test_order_inside_a_batch(track: Track) -> None:
    """Items take effect in their order: created, deleted and created again."""
    track.batch(
        item("identify", attributes={"a": 1}),
        item("delete"),
        item("identify", attributes={"b": 2}),
        item("event", name="x"),
    )
    assert only_person().attributes == {"id": "42", "b": 2}
    assert only_person().activity.count() == 2


def test_suppressed_people_stay_away(track: Track) -> None:
    """All identifiers of a suppressed person are ignored until one is freed again."""
    track.say("identify", attributes={"email": "a@b.c"})
    track.batch(item("suppress"), item("event", name="x"))
    assert Activity.objects.latest("id").note == "the identifier is suppressed"
    assert track.say("identify", {"email": "a@b.c"}).outcome == "ignored"
    assert not Person.objects.filter(state="active").exists()
    assert track.say("unsuppress").outcome == "applied"
    assert track.say("unsuppress").outcome == "ignored"
    assert track.say("identify", {"email": "a@b.c"}).note == "new person"


def test_suppressing_somebody_unknown(track: Track) -> None:
    """An identifier can be blocked before there is a person."""
    track.say("suppress", "7")
    assert track.say("identify", "7").outcome == "ignored"
    track.batch(item("unsuppress", "7"), item("identify", "7"))
    assert only_person().identifier == "7"


def test_merge(track: Track) -> None:
    """The secondary's events, identifiers and missing attributes move; the secondary goes."""
    track.say("identify", "1", attributes={"plan": "pro"})
    track.say("identify", {"email": "a@b.c"}, attributes={"plan": "free", "city": "Rome"})
    track.say("event", {"email": "a@b.c"}, name="x")
    merge = {"type": "person", "action": "merge"}
    track.entity({**merge, "primary": {"id": "1"}, "secondary": {"email": "a@b.c"}})
    person = only_person()
    assert person.attributes == {"id": "1", "plan": "pro", "email": "a@b.c", "city": "Rome"}
    assert person.activity.filter(kind="event").count() == 1
    assert track.say("event", {"email": "a@b.c"}, name="y").person == person


@pytest.mark.parametrize(
    ("primary", "secondary", "why"),
    [("9", "1", "no primary"), ("1", "9", "no secondary"), ("1", "1", "both are one person")],
)
def test_a_merge_that_cannot_be(track: Track, primary: str, secondary: str, why: str) -> None:
    """Without two people nothing happens, and the answer is 200 all the same."""
    track.say("identify", "1")
    answer = track.call(
        "POST",
        "/api/v1/merge_customers",
        {"primary": {"id": primary}, "secondary": {"id": secondary}},
    )
    assert (answer.status_code, Activity.objects.latest("id").note) == (
        200,
        f"nothing happens: {why}",
    )


def test_devices_and_relationships(track: Track) -> None:
    """Adding twice keeps one; deleting takes it away; unknown ones are ignored."""
    device = {"token": "t", "platform": "ios", "last_used": NOW, "attributes": {"v": "1"}}
    track.say("add_device", device=device)
    track.say("add_device", device={"token": "t", "platform": "android"})
    assert Device.objects.get().platform == "android"
    assert track.say("delete_device", device={"token": "t"}).outcome == "applied"
    assert track.say("delete_device", device={"token": "t"}).outcome == "ignored"
    assert track.say("delete_device", "9", device={"token": "t"}).outcome == "ignored"
    tie = [
        {
            "identifiers": {"object_type_id": "1", "object_id": "acme"},
            "relationship_attributes": {"role": "boss"},
        }
    ]
    track.say("identify", "7", cio_relationships=tie)
    track.say("add_relationships", "7", cio_relationships=tie)
    assert Relationship.objects.get().attributes == {"role": "boss"}
    assert track.say("delete_relationships", "7", cio_relationships=tie).outcome == "applied"
    assert track.say("delete_relationships", "7", cio_relationships=tie).outcome == "ignored"
    assert track.say("delete_relationships", "9", cio_relationships=tie).outcome == "ignored"


# Version 1


def test_v1_identify(track: Track) -> None:
    """A flat map with v1's special keys; the path segment is taken by its looks."""
    body = {"plan": "pro", "_timestamp": NOW, "email": "x@e.com"}
    assert track.call("PUT", "/api/v1/customers/a%2Fb%20c%2Bd", body).json() == {}
    person = only_person()
    assert (person.identifier, person.attributes["plan"]) == ("a/b c+d", "pro")
    assert person.times["plan"] == NOW * 1000
    track.call("PUT", "/api/v1/customers/x%40e.com", {"plan": "free"})
    track.call("PUT", f"/api/v1/customers/cio_{person.cio_id}", {"id": "99"})
    person = only_person()
    assert (person.identifier, person.attributes["plan"]) == ("99", "free")


def test_v1_relationships(track: Track) -> None:
    """V1 puts an action around the list, and refuses v2's list."""
    ties = [{"identifiers": {"object_type_id": "1", "object_id": "acme"}}]
    path = "/api/v1/customers/5"
    for action, count_ in (("add_relationships", 1), ("delete_relationships", 0)):
        body = {"cio_relationships": {"action": action, "relationships": ties}}
        assert track.call("PUT", path, body).status_code == 200
        assert Relationship.objects.count() == count_
    assert track.call("PUT", path, {"cio_relationships": ties}).status_code == 400


def test_v1_events(track: Track) -> None:
    """Events, pages and screens of a person, with v1's names for the fields."""
    body = {"name": "purchased", "data": {"price": 23.45}, "id": ULID, "timestamp": 1561231234}
    assert track.call("POST", "/api/v1/customers/5/events", body).json() == {}
    noted = Activity.objects.get()
    assert (noted.name, noted.ulid, noted.data["attributes"]) == (
        "purchased",
        ULID,
        {"price": 23.45},
    )
    page = {"type": "page", "name": "https://e.com/p", "data": {"referrer": "x"}}
    track.call("POST", "/api/v1/customers/5/events", page)
    assert Activity.objects.latest("id").kind == "page"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "customers/5/events", {"name": ""}),
        ("POST", "customers/5/events", {"name": "x", "type": "party"}),
        ("POST", "customers/5/events", {"name": "x", "attributes": {}}),
        ("POST", "customers/5/events", {"name": "x", "data": {"t": "x" * 100_000}}),
        ("POST", "customers/5/events", []),
        ("PUT", "customers/5", None),
        ("PUT", "customers/%20", {}),
        ("PUT", "customers/" + "x" * 151, {}),
        ("PUT", "customers/5/devices", {}),
        ("PUT", "customers/5/devices", {"device": {"token": "t", "platform": "ios"}}),
        ("POST", "events", {"name": "x"}),
        ("POST", "events", {"name": "x", "anonymous_id": " "}),
        ("POST", "events", {"name": "x", "anonymous_id": "x" * 151}),
        ("POST", "forms/1/submit", {"data": {"name": "x"}}),
        ("POST", "forms/1/submit", {"data": {"id": "1", "n": 1}}),
        ("POST", "metrics", {"metric": "opened"}),
        ("POST", "metrics", {"delivery_id": "x", "metric": "loved"}),
        ("POST", "segments/7/add_customers", {"ids": []}),
        ("POST", "segments/7/add_customers", {"ids": [5]}),
        ("POST", "segments/7/add_customers", {"ids": ["x"] * 1001}),
        ("POST", "segments/7/add_customers?id_type=phone", {"ids": ["5"]}),
    ],
)
def test_v1_refuses(track: Track, method: str, path: str, body: Any) -> None:
    """A wrong call of v1 is a 400 with texts under meta.errors, and changes nobody."""
    answer = track.call(method, f"/api/v1/{path}", body)
    assert answer.status_code == 400
    (text,) = answer.json()["meta"]["errors"]
    assert isinstance(text, str)
    assert not Person.objects.exists()


def test_v1_merge_has_its_own_error(track: Track) -> None:
    """The merge endpoint alone answers with meta.error."""
    answer = track.call("POST", "/api/v1/merge_customers", {"primary": {"id": "1"}})
    assert answer.status_code == 400
    assert answer.json() == {"meta": {"error": "secondary: must be an object"}}


def test_v1_devices(track: Track) -> None:
    """V1 calls the token id, and takes it from the path to delete."""
    device = {"id": "tok/1", "platform": "ios", "last_used": NOW, "attributes": {"v": "1.2"}}
    track.call("PUT", "/api/v1/customers/5/devices", {"device": device})
    assert Device.objects.get().token == "tok/1"
    assert track.call("DELETE", "/api/v1/customers/5/devices/tok%2F1", {}).json() == {}
    assert not Device.objects.exists()


def test_v1_delete_suppress_unsuppress(track: Track) -> None:
    """Each takes no body, or an empty object."""
    for number, (method, path) in enumerate(
        [("DELETE", ""), ("POST", "/suppress"), ("POST", "/unsuppress"), ("DELETE", "")]
    ):
        body = {} if number % 2 else None
        answer = track.call(method, f"/api/v1/customers/5{path}", body)
        assert (answer.status_code, answer.json()) == (200, {})
    kinds = list(Activity.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["delete", "suppress", "unsuppress", "delete"]


def test_anonymous_events_find_their_person(track: Track) -> None:
    """Earlier events are adopted on identify, and those of the next five minutes."""
    early = {"name": "watched", "anonymous_id": "abc", "id": ULID, "data": {"n": 1}}
    for _ in range(2):
        assert track.call("POST", "/api/v1/events", early).json() == {}
    track.say("identify", attributes={"anonymous_id": "abc"})
    track.call("POST", "/api/v1/events", {"name": "late", "anonymous_id": "abc"})
    person = only_person()
    names = list(
        person.activity.filter(outcome="applied").order_by("id").values_list("name", flat=True)
    )
    assert names == ["watched", "", "late"]
    assert Activity.objects.filter(outcome="repeat").count() == 1
    Person.objects.update(anonymous_since=1)
    track.call("POST", "/api/v1/events", {"name": "too late", "anonymous_id": "abc"})
    assert Activity.objects.latest("id").person is None


def test_an_invitation(track: Track) -> None:
    """Without anonymous_id, data.recipient says whom it goes to."""
    body = {"name": "invite", "data": {"recipient": "x@e.com"}}
    assert track.call("POST", "/api/v1/events", body).status_code == 200
    assert Activity.objects.get().who == ""


def test_forms_metrics_segments(track: Track) -> None:
    """What only v1 has is validated and kept."""
    form = {"data": {"email": "a@b.c", "form_id": "9", "name": "Ann"}}
    answer = track.call("POST", "/api/v1/forms/newsletter/submit", form)
    assert (answer.status_code, answer.content) == (204, b"")
    assert only_person().attributes == {"email": "a@b.c", "name": "Ann"}
    track.headers = {}  # no credentials are documented for metrics
    metric = {"delivery_id": "d", "metric": "opened"}
    assert track.call("POST", "/api/v1/metrics", metric).status_code == 200
    track = Track()
    for change in ("add", "remove"):
        path = f"/api/v1/segments/7/{change}_customers?id_type=email"
        assert track.call("POST", path, {"ids": ["a@b.c"]}).status_code == 200
    kinds = list(Activity.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["identify", "form", "metric", "segment", "segment"]


# Faults


def fault(client: Client, **fields: Any) -> Any:
    page = client.get("/sandbox/faults")
    token = page.context["csrf_token"]
    return client.post("/sandbox/faults", {"csrfmiddlewaretoken": str(token), **fields})


@pytest.mark.parametrize(
    ("name", "status"), [("503", 503), ("500", 500), ("429", 429), ("401", 401), ("301", 301)]
)
def test_faults_for_some_requests(track: Track, name: str, status: int) -> None:
    """The fault is played as often as asked for, then everything is as usual."""
    assert fault(track.client, fault=name, fault_left="2").status_code == 302
    answers = [track.batch(item("event", name="x")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers.get("Retry-After") == ("2" if name == "429" else None)
    assert ("Location" in answers[0].headers) == (name == "301")
    assert Activity.objects.filter(outcome="fault").count() == 2


def test_a_fault_until_switched_off(track: Track) -> None:
    """A web page instead of JSON, as often as it is asked, until it is switched off."""
    fault(track.client, fault="html")
    for _ in range(3):
        assert track.batch(item("event", name="x")).content.startswith(b"<!doctype")
    assert "until switched off" in track.client.get("/sandbox/faults").content.decode()
    fault(track.client, fault="")
    assert track.batch(item("event", name="x")).status_code == 200


def test_latency(track: Track) -> None:
    """Every answer comes late by what was asked for."""
    fault(track.client, latency="60")
    started = time.monotonic()
    assert track.batch(item("event", name="x")).status_code == 200
    assert time.monotonic() - started >= 0.06
    assert "60 ms late" in track.client.get("/sandbox/faults").content.decode()


def test_faults_are_checked(track: Track) -> None:
    """A wrong form says what is wrong and changes nothing; without CSRF token it is refused."""
    answer = fault(track.client, fault="503", fault_left="0")
    assert answer.context["form"].errors["fault_left"]
    assert Workspace.objects.get().fault == ""
    assert track.client.post("/sandbox/faults", {"fault": "503"}).status_code == 403


def test_others_may_use_up_the_last_fault(track: Track, monkeypatch: Any) -> None:
    """A fault that another request took in the meantime is not played twice."""
    fault(track.client, fault="503", fault_left="1")
    stale = Workspace.objects.get()
    Workspace.objects.update(fault_left=0)
    monkeypatch.setattr("django.db.models.query.QuerySet.first", lambda self: stale)
    assert track.call("GET", "/api/v1/accounts/region").status_code == 200


# Pages


def export(track: Track) -> str:
    return b"".join(track.client.get("/sandbox/export.json").streaming_content).decode()


@pytest.fixture
def filled(track: Track) -> Track:
    track.batch(
        item(
            "identify",
            attributes={"email": "ann@example.com", "first_name": "Ann", "created_at": NOW},
        ),
        item("event", name="bought", id=ULID, timestamp=NOW, attributes={"plan": "pro", "n": 1}),
        item("event", name="bought", id=ULID),
        item("add_device", device={"token": "tok", "platform": "ios"}),
        item("add_relationships", cio_relationships=[{"identifiers": {"cio_object_id": "ob1"}}]),
        item("identify", {"phone": "+15551234567"}),
        item("identify", "gone", attributes={"x": "<script>alert(1)</script>"}),
        item("delete", "gone"),
        item("event", name="</script><b>"),
        item("event", name=""),
    )
    track.call("POST", "/api/v2/batch", b"<no json>")
    return track


PAGES = [
    "/",
    "/?q=ann",
    "/?q=zzz",
    "/?gone=1",
    "/sandbox/activity",
    "/sandbox/refused",
    "/sandbox/faults",
]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("full", [True, False])
def test_pages_hold_to_a_strict_policy(request: Any, track: Track, path: str, full: bool) -> None:
    """Every page works, empty or full, without inline code, and with its text escaped."""
    if full:
        request.getfixturevalue("filled")
    answer = track.client.get(path)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "no-store" in answer.headers["Cache-Control"]
    assert " style=" not in text
    assert "<script>" not in text
    assert " onclick" not in text


def test_searching_people(filled: Track) -> None:
    """People are found by identifiers and by the text of their attributes."""
    for query in ("42", "ANN@", "Ann", "+1555"):
        found = filled.client.get("/", {"q": query}).context["people"]
        assert len(found) == 1, query
    assert len(filled.client.get("/").context["people"]) == 2
    assert [p.identifier for p in filled.client.get("/?gone=1").context["people"]] == ["gone"]


def test_the_page_of_a_person(filled: Track) -> None:
    """It shows attributes, devices, relationships and the timeline, newest first."""
    person = Person.objects.get(identifier="42")
    answer = filled.client.get(person.get_absolute_url())
    kinds = [entry.kind for entry in answer.context["entries"]]
    assert kinds == ["event", "add_relationships", "add_device", "event", "event", "identify"]
    text = answer.content.decode()
    for shown in (
        "ann@example.com",
        "tok",
        "cio_object_id:ob1",
        "repeat dropped",
        "plan: pro · n: 1",
    ):
        assert shown in text
    assert "&lt;/script&gt;&lt;b&gt;" in text
    assert (str(person), person.initial) == ("ann@example.com", "A")
    assert filled.client.get("/sandbox/people/nobody").status_code == 404
    gone = Person.objects.get(identifier="gone").get_absolute_url()
    assert "deleted" in filled.client.get(gone).content.decode()


def test_pages_are_divided(track: Track) -> None:
    """Long lists are divided, and the search survives turning the page."""
    for start in range(0, 120, 60):
        track.batch(*(item("identify", f"p{n}") for n in range(start, start + 60)))
    text = track.client.get("/?q=p").content.decode()
    assert "Page 1 of 3" in text
    assert "q=p&amp;page=2" in text
    assert len(track.client.get("/sandbox/activity?page=2").context["entries"]) == 20


def test_the_feed(filled: Track) -> None:
    """The JSON feed goes on from an id, for everybody or for one person."""
    feed = filled.client.get("/sandbox/activity.json").json()
    assert [entry["id"] for entry in feed["items"]] == sorted(e["id"] for e in feed["items"])
    assert feed["last"] == feed["newest"] == Activity.objects.latest("id").id
    bought = next(entry for entry in feed["items"] if entry["name"] == "bought")
    assert bought["payload"]["attributes"] == {"plan": "pro", "n": 1}
    assert bought["happened_at"] == "2025-11-24T00:00:00.000+00:00"
    part = filled.client.get("/sandbox/activity.json", {"limit": "1"}).json()
    assert (len(part["items"]), part["last"] < part["newest"]) == (1, True)
    person = Person.objects.get(identifier="42")
    mine = filled.client.get("/sandbox/activity.json", {"person": person.pk}).json()
    assert {entry["person"] for entry in mine["items"]} == {person.pk}
    nothing = filled.client.get("/sandbox/activity.json", {"after": feed["last"]}).json()
    assert (nothing["items"], nothing["last"]) == ([], feed["last"])
    assert filled.client.get("/sandbox/activity.json?after=x").status_code == 404


def test_the_export(filled: Track) -> None:
    """The export holds active people, events with their own time, and the counts."""
    told = json.loads(export(filled))
    assert [person["id"] for person in told["people"]] == ["42", ""]
    assert told["people"][0]["attributes"]["first_name"] == "Ann"
    first = told["events"][0]
    assert (first["name"], first["timestamp"], first["data"]) == (
        "bought",
        NOW,
        {"plan": "pro", "n": 1},
    )
    assert told["events"][1]["timestamp"] is None
    assert told["counts"]["repeat"] == 1
    assert told["counts"]["refused"] == 2


def test_starting_afresh(filled: Track) -> None:
    """The sandbox forgets everything, on POST with a token only."""
    assert filled.client.get("/sandbox/reset").status_code == 405
    assert filled.client.post("/sandbox/reset").status_code == 403
    token = str(filled.client.get("/sandbox/faults").context["csrf_token"])
    filled.client.post("/sandbox/reset", {"csrfmiddlewaretoken": token})
    assert not Person.objects.exists()
    assert not Activity.objects.exists()


def test_small_helpers() -> None:
    """Times no year can hold show as nothing; numbers have spaces between thousands."""
    assert (iso(None), iso(10**18), moment(None)) == (None, None, "")
    assert (
        moment(0)
        == '<time datetime="1970-01-01T00:00:00.000+00:00">1970-01-01 00:00:00 UTC</time>'
    )
    assert count(1234567) == "1\u202f234\u202f567"
    assert Person(phone="+15551234567").label == "+15551234567"
    assert Person(attributes={"created_at": "soon"}).created_at is None
    texts = [str(thing) for thing in (Workspace(), Activity(kind="event", outcome="repeat"))]
    assert texts == ["0 requests", "event repeat"]
    assert [str(Device(platform="ios")), str(Relationship(object_key="1:a"))] == ["ios", "1:a"]
    assert str(Suppression(key="id:1")) == "id:1"


def test_pages_are_for_the_sandbox_only() -> None:
    """The pages' guard answers before the view, and refuses other methods."""
    request = RequestFactory().post("/")
    assert pages.people(request).status_code == 405


# Speed and many writers


@pytest.mark.slow
def test_batches_are_taken_quickly(track: Track, django_assert_max_num_queries: Any) -> None:
    """A batch of 500 takes few statements, however many people it speaks of."""
    people = [item("identify", f"p{n}", attributes={"plan": "pro"}) for n in range(500)]
    events = [item("event", f"p{n}", name="x", id=new_ulid()) for n in range(500)]
    for items, most in ((people, 30), (people, 40), (events, 40)):
        with django_assert_max_num_queries(most):
            assert track.batch(*items).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time() -> None:
    """Racing first calls create one person, and one ULID counts once."""
    answers: list[int] = []

    def run() -> None:
        caller = Track()
        answers.extend(
            caller.batch(item("identify"), item("event", name="x", id=ULID)).status_code
            for _ in range(5)
        )
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20
    assert Person.objects.count() == 1
    assert Activity.objects.filter(kind="event", outcome="applied").count() == 1
    assert Workspace.objects.get().requests == 20
