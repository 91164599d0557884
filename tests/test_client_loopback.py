"""The client over real sockets: what a server and the way to it can do to a request."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3 import PoolManager

from django_customerio.client import BatchAnswer, TrackClient
from django_customerio.client.sockets import PunctualAdapter, allow_until, seconds_left
from django_customerio.exceptions import (
    APIConnectionError,
    APITimeout,
    RequestRefused,
    RetriesExhausted,
    ServerError,
    UnusableAnswer,
    WrongEndpoint,
    WrongRegion,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n"
BODY = b'{"batch":[{"name":"hunter2"}]}'


class Server:
    """Lets a test write each answer byte by byte."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, str, dict[str, str], bytes]] = []
        """Port of the other end, path, headers and body of each request."""
        self.answer: Callable[[Handler], None] = lambda handler: handler.say(OK)
        self.reads_body = True
        self.ends = threading.Event()
        self.url = ""

    @property
    def connections(self) -> int:
        """How many connections brought requests."""
        return len({port for port, *_ in self.requests})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Server

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if self.script.reads_body else b""
        headers = dict(self.headers)
        self.script.requests.append((self.client_address[1], self.path, headers, body))
        with contextlib.suppress(OSError):  # the client has gone
            self.script.answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = do_CONNECT = _handle

    def say(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def drip(self, data: bytes, every: float = 0.05) -> None:
        for number in range(len(data)):
            self.say(data[number : number + 1])
            if self.script.ends.wait(every):
                return

    def hang(self) -> None:
        self.script.ends.wait(20)
        self.close_connection = True

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    script = Server()
    handler = type("ScriptedHandler", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield script
    finally:
        script.ends.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts everything until it is told otherwise."""
    with serve() as script:
        yield script


def make(url: str, **options: Any) -> TrackClient:
    defaults = {"retries": 0, "timeout": 5.0, "sleep": lambda seconds: None}
    return TrackClient(site_id="SITE", api_key="KEY", url=url, **{**defaults, **options})


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def test_a_connection_is_used_again(server: Server) -> None:
    """Ten requests, chunked answers and refusals among them, share one connection."""
    client = make(server.url)
    answers = [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        OK,
    ]
    server.answer = lambda handler: handler.say(answers[(len(server.requests) - 1) % 5])
    for number in range(10):
        with contextlib.suppress(RequestRefused, WrongRegion):
            assert client.post_batch(BODY, count=1) == BatchAnswer(200)
        assert len(server.requests) == number + 1
    assert server.connections == 1


def test_the_wire_carries_what_was_given(server: Server) -> None:
    """The bytes, and the path as it was encoded."""
    client = make(server.url)
    client.post_batch(BODY, count=1)
    client.delete("a/../b%2e")
    assert [(path, body) for _, path, _, body in server.requests] == [
        ("/api/v2/batch", BODY),
        ("/api/v1/customers/a%2F..%2Fb%252e", b""),
    ]


def test_threads_share_a_client(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each answer reaches its own request, and connections are pooled among threads."""
    client = make(server.url)

    def echo(handler: Handler) -> None:
        number = int(handler.headers["Content-Length"]) - 100
        body = b'{"errors":[{"batch_index":%d}]}' % number
        handler.say(b"HTTP/1.1 207 M\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server.answer = echo
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda n: client.post_batch(b"x" * (100 + n), count=200), range(200))
        )
    assert [answer.errors[0].index for answer in found] == list(range(200))
    assert 1 <= server.connections <= 8
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_no_cookie_is_kept(server: Server) -> None:
    """The session of all threads holds nothing that one answer put there."""
    server.answer = lambda handler: handler.say(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    )
    client = make(server.url)
    client.post_batch(BODY, count=1)
    client.post_batch(BODY, count=1)
    assert "Cookie" not in server.requests[1][2]
    (line,) = client._transport._lines.values()
    assert len(line.session.cookies) == 0


def test_an_idle_connection_that_the_server_closed(server: Server) -> None:
    """It is noticed before it is used: no attempt is lost on it."""
    client = make(server.url)

    def answer_and_close(handler: Handler) -> None:
        handler.say(OK)
        handler.hang_up()

    server.answer = answer_and_close
    client.post_batch(BODY, count=1)
    time.sleep(0.1)
    client.post_batch(BODY, count=1)
    assert server.connections == 2


def test_a_server_that_does_not_answer(server: Server) -> None:
    """The timeout of a read ends the attempt."""
    server.answer = Handler.hang
    with within(2), pytest.raises(RetriesExhausted) as caught:
        make(server.url, timeout=0.2).post_batch(BODY, count=1)
    assert type(caught.value.last) is APITimeout
    assert not caught.value.last.unsent
    assert len(server.requests) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "dripped"),
    [(b"", HEAD), (HEAD, b" " * 1000), (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 50)],
    ids=["status", "body", "headers"],
)
@pytest.mark.parametrize(
    "limits", [{"timeout": 0.25}, {"deadline": 0.5}], ids=["attempt", "deadline"]
)
def test_a_server_that_drips(
    server: Server, at_once: bytes, dripped: bytes, limits: dict[str, float]
) -> None:
    """Bytes that keep coming do not make a request last longer than it may."""

    def drip(handler: Handler) -> None:
        handler.say(at_once)
        handler.drip(dripped)

    server.answer = drip
    limits = dict(limits)
    deadline = limits.pop("deadline", None)
    with within(1.5), pytest.raises(RetriesExhausted) as caught:
        make(server.url, **limits).post_batch(BODY, count=1, deadline=deadline)
    assert type(caught.value.last) is APITimeout


def test_an_error_whose_page_drips(server: Server) -> None:
    """The status is known and says enough, even if the page never ends."""

    def drip(handler: Handler) -> None:
        handler.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n")
        handler.drip(b" " * 1000)

    server.answer = drip
    with within(1.5), pytest.raises(RetriesExhausted) as caught:
        make(server.url, timeout=0.25).post_batch(BODY, count=1)
    assert type(caught.value.last) is ServerError
    assert caught.value.status == 503


@pytest.mark.parametrize("connected", [False, True], ids=["new", "reused"])
def test_a_server_that_does_not_read(server: Server, connected: bool) -> None:
    """A body that nobody takes does not hold the sender longer than it may."""
    client = make(server.url)
    if connected:
        client.post_batch(BODY, count=1)
    server.reads_body = False
    server.answer = Handler.hang
    with within(3), pytest.raises(RetriesExhausted) as caught:
        client.post_batch(b"x" * 20_000_000, count=1, deadline=0.6)
    assert type(caught.value.last) is APITimeout
    assert server.connections == 1


def test_the_deadline_covers_retries_and_waits(server: Server) -> None:
    """However many retries are allowed, the call ends in time."""
    server.answer = lambda handler: handler.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    client = make(server.url, retries=1_000, retry_base=0.05, retry_cap=0.05, sleep=time.sleep)
    with within(1.5), pytest.raises(RetriesExhausted) as caught:
        client.post_batch(BODY, count=1, deadline=0.6)
    assert 3 < len(server.requests) < 500
    assert caught.value.attempts - len(server.requests) in (0, 1)


def test_a_deadline_does_not_stick_to_the_thread(server: Server) -> None:
    """What limited one call does not limit the next one."""
    client = make(server.url)
    client.post_batch(BODY, count=1, deadline=0.2)
    assert seconds_left() > 1_000
    time.sleep(0.25)
    client.post_batch(BODY, count=1)
    assert server.connections == 1


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 2", HEAD, HEAD + b"{", b"HTTP/1.1 503 Busy\r\nX: "]
)
def test_a_connection_that_is_cut(server: Server, part: bytes) -> None:
    """It is tried again with the same bytes, and the answer that comes then counts."""

    def cut_first(handler: Handler) -> None:
        if len(server.requests) == 1:
            handler.say(part)
            handler.hang_up()
        else:
            handler.say(OK)

    server.answer = cut_first
    answer = make(server.url, retries=1).post_batch(BODY, count=1)
    assert answer == BatchAnswer(200)
    assert [body for *_, body in server.requests] == [BODY, BODY]


def test_a_success_that_is_cut_within_its_headers(server: Server) -> None:
    """For HTTP that is an answer without a body; for us it is no success."""

    def cut(handler: Handler) -> None:
        handler.say(b"HTTP/1.1 200 OK\r\nContent-Le")
        handler.hang_up()

    server.answer = cut
    with pytest.raises(UnusableAnswer):
        make(server.url).post_batch(BODY, count=1)


def test_a_connection_that_is_always_cut(server: Server) -> None:
    """The error says that it was cut, not what was in it."""
    server.answer = Handler.hang_up
    with pytest.raises(RetriesExhausted, match="lost its connection") as caught:
        make(server.url, retries=3).post_batch(BODY, count=1)
    assert len(server.requests) == 4
    assert type(caught.value.last) is APIConnectionError
    assert not caught.value.last.unsent


def test_nonsense_instead_of_http(server: Server) -> None:
    """A server that speaks something else is a fault of the connection."""
    server.answer = lambda handler: (handler.say(b"SSH-2.0-x\r\n"), handler.hang_up())[0]
    with pytest.raises(RetriesExhausted, match="lost its connection"):
        make(server.url).post_batch(BODY, count=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Server, status: int) -> None:
    """Neither host gets a second request, and the endless page is not read."""
    with serve() as elsewhere:

        def redirect(handler: Handler) -> None:
            place = elsewhere.url.encode()
            handler.say(b"HTTP/1.1 %d Moved\r\nLocation: %b/\r\n\r\n" % (status, place))
            for _ in range(400):  # no Content-Length: until the connection is closed
                handler.say(b"x" * 100_000)
            handler.hang()

        server.answer = redirect
        with within(3), pytest.raises(WrongRegion, match="REGION"):
            make(server.url, retries=3).post_batch(BODY, count=1)
        assert len(server.requests) == 1
        assert elsewhere.requests == []


def test_nobody_listens() -> None:
    """A refused connection is told from a lost one: nothing can have arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RetriesExhausted, match="no connection could be opened") as caught:
        make(f"http://127.0.0.1:{port}", retries=1).post_batch(BODY, count=1)
    assert isinstance(caught.value.last, APIConnectionError)
    assert caught.value.last.unsent


def test_a_name_that_does_not_exist() -> None:
    """The text says that it is the name."""
    with pytest.raises(RetriesExhausted, match="the name cannot be resolved") as caught:
        make("http://customerio.invalid").post_batch(BODY, count=1)
    assert isinstance(caught.value.last, APIConnectionError)
    assert caught.value.last.unsent


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port where connecting takes for ever, as behind a firewall that drops packets."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def test_a_server_that_never_connects(black_hole: int) -> None:
    """Connecting has the same timeout, and nothing was sent."""
    with within(2), pytest.raises(RetriesExhausted) as caught:
        make(f"http://127.0.0.1:{black_hole}", timeout=0.3).post_batch(BODY, count=1)
    assert type(caught.value.last) is APITimeout
    assert caught.value.last.unsent


def test_one_dead_address_leaves_time_for_the_next(
    server: Server, black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a dead address, and one of a family unknown here, still works."""
    alive = int(server.url.rpartition(":")[2])
    tcp = (socket.SOCK_STREAM, 6, "")
    found = [
        (socket.AF_INET, *tcp, ("127.0.0.1", black_hole)),
        (9999, *tcp, ("127.0.0.1", alive)),
        (socket.AF_INET, *tcp, ("127.0.0.1", alive)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    with within(2):
        assert make("http://two.test", timeout=3).post_batch(BODY, count=1).status == 200


def test_a_name_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a server that cannot be found."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [])
    with pytest.raises(RetriesExhausted, match="no connection could be opened"):
        make("http://none.test").post_batch(BODY, count=1)


def test_a_server_without_tls(server: Server) -> None:
    """TLS that fails is told as such."""
    with pytest.raises(RetriesExhausted, match="TLS failed"):
        make(server.url.replace("http:", "https:")).post_batch(BODY, count=1)


def test_a_ca_bundle_that_is_not_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try does not bring the file back: one error that names the variable."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(WrongEndpoint, match="REQUESTS_CA_BUNDLE"):
        make(server.url.replace("http:", "https:")).post_batch(BODY, count=1)


def test_a_compressed_answer(server: Server) -> None:
    """A proxy that compresses unasked is understood."""
    data = gzip.compress(b"{}")
    server.answer = lambda handler: handler.say(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(data), data)
    )
    assert make(server.url).post_batch(BODY, count=1) == BatchAnswer(200)


def test_a_compressed_bomb(server: Server) -> None:
    """50 MB in a few bytes are not unpacked."""
    data = gzip.compress(b" " * 50_000_000, 1)
    server.answer = lambda handler: handler.say(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(data), data)
    )
    with within(2), pytest.raises(UnusableAnswer):
        make(server.url).post_batch(BODY, count=1)


def test_a_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the request, its own credentials and ours, within the same time."""
    address = server.url.replace("http://", "http://user:secret@")
    monkeypatch.setenv("http_proxy", address)
    monkeypatch.delenv("no_proxy", raising=False)
    client = make("http://customerio.invalid", timeout=0.25)
    client.post_batch(BODY, count=1)
    ((_, path, headers, body),) = server.requests
    assert (path, body) == ("http://customerio.invalid/api/v2/batch", BODY)
    assert headers["Authorization"] == "Basic U0lURTpLRVk="
    assert headers["Proxy-Authorization"] == "Basic dXNlcjpzZWNyZXQ="
    server.answer = lambda handler: handler.drip(HEAD)
    with within(1.5), pytest.raises(RetriesExhausted):
        client.post_batch(BODY, count=1)


def test_a_proxy_that_refuses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind a proxy that says no is told as the proxy's, without its password."""
    monkeypatch.setenv("https_proxy", server.url.replace("http://", "http://user:secret@"))
    server.answer = lambda handler: handler.say(b"HTTP/1.1 407 No\r\n\r\n")
    with pytest.raises(RetriesExhausted, match="did not get past the proxy") as caught:
        make("https://customerio.invalid").post_batch(BODY, count=1)
    assert "secret" not in str(caught.value)


def test_a_malformed_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not mend itself."""
    monkeypatch.setenv("http_proxy", "http://")
    with pytest.raises(WrongEndpoint, match="HTTPS_PROXY"):
        make("http://customerio.invalid", retries=3).post_batch(BODY, count=1)


def test_a_socks_proxy_keeps_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """They open differently, and ours would not reach anything."""
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", lambda url, **_: PoolManager())
    ordinary = PoolManager().pool_classes_by_scheme
    adapter = PunctualAdapter()
    assert adapter.proxy_manager_for("socks5://h:1").pool_classes_by_scheme == ordinary
    assert adapter.proxy_manager_for("http://h:1").pool_classes_by_scheme != ordinary


def test_the_time_that_is_left() -> None:
    """It is the least of what is left and what one operation may take; none is an error."""
    try:
        allow_until(time.monotonic() + 50)
        assert 49 < seconds_left() <= 50
        assert 49 < seconds_left(60) <= 50
        assert seconds_left(3) == 3
        allow_until(time.monotonic())
        with pytest.raises(TimeoutError):
            seconds_left(3)
    finally:
        allow_until(float("inf"))
    assert 3 < seconds_left() < float("inf")  # a socket takes no infinity


FORK = """
    import os, sys
    from django.conf import settings
    settings.configure(USE_TZ=True)
    from django_customerio.client import TrackClient
    client = TrackClient(site_id="S", api_key="K", url=sys.argv[1], retries=0)
    client.post_batch(b"parent", count=1)
    child = os.fork()
    if not child:
        client.post_batch(b"child", count=1)
        client.post_batch(b"child", count=1)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    client.post_batch(b"parent", count=1)
"""


def test_a_fork_does_not_share_connections(server: Server) -> None:
    """A child opens its own, and its parent's goes on after the child's end."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK), server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ports: dict[bytes, set[int]] = {}
    for port, _, _, body in server.requests:
        ports.setdefault(body, set()).add(port)
    assert len(server.requests) == 4
    assert len(ports[b"parent"]) == len(ports[b"child"]) == 1
    assert ports[b"parent"] != ports[b"child"]
