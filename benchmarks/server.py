"""A minimal and fast HTTP server on loopback, in a process of its own.

It counts the items of each request and notes when it arrived. ``GET /bench`` gives the
counts; ``POST /bench`` with ``{"latency": seconds}`` forgets them and sets the wait before
each answer.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, BinaryIO

_SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def serving() -> Iterator[str]:
    """Run the server while the block lasts, and give its address."""
    mine, its = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(its,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        process.terminate()
        process.join()


def reset(url: str, *, latency: float = 0.0) -> None:
    """Forget what was counted, and answer with this latency from now on."""
    body = json.dumps({"latency": latency}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/bench", data=body)) as answer:
        answer.read()


def counts(url: str) -> dict[str, Any]:
    """Return ``requests``, ``items`` and ``arrivals`` (by ``time.monotonic()``) since the reset.

    On Linux and macOS that clock is the same in all processes.
    """
    with urllib.request.urlopen(f"{url}/bench") as answer:
        result: dict[str, Any] = json.load(answer)
    return result


class _Counter:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.latency = 0.0
        self.forget()

    def forget(self) -> None:
        self.requests = 0
        self.items = 0
        self.arrivals: list[float] = []

    def note(self, arrived: float, items: int) -> None:
        with self.lock:
            self.requests += 1
            self.items += items
            self.arrivals.append(arrived)


def _serve(control: Connection) -> None:
    counter = _Counter()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    control.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(connection, counter), daemon=True).start()


def _talk(connection: socket.socket, counter: _Counter) -> None:
    with connection, connection.makefile("rb", 1 << 18) as stream:
        while True:
            line = stream.readline()
            if not line:
                return
            arrived = time.monotonic()
            body = stream.read(_length(stream))
            connection.sendall(_answer(line, body, arrived, counter))


def _length(stream: BinaryIO) -> int:
    length = 0
    while (header := stream.readline()) not in (b"\r\n", b""):
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return length


def _answer(line: bytes, body: bytes, arrived: float, counter: _Counter) -> bytes:
    method, path, _ = line.split(b" ", 2)
    said = b"{}"
    if path == b"/bench":
        if method == b"POST":
            with counter.lock:
                counter.latency = json.loads(body)["latency"]
                counter.forget()
        else:
            with counter.lock:
                said = json.dumps(
                    {
                        "requests": counter.requests,
                        "items": counter.items,
                        "arrivals": counter.arrivals,
                    }
                ).encode()
    else:
        counter.note(arrived, body.count(b'"action":') or 1)
        if counter.latency:
            time.sleep(counter.latency)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(said),
        said,
    )
