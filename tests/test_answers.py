"""What each answer of Customer.io does to messages, lanes and the workspace."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

import django_customerio as cio
from django_customerio import breaker, dispatch, lanes
from django_customerio.clock import now_ms
from django_customerio.identifiers import lane_of
from django_customerio.models import Lane, OutboxMessage, SentMessage, WorkspaceStatus

from .fake import HangUp

HTML = b"<html><body>Please log in to the wifi</body></html>"


def rows():
    """What is in the outbox, without what changes by itself."""
    return list(
        OutboxMessage.objects.order_by("id").values_list(
            "id", "state", "attempts", "first_failed_at", "retry_at", "answer", "body"
        )
    )


def names_in(request):
    return [item.get("name") for item in request.items] if request.body else []


def bad_items(name):
    """Refuse, by 207, the items of one name."""

    def answer(request):
        if request.method == "GET":
            return None
        bad = [n for n, item in enumerate(request.items) if item.get("name") == name]
        if not bad:
            return None
        return 207, {
            "errors": [
                {"batch_index": n, "reason": "invalid", "field": "name", "message": "no such"}
                for n in bad
            ]
        }

    return answer


def refusing(name, status=400):
    """Refuse each whole request that holds an item of one name."""

    def answer(request):
        if name in names_in(request):
            return status, {"errors": [{"reason": "bad", "field": "name", "message": "words"}]}
        return None

    return answer


def fail_until_paused(site, drain):
    """Answer 503 until the workspace pauses; the lanes' own pauses are skipped."""
    site.answer = lambda request: (503, {})
    for _ in range(breaker.FAILURES_BEFORE_PAUSE):
        report = drain()
        Lane.objects.update(paused_until=0)
    assert report.outcome == "paused"
    return report


def fill(*names, person="42"):
    for name in names:
        cio.track(person, name)


def test_207_kills_only_the_listed(site, drain):
    """The others are done; the reason is Customer.io's own."""
    fill("a", "wrong", "b")
    site.answer = bad_items("wrong")
    report = drain()
    assert (report.accepted, report.dead, report.requests) == (2, 1, 1)
    dead = OutboxMessage.objects.get()
    assert (dead.state, dead.attempts) == ("dead", 1)
    assert dead.answer == "invalid: name: no such"
    assert dead.first_failed_at is not None


def test_207_for_many_kills_them_where_others_are_accepted(site, drain):
    """More than a handful may die in one answer that accepts others."""
    fill(*["wrong"] * 20, "good")
    site.answer = bad_items("wrong")
    report = drain()
    assert (report.accepted, report.dead) == (1, 20)
    assert WorkspaceStatus.objects.get().refusals == 0


def test_a_dead_row_does_not_silence_its_person(site, drain):
    """What comes after it is sent."""
    fill("wrong")
    site.answer = bad_items("wrong")
    drain()
    fill("after")
    assert drain().accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        (207, {}),
        (207, {"errors": [{"reason": "invalid"}]}),
        (207, {"errors": [{"batch_index": 99, "reason": "invalid"}]}),
        (200, HTML),
        (200, b""),
        (200, b"[]"),
        (202, b"accepted"),
    ],
    ids=["207-empty", "207-no-index", "207-beyond", "html", "nothing", "list", "words"],
)
def test_an_answer_that_says_nothing_is_no_success(site, drain, wait, answer):
    """The messages stay, untouched, until an answer says something."""
    fill("a", "b", "c")
    before = rows()
    site.answer = lambda request: answer
    report = drain()
    assert report.accepted == report.dead == 0
    assert rows() == before
    site.answer = None
    wait()
    drain()
    assert site.actions() == ["a", "b", "c"]


def test_one_item_that_makes_the_answer_unusable_is_found_one_by_one(site, drain):
    """After an unusable answer each goes by itself."""
    fill("a", "b", "c")
    site.answer = lambda request: (200, HTML) if len(request.items) > 1 else None
    assert drain().accepted == 3
    assert [len(request.items) for request in site.batches] == [3, 1, 1, 1]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_whole_is_bisected(site, drain, status):
    """Only the message that makes it refused is dead."""
    fill("a", "b", "c", "wrong", "d", "e", "f")
    site.answer = refusing("wrong", status)
    report = drain()
    assert (report.accepted, report.dead) == (6, 1)
    assert site.actions() == ["a", "b", "c", "d", "e", "f"]
    assert OutboxMessage.objects.get().answer == "bad: name: words"


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: (400, {"errors": [{"reason": "no", "message": "never"}]}),
        lambda request: (
            207,
            {
                "errors": [
                    {"batch_index": n, "reason": "no", "field": "", "message": ""}
                    for n in range(len(request.items))
                ]
            },
        ),
        lambda request: (422, HTML),
    ],
    ids=["400", "207-all", "422"],
)
def test_a_server_that_refuses_everything_kills_a_handful(site, drain, wait, answer):
    """Invariant 8: after a handful the workspace pauses and the rest stays pending."""
    for number in range(200):
        cio.track(str(number), "a")
    site.answer = answer
    for _ in range(5):
        drain()
        wait()
    assert OutboxMessage.objects.filter(state="dead").count() <= breaker.HANDFUL
    drain()
    status = WorkspaceStatus.objects.get()
    assert "refuses every message" in status.pause_reason
    site.answer = None
    wait()
    assert drain().accepted == 200 - OutboxMessage.objects.filter(state="dead").count()


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}),
        (503, HTML),
        (429, {}),
        (408, {}),
        (425, {}),
        HangUp(),
        HangUp(applied=True),
    ],
    ids=["500", "503", "429", "408", "425", "cut", "cut-after"],
)
def test_a_failed_request_touches_no_message(site, drain, wait, answer):
    """Invariant 8: no row changes, no attempt counts, and all arrives in order later."""
    fill("a", "b", "c")
    before = rows()

    def fail(request):
        if isinstance(answer, HangUp):
            raise answer
        return answer

    site.answer = fail
    for _ in range(6):
        drain()
        wait()
    assert rows() == before
    bodies = [request.body for request in site.batches]
    assert len(set(bodies)) == 1
    site.answer = None
    assert drain().accepted == 3
    assert [event["name"] for event in site.events()] == ["a", "b", "c"]


def test_nobody_dies_of_an_outage(site, drain, wait):
    """However long it lasts."""
    for number in range(10):
        cio.track(str(number), "a")
    OutboxMessage.objects.update(first_failed_at=None)
    site.answer = lambda request: (503, {})
    for _ in range(40):
        drain()
        wait()
    assert OutboxMessage.objects.filter(state="pending", attempts=0).count() == 10


def test_several_failures_in_a_row_pause_the_workspace(site, drain):
    """Then nobody asks until the pause is over; the report says why."""
    for number in range(10):
        cio.track(str(number), "a")
    report = fail_until_paused(site, drain)
    assert len(site.requests) == breaker.FAILURES_BEFORE_PAUSE
    assert "503" in report.reason
    assert 0 < report.resume_in <= breaker.PAUSE_CAP
    again = drain()
    assert (again.outcome, again.requests) == ("paused", 0)


def test_after_the_pause_one_worker_tries_first(site, drain, wait):
    """The others wait for what it learns, so that nobody stampedes."""
    for number in range(10):
        cio.track(str(number), "a")
    fail_until_paused(site, drain)
    wait()
    others = []

    def answer(request):
        if not others:
            # In the thread of the server, so with a connection of its own.
            others.append(drain())
            connections.close_all()
        return None

    site.answer = answer
    assert drain().accepted == 10
    assert (others[0].outcome, others[0].requests) == ("paused", 0)
    status = WorkspaceStatus.objects.get()
    assert (status.failures, status.paused_until) == (0, 0)


def test_trying_first_with_nothing_to_say_ends_the_pause(site, drain, wait):
    """Or everybody would wait for an answer that nobody asked for."""
    cio.track("42", "a")
    fail_until_paused(site, drain)
    wait()
    OutboxMessage.objects.update(expires_at=timezone.now() - timedelta(days=1))
    report = drain()
    assert (report.expired, report.outcome) == (1, "empty")


def test_retry_after_is_respected_with_a_cap(site, drain):
    """The workspace waits as long as it was told, five minutes at most."""
    cio.track("42", "a")
    site.answer = lambda request: (429, {}, {"Retry-After": "86400"})
    report = drain()
    assert report.outcome == "paused"
    assert 290 < report.resume_in <= 300


@pytest.mark.parametrize("status", [301, 307, 404, 405, 415])
def test_an_answer_that_only_settings_can_change_pauses_loudly(site, drain, caplog, status):
    """Nothing is lost and nothing is asked again for a while."""
    fill("a")
    before = rows()
    site.answer = lambda request: (status, {}, {"Location": "https://example.com/"})
    report = drain()
    assert (report.outcome, report.requests, len(site.requests)) == ("paused", 1, 1)
    assert rows() == before
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "paused" in caplog.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_pauses_this_key_only(site, drain, customerio, caplog, status):
    """An old process with the old key does not pause the new one."""
    fill("a")
    site.region_status = 401
    site.answer = lambda request: (status, {}) if request.method == "POST" else None
    report = drain()
    assert report.outcome == "paused"
    assert drain().requests == 0
    assert "hush-key" not in caplog.text
    site.answer = None
    customerio(API_KEY="NEW")
    assert drain().accepted == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_payload_that_a_firewall_dislikes_is_found(site, drain, status):
    """The key is accepted elsewhere, so it is not the key."""
    fill("a", "drop table", "b")
    site.answer = refusing("drop table", status)
    report = drain()
    assert (report.accepted, report.dead) == (2, 1)
    assert site.actions() == ["a", "b"]


def test_a_payload_that_always_fails_is_isolated_and_dies_alone(site, drain, wait):
    """While others are accepted it goes alone, counts its attempts, and is dead after 12."""
    site.answer = lambda request: (500, {}) if "poison" in names_in(request) else None
    fill("before", "poison", "after")
    cio.track("7", "elsewhere")
    for _ in range(60):
        drain()
        wait()
        WorkspaceStatus.objects.update(failures=0)
        cio.track("7", "sign of life")
        if OutboxMessage.objects.filter(state="dead").exists():
            break
    dead = OutboxMessage.objects.get(state="dead")
    assert (dead.name, dead.attempts) == ("poison", dispatch.MAX_ATTEMPTS)
    wait()
    drain()
    wait()
    drain()
    mine = [e["name"] for e in site.events() if e["identifiers"] == {"id": "42"}]
    assert mine == ["before", "after"]
    assert not OutboxMessage.objects.filter(state="pending").exists()


def test_it_also_dies_of_old_age(site, drain, wait):
    """72 hours from its first failure, with a success as recent as a quarter of an hour."""
    fill("poison")
    OutboxMessage.objects.update(attempts=1, first_failed_at=timezone.now() - timedelta(hours=73))
    site.answer = lambda request: (500, {}) if "poison" in names_in(request) else None
    drain()
    assert OutboxMessage.objects.filter(state="dead").count() == 0
    wait()
    cio.track("7", "elsewhere")
    for _ in range(3):
        drain()
        wait()
    assert OutboxMessage.objects.get(state="dead").name == "poison"


def test_the_person_of_a_lone_failure_waits_and_others_do_not(site, drain):
    """Order is kept for the one, and the lane goes on for its neighbours."""
    neighbour = next(
        str(n) for n in range(10_000) if lane_of(f"id:{n}") == lane_of("id:42") and n != 42
    )
    fill("poison", "after")
    cio.track(neighbour, "hello")
    OutboxMessage.objects.filter(name="poison").update(attempts=1)
    site.answer = lambda request: (500, {}) if "poison" in names_in(request) else None
    drain()
    assert site.actions() == ["hello"]
    waiting = OutboxMessage.objects.get(name="poison")
    assert (waiting.attempts, waiting.state) == (2, "pending")
    assert "500" in waiting.answer


def test_events_keep_bytes_time_and_ulid_on_every_attempt(site, drain, wait):
    """Invariant 3: a history row says the same each time."""
    cio.track("42", "a", {"price": 1.5})
    answers = iter([(503, {}), (500, {}), None])
    site.answer = lambda request: next(answers)
    for _ in range(3):
        drain()
        wait()
    assert len(site.batches) == 3
    assert len({request.body for request in site.batches}) == 1
    assert SentMessage.objects.get().ulid == site.applied[0]["id"]


def test_signals_tell_what_became_of_messages(site, drain):
    """Sent once a request; a receiver's error stops nothing."""
    from django_customerio.signals import (
        message_dead,
        message_failed,
        message_queued,
        message_sent,
    )

    seen = []

    def receiver(signal, **kwargs):
        name = next(key for key, value in signals.items() if value is signal)
        seen.append((name, kwargs["kind"], kwargs.get("error")))
        assert len(kwargs["ulid"]) == 26
        assert (kwargs["using"], kwargs["workspace"]) == ("default", "default")
        raise RuntimeError

    signals = {
        "queued": message_queued,
        "sent": message_sent,
        "failed": message_failed,
        "dead": message_dead,
    }
    for signal in signals.values():
        signal.connect(receiver, weak=False)
    try:
        fill("good", "wrong")
        site.answer = bad_items("wrong")
        drain()
        fill("later")
        OutboxMessage.objects.filter(name="later").update(attempts=1)
        site.answer = lambda request: (503, {})
        drain()
    finally:
        for signal in signals.values():
            signal.disconnect(receiver)
    assert seen == [
        ("queued", "event", None),
        ("queued", "event", None),
        ("dead", "event", "refused"),
        ("sent", "event", None),
        ("queued", "event", None),
        ("failed", "event", "ServerError"),
    ]


def test_no_payload_and_no_key_in_any_log_line(site, drain, caplog):
    """Invariant 12, over the failures that log."""
    caplog.set_level(logging.DEBUG)
    for answer in [(503, {}), (400, {}), (404, {}), (401, {}), (200, HTML)]:
        cio.track("person-4711", "bought", {"secret": "hush-hush"})
        site.answer = lambda request, answer=answer: answer
        drain()
        WorkspaceStatus.objects.update(paused_until=0)
        Lane.objects.update(paused_until=0)
    ours = "\n".join(
        record.getMessage() + str(record.__dict__)
        for record in caplog.records
        if record.name.startswith("django_customerio")
    )
    assert ours
    for word in ("hush", "4711", "bought"):
        assert word not in ours


def neighbour_of(person="42"):
    """Somebody else in the lane of a person."""
    lane = lane_of(f"id:{person}")
    return next(str(n) for n in range(10_000) if lane_of(f"id:{n}") == lane and str(n) != person)


def test_many_messages_of_one_who_waits_do_not_starve_the_lane(site, drain, wait):
    """They are passed over, however many there are."""
    fill(*["x"] * 1200)
    cio.track(neighbour_of(), "hello")
    first = OutboxMessage.objects.earliest("id")
    later = now_ms("default") + 600_000
    OutboxMessage.objects.filter(pk=first.pk).update(attempts=1, retry_at=later)
    drain()
    assert site.actions() == ["hello"]
    wait()
    assert drain().accepted == 1200


def test_a_wait_set_by_a_broken_clock_is_over(site, drain):
    """Nobody waits for a day."""
    fill("a")
    OutboxMessage.objects.update(attempts=1, retry_at=now_ms("default") + 86_400_000)
    assert drain().accepted == 1


def test_an_outage_after_lapses_counts_no_attempt(site, drain, wait):
    """Invariant 8: the worker lives, so it was not the message."""
    fill("a")
    before = rows()
    lanes.create(using="default", workspace="default")
    Lane.objects.update(lapses=3)
    site.answer = lambda request: (503, {})
    for _ in range(20):
        drain()
        wait()
        WorkspaceStatus.objects.update(failures=0)
    assert rows() == before


def test_a_handful_of_wrong_messages_does_not_block_the_workspace(site, drain, wait):
    """Others have their chance to show that not everything is refused."""
    for number in range(8):
        cio.track(str(number), "wrong")
    cio.track("good", "good")
    site.answer = refusing("wrong")
    for _ in range(60):
        drain()
        wait()
        if site.applied:
            break
    assert site.actions() == ["good"]


def test_trying_first_with_nothing_to_say_forgets_no_refusals(site, drain):
    """Or another handful could die."""
    fill("a")
    drain()
    WorkspaceStatus.objects.update(failures=5, refusals=5)
    fill("a")
    OutboxMessage.objects.update(expires_at=timezone.now() - timedelta(days=1))
    drain()
    assert WorkspaceStatus.objects.get().refusals == 5


def test_a_payload_that_always_fails_is_found_deep_in_a_lane(site, drain, wait):
    """What is before it goes one by one, without failing again each time."""
    site.answer = lambda request: (500, {}) if "poison" in names_in(request) else None
    fill(*["before"] * 30, "poison")
    for _ in range(12):
        cio.track("7", "alive")
        drain()
        wait()
        WorkspaceStatus.objects.update(failures=0)
    assert len(site.events("before")) == 30
    assert OutboxMessage.objects.get(name="poison").attempts > 0


def test_a_repetition_that_always_fails_does_not_block_its_lane(site, drain, settle, wait):
    """It is put off."""
    cio.delete("42")
    drain()
    settle()
    cio.track(neighbour_of(), "hello")
    site.answer = lambda request: (500, {}) if b'"delete"' in request.body else None
    drain()
    wait()
    drain()
    assert len(site.events("hello")) == 1


def test_a_worker_that_may_not_try_first_waits(site, drain, wait, monkeypatch):
    """Another one was quicker."""
    cio.track("42", "a")
    fail_until_paused(site, drain)
    wait()
    site.answer = None
    monkeypatch.setattr(breaker, "try_first", lambda gate, **options: False)
    report = drain()
    assert (report.outcome, report.requests) == ("paused", 0)
    assert "tries first" in report.reason


def test_only_the_lanes_of_a_failed_part_wait(site, drain):
    """Where a refused request was divided and a part of it failed."""
    cio.track("1", "a")
    cio.track("2", "b")
    assert lane_of("id:1") != lane_of("id:2")
    site.answer = lambda request: (400, {}) if len(request.items) > 1 else (
        (503, {}) if "b" in names_in(request) else None
    )  # fmt: skip
    drain()
    assert site.actions() == ["a"]
    failing = Lane.objects.filter(failures__gt=0).values_list("number", flat=True)
    assert list(failing) == [lane_of("id:2")]
