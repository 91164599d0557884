"""One request to Customer.io with its retries, and nothing of what it carries in an error."""

from __future__ import annotations

import http.client
import importlib.metadata
import logging
import math
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from django_customerio.client.answers import Answer, refusal
from django_customerio.client.sockets import PunctualAdapter, allow_until
from django_customerio.exceptions import (
    APIConnectionError,
    APIError,
    APITimeout,
    RateLimited,
    RetriesExhausted,
    WrongEndpoint,
)

logger = logging.getLogger("django_customerio.client")

LARGEST_ANSWER = 1_000_000
"""Bytes read of an answer. Customer.io's are tiny; what is longer is somebody else's page."""

POOL = 64
"""Idle connections kept to one host; more threads than that open and close their own."""

SHORTEST = 0.1
"""Seconds; with less time than this left before the deadline no other attempt begins."""

FAULTS = (OSError, ValueError, urllib3.exceptions.HTTPError, http.client.HTTPException)
"""All that requests, urllib3 and the library below them raise when a request fails."""

DOUBT = " It may have been carried out all the same: look at Customer.io before repeating it."


@cache
def user_agent() -> str:
    """``django-customerio/<version>``."""
    try:
        version = importlib.metadata.version("django-customerio")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        version = "source"
    return f"django-customerio/{version}"


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # To requests no answer is a redirect, so that it neither follows one nor reads all
        # of its body to find out where it would go.
        return None


@dataclass(frozen=True, slots=True)
class _Line:
    """A process's own session, with what its environment says about proxies and CAs."""

    session: requests.Session
    environment: Any


class Transport:
    """Sends requests to one host with one set of credentials.

    One session serves all threads of a process: urllib3's pools are made for that, the
    adapters never change after the first moment, and the jar takes no cookie, which leaves
    nothing mutable to share. A session per thread would open as many connections as a
    site's short-lived threads, and leave their closing to the garbage collector. A forked
    child finds its process id missing and opens a session of its own; it never touches its
    parent's connections, nor a lock that another thread may have held during the fork.
    """

    def __init__(
        self,
        *,
        base: str,
        setting: str,
        authorization: str,
        timeout: float,
        retries: int,
        retry_base: float,
        retry_cap: float,
        retry_after_cap: float,
        sleep: Callable[[float], None],
    ) -> None:
        self.base = checked_base(base, setting=setting)
        self._headers = {
            "Authorization": authorization,
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._timeout = timeout
        self._retry_after_cap = retry_after_cap
        self._sleep = sleep
        self._tries = tenacity.stop_after_attempt(retries + 1)
        self._backoff = tenacity.wait_random_exponential(multiplier=retry_base, max=retry_cap)
        self._lines: dict[int, _Line] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base}>"

    @sensitive_variables("body", "request")
    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        endpoint: str,
        deadline: float | None = None,
        once: bool = False,
    ) -> Answer:
        """Send a request, again if need be, until it is answered with a 2xx.

        Args:
            method: The HTTP method.
            path: Path and query, encoded.
            body: The JSON text, which every attempt sends as it is.
            endpoint: The path as a template, for errors and logs.
            deadline: Seconds for everything, retries and waits included. None allows each
                attempt twice the timeout and each wait what Customer.io asks, capped.
            once: Do not repeat what may have arrived: the call is no idempotent one.

        Raises:
            APIError: One of its subclasses. A retryable one only with *once*;
                ``RetriesExhausted`` otherwise.
        """
        ends = math.inf if deadline is None else time.monotonic() + deadline
        request = self._request(method, path, body)

        def attempt() -> Answer:
            try:
                return self._attempt(request, endpoint, ends)
            except APIError as error:
                if once:
                    _doubt(error)
                raise

        def may_retry(error: BaseException) -> bool:
            if not isinstance(error, APIError) or not error.retryable:
                return False
            return not once or getattr(error, "unsent", False)

        stop: Any = self._tries
        if deadline is not None:
            stop = stop | tenacity.stop_before_delay(max(deadline - SHORTEST, 0.0))
        retrying = tenacity.Retrying(
            sleep=self._sleep,
            stop=stop,
            wait=self._wait,
            retry=tenacity.retry_if_exception(may_retry),
            before_sleep=_log,
            retry_error_callback=_give_up,
        )
        return retrying(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        return max(self._backoff(state), _error(state).retry_after or 0.0)

    def _request(self, method: str, path: str, body: bytes | None) -> requests.PreparedRequest:
        # Built by hand: preparing would normalise the encoded path, look into ~/.netrc for
        # credentials to put in the place of ours, and cost as much as all the rest.
        headers: CaseInsensitiveDict[str | bytes] = CaseInsensitiveDict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(body))
        request = requests.PreparedRequest()
        request.method = method
        request.url = f"{self.base}{path}"
        request.headers = headers
        request.body = body
        return request

    def _line(self) -> _Line:
        pid = os.getpid()
        line = self._lines.get(pid)
        if line is None:
            # Two threads may come here at once; setdefault lets one of them win.
            line = self._lines.setdefault(pid, self._open_line())
        return line

    def _open_line(self) -> _Line:
        session = _Session()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = PunctualAdapter(pool_connections=4, pool_maxsize=POOL)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        environment = session.merge_environment_settings(self.base, {}, True, None, None)
        return _Line(session, environment)

    @sensitive_variables()
    def _attempt(self, request: requests.PreparedRequest, endpoint: str, ends: float) -> Answer:
        method = str(request.method)
        error: APIError | None = None
        now = time.monotonic()
        allow_until(min(ends, now + 2 * self._timeout))
        try:
            if now >= ends:
                raise requests.ConnectTimeout
            line = self._line()
            response = line.session.send(
                request,
                timeout=(self._timeout, self._timeout),
                allow_redirects=False,
                **line.environment,
            )
            try:
                body = response.raw.read(LARGEST_ANSWER + 1, decode_content=True)
            except FAULTS:
                if 200 <= response.status_code < 300:
                    raise
                body = b""  # of an error the status says enough
            finally:
                response.close()
        except FAULTS as e:
            error = fault_error(e, method=method, endpoint=endpoint)
        finally:
            allow_until(math.inf)
        if error is None:
            answer = Answer(response.status_code, response.headers, body)
            if 200 <= answer.status < 300:
                return answer
            error = refusal(
                answer, method=method, endpoint=endpoint, retry_after_cap=self._retry_after_cap
            )
        # Raised out here, the error has no context: requests' own hold the whole request.
        try:
            raise error
        finally:
            del error  # or this frame, the request and the error would hold each other


def checked_base(url: str, *, setting: str) -> str:
    """*url* without a slash at its end, if it can be a base address.

    Raises:
        ImproperlyConfigured: It cannot.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"{setting} in CUSTOMERIO must be a base address such as"
            " 'https://track.customer.io' or 'http://127.0.0.1:8001/sandbox'."
        )
    if parts.username is not None:
        raise ImproperlyConfigured(
            f"{setting} in CUSTOMERIO must not hold credentials; they belong in SITE_ID,"
            " API_KEY and APP_API_KEY."
        )
    return url.rstrip("/")


def fault_error(fault: Exception, *, method: str, endpoint: str) -> APIError:
    """The error for a request that was not answered, told by what lies at its bottom."""
    causes = list(_causes(fault))

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if isinstance(fault, ValueError) or type(fault) is OSError:
        # That is how requests tells a malformed address and a CA bundle that is not there.
        return WrongEndpoint(
            f"{method} {endpoint} could not be sent: an address or a file is wrong. Check"
            " TRACK_URL and APP_URL in CUSTOMERIO, and HTTPS_PROXY and REQUESTS_CA_BUNDLE in"
            " the environment.",
            method=method,
            endpoint=endpoint,
        )
    unsent = among(NewConnectionError, ConnectTimeoutError, requests.ConnectTimeout)
    kind = APIConnectionError
    if among(TimeoutError, requests.Timeout, ReadTimeoutError):
        kind, what = APITimeout, "was not answered in time"
    elif among(socket.gaierror):
        what = "found no server: the name cannot be resolved"
    elif among(ssl.SSLError, requests.exceptions.SSLError):
        what = "found no trusted server: TLS failed; check certificates, clock and proxy"
    elif among(requests.exceptions.ProxyError):
        what = "did not get past the proxy; check HTTPS_PROXY and NO_PROXY in the environment"
    elif unsent:
        what = "found no server: no connection could be opened"
    else:
        what = f"lost its connection ({type(causes[-1]).__name__})"
    error = kind(f"{method} {endpoint} {what}. Try again later.", method=method, endpoint=endpoint)
    error.unsent = unsent
    return error


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """*fault* and all that it wraps, which requests and urllib3 do in several ways."""
    waiting: list[Any] = [fault]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None)]
            waiting += [cause.__cause__, cause.__context__]


def _error(state: tenacity.RetryCallState) -> APIError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, APIError)  # noqa: S101  (only those are retried)
    return error


def _give_up(state: tenacity.RetryCallState) -> Answer:
    # Without its traceback, whose frames hold the request.
    last = _error(state).with_traceback(None)
    raise RetriesExhausted.of(last, state.attempt_number)


def _doubt(error: APIError) -> None:
    """Say of a call that is not to be repeated that nobody knows whether it arrived."""
    unsent = isinstance(error, APIConnectionError) and error.unsent
    if error.retryable and not unsent and not isinstance(error, RateLimited):
        error.retryable = False
        error.args = (f"{error}{DOUBT}",)


def _log(state: tenacity.RetryCallState) -> None:
    logger.info(
        "%s Attempt %d follows in %.1f s.",
        _error(state),
        state.attempt_number + 1,
        state.upcoming_sleep,
    )
