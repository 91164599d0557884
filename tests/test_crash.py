"""Workers killed by SIGKILL at any step lose nothing and keep every order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connections, transaction

import django_customerio as cio
from django_customerio.models import (
    Fingerprint,
    Lane,
    OutboxMessage,
    SentMessage,
    Tombstone,
    WorkspaceStatus,
)

from .fake import FakeCustomerIO, HangUp
from .shop.models import Reader

KILLED = -signal.SIGKILL
Run = Callable[..., int]


@pytest.fixture
def worker(site: FakeCustomerIO) -> Iterator[Run]:
    """Runs a draining process; returns its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash_worker"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONWARNINGS": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def run(kill_at: int = 0, when: str = "before") -> int:
        command = {
            "kill_at": kill_at,
            "when": when,
            "settings": django_settings.CUSTOMERIO,
            "database": str(connections["default"].settings_dict["NAME"]),
        }
        print(json.dumps(command), file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    process.wait()
    process.stdout.close()


def forget() -> None:
    """Begin anew, on the tables and not in the sequences."""
    Reader.objects.all().delete()
    for model in (OutboxMessage, Lane, Fingerprint, Tombstone, SentMessage, WorkspaceStatus):
        model.objects.all().delete()


def lapse() -> None:
    """Let the leases of the dead lapse, and pauses pass."""
    Lane.objects.exclude(token="").update(leased_until=1)
    Lane.objects.update(paused_until=0)
    WorkspaceStatus.objects.update(paused_until=0)


def work(number: int) -> dict[str, list[str]]:
    """Say things of every kind; returns what each person should have heard, in order."""
    ann, bob = f"ann-{number}@example.com", f"bob-{number}@example.com"
    with transaction.atomic():
        reader = Reader.objects.create(email=ann, name="Ann")
        gone = Reader.objects.create(email=bob, name="Bob")
    reader.name = "Anna"
    reader.save()
    expected = {f"email:{ann}": ["subscribed"], f"email:{bob}": ["subscribed", "delete"]}
    for person in ("1", "2", "3"):
        expected[f"id:{number}-{person}"] = []
        for step in range(4):
            name = f"step_{step}"
            cio.track(f"{number}-{person}", name)
            expected[f"id:{number}-{person}"].append(name)
    cio.delete(f"{number}-2")
    cio.track(f"{number}-2", "back")
    expected[f"id:{number}-2"] += ["delete", "back"]
    gone.delete()
    return expected


def check(site: FakeCustomerIO, number: int, expected: dict[str, list[str]]) -> None:
    """Compare what arrived with what was said."""
    heard: dict[str, list[str]] = {person: [] for person in expected}
    for item in site.applied:
        [(name, value)] = item["identifiers"].items()
        if item["action"] != "identify":
            heard[f"{name}:{value}"].append(item.get("name") or item["action"])
    for person, names in heard.items():
        # A delete may be said twice in a row; nothing else.
        heard[person] = [
            name for n, name in enumerate(names) if name != "delete" or names[n - 1] != name
        ]
    assert heard == expected
    ann = site.people[f"email:ann-{number}@example.com"]
    assert ann == {"name": "Anna", "topics": []}
    assert f"email:bob-{number}@example.com" not in site.people
    assert f"id:{number}-2" in site.people
    assert not OutboxMessage.objects.exists()
    events = {item["id"] for item in site.events()}
    assert set(SentMessage.objects.filter(kind="event").values_list("ulid", flat=True)) == events
    assert Counter(SentMessage.objects.values_list("ulid", flat=True)).most_common(1)[0][1] == 1
    bodies: dict[str, set[str]] = {}
    for request in site.batches:
        for item in request.items:
            if "id" in item:
                bodies.setdefault(item["id"], set()).add(json.dumps(item))
    assert all(len(each) == 1 for each in bodies.values())


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_statement(site, worker, when):
    """Invariants 2, 3, 4 and 11, for every statement of a drain."""
    survived = False
    kill_at = 0
    while not survived:
        kill_at += 1
        forget()
        site.requests.clear()
        site.applied.clear()
        site.people.clear()
        site.repeats = 0
        expected = work(kill_at)
        survived = worker(kill_at, when) == 0
        lapse()
        repeats_of_one_batch = len(site.batches[-1].items) if site.batches else 0
        for _ in range(10):
            assert worker() == 0
            lapse()
            if not OutboxMessage.objects.exists():
                break
        assert site.repeats <= repeats_of_one_batch
        check(site, kill_at, expected)
    assert kill_at > 20


@pytest.mark.parametrize("applied", [False, True], ids=["lost", "applied"])
def test_killed_while_the_request_is_under_way(site, worker, applied):
    """Whether it took effect or not, it is sent again, with the same bytes."""
    expected = work(1)
    killed = []

    def kill(request):
        if not killed:
            # The only child of the worker's process is the one that waits for this answer.
            [child] = _children()
            os.kill(child, signal.SIGKILL)
            killed.append(child)
            raise HangUp(applied=applied)
        return None

    site.answer = kill
    assert worker() == KILLED
    lapse()
    for _ in range(10):
        assert worker() == 0
        lapse()
        if not OutboxMessage.objects.exists():
            break
    check(site, 1, expected)
    assert bool(site.repeats) is applied


def _children() -> list[int]:
    """The processes that drain now."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent = status.read_text().rsplit(")", 1)[1].split()[:2]
            command = (status.parent / "cmdline").read_bytes()
            grandparent = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        if b"tests.crash_worker" in command and int(grandparent) == os.getpid():
            found.append(int(status.parent.name))
    return found
