"""The calls of the Track API v1, one for each thing that can be said."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, get_args

from django.views.decorators.debug import sensitive_variables

from django_customerio.client.answers import Answer, json_object, words
from django_customerio.client.paths import person_segment, segment
from django_customerio.client.transport import Transport
from django_customerio.conversion import encode, to_json
from django_customerio.exceptions import InvalidMessage, MessageTooLarge, RequestRefused
from django_customerio.ids import new_ulid
from django_customerio.messages import (
    AddDevice,
    AnonymousEvent,
    Event,
    Identifiers,
    Identify,
    Merge,
    Message,
    Page,
    Screen,
)

V1_BYTES = 100_000
"""Of one body. Stated for the data of an event; the rest is taken to be no larger."""

SEGMENT_IDS = 1_000
"""People that one call can add to a segment."""

CUSTOMER = "/api/v1/customers/{identifier}"
EVENTS = "/api/v1/events"

Metric = Literal[
    "bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed"
]
IdType = Literal["id", "email", "cio_id"]


class V1Calls:
    """What ``TrackClient`` can say call by call.

    The product itself speaks v2 in batches. These serve code that says one thing now and
    waits for the answer, and what v2 does not have: segments, forms, metrics.
    """

    _transport: Transport

    def identify(
        self,
        person: object,
        attributes: Mapping[str, Any],
        *,
        update_only: bool = False,
        timestamp: int | datetime | None = None,
        relationships: Iterable[Mapping[str, Any]] = (),
        deadline: float | None = None,
    ) -> None:
        """Add a person, or update one.

        Args:
            person: An id, or one of ``{"id"}``, ``{"email"}``, ``{"cio_id"}``.
            attributes: What to set; converted as everywhere.
            update_only: Never create the person.
            timestamp: When it became so; the later of two updates wins at Customer.io.
            relationships: Objects to relate the person to.
            deadline: Seconds for the whole call.
        """
        said = Identify(
            person=Identifiers.parse(person),
            attributes=attributes,
            timestamp=timestamp,
            update_only=update_only,
            relationships=tuple(relationships),
        ).as_dict()
        body = dict(said.get("attributes", {}))
        if "timestamp" in said:
            body["_timestamp"] = said["timestamp"]
        if related := said.get("cio_relationships"):
            body["cio_relationships"] = {"action": "add_relationships", "relationships": related}
        self._v1("PUT", f"/api/v1/customers/{person_segment(person)}", body, CUSTOMER, deadline)

    def delete(self, person: object, *, deadline: float | None = None) -> None:
        """Delete a person; whatever names them again creates them anew."""
        path = f"/api/v1/customers/{person_segment(person)}"
        self._v1("DELETE", path, None, CUSTOMER, deadline)

    def suppress(self, person: object, *, deadline: float | None = None) -> None:
        """Delete a person for good, and take nothing more about their identifiers."""
        path = f"/api/v1/customers/{person_segment(person)}/suppress"
        self._v1("POST", path, {}, f"{CUSTOMER}/suppress", deadline)

    def unsuppress(self, person: object, *, deadline: float | None = None) -> None:
        """Take something about these identifiers again; what was deleted stays deleted."""
        path = f"/api/v1/customers/{person_segment(person)}/unsuppress"
        self._v1("POST", path, {}, f"{CUSTOMER}/unsuppress", deadline)

    def merge(self, primary: object, secondary: object, *, deadline: float | None = None) -> None:
        """Fold *secondary* into *primary*, which must exist. This cannot be undone."""
        said = Merge(
            primary=Identifiers.parse(primary),
            secondary=Identifiers.parse(secondary),
        ).as_dict()
        body = {"primary": said["primary"], "secondary": said["secondary"]}
        path = "/api/v1/merge_customers"
        self._v1("POST", path, body, path, deadline)

    def track(
        self,
        person: object,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = "",  # noqa: A002  (Customer.io's own word)
        timestamp: int | datetime | None = None,
        deadline: float | None = None,
    ) -> None:
        """Tell an event of a person.

        Args:
            person: An id, or one of ``{"id"}``, ``{"email"}``, ``{"cio_id"}``.
            name: Of the event, up to 100 bytes.
            data: What belongs to it.
            id: Its ULID, by which Customer.io drops repetitions; made here if empty. With
                None there is none, and then nothing is repeated that may have arrived.
            timestamp: When it happened: seconds since 1970, or a datetime. With None the time
                of arrival counts.
            deadline: Seconds for the whole call.
        """
        event = Event(**_event(person, name, data, id, timestamp))
        self._happened(person, event, id, deadline)

    def page(
        self,
        person: object,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = "",  # noqa: A002
        timestamp: int | datetime | None = None,
        deadline: float | None = None,
    ) -> None:
        """Tell that a person looked at a page; *name* is its address. See ``track``."""
        page = Page(**_event(person, name, data, id, timestamp))
        self._happened(person, page, id, deadline)

    def screen(
        self,
        person: object,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = "",  # noqa: A002
        timestamp: int | datetime | None = None,
        deadline: float | None = None,
    ) -> None:
        """Tell that a person looked at a screen of an app. See ``track``."""
        screen = Screen(**_event(person, name, data, id, timestamp))
        self._happened(person, screen, id, deadline)

    def track_anonymous(
        self,
        anonymous_id: str | None,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = "",  # noqa: A002
        timestamp: int | datetime | None = None,
        deadline: float | None = None,
    ) -> None:
        """Tell an event of somebody unknown. See ``track``.

        Without an anonymous id, and with ``recipient`` in *data*, it can invite somebody.
        """
        event = AnonymousEvent(
            anonymous_id=anonymous_id,
            name=name,
            data=data or {},
            timestamp=timestamp,
            id=id or new_ulid(),
        )
        body = dict(event.as_dict())
        if id is None:
            del body["id"]
        self._v1("POST", EVENTS, body, EVENTS, deadline, once=id is None)

    def add_device(
        self,
        person: object,
        token: str,
        platform: Literal["ios", "android"],
        *,
        last_used: int | datetime | None = None,
        attributes: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> None:
        """Add a device for push messages, or update it."""
        said = AddDevice(
            person=Identifiers.parse(person),
            token=token,
            platform=platform,
            last_used=last_used,
            attributes=attributes or {},
        ).as_dict()
        device = dict(said["device"])
        body = {"device": {"id": device.pop("token"), **device}}
        path = f"/api/v1/customers/{person_segment(person)}/devices"
        self._v1("PUT", path, body, f"{CUSTOMER}/devices", deadline)

    def delete_device(self, person: object, token: str, *, deadline: float | None = None) -> None:
        """Remove a device."""
        path = (
            f"/api/v1/customers/{person_segment(person)}/devices/{segment(token, field='token')}"
        )
        self._v1("DELETE", path, None, f"{CUSTOMER}/devices/{{device_id}}", deadline)

    def add_to_segment(
        self,
        segment_id: int,
        ids: Iterable[object],
        *,
        id_type: IdType = "id",
        deadline: float | None = None,
    ) -> None:
        """Add people to a manual segment, which must exist; 1,000 a request."""
        self._segment(segment_id, "add_customers", ids, id_type, deadline)

    def remove_from_segment(
        self,
        segment_id: int,
        ids: Iterable[object],
        *,
        id_type: IdType = "id",
        deadline: float | None = None,
    ) -> None:
        """Remove people from a manual segment; 1,000 a request."""
        self._segment(segment_id, "remove_customers", ids, id_type, deadline)

    def submit_form(
        self, form_id: str, data: Mapping[str, Any], *, deadline: float | None = None
    ) -> None:
        """Submit the answers of a form, among them the person's ``id`` or ``email``.

        Customer.io takes strings only: numbers and booleans are written out. What may have
        arrived is not repeated.
        """
        path = f"/api/v1/forms/{segment(form_id, field='form_id')}/submit"
        body = {"data": {str(name): _string(value, str(name)) for name, value in data.items()}}
        endpoint = "/api/v1/forms/{form_id}/submit"
        self._v1("POST", path, body, endpoint, deadline, once=True)

    def report_metric(
        self,
        delivery_id: str,
        metric: Metric,
        *,
        timestamp: int | datetime | None = None,
        recipient: str | None = None,
        reason: str | None = None,
        href: str | None = None,
        deadline: float | None = None,
    ) -> None:
        """Report what became of a message that was delivered by other means.

        Args:
            delivery_id: The ``CIO-Delivery-ID`` of the message.
            metric: What happened.
            timestamp: When, in seconds since 1970, or a datetime.
            recipient: Who got it.
            reason: Why it failed.
            href: The link that was clicked.
            deadline: Seconds for the whole call.
        """
        if metric not in get_args(Metric):
            known = ", ".join(get_args(Metric))
            raise InvalidMessage(f"metric must be one of {known}.", field="metric")
        segment(delivery_id, field="delivery_id")
        optional = {
            "timestamp": timestamp,
            "recipient": recipient,
            "reason": reason,
            "href": href,
        }
        body: dict[str, Any] = {"delivery_id": delivery_id, "metric": metric}
        body |= {name: value for name, value in optional.items() if value is not None}
        path = "/api/v1/metrics"
        self._v1("POST", path, to_json(body, field="metric"), path, deadline)

    def _happened(
        self, person: object, event: Message, id_: str | None, deadline: float | None
    ) -> None:
        said = event.as_dict()
        body: dict[str, Any] = {} if event.kind == "event" else {"type": event.kind}
        body |= {"name": said["name"], "data": said["attributes"]}
        if id_ is not None:
            body["id"] = said["id"]
        if "timestamp" in said:
            body["timestamp"] = said["timestamp"]
        path = f"/api/v1/customers/{person_segment(person)}/events"
        self._v1("POST", path, body, f"{CUSTOMER}/events", deadline, once=id_ is None)

    def _segment(
        self,
        segment_id: int,
        action: str,
        ids: Iterable[object],
        id_type: IdType,
        deadline: float | None,
    ) -> None:
        if id_type not in get_args(IdType):
            raise InvalidMessage("id_type must be id, email or cio_id.", field="id_type")
        everybody = [Identifiers.parse({id_type: each}).value for each in ids]
        path = f"/api/v1/segments/{segment(segment_id, field='segment_id')}/{action}"
        ends = None if deadline is None else time.monotonic() + deadline
        for start in range(0, len(everybody), SEGMENT_IDS):
            self._v1(
                "POST",
                f"{path}?id_type={id_type}",
                {"ids": everybody[start : start + SEGMENT_IDS]},
                f"/api/v1/segments/{{segment_id}}/{action}",
                time_left(ends),
                limit=None,
            )

    @sensitive_variables("path", "body", "text")
    def _v1(
        self,
        method: str,
        path: str,
        body: Any,
        endpoint: str,
        deadline: float | None,
        *,
        once: bool = False,
        limit: int | None = V1_BYTES,
    ) -> None:
        text = None if body is None else encode(body).encode()
        if text and limit and len(text) > limit:
            raise MessageTooLarge(
                f"The body has {len(text):,} bytes; {limit:,} are taken. Send less, or a"
                " reference to it."
            )
        answer = self._transport.call(
            method,
            path,
            text,
            endpoint=endpoint,
            deadline=deadline,
            once=once,
        )
        if answer.status != 204:  # which has no body
            self._accepted(answer, method, endpoint)

    def _accepted(self, answer: Answer, method: str, endpoint: str) -> None:
        said = json_object(answer, method=method, endpoint=endpoint)
        if said.get("errors") or answer.status == 207:
            raise RequestRefused(
                f"{method} {endpoint} was answered {answer.status} with errors, and not"
                " accepted; they are in the error's `errors`.",
                status=answer.status,
                method=method,
                endpoint=endpoint,
                errors=words(answer.body),
            )


def _event(
    person: object,
    name: str,
    data: Mapping[str, Any] | None,
    id_: str | None,
    timestamp: int | datetime | None,
) -> dict[str, Any]:
    return {
        "person": Identifiers.parse(person),
        "name": name,
        "data": data or {},
        "timestamp": timestamp,
        "id": id_ or new_ulid(),
    }


def time_left(ends: float | None) -> float | None:
    """Seconds until *ends* by ``time.monotonic()``; None for no end."""
    return None if ends is None else ends - time.monotonic()


def _string(value: object, name: str) -> str:
    plain = to_json(value, field=name)
    if isinstance(plain, (dict, list)) or plain is None:
        raise InvalidMessage(f"{name}: a form takes strings only.", field=name)
    return plain if isinstance(plain, str) else encode(plain)
