"""The App client: look-ups, and sends that are never sent twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from django.core.exceptions import ImproperlyConfigured
from urllib3.exceptions import MaxRetryError, NewConnectionError

from django_customerio.client import AppClient, Delivery, FoundPerson
from django_customerio.exceptions import (
    APIConnectionError,
    APIError,
    APITimeout,
    InvalidMessage,
    MessageTooLarge,
    RateLimited,
    RequestRefused,
    RetriesExhausted,
    ServerError,
    UnusableAnswer,
    WrongEndpoint,
)

US = "https://api.customer.io"
ANY = re.compile(r".*")


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """A Customer.io that answers what a test says."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, in seconds."""
    return []


@pytest.fixture
def client(waits: list[float]) -> AppClient:
    """A client that notes its waits instead of waiting."""
    return AppClient(api_key="APPKEY", sleep=waits.append)


def body_of(api: responses.RequestsMock, number: int = 0) -> Any:
    return json.loads(api.calls[number].request.body)


def test_v21_transactional_mail(api: Any, client: AppClient) -> None:
    """A mail from a template, with an attachment in base64."""
    api.add("POST", ANY, json={"delivery_id": "x", "queued_at": 1})
    delivery = client.send_email(
        transactional_message_id="3",
        to="p@e.com",
        identifiers={"id": 2},
        message_data={"n": 1},
        attachments={"r.txt": b"hi"},
    )
    assert delivery == Delivery("x", 1)
    request = api.calls[0].request
    assert (request.method, request.url) == ("POST", f"{US}/v1/send/email")
    assert request.headers["Authorization"] == "Bearer APPKEY"
    assert body_of(api) == {
        "transactional_message_id": "3",
        "to": "p@e.com",
        "identifiers": {"id": "2"},
        "message_data": {"n": 1},
        "attachments": {"r.txt": "aGk="},
    }


def send(client: AppClient) -> Delivery:
    return client.send_email(transactional_message_id=3, to="jane@e.com", identifiers=2)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (requests.ReadTimeout("jane"), APITimeout),
        (requests.ConnectionError("jane"), APIConnectionError),
    ],
)
def test_v21_a_send_whose_answer_was_lost_is_not_repeated(
    api: Any, client: AppClient, waits: list[float], fault: Exception, kind: type[APIError]
) -> None:
    """It may have arrived: one request, and an error that says so and invites no retry."""
    api.add("POST", ANY, body=fault)
    with pytest.raises(kind, match="may have been carried out") as caught:
        send(client)
    assert len(api.calls) == 1
    assert waits == []
    assert not caught.value.retryable
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_send_that_met_a_busy_server_is_not_repeated(
    api: Any, client: AppClient, status: int
) -> None:
    """A 5xx does not say that nothing was done."""
    api.add("POST", ANY, status=status)
    with pytest.raises(ServerError, match="may have been carried out") as caught:
        send(client)
    assert len(api.calls) == 1
    assert not caught.value.retryable


def test_a_send_that_was_one_too_many_may_be_tried_later(api: Any, client: AppClient) -> None:
    """429 says that nothing was done: not repeated here, but worth another try."""
    api.add("POST", ANY, status=429, headers={"Retry-After": "3"})
    with pytest.raises(RateLimited) as caught:
        send(client)
    assert len(api.calls) == 1
    assert caught.value.retryable
    assert caught.value.retry_after == 3
    assert "carried out" not in str(caught.value)


def refused() -> requests.ConnectionError:
    reason = NewConnectionError(None, "refused")  # type: ignore[arg-type]
    return requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [requests.ConnectTimeout("x"), refused()])
def test_a_send_that_never_left_is_repeated(
    api: Any, client: AppClient, waits: list[float], fault: Exception
) -> None:
    """As long as no connection could be opened, nothing can have arrived."""
    api.add("POST", ANY, body=fault)
    api.add("POST", ANY, json={"delivery_id": "x"})
    assert send(client) == Delivery("x")
    assert len(waits) == 1


def test_a_send_that_never_left_gives_up(api: Any, client: AppClient) -> None:
    """After the retries it is still worth another try, for nothing can have arrived."""
    api.add("POST", ANY, body=refused())
    with pytest.raises(RetriesExhausted) as caught:
        send(client)
    assert len(api.calls) == 4
    assert caught.value.retryable
    assert isinstance(caught.value.last, APIConnectionError)
    assert caught.value.last.unsent


def test_v22_too_many_recipients(api: Any, client: AppClient) -> None:
    """16 recipients over the three lists are refused here, 15 are not."""
    people = [f"p{n}@e.com" for n in range(20)]
    api.add("POST", ANY, json={"delivery_id": "x"})
    lists = {"to": people[:10], "cc": people[10:14], "bcc": people[14:16]}
    with pytest.raises(InvalidMessage, match="15 recipients"):
        client.send_email(transactional_message_id=3, identifiers=2, **lists)
    assert not api.calls
    lists["bcc"] = people[14:15]
    client.send_email(transactional_message_id=3, identifiers=2, **lists)
    assert body_of(api)["cc"] == "p10@e.com, p11@e.com, p12@e.com, p13@e.com"


def test_recipients_are_counted_within_a_string(client: AppClient) -> None:
    """A name with a comma is one recipient, a list in one string several."""
    to = ", ".join(f'"Doe, J." <p{n}@e.com>' for n in range(16))
    with pytest.raises(InvalidMessage, match="this one 16"):
        client.send_email(transactional_message_id=3, identifiers=2, to=to)


def test_a_mail_without_template(api: Any, client: AppClient) -> None:
    """It brings its own body, subject and sender."""
    api.add("POST", ANY, json={"delivery_id": "x", "queued_at": 5, "send_at": 9})
    delivery = client.send_email(
        to=["a@e.com", "b@e.com"],
        identifiers={"email": "a@e.com"},
        from_address="shop@e.com",
        subject="Hi",
        body="<p>Hi</p>",
        send_at=1767323045,
    )
    assert delivery == Delivery("x", 5, 9)
    assert body_of(api) == {
        "to": "a@e.com, b@e.com",
        "identifiers": {"email": "a@e.com"},
        "from": "shop@e.com",
        "subject": "Hi",
        "body": "<p>Hi</p>",
        "send_at": 1767323045,
    }


@pytest.mark.parametrize("missing", ["body", "subject", "from_address"])
def test_a_mail_without_template_or_content(client: AppClient, missing: str) -> None:
    """What is missing is named."""
    given = {"body": "b", "subject": "s", "from_address": "f@e.com"}
    del given[missing]
    with pytest.raises(InvalidMessage, match=missing.removesuffix("_address")):
        client.send_email(to="a@e.com", identifiers=1, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attachments", "error"),
    [
        ({"noextension": b"x"}, InvalidMessage),
        ({".hidden": b"x"}, InvalidMessage),
        ({"a.": b"x"}, InvalidMessage),
        ({"a.txt": "text"}, InvalidMessage),
        ({"a.txt": b"x" * 1_500_001}, MessageTooLarge),
    ],
)
def test_attachments_that_are_refused(
    client: AppClient, attachments: Any, error: type[Exception]
) -> None:
    """No extension, no bytes, or more than 2 MB in base64."""
    with pytest.raises(error):
        client.send_email(
            transactional_message_id=3, to="a@e.com", identifiers=1, attachments=attachments
        )


def test_a_mail_needs_somebody(client: AppClient) -> None:
    """Without an address, or about a phone number, there is no mail."""
    with pytest.raises(InvalidMessage, match="address"):
        client.send_email(transactional_message_id=3, to="", identifiers=1)
    with pytest.raises(InvalidMessage, match="phone"):
        client.send_email(transactional_message_id=3, to="a@e.com", identifiers={"phone": "+1"})


def test_other_channels(api: Any, client: AppClient) -> None:
    """Each has its own address, and takes what it needs."""
    api.add("POST", ANY, json={"delivery_id": "x"})
    client.send(
        "push",
        transactional_message_id="welcome",
        identifiers=5,
        fields={"to": "last_used"},
        language="de",
    )
    assert api.calls[0].request.url == f"{US}/v1/send/push"
    assert body_of(api) == {
        "transactional_message_id": "welcome",
        "identifiers": {"id": "5"},
        "to": "last_used",
        "language": "de",
    }
    with pytest.raises(InvalidMessage, match="whatsapp"):
        client.send("pigeon", transactional_message_id=1, identifiers=5)  # type: ignore[arg-type]


def test_a_send_whose_answer_names_no_delivery(api: Any, client: AppClient) -> None:
    """Without an id there is nothing to keep."""
    api.add("POST", ANY, json={"queued_at": 1})
    with pytest.raises(UnusableAnswer, match="delivery id"):
        send(client)


def test_a_send_that_is_refused(api: Any, client: AppClient) -> None:
    """The reason is at hand, in the shape that the sends use."""
    api.add("POST", ANY, status=400, json={"meta": {"error": "Attachment must be base64"}})
    with pytest.raises(RequestRefused) as caught:
        send(client)
    assert caught.value.errors[0].message == "Attachment must be base64"


def test_v23_look_up_by_email(api: Any, client: AppClient) -> None:
    """A plus is encoded, or Customer.io finds nobody; nobody is no error."""
    api.add("GET", ANY, json={"results": []})
    assert client.find_by_email("jane+notifications@example.com") == []
    assert api.calls[0].request.url == (
        f"{US}/v1/customers?email=jane%2Bnotifications%40example.com"
    )


def test_people_that_are_found(api: Any, client: AppClient) -> None:
    """Each has up to three identifiers, of which a repr tells only Customer.io's own."""
    api.add("GET", ANY, json={"results": [{"email": "j@e.com", "id": None, "cio_id": "c1"}]})
    (person,) = client.find_by_email("j@e.com")
    assert person == FoundPerson(None, "j@e.com", "c1")
    assert "j@e.com" not in repr(person)


@pytest.mark.parametrize("said", [{}, {"results": {}}, {"results": ["x"]}])
def test_a_look_up_that_says_nothing(api: Any, client: AppClient, said: Any) -> None:
    """A proxy's answer is not "nobody"."""
    api.add("GET", ANY, json=said)
    with pytest.raises(UnusableAnswer):
        client.find_by_email("j@e.com")


@pytest.mark.parametrize(
    ("person", "path"),
    [
        (5, "/v1/customers/5/attributes?id_type=id"),
        ({"cio_id": "a1"}, "/v1/customers/cio_a1/attributes?id_type=cio_id"),
        ({"phone": "+1"}, "/v1/customers/%2B1/attributes?id_type=phone"),
    ],
)
def test_attributes_of_a_person(api: Any, client: AppClient, person: Any, path: str) -> None:
    """They are looked up by any identifier but an anonymous one."""
    api.add("GET", ANY, json={"customer": {"attributes": {"plan": "pro"}}})
    assert client.attributes(person) == {"plan": "pro"}
    assert api.calls[0].request.url == US + path
    with pytest.raises(InvalidMessage, match="anonymous_id"):
        client.attributes({"anonymous_id": "x"})


def test_attributes_of_nobody(api: Any, client: AppClient) -> None:
    """404 is "nobody"; any other wrong address is an error."""
    api.add("GET", ANY, status=404)
    assert client.attributes(5) is None
    api.reset()
    api.add("GET", ANY, status=405)
    with pytest.raises(WrongEndpoint):
        client.attributes(5)


@pytest.mark.parametrize("said", [{}, {"customer": 1}, {"customer": {}}])
def test_attributes_that_are_none(api: Any, client: AppClient, said: Any) -> None:
    """An answer without attributes is no person without attributes."""
    api.add("GET", ANY, json=said)
    with pytest.raises(UnusableAnswer):
        client.attributes(5)


def test_look_ups_are_retried(api: Any, client: AppClient, waits: list[float]) -> None:
    """They change nothing."""
    api.add("GET", ANY, status=503)
    api.add("GET", ANY, json={"results": []})
    client.find_by_email("j@e.com")
    assert len(waits) == 1


def test_v26_eu(api: Any) -> None:
    """Another region is another host."""
    api.add("GET", ANY, json={"results": []})
    AppClient(api_key="APPKEY", region="eu").find_by_email("j@e.com")
    assert api.calls[0].request.url.startswith("https://api-eu.customer.io/v1/customers?")


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "kéy"])
def test_a_key_that_cannot_be_one(key: str) -> None:
    """The setting is named, the key is not."""
    with pytest.raises(ImproperlyConfigured, match="APP_API_KEY") as caught:
        AppClient(api_key=key)
    assert not key or key not in str(caught.value)


def test_the_key_is_not_in_the_repr(client: AppClient) -> None:
    """A repr tells the address alone."""
    assert repr(client) == f"<AppClient {US}>"
