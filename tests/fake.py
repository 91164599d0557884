"""A Customer.io on loopback that records the bytes it gets and answers as it is told.

It holds people the way the real one is documented to: repeats of a ULID are dropped, an
older identify does not undo a newer one, and whatever names a deleted person creates them
anew.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    body: bytes
    at: float

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items of a batch."""
        return json.loads(self.body)["batch"]


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None
"""Status, body (bytes as they are, else JSON) and headers. None accepts; see ``hang_up``."""


class HangUp(Exception):
    """Cut the connection instead of answering; ``applied`` says whether it took effect."""

    def __init__(self, *, applied: bool = False) -> None:
        self.applied = applied


@dataclass
class FakeCustomerIO:
    """The server's state and its script."""

    requests: list[Request] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)
    """Items in the order in which they took effect, without repeats of an event."""
    repeats: int = 0
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: Callable[[Request], Answer] | None = None
    """Decides over each request; None, or its None, accepts."""
    region: str = "us"
    region_status: int = 200
    delay: float = 0.0
    url: str = ""
    _seen: set[str] = field(default_factory=set)
    _times: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def batches(self) -> list[Request]:
        """The batches that arrived, whatever became of them."""
        return [request for request in self.requests if request.path == "/api/v2/batch"]

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Events that took effect, in order."""
        return [
            item
            for item in self.applied
            if item.get("action", "event") == "event" and name in (None, item["name"])
        ]

    def actions(self) -> list[str]:
        """What took effect, in order."""
        return [item.get("name") or item["action"] for item in self.applied]

    def handle(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
        answer = self.answer(request) if self.answer else None
        if answer is not None:
            return answer
        if request.path == "/api/v1/accounts/region":
            return self.region_status, {
                "url": self.url,
                "region": self.region,
                "environment_id": 1,
            }
        if request.path == "/api/v2/batch":
            self.apply(request.items)
        elif request.path == "/api/v1/events":
            self.apply([json.loads(request.body)])
        else:
            return 404, {"meta": {"error": "not found"}}
        return 200, {}

    def apply(self, items: list[dict[str, Any]]) -> None:
        with self._lock:
            for item in items:
                self._apply(item)

    def _apply(self, item: dict[str, Any]) -> None:
        ulid = item.get("id")
        if ulid is not None:
            if ulid in self._seen:
                self.repeats += 1
                return
            self._seen.add(ulid)
        self.applied.append(item)
        action = item.get("action")
        if action == "merge":
            self.people.pop(_key(item["secondary"]), None)
        if action is None or action == "merge":
            return
        person = _key(item["identifiers"])
        if action in ("delete", "suppress"):
            self.people.pop(person, None)
            self._times.pop(person, None)
        elif action == "identify":
            changed = item["attributes"]
            if changed.get("_update") and person not in self.people:
                return
            attributes = self.people.setdefault(person, {})
            if item.get("timestamp", 0) < self._times.get(person, 0):
                changed = {name: v for name, v in changed.items() if name not in attributes}
            else:
                self._times[person] = item.get("timestamp", 0)
            for name, value in changed.items():
                if value is None:
                    attributes.pop(name, None)
                elif name != "_update":
                    attributes[name] = value
        elif action != "unsuppress":
            self.people.setdefault(person, {})


def _key(identifiers: dict[str, str]) -> str:
    [(name, value)] = identifiers.items()
    return f"{name}:{value}"


@contextmanager
def serve() -> Iterator[FakeCustomerIO]:
    """Serve on a free port of loopback."""
    fake = FakeCustomerIO()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            request = Request(self.command, self.path, body, time.monotonic())
            if fake.delay:
                time.sleep(fake.delay)
            try:
                answer = fake.handle(request)
            except HangUp as how:
                if how.applied:
                    fake.apply(request.items)
                self.close_connection = True
                return
            assert answer is not None
            status, content, *more = answer
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
