"""Connections that keep to the time a request was given.

The timeouts of requests and urllib3 hold for one operation of a socket, or for one of
several addresses. A server that drips a byte now and then, or a name with eight dead
addresses, makes a call of ten seconds last for minutes, and the lane it was made for
lapses meanwhile. Here each operation gets what is left of the request's time, and no more.
Only the resolver of the operating system keeps its own timeouts.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

SLICE = 65_536
"""Bytes of a body sent at once; between slices the time that is left is asked for again."""


LONGEST = 86_400.0
"""Seconds for an operation that nobody gave a limit."""


class _Time(threading.local):
    ends: float = math.inf


_time = _Time()


def allow_until(ends: float) -> None:
    """Let this thread's next request last until *ends*, by ``time.monotonic()``."""
    _time.ends = ends


def seconds_left(at_most: float | None = None) -> float:
    """Seconds left for this thread's request, but not more than *at_most*.

    Raises:
        TimeoutError: There are none left.
    """
    left = _time.ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, LONGEST if at_most is None else at_most)


def connect(
    host: str, port: int, *, timeout: float | None, options: Sequence[Any]
) -> socket.socket:
    """Open a connection to the first address of *host* that answers.

    The time is shared among the addresses, so that a dead one leaves some to the others.

    Raises:
        OSError: None of them answered; the error of the last.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ends = time.monotonic() + seconds_left(timeout)
    fault: OSError = OSError("no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (ends - time.monotonic()) / (len(addresses) - tried)
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine does not speak
            fault = error
            continue
        try:
            for option in options:
                opened.setsockopt(*option)
            opened.settimeout(max(share, 0.001))
            opened.connect(address)
        except OSError as error:
            opened.close()
            fault = error
        else:
            return opened
    raise fault


class _PunctualStream(io.RawIOBase):
    """What a socket sends us, each read within the time that is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(seconds_left(self._timeout))
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_PunctualStream(self.fp.detach(), sock))


class PunctualHTTPConnection(HTTPConnection):
    """A connection whose every operation keeps to the time of the request."""

    response_class = _PunctualResponse

    def _new_conn(self) -> socket.socket:
        try:
            opened = connect(
                self._dns_host,
                self.port or self.default_port,
                timeout=self.timeout,
                options=self.socket_options or (),
            )
        except TimeoutError as fault:
            raise ConnectTimeoutError(self, "no connection in time") from fault
        except OSError as fault:
            raise NewConnectionError(self, "no connection") from fault
        sys.audit("http.client.connect", self, self.host, self.port)
        return opened

    def send(self, data: Any) -> None:
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            if self.sock is not None:
                self.sock.settimeout(seconds_left(self.timeout))
            super().send(view[start : start + SLICE])


class PunctualHTTPSConnection(PunctualHTTPConnection, HTTPSConnection):
    """The same over TLS."""


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = PunctualHTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = PunctualHTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class PunctualAdapter(HTTPAdapter):
    """Gives a requests session connections that keep to the time of the request.

    A SOCKS proxy brings its own connections, which know only the timeouts.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager = cast("PoolManager", super().proxy_manager_for(proxy, **kwargs))
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
