"""The App API: looking people up, and sending them transactional messages."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import getaddresses
from typing import Any, Literal, TypedDict, Unpack, get_args
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from django_customerio.client.answers import json_object, unusable
from django_customerio.client.paths import segment
from django_customerio.client.track import region_url
from django_customerio.client.transport import Transport
from django_customerio.conf import APP_URLS
from django_customerio.conversion import encode, to_json
from django_customerio.exceptions import InvalidMessage, MessageTooLarge, WrongEndpoint
from django_customerio.messages import Identifiers

MAX_RECIPIENTS = 15
"""Of one e-mail, over ``to``, ``cc`` and ``bcc``."""

MAX_ATTACHMENTS_BYTES = 2_000_000
"""Of all attachments of one e-mail, in base64: the careful reading of "under 2 MB"."""

Channel = Literal["email", "push", "sms", "whatsapp", "inbox_message", "in_app"]


class SendOptions(TypedDict, total=False):
    """What every send can say besides; see Customer.io's reference for each."""

    message_data: Mapping[str, Any]
    send_at: int | datetime
    disable_message_retention: bool
    send_to_unsubscribed: bool
    queue_draft: bool
    language: str
    auto_create: bool


class EmailOptions(SendOptions, total=False):
    """What an e-mail can say besides."""

    from_address: str
    reply_to: str
    subject: str
    preheader: str
    body: str
    body_plain: str
    body_amp: str
    fake_bcc: bool
    headers: Mapping[str, str]
    tracked: bool
    disable_css_preprocessing: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that Customer.io has taken.

    Attributes:
        delivery_id: Names it in every later report.
        queued_at: When it was taken, in Unix seconds.
        send_at: When it is to be sent, if that lies ahead.
    """

    delivery_id: str
    queued_at: int | None = None
    send_at: int | None = None


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """The identifiers of a person, None for those they do not have."""

    id: str | None = field(repr=False)
    email: str | None = field(repr=False)
    cio_id: str | None


class AppClient:
    """Speaks with the App API of one workspace; works without models and database.

    Safe with threads and after a fork. Look-ups are retried as by the ``TrackClient``.
    A send is repeated only while no connection could be opened: Customer.io would deliver
    a second one as well. An error after that says so, and is not ``retryable``.

    Args:
        api_key: An App API key.
        region: ``"us"`` or ``"eu"``.
        url: Another base address, of a sandbox or a proxy.
        timeout: Seconds for connecting and for each read.
        retries: Attempts after the first.
        retry_base: Seconds; upper bound of the first random wait.
        retry_cap: Seconds; upper bound of all.
        retry_after_cap: Seconds of ``Retry-After`` that are believed.
        sleep: Waits between attempts.

    Raises:
        ImproperlyConfigured: Key, region or address cannot be right.
    """

    @sensitive_variables("api_key")
    def __init__(
        self,
        *,
        api_key: str,
        region: str = "us",
        url: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        retry_base: float = 1.0,
        retry_cap: float = 10.0,
        retry_after_cap: float = 300.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not api_key or not api_key.isascii() or any(c <= " " for c in api_key):
            raise ImproperlyConfigured(
                "The App API needs APP_API_KEY in CUSTOMERIO, plain ASCII without spaces. It is"
                " made in Customer.io under Account settings, API credentials, App API keys."
            )
        base = region_url(APP_URLS, region)
        self._transport = Transport(
            base=url or base,
            setting="APP_URL",
            authorization=f"Bearer {api_key}",
            timeout=timeout,
            retries=retries,
            retry_base=retry_base,
            retry_cap=retry_cap,
            retry_after_cap=retry_after_cap,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.base}>"

    @sensitive_variables("email", "path", "answer", "said", "found")
    def find_by_email(self, email: str, *, deadline: float | None = None) -> list[FoundPerson]:
        """People with this address; none if there are none."""
        who = Identifiers("email", email)
        path = f"/v1/customers?email={quote(who.value, safe='')}"
        answer = self._transport.call("GET", path, endpoint="/v1/customers", deadline=deadline)
        said = json_object(answer, method="GET", endpoint="/v1/customers")
        found = said.get("results")
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise unusable(answer, "holds no results", method="GET", endpoint="/v1/customers")
        return [
            FoundPerson(each.get("id"), each.get("email"), each.get("cio_id")) for each in found
        ]

    @sensitive_variables("person", "who", "path", "answer", "said", "found")
    def attributes(
        self, person: object, *, deadline: float | None = None
    ) -> dict[str, Any] | None:
        """What Customer.io holds about a person, every value a string; None if nothing.

        Args:
            person: An id, or one of ``{"id"}``, ``{"email"}``, ``{"phone"}``, ``{"cio_id"}``.
            deadline: Seconds for the whole call.
        """
        who = Identifiers.parse(person)
        if who.type == "anonymous_id":
            raise InvalidMessage(
                "Nobody can be looked up by anonymous_id: use another identifier.",
                field="anonymous_id",
            )
        name = f"cio_{who.value}" if who.type == "cio_id" else who.value
        path = f"/v1/customers/{segment(name, field=who.type)}/attributes?id_type={who.type}"
        endpoint = "/v1/customers/{id}/attributes"
        try:
            answer = self._transport.call("GET", path, endpoint=endpoint, deadline=deadline)
        except WrongEndpoint as error:
            if error.status != 404:
                raise
            return None
        said = json_object(answer, method="GET", endpoint=endpoint)
        customer = said.get("customer")
        found = customer.get("attributes") if isinstance(customer, dict) else None
        if not isinstance(found, dict):
            raise unusable(answer, "holds no attributes", method="GET", endpoint=endpoint)
        return found

    @sensitive_variables()
    def send_email(
        self,
        *,
        to: str | Sequence[str],
        identifiers: object,
        transactional_message_id: int | str | None = None,
        cc: str | Sequence[str] = (),
        bcc: str | Sequence[str] = (),
        attachments: Mapping[str, bytes] | None = None,
        deadline: float | None = None,
        **options: Unpack[EmailOptions],
    ) -> Delivery:
        """Send a transactional e-mail.

        Args:
            to: One address or several; up to 15 with *cc* and *bcc*.
            identifiers: Whom it is about: an id, or one of ``{"id"}``, ``{"email"}``,
                ``{"cio_id"}``. Unknown people are created.
            transactional_message_id: The template. Without one ``body``, ``subject`` and
                ``from_address`` are needed.
            cc: More addresses.
            bcc: Hidden addresses.
            attachments: Contents by file name with extension, under 2 MB in base64.
            deadline: Seconds for the whole call.
            options: See ``EmailOptions``.
        """
        lists = {"to": _addresses(to), "cc": _addresses(cc), "bcc": _addresses(bcc)}
        everybody = getaddresses([text for text in lists.values() if text])
        if not lists["to"]:
            raise InvalidMessage("An e-mail needs an address in to.", field="to")
        if len(everybody) > MAX_RECIPIENTS:
            raise InvalidMessage(
                f"An e-mail has at most {MAX_RECIPIENTS} recipients over to, cc and bcc, this"
                f" one {len(everybody)}: send several.",
                field="to",
            )
        given: dict[str, Any] = {name: text for name, text in lists.items() if text}
        given |= options
        if "from_address" in given:
            given["from"] = given.pop("from_address")
        if transactional_message_id is None:
            for needed in ("body", "subject", "from"):
                if not given.get(needed):
                    raise InvalidMessage(
                        f"An e-mail without a template needs {needed}.", field=needed
                    )
        if attachments:
            given["attachments"] = _attachments(attachments)
        return self._send("email", transactional_message_id, identifiers, given, deadline)

    @sensitive_variables()
    def send(
        self,
        channel: Channel,
        *,
        transactional_message_id: int | str,
        identifiers: object,
        fields: Mapping[str, Any] | None = None,
        deadline: float | None = None,
        **options: Unpack[SendOptions],
    ) -> Delivery:
        """Send a transactional message over any channel.

        Args:
            channel: ``"push"``, ``"sms"``, ``"whatsapp"``, ``"inbox_message"``, ``"in_app"``;
                for ``"email"`` there is ``send_email``, which knows its limits.
            transactional_message_id: The template: its number or trigger name.
            identifiers: Whom it is about.
            fields: What this channel takes besides, such as ``to``.
            deadline: Seconds for the whole call.
            options: See ``SendOptions``.
        """
        if channel not in get_args(Channel):
            known = ", ".join(get_args(Channel))
            raise InvalidMessage(f"channel must be one of {known}.", field="channel")
        given = {**(fields or {}), **options}
        return self._send(channel, transactional_message_id, identifiers, given, deadline)

    @sensitive_variables()
    def _send(
        self,
        channel: str,
        template: int | str | None,
        person: object,
        given: dict[str, Any],
        deadline: float | None,
    ) -> Delivery:
        who = Identifiers.parse(person)
        if who.type not in ("id", "email", "cio_id"):
            raise InvalidMessage(
                f"A message cannot be sent by {who.type}: use id, email or cio_id.",
                field="identifiers",
            )
        said: dict[str, Any] = {"identifiers": who.as_dict()}
        if template is not None:
            said["transactional_message_id"] = template
        # to_json counts values; encoded attachments are one string each.
        body = encode(to_json({**said, **given})).encode()
        path = f"/v1/send/{channel}"
        answer = self._transport.call(
            "POST", path, body, endpoint=path, deadline=deadline, once=True
        )
        match json_object(answer, method="POST", endpoint=path):
            case {"delivery_id": str(delivery_id), **rest}:
                return Delivery(
                    delivery_id, _integer(rest.get("queued_at")), _integer(rest.get("send_at"))
                )
        raise unusable(answer, "holds no delivery id", method="POST", endpoint=path)


def _integer(value: object) -> int | None:
    return value if type(value) is int else None


def _addresses(given: str | Sequence[str]) -> str:
    return given if isinstance(given, str) else ", ".join(given)


def _attachments(given: Mapping[str, bytes]) -> dict[str, str]:
    encoded: dict[str, str] = {}
    for name, content in given.items():
        stem, dot, extension = name.rpartition(".")
        if not (stem and dot and extension):
            raise InvalidMessage(
                "The name of an attachment needs an extension, such as .pdf.", field="attachments"
            )
        if not isinstance(content, bytes):
            raise InvalidMessage("An attachment must be bytes.", field="attachments")
        encoded[name] = base64.b64encode(content).decode("ascii")
    size = sum(map(len, encoded.values()))
    if size > MAX_ATTACHMENTS_BYTES:
        raise MessageTooLarge(
            f"The attachments have {size:,} bytes in base64; Customer.io takes"
            f" {MAX_ATTACHMENTS_BYTES:,} in all. Send a link instead.",
            field="attachments",
        )
    return encoded
