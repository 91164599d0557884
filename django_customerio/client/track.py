"""The Track API: what Customer.io is told about people."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from django_customerio.client.answers import BatchAnswer, batch_answer, json_object, unusable
from django_customerio.client.transport import Transport
from django_customerio.client.v1 import EVENTS, V1Calls, time_left
from django_customerio.conf import TRACK_URLS
from django_customerio.exceptions import (
    InvalidMessage,
    ItemError,
    MessageTooLarge,
    WrongRegion,
)
from django_customerio.messages import AnonymousEvent, Message

BATCH_BYTES = 475_000
"""Of one batch. Customer.io takes 500 KB, and leaves open which kind of KB."""

BATCH_ITEMS = 500
"""Items of one batch; Customer.io states no limit."""

_ENTITY = "/api/v2/entity"
_BATCH = "/api/v2/batch"
_REGION = "/api/v1/accounts/region"


@dataclass(frozen=True, slots=True)
class Region:
    """Where a workspace lives.

    Attributes:
        url: Base address of its Track API.
        region: ``"us"`` or ``"eu"``.
        environment_id: Number of the workspace.
    """

    url: str
    region: str
    environment_id: int


class TrackClient(V1Calls):
    """Speaks with the Track API of one workspace; works without models and database.

    Safe with threads and after a fork. Every method takes ``deadline``, the seconds for the
    whole call with its retries and waits, and raises an ``APIError`` when the answer is not
    a success. Faults of the network and 408, 425, 429 and 5xx are retried here, with the
    same bytes; nothing else is.

    A success means that Customer.io has queued the message, not that it could apply it:
    what becomes of it stands in the workspace's activity log.

    Args:
        site_id: The workspace's site id.
        api_key: Its Track API key.
        region: ``"us"`` or ``"eu"``.
        url: Another base address, of a sandbox or a proxy.
        timeout: Seconds for connecting and for each read; an attempt lasts twice that at
            most.
        retries: Attempts after the first.
        retry_base: Seconds; the first wait is random up to this, then up to twice that, …
        retry_cap: Seconds; … and never longer than this.
        retry_after_cap: Seconds of ``Retry-After`` that are believed.
        sleep: Waits between attempts.

    Raises:
        ImproperlyConfigured: Credentials, region or address cannot be right.
    """

    @sensitive_variables("api_key", "token")
    def __init__(
        self,
        *,
        site_id: str,
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
        if not site_id or ":" in site_id or not api_key:
            raise ImproperlyConfigured(
                "The Track API needs SITE_ID (without a colon) and API_KEY in CUSTOMERIO. Both"
                " stand in Customer.io under Account settings, API credentials."
            )
        base = region_url(TRACK_URLS, region)
        token = base64.b64encode(f"{site_id}:{api_key}".encode()).decode("ascii")
        self.configured_region = region
        self._transport = Transport(
            base=url or base,
            setting="TRACK_URL",
            authorization=f"Basic {token}",
            timeout=timeout,
            retries=retries,
            retry_base=retry_base,
            retry_cap=retry_cap,
            retry_after_cap=retry_after_cap,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.base}>"

    @sensitive_variables("body")
    def post_batch(self, body: bytes, *, count: int, deadline: float | None = None) -> BatchAnswer:
        """Send a ready-made ``{"batch": […]}`` of *count* items.

        Returns:
            Which items were refused for good; all others were accepted.
        """
        answer = self._transport.call("POST", _BATCH, body, endpoint=_BATCH, deadline=deadline)
        return batch_answer(answer, count=count, method="POST", endpoint=_BATCH)

    def batch(
        self, messages: Iterable[Message], *, deadline: float | None = None
    ) -> list[BatchAnswer]:
        """Send any number of messages, in as few requests as their size allows.

        Args:
            messages: What to say. Anonymous events have no place in a batch.
            deadline: Seconds for all requests together.

        Returns:
            An answer for each request, whose errors count from the first of *messages*.
            Messages that are too large are not sent and stand in a last answer of their own.

        Raises:
            APIError: A request failed; what went before it has been sent.
        """
        texts = _texts(messages)
        ends = None if deadline is None else time.monotonic() + deadline
        answers: list[BatchAnswer] = []
        for part in _parts(texts):
            answer = self.post_batch(
                b'{"batch":[' + b",".join([text for _, text in part]) + b"]}",
                count=len(part),
                deadline=time_left(ends),
            )
            errors = [
                ItemError(part[error.index][0], error.reason, error.field, error.message)
                for error in answer.errors
            ]
            answers.append(BatchAnswer(answer.status, tuple(errors)))
        refused = [
            ItemError(index, "too_large", "", str(text))
            for index, text in enumerate(texts)
            if isinstance(text, MessageTooLarge)
        ]
        if refused:
            answers.append(BatchAnswer(207, tuple(refused)))
        return answers

    def send(self, message: Message, *, deadline: float | None = None) -> None:
        """Send one message."""
        body = message.as_json().encode()
        if isinstance(message, AnonymousEvent):
            self.post_anonymous_event(body, deadline=deadline)
            return
        answer = self._transport.call("POST", _ENTITY, body, endpoint=_ENTITY, deadline=deadline)
        self._accepted(answer, "POST", _ENTITY)

    @sensitive_variables("body")
    def post_anonymous_event(self, body: bytes, *, deadline: float | None = None) -> None:
        """Send the ready-made body of an anonymous event, or of one that invites somebody."""
        answer = self._transport.call("POST", EVENTS, body, endpoint=EVENTS, deadline=deadline)
        self._accepted(answer, "POST", EVENTS)

    def region(self, *, deadline: float | None = None) -> Region:
        """Ask where the workspace lives; a cheap test of the credentials as well."""
        answer = self._transport.call("GET", _REGION, endpoint=_REGION, deadline=deadline)
        match json_object(answer, method="GET", endpoint=_REGION):
            case {
                "url": str(url),
                "region": "us" | "eu" as region,
                "environment_id": int(number),
            }:
                return Region(url, region, number)
        raise unusable(answer, "does not tell the region", method="GET", endpoint=_REGION)

    def check_region(self, *, deadline: float | None = None) -> Region:
        """Ask where the workspace lives and compare it with the region of this client.

        Raises:
            WrongRegion: It lives elsewhere.
        """
        found = self.region(deadline=deadline)
        if found.region != self.configured_region:
            raise WrongRegion(
                f"The workspace lives in the region '{found.region}', REGION in CUSTOMERIO is"
                f" '{self.configured_region}': set it to '{found.region}'.",
                method="GET",
                endpoint=_REGION,
            )
        return found


def region_url(urls: Mapping[str, str], region: str) -> str:
    """The address for *region*.

    Raises:
        ImproperlyConfigured: There is no such region.
    """
    try:
        return urls[region]
    except KeyError:
        raise ImproperlyConfigured(
            f"REGION in CUSTOMERIO must be one of {', '.join(sorted(urls))}."
        ) from None


def _texts(said: Iterable[Message]) -> list[bytes | MessageTooLarge]:
    texts: list[bytes | MessageTooLarge] = []
    for message in said:
        if isinstance(message, AnonymousEvent):
            raise InvalidMessage("An anonymous event has no place in a batch: use send().")
        try:
            texts.append(message.as_json().encode())
        except MessageTooLarge as error:
            texts.append(error)
    return texts


def _parts(texts: list[bytes | MessageTooLarge]) -> Iterable[list[tuple[int, bytes]]]:
    """Spread texts over requests; each part lists their positions and the texts."""
    part: list[tuple[int, bytes]] = []
    size = len('{"batch":[]}') - 1
    for index, text in enumerate(texts):
        if isinstance(text, MessageTooLarge):
            continue
        if part and (len(part) == BATCH_ITEMS or size + 1 + len(text) > BATCH_BYTES):
            yield part
            part, size = [], len('{"batch":[]}') - 1
        part.append((index, text))
        size += 1 + len(text)
    if part:
        yield part
