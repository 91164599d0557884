"""What can go wrong, each with a name of its own.

::

    CustomerIOError
    ├── InvalidMessage (ValueError)     refused before it was stored or sent
    │   ├── InvalidAttribute (TypeError)    a value of the wrong type
    │   └── MessageTooLarge
    ├── NotMapped (TypeError)           neither a mapped instance nor an id
    ├── QueueFull                       no room in memory, and the database fails
    ├── SendingRefused (RuntimeError)   inside a transaction, or an unasked test run
    └── APIError                        Customer.io, or the way there, said no
        ├── APIConnectionError *        no answer
        │   └── APITimeout *            no answer in time
        ├── RateLimited *               429
        ├── ServerError *               5xx, 408, 425
        ├── RequestRefused              400, 413, 422 and other 4xx
        ├── AuthenticationFailed        401, 403
        ├── WrongEndpoint               404, 405, 415 and their like
        │   └── WrongRegion             3xx
        ├── UnusableAnswer              a 2xx that does not say what was done
        └── RetriesExhausted *          the retries of one call are spent

``*``: worth another try later (``retryable``). No text names a payload, a value, a
person or a key; what Customer.io itself wrote is kept apart, in ``errors``. A wrong
setting is Django's ``ImproperlyConfigured`` and deliberately no part of this tree, so
that no handler of these errors can hide it.
"""

# ruff: noqa: N818  (each name says what happened; the base says that it is an error)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class ItemError:
    """What Customer.io says about one item of a request, in its own words.

    The words may quote a value: they belong in the outbox row, never in a log line.

    Attributes:
        index: Position of the item in the batch, from 0; -1 for the request as a whole.
        reason: Customer.io's code, such as ``"invalid"``; may be empty.
        field: The field it complains about; may be empty.
        message: Its explanation; may be empty.
    """

    index: int
    reason: str
    field: str
    message: str


class CustomerIOError(Exception):
    """Base of all errors of this package; not raised itself.

    Attributes:
        retryable: Whether the same call may succeed later.
        retry_after: Seconds that Customer.io asked to wait, if it did.
    """

    retryable: bool = False
    retry_after: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments are not in ``args``; task queues and parallel test
        # runners pickle exceptions all the same.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[CustomerIOError], args: tuple[Any, ...], state: dict[str, Any]
) -> CustomerIOError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidMessage(CustomerIOError, ValueError):
    """Refused here, before anything was stored or sent.

    Attributes:
        field: The field at fault, as a path such as ``"items[2].price"``, if there is one.
    """

    def __init__(self, text: str, *, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class InvalidAttribute(InvalidMessage, TypeError):
    """A value that does not fit its attribute's type; ``field`` is the attribute's name."""


class MessageTooLarge(InvalidMessage):
    """More bytes than Customer.io takes."""


class NotMapped(CustomerIOError, TypeError):
    """Neither an instance of a mapped model nor something that names a person."""


class QueueFull(CustomerIOError):
    """As many messages wait in memory as may, and the database does not take them."""


class SendingRefused(CustomerIOError, RuntimeError):
    """Nothing may be sent from here: an open transaction, or a test that did not ask."""


class APIError(CustomerIOError):
    """Customer.io refused a request, or none of its answers came back.

    Attributes:
        status: The HTTP status; None if there was no answer.
        method: The HTTP method.
        endpoint: The path as a template, such as ``/api/v1/customers/{identifier}``.
        errors: What the answer's body says; never part of the text.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        method: str = "",
        endpoint: str = "",
        errors: tuple[ItemError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.method = method
        self.endpoint = endpoint
        self.errors = errors
        self.retry_after = retry_after


class APIConnectionError(APIError):
    """No answer: name resolution, connection, TLS or a connection cut on the way.

    Attributes:
        unsent: No connection was opened, so that nothing can have arrived.
    """

    retryable = True
    unsent: bool = False


class APITimeout(APIConnectionError):
    """No answer in time; the request may have arrived."""


class RateLimited(APIError):
    """429: more requests than Customer.io takes."""

    retryable = True


class ServerError(APIError):
    """5xx, 408 or 425: Customer.io cannot answer just now."""

    retryable = True


class RequestRefused(APIError):
    """400, 413, 422 and other 4xx: this request as it stands will never be taken."""


class AuthenticationFailed(APIError):
    """401 or 403: the credentials are not accepted."""


class WrongEndpoint(APIError):
    """404, 405, 415 and their like: that address is not this API."""


class WrongRegion(WrongEndpoint):
    """3xx: the account lives in the other region; nothing was followed or sent there."""


class UnusableAnswer(APIError):
    """A 2xx that does not say what was done, such as a proxy's own page."""


class RetriesExhausted(APIError):
    """The retries of one call, or its time, are spent.

    Attributes:
        last: The error of the last attempt.
        attempts: How many requests were made.
    """

    retryable = True

    def __init__(self, text: str, *, last: APIError, attempts: int) -> None:
        super().__init__(
            text,
            status=last.status,
            method=last.method,
            endpoint=last.endpoint,
            errors=last.errors,
            retry_after=last.retry_after,
        )
        self.last = last
        self.attempts = attempts

    @classmethod
    def of(cls, last: APIError, attempts: int) -> Self:
        """The error that tells of *attempts* requests, the last of which ended in *last*."""
        times = "once" if attempts == 1 else f"{attempts} times"
        return cls(f"Gave up, tried {times}. {last}", last=last, attempts=attempts)
