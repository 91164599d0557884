"""The Track client: what it sends, what answers mean, what is retried and what leaks."""

from __future__ import annotations

import io
import json
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import responses
import urllib3
from django.core.exceptions import ImproperlyConfigured
from django.views.debug import ExceptionReporter
from django.views.decorators.debug import sensitive_variables

from django_customerio.client import BatchAnswer, Region, TrackClient
from django_customerio.client.answers import Answer, retry_after, words
from django_customerio.exceptions import (
    APIConnectionError,
    APIError,
    APITimeout,
    AuthenticationFailed,
    InvalidMessage,
    ItemError,
    MessageTooLarge,
    RateLimited,
    RequestRefused,
    RetriesExhausted,
    ServerError,
    UnusableAnswer,
    WrongEndpoint,
    WrongRegion,
)
from django_customerio.messages import (
    AnonymousEvent,
    Event,
    Identifiers,
    Identify,
    Message,
    Suppress,
)

US = "https://track.customer.io"
EU = "https://track-eu.customer.io"
ULID = "01HB4HBDKTFWYZCK01DMRSWRFD"
ANY = re.compile(r".*")
SECRET, JANE, PRICE = "hunter2", "jane@example.com", 23.45
BODY = b'{"batch":[{"secret":"hunter2"}]}'


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """A Customer.io that answers what a test says; an answer nobody asks for is an error."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, in seconds."""
    return []


@pytest.fixture
def client(waits: list[float]) -> TrackClient:
    """A client that notes its waits instead of waiting."""
    return make(sleep=waits.append)


def make(**options: Any) -> TrackClient:
    return TrackClient(**{"site_id": "SITE", "api_key": "KEY", **options})


def answer(api: responses.RequestsMock, *statuses: int, **options: Any) -> None:
    """Let each request be answered with one status after the other."""
    for status in statuses:
        for method in ("GET", "POST", "PUT", "DELETE"):
            api.add(method, ANY, **{"status": status, "body": "{}\n", **options})
    api.assert_all_requests_are_fired = False


def sent(api: responses.RequestsMock) -> list[tuple[str, str, Any]]:
    """Method, address and JSON of each request."""
    return [
        (
            str(call.request.method),
            str(call.request.url),
            json.loads(call.request.body) if call.request.body else None,
        )
        for call in api.calls
    ]


def everything_of(error: BaseException) -> str:
    """All that a log, a report or a debugger might print of an error."""
    seen: list[str] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None:
            seen += [str(each), repr(each), *traceback.format_exception(each)]
            seen.append(repr({k: v for k, v in vars(each).items() if k != "errors"}))
            todo += [each.__cause__, each.__context__, getattr(each, "last", None)]
    return "\n".join(seen)


# What is sent: the vectors of the fact sheet


def test_v1_identify_with_an_awkward_id(api: Any, client: TrackClient) -> None:
    """An id is one segment of the path, whatever characters it holds."""
    answer(api, 200)
    client.identify("a/b c+d@e.com", {"email": "x@e.com", "joined": datetime(2026, 1, 2, 3, 4, 5)})
    assert sent(api) == [
        (
            "PUT",
            f"{US}/api/v1/customers/a%2Fb%20c%2Bd%40e.com",
            {"email": "x@e.com", "joined": 1767323045},
        )
    ]


def test_v2_aware_times(api: Any, client: TrackClient) -> None:
    """An aware time is the same instant in Unix seconds."""
    answer(api, 200)
    west = timezone(timedelta(hours=-5))
    client.identify(5, {"joined": datetime(2026, 1, 2, 3, 4, 5, tzinfo=west)})
    assert sent(api)[0][2] == {"joined": 1767341045}


def test_v3_update_only_and_ordered(api: Any, client: TrackClient) -> None:
    """v1 says both inside the attributes, with an underscore."""
    answer(api, 200)
    client.identify(5, {"plan": "pro"}, update_only=True, timestamp=1767323045)
    assert sent(api) == [
        (
            "PUT",
            f"{US}/api/v1/customers/5",
            {"plan": "pro", "_update": True, "_timestamp": 1767323045},
        )
    ]


def test_v4_changing_identifiers(api: Any, client: TrackClient) -> None:
    """A person named by cio_id has its prefix in the path."""
    answer(api, 200)
    client.identify({"cio_id": "03000001"}, {"email": "new@e.com", "id": "99"})
    assert sent(api) == [
        ("PUT", f"{US}/api/v1/customers/cio_03000001", {"email": "new@e.com", "id": "99"})
    ]


def test_v5_one_topic(api: Any, client: TrackClient) -> None:
    """A dotted key changes one topic and leaves the others alone."""
    answer(api, 200)
    key = "cio_subscription_preferences.topics.topic_3"
    client.identify(5, {key: False})
    assert sent(api)[0][2] == {key: False}


def test_v6_event_with_id_and_time(api: Any, client: TrackClient) -> None:
    """An event carries its ULID and its own time."""
    answer(api, 200)
    client.track("5", "purchased", {"price": 23.45}, id=ULID, timestamp=1561231234)
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/customers/5/events",
            {
                "name": "purchased",
                "data": {"price": 23.45},
                "id": ULID,
                "timestamp": 1561231234,
            },
        )
    ]


def test_v7_milliseconds_are_refused(api: Any, client: TrackClient) -> None:
    """A time in milliseconds is caught before anything is sent."""
    with pytest.raises(InvalidMessage):
        client.track("5", "purchased", {}, id=ULID, timestamp=1561231234000)
    assert not api.calls


def test_v8_page_view(api: Any, client: TrackClient) -> None:
    """A page is an event of its own type."""
    answer(api, 200)
    client.page(5, "https://e.com/p", {"referrer": "x"}, id=None)
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/customers/5/events",
            {"type": "page", "name": "https://e.com/p", "data": {"referrer": "x"}},
        )
    ]


def test_screen_view(api: Any, client: TrackClient) -> None:
    """So is a screen."""
    answer(api, 200)
    client.screen(5, "home", id=None)
    assert sent(api)[0][2] == {"type": "screen", "name": "home", "data": {}}


def test_v9_anonymous_event(api: Any, client: TrackClient) -> None:
    """Events of somebody unknown go to their own endpoint."""
    answer(api, 200)
    client.track_anonymous("abc123", "watched_video", id=None)
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/events",
            {"name": "watched_video", "data": {}, "anonymous_id": "abc123"},
        )
    ]


def test_v10_invite_event(api: Any, client: TrackClient) -> None:
    """Without an anonymous id there is no such key, not a null."""
    answer(api, 200)
    client.track_anonymous(None, "invite", {"recipient": "x@e.com"}, id=None)
    assert sent(api)[0][2] == {"name": "invite", "data": {"recipient": "x@e.com"}}


def test_events_get_a_ulid_of_their_own(api: Any, client: TrackClient) -> None:
    """So that a retry is not counted twice, each event has an id unless told otherwise."""
    answer(api, 200)
    client.track(5, "one")
    client.track_anonymous("a", "two")
    ids = [body["id"] for _, _, body in sent(api)]
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", each) for each in ids)
    assert ids[0] != ids[1]


def test_v11_devices(api: Any, client: TrackClient) -> None:
    """v1 calls the token an id, and has it in the path when it deletes."""
    answer(api, 200)
    client.add_device(5, "tok/1", "ios", last_used=1514764800, attributes={"app_version": "1.2"})
    client.delete_device(5, "tok/1")
    assert sent(api) == [
        (
            "PUT",
            f"{US}/api/v1/customers/5/devices",
            {
                "device": {
                    "id": "tok/1",
                    "platform": "ios",
                    "last_used": 1514764800,
                    "attributes": {"app_version": "1.2"},
                }
            },
        ),
        ("DELETE", f"{US}/api/v1/customers/5/devices/tok%2F1", None),
    ]


def test_v12_merge(api: Any, client: TrackClient) -> None:
    """Ids are strings, whatever they were."""
    answer(api, 200)
    client.merge(5, {"email": "b@e.com"})
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/merge_customers",
            {"primary": {"id": "5"}, "secondary": {"email": "b@e.com"}},
        )
    ]


def test_v13_segments(api: Any, client: TrackClient) -> None:
    """People are added by the kind of id that was asked for."""
    answer(api, 200)
    client.add_to_segment(7, ["a@e.com", "b@e.com"], id_type="email")
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/segments/7/add_customers?id_type=email",
            {"ids": ["a@e.com", "b@e.com"]},
        )
    ]


def test_v13_more_ids_than_a_call_takes(api: Any, client: TrackClient) -> None:
    """1,001 ids are two calls."""
    answer(api, 200)
    client.remove_from_segment(7, range(1, 1002), deadline=60)
    requested = sent(api)
    assert [len(body["ids"]) for _, _, body in requested] == [1000, 1]
    assert requested[1][1:] == (
        f"{US}/api/v1/segments/7/remove_customers?id_type=id",
        {"ids": ["1001"]},
    )


BATCH: list[Message] = [
    Identify(person=Identifiers("id", "5"), attributes={"plan": "pro"}),
    Event(person=Identifiers("id", "5"), name="signup", id=ULID, timestamp=None),
    Suppress(person=Identifiers("id", "6")),
]


def test_v14_batch(api: Any, client: TrackClient) -> None:
    """A batch is one request of v2."""
    answer(api, 200)
    assert client.batch(BATCH) == [BatchAnswer(200)]
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v2/batch",
            {
                "batch": [
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
            },
        )
    ]


def test_v15_some_items_are_refused(api: Any, client: TrackClient) -> None:
    """207 names the refused items; nothing is sent again."""
    entry = {"batch_index": 1, "reason": "invalid", "field": "name", "message": "bad name"}
    answer(api, 207, json={"errors": [entry]}, body=None)
    assert client.batch(BATCH) == [
        BatchAnswer(207, (ItemError(1, "invalid", "name", "bad name"),))
    ]
    assert len(api.calls) == 1


def test_a_200_that_lists_errors_is_read_like_a_207(api: Any, client: TrackClient) -> None:
    """An item that is listed was not accepted, whatever the status says."""
    answer(api, 200, json={"errors": [{"batch_index": 0, "reason": "x"}]}, body=None)
    assert client.post_batch(BODY, count=1).errors == (ItemError(0, "x", "", ""),)


class _Sized(Message):
    """A message of so many bytes."""

    kind = "event"

    def __init__(self, size: int) -> None:
        self.size = size

    def as_json(self) -> str:
        if self.size > 32_000:
            raise MessageTooLarge("too large by far")
        return '{"a":"' + "x" * (self.size - 8) + '"}'


def test_v16_batches_are_split_by_bytes(api: Any, client: TrackClient) -> None:
    """40 items of 20,000 bytes need two requests; what is too large stays here alone."""
    answer(api, 200)
    answers = client.batch([_Sized(32_001), *[_Sized(20_000)] * 40], deadline=60)
    bodies = [call.request.body for call in api.calls]
    assert [len(json.loads(body)["batch"]) for body in bodies] == [23, 17]
    assert len(bodies[0]) == 460_034
    assert answers == [
        BatchAnswer(200),
        BatchAnswer(200),
        BatchAnswer(207, (ItemError(0, "too_large", "", "too large by far"),)),
    ]


def test_a_batch_fills_up_to_the_last_byte(api: Any, client: TrackClient) -> None:
    """475,000 bytes are one request, one more are two."""
    answer(api, 200)
    items = [_Sized(25_000)] * 18
    client.batch([*items, _Sized(475_000 - 12 - 18 * 25_001)])
    client.batch([*items, _Sized(475_000 - 12 - 18 * 25_001 + 1)])
    assert len(api.calls[0].request.body) == 475_000
    assert len(api.calls) == 3


def test_batches_are_split_by_count_and_errors_count_through(
    api: Any, client: TrackClient
) -> None:
    """501 items are two requests; an error tells the place among all messages."""
    answer(api, 200)
    api.reset()
    api.add("POST", ANY, body="{}")
    api.add("POST", ANY, status=207, json={"errors": [{"batch_index": 0, "message": "m"}]})
    answers = client.batch([_Sized(20)] * 501)
    assert answers == [BatchAnswer(200), BatchAnswer(207, (ItemError(500, "", "", "m"),))]
    assert client.batch([]) == []


def test_anonymous_events_have_no_place_in_a_batch(api: Any, client: TrackClient) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(InvalidMessage, match=r"send\(\)"):
        client.batch([BATCH[0], AnonymousEvent(anonymous_id="a", name="n")])
    assert not api.calls


def test_sending_one_message(api: Any, client: TrackClient) -> None:
    """One message goes to the entity endpoint, an anonymous event to its own."""
    answer(api, 200)
    client.send(BATCH[2])
    client.send(AnonymousEvent(anonymous_id="a", name="n", id=ULID, timestamp=None))
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v2/entity",
            {"type": "person", "action": "suppress", "identifiers": {"id": "6"}},
        ),
        (
            "POST",
            f"{US}/api/v1/events",
            {"name": "n", "data": {}, "id": ULID, "anonymous_id": "a"},
        ),
    ]


@pytest.mark.parametrize("status", [200, 207])
def test_one_message_that_is_listed_as_wrong_is_refused(
    api: Any, client: TrackClient, status: int
) -> None:
    """An answer with errors is no success for the one message it is about."""
    answer(api, status, json={"errors": [{"message": "no"}]}, body=None)
    with pytest.raises(RequestRefused) as caught:
        client.send(BATCH[0])
    assert caught.value.errors == (ItemError(-1, "", "", "no"),)


def test_delete_suppress_and_unsuppress(api: Any, client: TrackClient) -> None:
    """The three are calls on the person's own address."""
    answer(api, 200)
    client.delete({"email": "a@e.com"})
    client.suppress(6)
    client.unsuppress(6)
    assert sent(api) == [
        ("DELETE", f"{US}/api/v1/customers/a%40e.com", None),
        ("POST", f"{US}/api/v1/customers/6/suppress", {}),
        ("POST", f"{US}/api/v1/customers/6/unsuppress", {}),
    ]


def test_relationships_have_the_shape_of_v1(api: Any, client: TrackClient) -> None:
    """v1 wraps the list in an object with an action."""
    answer(api, 200)
    acme = {"identifiers": {"object_type_id": "1", "object_id": "acme"}}
    client.identify(5, {}, relationships=[acme])
    said = sent(api)[0][2]["cio_relationships"]
    assert said["action"] == "add_relationships"
    assert said["relationships"][0]["identifiers"] == acme["identifiers"]


def test_forms_take_strings(api: Any, client: TrackClient) -> None:
    """Numbers and booleans are written out; 204 without a body is a success."""
    answer(api, 204, body="")
    client.submit_form("f 1", {"email": "a@e.com", "age": 7, "news": True})
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/forms/f%201/submit",
            {"data": {"email": "a@e.com", "age": "7", "news": "true"}},
        )
    ]


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_forms_take_nothing_else(api: Any, client: TrackClient, value: Any) -> None:
    """What is no single value is refused, by the field's name."""
    with pytest.raises(InvalidMessage) as caught:
        client.submit_form("f", {"field": value})
    assert caught.value.field == "field"


def test_metrics(api: Any, client: TrackClient) -> None:
    """Only what is known is said of a delivery."""
    answer(api, 200)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    client.report_metric("d1", "clicked", timestamp=at, href="https://e.com")
    assert sent(api) == [
        (
            "POST",
            f"{US}/api/v1/metrics",
            {
                "delivery_id": "d1",
                "metric": "clicked",
                "timestamp": 1767323045,
                "href": "https://e.com",
            },
        )
    ]


def test_unknown_metrics_and_kinds_of_id_are_refused(client: TrackClient) -> None:
    """The text lists what is accepted."""
    with pytest.raises(InvalidMessage, match="bounced, clicked"):
        client.report_metric("d1", "eaten")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="id, email or cio_id"):
        client.add_to_segment(7, ["1"], id_type="phone")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage):
        client.report_metric(" ", "clicked")


def test_v20_region(api: Any, client: TrackClient) -> None:
    """The region can be asked for, and compared with the setting."""
    said = {"url": EU, "region": "eu", "environment_id": 3}
    answer(api, 200, json=said, body=None)
    assert client.region() == Region(EU, "eu", 3)
    with pytest.raises(WrongRegion, match="set it to 'eu'"):
        client.check_region()
    assert make(region="eu").check_region().environment_id == 3
    assert [call.request.url for call in api.calls] == [
        f"{US}/api/v1/accounts/region",
        f"{US}/api/v1/accounts/region",
        f"{EU}/api/v1/accounts/region",
    ]


@pytest.mark.parametrize(
    "said",
    [{}, {"url": EU, "region": "mars", "environment_id": 3}, {"url": EU, "region": "eu"}],
)
def test_a_region_answer_that_says_nothing(api: Any, client: TrackClient, said: Any) -> None:
    """A proxy's 200 is no proof of the credentials."""
    answer(api, 200, json=said, body=None)
    with pytest.raises(UnusableAnswer):
        client.region()


def test_v26_eu(api: Any) -> None:
    """Another region is another host, and nothing else."""
    answer(api, 200)
    client = make(region="eu")
    client.identify(5, {"a": 1})
    client.batch(BATCH)
    assert [call.request.url for call in api.calls] == [
        f"{EU}/api/v1/customers/5",
        f"{EU}/api/v2/batch",
    ]


def test_headers(api: Any, client: TrackClient) -> None:
    """Every request says who asks; a body says what it is."""
    answer(api, 200)
    client.post_batch(BODY, count=1)
    client.delete(5)
    first, second = (dict(call.request.headers) for call in api.calls)
    assert first.pop("User-Agent").startswith("django-customerio/")
    assert first == {
        "Authorization": "Basic U0lURTpLRVk=",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": str(len(BODY)),
    }
    assert "Content-Type" not in second


def test_the_body_is_sent_as_it_is(api: Any, client: TrackClient) -> None:
    """A ready-made batch is not encoded again."""
    answer(api, 200)
    client.post_batch(b'{ "batch": [ ] }', count=0)
    assert api.calls[0].request.body == b'{ "batch": [ ] }'


def test_netrc_does_not_replace_our_credentials(
    api: Any, client: TrackClient, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that lie about for the host are somebody else's."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine track.customer.io login evil password evil\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answer(api, 200)
    client.post_batch(BODY, count=1)
    assert api.calls[0].request.headers["Authorization"] == "Basic U0lURTpLRVk="


# What cannot be sent


@pytest.mark.parametrize("person", ["", "  ", "a\0b", ".", "..", {"id": "\ud800"}])
def test_identifiers_that_no_path_can_hold(client: TrackClient, person: Any) -> None:
    """Blank, NUL, half a character, and dots that mean another path are refused."""
    with pytest.raises(InvalidMessage):
        client.delete(person)


@pytest.mark.parametrize("token", ["", " \t", "a\0b", "..", "\udc00"])
def test_tokens_that_no_path_can_hold(client: TrackClient, token: str) -> None:
    """The same goes for a device's token, and the text does not repeat it."""
    with pytest.raises(InvalidMessage) as caught:
        client.delete_device(5, token)
    assert caught.value.field == "token"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["phone", "anonymous_id"])
def test_people_that_v1_cannot_name(client: TrackClient, kind: str) -> None:
    """v1 would take a phone for an id."""
    with pytest.raises(InvalidMessage, match=kind):
        client.delete({kind: "1"})


def test_bodies_have_a_limit(api: Any, client: TrackClient) -> None:
    """An event of more than 100,000 bytes is refused here."""
    with pytest.raises(MessageTooLarge, match="100,000"):
        client.track(5, "e", {"text": "x" * 100_000})
    assert not api.calls


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"site_id": ""}, "SITE_ID"),
        ({"site_id": "a:b"}, "SITE_ID"),
        ({"api_key": ""}, "API_KEY"),
        ({"region": "mars"}, "REGION"),
        ({"url": "track.customer.io"}, "TRACK_URL"),
        ({"url": "ftp://track.customer.io"}, "TRACK_URL"),
        ({"url": "https://[::1"}, "TRACK_URL"),
        ({"url": "https://"}, "TRACK_URL"),
        ({"url": "https://host:0"}, "TRACK_URL"),
        ({"url": "https://host?x=1"}, "TRACK_URL"),
        ({"url": "https://user:hunter2@host"}, "TRACK_URL"),
    ],
)
def test_wrong_settings_are_named(options: Any, named: str) -> None:
    """The error names the setting, and no value."""
    with pytest.raises(ImproperlyConfigured) as caught:
        make(**options)
    assert named in str(caught.value)
    assert "hunter2" not in everything_of(caught.value)


def test_a_base_address_may_have_a_path(api: Any) -> None:
    """A sandbox lives below a path; its slash does not double."""
    answer(api, 200)
    make(url="http://127.0.0.1:8001/sandbox/").delete(5)
    assert api.calls[0].request.url == "http://127.0.0.1:8001/sandbox/api/v1/customers/5"


# What answers mean


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, WrongRegion),
        (307, WrongRegion),
        (400, RequestRefused),
        (401, AuthenticationFailed),
        (402, RequestRefused),
        (403, AuthenticationFailed),
        (404, WrongEndpoint),
        (405, WrongEndpoint),
        (407, WrongEndpoint),
        (410, WrongEndpoint),
        (413, RequestRefused),
        (415, WrongEndpoint),
        (418, RequestRefused),
        (421, WrongEndpoint),
        (422, RequestRefused),
        (426, WrongEndpoint),
        (600, UnusableAnswer),
    ],
)
def test_what_is_not_retried(
    api: Any, client: TrackClient, waits: list[float], status: int, kind: type[APIError]
) -> None:
    """Each of these is one request and one error that names what to do."""
    answer(api, status)
    with pytest.raises(kind) as caught:
        client.post_batch(BODY, count=1)
    error = caught.value
    assert type(error) is kind
    assert not error.retryable
    assert (error.status, error.method, error.endpoint) == (status, "POST", "/api/v2/batch")
    assert str(status) in str(error)
    assert len(api.calls) == 1
    assert waits == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 522, 524, 599])
def test_what_is_retried(api: Any, client: TrackClient, waits: list[float], status: int) -> None:
    """Each of these is four requests, and then an error worth another try later."""
    answer(api, status)
    with pytest.raises(RetriesExhausted) as caught:
        client.post_batch(BODY, count=1)
    assert len(api.calls) == 4
    assert len(waits) == 3
    assert {call.request.body for call in api.calls} == {BODY}
    error = caught.value
    assert error.attempts == 4
    assert error.retryable
    assert type(error.last) is (RateLimited if status == 429 else ServerError)
    assert error.status == status
    assert error.last.__traceback__ is None


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (requests.ConnectionError("hunter2"), APIConnectionError, "lost its connection"),
        (requests.exceptions.SSLError("hunter2"), APIConnectionError, "TLS"),
        (requests.exceptions.ProxyError("hunter2"), APIConnectionError, "proxy"),
        (requests.ReadTimeout("hunter2"), APITimeout, "in time"),
        (requests.ConnectTimeout("hunter2"), APITimeout, "in time"),
        (requests.exceptions.ChunkedEncodingError("hunter2"), APIConnectionError, "lost"),
        (urllib3.exceptions.ProtocolError("hunter2"), APIConnectionError, "lost"),
        (ConnectionResetError("hunter2"), APIConnectionError, "ConnectionResetError"),
    ],
)
def test_faults_of_the_network_are_retried(
    api: Any,
    client: TrackClient,
    waits: list[float],
    fault: Exception,
    kind: type[APIError],
    text: str,
) -> None:
    """Whatever requests makes of it, it is retried, and told without what it carries."""
    answer(api, 200, body=fault)
    with pytest.raises(RetriesExhausted, match=text) as caught:
        client.post_batch(BODY, count=1)
    assert len(api.calls) == 4
    assert len(waits) == 3
    assert type(caught.value.last) is kind
    assert caught.value.status is None
    assert "hunter2" not in everything_of(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        requests.exceptions.InvalidURL("hunter2"),
        requests.exceptions.InvalidProxyURL("hunter2"),
        requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."),
        OSError("Could not find a suitable TLS CA certificate bundle"),
    ],
)
def test_a_wrong_environment_is_not_retried(
    api: Any, client: TrackClient, fault: Exception
) -> None:
    """A malformed proxy or a missing CA bundle does not mend itself."""
    answer(api, 200, body=fault)
    with pytest.raises(WrongEndpoint, match="HTTPS_PROXY") as caught:
        client.post_batch(BODY, count=1)
    assert len(api.calls) == 1
    assert "hunter2" not in everything_of(caught.value)


def test_v17_retry(api: Any, client: TrackClient, waits: list[float]) -> None:
    """503, 503, 200 are three requests with the same bytes, and one success."""
    for status in (503, 503, 200):
        api.add("POST", ANY, status=status, body="{}")
    client.track("5", "purchased", {"price": 23.45}, timestamp=1561231234)
    bodies = {call.request.body for call in api.calls}
    assert len(api.calls) == 3
    assert len(bodies) == 1
    assert len(waits) == 2
    assert min(waits) > 0


def test_v17_refusal(api: Any, client: TrackClient) -> None:
    """400 is final; its words are at hand, but neither they nor ours are in the text."""
    answer(api, 400, json={"meta": {"errors": ["x"]}}, body=None)
    with pytest.raises(RequestRefused) as caught:
        client.track("5", "purchased", {"price": PRICE}, timestamp=1561231234)
    assert len(api.calls) == 1
    assert [each.message for each in caught.value.errors] == ["x"]
    told = everything_of(caught.value)
    assert "23.45" not in told
    assert "KEY" not in re.sub("API_KEY|APP_API_KEY", "", told)
    assert "U0lURTpLRVk" not in told


def test_waits_are_full_jitter(monkeypatch: pytest.MonkeyPatch, api: Any) -> None:
    """Each wait is random from 0 to a bound that doubles from the base up to the cap."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    answer(api, 503)
    waits: list[float] = []
    with pytest.raises(RetriesExhausted):
        make(retries=6, sleep=waits.append).post_batch(BODY, count=1)
    assert bounds[:6] == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 10), (0, 10)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_no_retries(api: Any) -> None:
    """The number of retries is a setting."""
    answer(api, 503)
    with pytest.raises(RetriesExhausted) as caught:
        make(retries=0).post_batch(BODY, count=1)
    assert caught.value.attempts == 1
    assert len(api.calls) == 1


def test_v18_rate_limit(api: Any, client: TrackClient, waits: list[float]) -> None:
    """429 waits at least as long as Customer.io asks."""
    api.add("POST", ANY, status=429, headers={"Retry-After": "20"})
    api.add("POST", ANY, body="{}")
    client.post_batch(BODY, count=1)
    assert waits == [20]


def test_v18_retry_after_is_capped(api: Any, client: TrackClient, waits: list[float]) -> None:
    """A day is not believed."""
    answer(api, 429, headers={"Retry-After": "86400"})
    with pytest.raises(RetriesExhausted) as caught:
        client.post_batch(BODY, count=1)
    assert waits == [300, 300, 300]
    assert caught.value.retry_after == 300


def test_v18_retry_after_that_does_not_fit_is_handed_back(
    api: Any, client: TrackClient, waits: list[float]
) -> None:
    """With a deadline before it, nobody sleeps: the caller learns how long to wait."""
    answer(api, 429, headers={"Retry-After": "60"})
    with pytest.raises(RetriesExhausted) as caught:
        client.post_batch(BODY, count=1, deadline=20)
    assert waits == []
    assert len(api.calls) == 1
    assert caught.value.retry_after == 60
    assert caught.value.attempts == 1


def test_a_deadline_that_has_passed(api: Any, client: TrackClient) -> None:
    """Without time left nothing is sent."""
    with pytest.raises(RetriesExhausted) as caught:
        client.post_batch(BODY, count=1, deadline=0)
    assert not api.calls
    assert isinstance(caught.value.last, APITimeout)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 12}, 300),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30,
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2215 07:28:30 GMT", "Date": "?"}, 300),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:30 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds and dates are understood; a date is read by the server's own clock."""
    assert retry_after(headers, cap=300) == seconds


def test_v19_wrong_region(api: Any, client: TrackClient) -> None:
    """A redirect is not followed: the setting is wrong."""
    body = {"errors": [{"detail": "wrong datacenter", "status": "301"}]}
    answer(api, 301, json=body, body=None, headers={"Location": f"{EU}/api/v2/batch"})
    with pytest.raises(WrongRegion, match="REGION") as caught:
        client.post_batch(BODY, count=1)
    assert len(api.calls) == 1
    assert caught.value.errors[0].message == "wrong datacenter"


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "<html>login</html>", '{"a":', "\xff", "1", "[" * 100_000, "{}{}"],
)
def test_a_success_without_a_json_object_is_none(api: Any, client: TrackClient, body: str) -> None:
    """A proxy's page in front of Customer.io does not count as accepted."""
    answer(api, 200, body=body)
    with pytest.raises(UnusableAnswer) as caught:
        client.post_batch(BODY, count=1)
    assert caught.value.status == 200
    assert len(api.calls) == 1


@pytest.mark.parametrize("body", ["{}", "{}\n", ' {"any": 1} '])
def test_a_json_object_is_a_success(api: Any, client: TrackClient, body: str) -> None:
    """Whatever else it says."""
    answer(api, 200, body=body)
    assert client.post_batch(BODY, count=1) == BatchAnswer(200, ())


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"errors": None},
        {"errors": []},
        {"errors": {}},
        {"errors": "x"},
        {"errors": ["x"]},
        {"errors": [{}]},
        {"errors": [{"batch_index": None}]},
        {"errors": [{"batch_index": "0"}]},
        {"errors": [{"batch_index": 0.0}]},
        {"errors": [{"batch_index": True}]},
        {"errors": [{"batch_index": -1}]},
        {"errors": [{"batch_index": 3}]},
        {"errors": [{"batch_index": 0}, {"batch_index": 7}]},
    ],
)
def test_a_207_without_usable_indexes(api: Any, client: TrackClient, said: Any) -> None:
    """If it cannot be told which items were refused, none counts as accepted."""
    answer(api, 207, json=said, body=None)
    with pytest.raises(UnusableAnswer) as caught:
        client.post_batch(BODY, count=3)
    assert caught.value.status == 207


def test_an_index_may_come_twice(api: Any, client: TrackClient) -> None:
    """One item can have two faults."""
    said = [{"batch_index": 2, "field": "a"}, {"batch_index": 2, "field": "b"}]
    answer(api, 207, json={"errors": said}, body=None)
    errors = client.post_batch(BODY, count=3).errors
    assert [(each.index, each.field) for each in errors] == [(2, "a"), (2, "b")]


def test_a_long_answer_is_not_read_to_its_end(api: Any, client: TrackClient) -> None:
    """Of a success that is no end of bytes a part is read, and it is no success."""

    class Endless(io.BytesIO):
        given = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0
            self.given += size
            return b" " * size

    endless = Endless()
    raw = urllib3.HTTPResponse(body=endless, status=200, preload_content=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "requests.adapters.HTTPAdapter.send",
            lambda self, request, **_: self.build_response(request, raw),
        )
        with pytest.raises(UnusableAnswer):
            client.post_batch(BODY, count=1)
    assert endless.given <= 1_100_000
    assert raw.closed


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"", ()),
        (b"nonsense", ()),
        (b"[]", ()),
        (b'{"meta": 1}', ()),
        (b'{"errors": null}', ()),
        (b'{"meta": {"error": "e"}}', (ItemError(-1, "", "", "e"),)),
        (
            b'{"meta": {"errors": ["e", "f"]}}',
            (ItemError(-1, "", "", "e"), ItemError(-1, "", "", "f")),
        ),
        (
            b'{"errors": [{"reason": "r", "field": "f", "message": "m"}]}',
            (ItemError(-1, "r", "f", "m"),),
        ),
        (
            b'{"errors": [{"detail": "d", "status": "422", "source": {"pointer": "/a"}}]}',
            (ItemError(-1, "", "/a", "d"),),
        ),
        (b'{"errors": [{"batch_index": 4}]}', (ItemError(4, "", "", ""),)),
        (b'{"errors": [{"reason": 7, "message": ["x"]}]}', (ItemError(-1, "7", "", ""),)),
        (b'{"error": "a\\u0000b\\ud800"}', (ItemError(-1, "", "", "ab?"),)),
    ],
)
def test_the_words_of_an_answer(body: bytes, errors: tuple[ItemError, ...]) -> None:
    """Every shape that the APIs use is understood, and none that is odd does harm."""
    assert words(body) == errors


def test_the_words_of_an_answer_have_an_end() -> None:
    """A stored error is neither endlessly long nor one of endlessly many."""
    many = words(json.dumps({"errors": ["x" * 5_000] * 2_000}).encode())
    assert len(many) == 1_000
    assert len(many[0].message) == 1_000


# What leaks


def test_nothing_of_a_client_or_an_answer_is_in_its_repr(client: TrackClient) -> None:
    """A repr in a log or a report tells the address alone."""
    assert repr(client) == f"<TrackClient {US}>"
    assert "hunter2" not in repr(Answer(400, {"Set-Cookie": "hunter2"}, b"hunter2"))
    assert repr(vars(client)) == (
        "{'configured_region': 'us', '_transport': <Transport https://track.customer.io>}"
    )


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404, 429, 503])
def test_no_error_holds_what_was_sent(
    api: Any, client: TrackClient, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither text nor causes nor log lines name payload, person, query or key."""
    caplog.set_level(logging.DEBUG, "django_customerio")
    answer(api, status, body="hunter2")
    with pytest.raises(APIError) as caught:
        client.identify({"email": JANE}, {"plan": SECRET})
    assert caught.value.endpoint == "/api/v1/customers/{identifier}"
    told = everything_of(caught.value) + caplog.text
    for secret in ("hunter2", "jane", "U0lURTpLRVk"):
        assert secret not in told


def test_waiting_is_logged(
    api: Any, client: TrackClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who looks for the reason of a slow call finds it."""
    caplog.set_level(logging.INFO, "django_customerio.client")
    for status in (503, 200):
        api.add("POST", ANY, status=status, body="{}")
    client.post_batch(BODY, count=1)
    (record,) = caplog.records
    assert "answered 503" in record.getMessage()
    assert "Attempt 2 follows in" in record.getMessage()


def test_events_without_an_id_are_not_repeated(api: Any, client: TrackClient) -> None:
    """Without a ULID a retry would count twice, so the doubt is the caller's."""
    answer(api, 503)
    with pytest.raises(ServerError, match="may have been carried out") as caught:
        client.track(5, "e", id=None)
    assert len(api.calls) == 1
    assert not caught.value.retryable


@sensitive_variables()
def _send_secrets(client: TrackClient) -> None:
    client.post_batch(BODY, count=1)


@pytest.mark.parametrize("outcome", [{"status": 503}, {"status": 400}, {"body": OSError(SECRET)}])
def test_an_error_report_hides_what_was_sent(
    api: Any, client: TrackClient, outcome: dict[str, Any], rf: Any
) -> None:
    """Django mails the variables of each frame to the admins: none holds payload or key."""
    api.add("POST", ANY, **outcome)
    with pytest.raises(APIError) as caught:
        _send_secrets(client)
    error = caught.value
    assert error.__traceback__ is not None
    frames = error.__traceback__.tb_next  # this test holds the client, and may
    reporter = ExceptionReporter(rf.get("/"), type(error), error, frames)
    report = reporter.get_traceback_html() + reporter.get_traceback_text()
    assert "_send_secrets" in report
    for frame in reporter.get_traceback_frames():
        for name, value in frame["vars"]:
            assert SECRET not in str(value), (frame["function"], name)
            assert "U0lURTpLRVk" not in str(value), (frame["function"], name)
