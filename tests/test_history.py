"""Any history of saves, events, deletes, failures and pauses ends with both sides equal."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

import django_customerio as cio
from django_customerio import delivery
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

people = st.sampled_from(["ann", "bob"])
STEPS = st.one_of(
    st.tuples(st.just("save"), people, st.sampled_from(["A", "B"])),
    st.tuples(st.just("delete"), people),
    st.tuples(st.just("track"), people),
    st.tuples(st.just("roll back"), people),
    st.tuples(st.just("savepoint"), people),
    st.tuples(
        st.just("drain"),
        st.sampled_from(["accept", "accept", "late", "503", "cut", "cut after", "html", "400"]),
    ),
    st.tuples(st.just("settle")),
)


TOLD = [("save", "ann", "A"), ("drain", "accept")]


class Site:
    """A site, and what Customer.io should have heard of it."""

    def __init__(self, server: FakeCustomerIO) -> None:
        self.server = server
        self.number = itertools.count()
        self.tracked: dict[str, list[str]] = {}
        self.late: list[list[dict[str, Any]]] = []
        self.known_by_events: set[str] = set()

    def save(self, who: str, name: str) -> None:
        reader = Reader.objects.filter(email=f"{who}@example.com").first()
        if reader is None:
            Reader.objects.create(email=f"{who}@example.com", name=name)
            self.tracked.setdefault(who, []).append("subscribed")
        else:
            reader.name = name
            reader.save()

    def delete(self, who: str) -> None:
        gone, _ = Reader.objects.filter(email=f"{who}@example.com").delete()
        if gone:
            self.known_by_events.discard(who)

    def track(self, who: str) -> None:
        name = f"event_{next(self.number)}"
        cio.track({"email": f"{who}@example.com"}, name)
        self.tracked.setdefault(who, []).append(name)
        self.known_by_events.add(who)

    def roll_back(self, who: str) -> None:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            Reader.objects.filter(email=f"{who}@example.com").delete()
            Reader.objects.create(email=f"{who}@example.com", name="never")
            cio.track({"email": f"{who}@example.com"}, "never")
            raise ZeroDivisionError

    def savepoint(self, who: str) -> None:
        with transaction.atomic():
            self.track(who)
            self.roll_back(who)

    def drain(self, how: str) -> None:
        first = [True]

        def answer(request: Any) -> Any:
            if how == "accept" or not first or request.method == "GET":
                return None
            first.clear()
            match how:
                case "503":
                    return 503, {}
                case "cut":
                    raise HangUp
                case "cut after":
                    raise HangUp(applied=True)
                case "html":
                    return 200, b"<html>"
                case "400" if len(request.items) > 1:
                    return 400, {}
                case "late":
                    # It is applied after the next request, as a slow network may have it. A
                    # lane waits a second after a failure, which this test does not.
                    self.late.append(
                        [{**i, "timestamp": i.get("timestamp", 1) - 1} for i in request.items]
                    )
                    return 503, {}
            return None

        self.server.answer = answer
        self.wait()
        delivery.drain(using="default")
        if how != "late":
            for items in self.late:
                self.server.apply(items)
            self.late.clear()

    def wait(self) -> None:
        Lane.objects.update(paused_until=0)
        WorkspaceStatus.objects.update(paused_until=0)
        OutboxMessage.objects.update(retry_at=0)

    def settle(self) -> None:
        for items in self.late:
            self.server.apply(items)
        self.late.clear()
        Tombstone.objects.filter(repeat_at__gt=0).update(repeat_at=1)

    def finish(self) -> None:
        for _ in range(10):
            self.settle()
            self.wait()
            self.drain("accept")
            if not OutboxMessage.objects.exists():
                break
        self.settle()
        self.drain("accept")


def forget() -> None:
    with transaction.atomic():
        Reader.objects.all().delete()
    for model in (OutboxMessage, Lane, Fingerprint, Tombstone, SentMessage, WorkspaceStatus):
        model.objects.all().delete()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=25))
@example([("save", "ann", "A"), ("drain", "late"), ("delete", "ann"), ("drain", "accept")])
@example([*TOLD, ("delete", "ann"), ("drain", "accept"), ("save", "ann", "A")])
@example([*TOLD, ("delete", "ann"), ("drain", "accept"), ("track", "ann"), ("drain", "accept")])
@example([*TOLD, ("delete", "ann"), ("drain", "accept"), ("settle",), ("track", "ann")])
@example([*TOLD, ("track", "ann"), ("delete", "ann"), ("save", "ann", "B"), ("drain", "late")])
def test_both_sides_are_equal_in_the_end(site, steps):
    """Invariants 1 to 4 and 8 over histories that nobody thought of."""
    forget()
    for held in (site.requests, site.applied, site.people, site._seen, site._times):
        held.clear()
    history = Site(site)
    for name, *arguments in steps:
        getattr(history, name.replace(" ", "_"))(*arguments)
    history.finish()

    assert list(OutboxMessage.objects.values_list("kind", "state")) == []
    here = {reader.email: reader.name for reader in Reader.objects.all()}
    there = {
        key.removeprefix("email:"): attributes.get("name")
        for key, attributes in site.people.items()
    }
    for email, name in here.items():
        assert there[email] == name
    for who, names in history.tracked.items():
        identifiers = {"email": f"{who}@example.com"}
        heard = [e["name"] for e in site.events() if e["identifiers"] == identifiers]
        assert heard == names
    # Whoever is here no more is not there either, unless an event came after the delete.
    known = {f"{who}@example.com" for who in history.known_by_events}
    assert there.keys() == here.keys() | known
    event(f"{len(site.requests) > 5=}")


pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
