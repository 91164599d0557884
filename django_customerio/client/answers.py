"""What an answer of Customer.io means: which error, when to try again, which items."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

from django_customerio.exceptions import (
    APIError,
    AuthenticationFailed,
    ItemError,
    RateLimited,
    RequestRefused,
    ServerError,
    UnusableAnswer,
    WrongEndpoint,
    WrongRegion,
)

LONGEST_WORDS = 1_000
"""Characters kept of one text of Customer.io's."""

MOST_WORDS = 1_000
"""Item errors kept of one answer that is an error as a whole."""

_WHOLE = -1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came: status, headers and the body's bytes."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of a batch.

    Attributes:
        status: 200 if all items were accepted, 207 if all but those in ``errors``.
        errors: The items that were refused for good, by their index, from 0.
    """

    status: int
    errors: tuple[ItemError, ...] = ()


_REFUSED = (
    RequestRefused,
    "The request as it stands will not be taken; the answer's words are in the error's `errors`.",
)
_WRONG_PLACE = (
    WrongEndpoint,
    "That is not Customer.io's API: check TRACK_URL and APP_URL in CUSTOMERIO, and the proxy"
    " on the way.",
)
_BUSY = (ServerError, "Try again later; https://status.customer.io knows about outages.")
_CREDENTIALS = (
    AuthenticationFailed,
    "Check SITE_ID, API_KEY, APP_API_KEY and REGION in CUSTOMERIO; a firewall or an IP allow"
    " list can be the cause, too.",
)

_MEANINGS: Final[Mapping[int, tuple[type[APIError], str]]] = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    404: _WRONG_PLACE,
    405: _WRONG_PLACE,
    407: (WrongEndpoint, "A proxy asks for credentials: check HTTPS_PROXY in the environment."),
    408: _BUSY,
    410: _WRONG_PLACE,
    415: _WRONG_PLACE,
    421: _WRONG_PLACE,
    425: _BUSY,
    426: _WRONG_PLACE,
    429: (RateLimited, "Too many requests: try again later, more slowly."),
}


def refusal(answer: Answer, *, method: str, endpoint: str, retry_after_cap: float) -> APIError:
    """The error that a status other than 2xx stands for."""
    status = answer.status
    kind: type[APIError]
    if 300 <= status < 400:
        kind, cure = (
            WrongRegion,
            "The account lives in the other region: set REGION in CUSTOMERIO to 'eu' or 'us'."
            " The redirect was not followed.",
        )
    elif 400 <= status < 500:
        kind, cure = _MEANINGS.get(status, _REFUSED)
    elif 500 <= status < 600:
        kind, cure = _BUSY
    else:
        kind, cure = UnusableAnswer, "That is no answer of Customer.io's; look at the proxy."
    return kind(
        f"{method} {endpoint} was answered {status}. {cure}",
        status=status,
        method=method,
        endpoint=endpoint,
        errors=words(answer.body),
        retry_after=retry_after(answer.headers, cap=retry_after_cap) if kind.retryable else None,
    )


def retry_after(headers: Mapping[str, str], *, cap: float) -> float | None:
    """Seconds that ``Retry-After`` asks for, at most *cap*; None without a usable one.

    A date is measured against the answer's own ``Date``, so that our clock does not matter.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d*)?", value, re.ASCII):
        return min(float(value), cap)
    then = _instant(value)
    if then is None:
        return None
    now = _instant(headers.get("Date", ""))
    return min(max(then - (time.time() if now is None else now), 0.0), cap)


def _instant(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def json_object(answer: Answer, *, method: str, endpoint: str) -> dict[str, Any]:
    """The JSON object of a 2xx answer.

    Raises:
        UnusableAnswer: It holds none, as when a proxy answered in Customer.io's place.
    """
    # What the Track API says nearly always, and this is its hot path.
    if answer.body in (b"{}\n", b"{}"):
        return {}
    parsed = _parsed(answer.body)
    if isinstance(parsed, dict):
        return parsed
    raise unusable(answer, "holds no JSON object", method=method, endpoint=endpoint)


def unusable(answer: Answer, what: str, *, method: str, endpoint: str) -> UnusableAnswer:
    """The error for a 2xx that does not say what was done."""
    return UnusableAnswer(
        f"{method} {endpoint} was answered {answer.status}, but the answer {what}, so nothing"
        " counts as accepted. Look at TRACK_URL and APP_URL in CUSTOMERIO and at the proxy on"
        " the way.",
        status=answer.status,
        method=method,
        endpoint=endpoint,
    )


def batch_answer(answer: Answer, *, count: int, method: str, endpoint: str) -> BatchAnswer:
    """Which of *count* items were refused.

    Raises:
        UnusableAnswer: No JSON object, or a 207 that does not name the refused items.
    """
    said = json_object(answer, method=method, endpoint=endpoint)
    listed = said.get("errors")
    if answer.status != 207 and not listed:
        return BatchAnswer(answer.status)
    if not isinstance(listed, list) or not listed:
        raise unusable(answer, "does not name the items", method=method, endpoint=endpoint)
    errors = []
    for entry in listed:
        error = _item_error(entry)
        if not 0 <= error.index < count:
            raise unusable(
                answer, "names items that were not in it", method=method, endpoint=endpoint
            )
        errors.append(error)
    return BatchAnswer(answer.status, tuple(errors))


def words(body: bytes) -> tuple[ItemError, ...]:
    """What Customer.io wrote about an error, in any of the shapes its APIs use."""
    said = _parsed(body)
    if not isinstance(said, dict):
        return ()
    meta = said.get("meta")
    found: list[Any] = []
    for holder in (said, meta if isinstance(meta, dict) else {}):
        for key in ("errors", "error"):
            value = holder.get(key)
            found += value if isinstance(value, list) else [value] if value else []
    return tuple(_item_error(entry) for entry in found[:MOST_WORDS])


def _item_error(entry: Any) -> ItemError:
    if not isinstance(entry, dict):
        return ItemError(_WHOLE, "", "", _text(entry))
    index = entry.get("batch_index")
    source = entry.get("source")
    pointer = source.get("pointer") if isinstance(source, dict) else None
    return ItemError(
        index if type(index) is int else _WHOLE,  # True is no index
        _text(entry.get("reason")),
        _text(entry.get("field") or pointer),
        _text(entry.get("message") or entry.get("detail")),
    )


def _text(value: Any) -> str:
    """A text that every database takes: no NUL, no half of a surrogate pair, not endless."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    text = str(value)[:LONGEST_WORDS].replace("\0", "")
    return text.encode("utf-8", "replace").decode("utf-8")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
