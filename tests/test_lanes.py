"""Who may send whose messages: leases, fences, floors."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connections

import django_customerio as cio
from django_customerio import lanes
from django_customerio.clock import now_ms
from django_customerio.messages import lane_of
from django_customerio.models import Lane, OutboxMessage, WorkspaceStatus

USING = {"using": "default"}


def view(number: int = 0, **options):
    return lanes.look(**USING, workspace="default", **options)[number]


def take(number: int = 0, seconds: float = 30):
    return lanes.lease(view(number), **USING, seconds=seconds)


def test_lanes_are_made_when_first_needed(site):
    """64 a workspace; making them again changes nothing."""
    assert len(lanes.look(**USING, workspace="default")) == 64
    lanes.create(**USING, workspace="default")
    assert Lane.objects.count() == 64
    assert [each.number for each in lanes.look(**USING, workspace="default")] == list(range(64))


def test_a_lane_has_one_owner(site):
    """Invariant 5: of two who saw it free, one wins."""
    seen = view()
    first = lanes.lease(seen, **USING, seconds=30)
    assert first is not None
    assert lanes.lease(seen, **USING, seconds=30) is None
    assert take() is None
    assert 0 < view().busy_for <= 30


def test_many_threads_and_one_owner(site):
    """The same, at the same moment."""
    seen = view()
    won = []
    barrier = threading.Barrier(6)

    def run():
        connections["default"].ensure_connection()
        barrier.wait()
        won.append(lanes.lease(seen, **USING, seconds=30))
        connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([lease for lease in won if lease]) == 1


def test_a_dead_owners_lane_frees_itself(site):
    """When the lease lapses; the next owner learns that it did."""
    first = take(seconds=0.05)
    time.sleep(0.1)
    second = take()
    assert second.epoch == first.epoch + 1
    assert (first.lapses, second.lapses) == (0, 1)


def test_a_stale_owner_changes_nothing(site):
    """Invariant 5: neither renewing nor releasing what others own by now."""
    first = take(seconds=0.05)
    time.sleep(0.1)
    second = take()
    first.floor, first.failures, first.pause = 99, 9, 60
    assert not lanes.renew(first, **USING, seconds=30)
    lanes.release([first], **USING)
    lane = Lane.objects.get(number=0)
    assert (lane.token, lane.floor, lane.failures, lane.paused_until) == (second.token, 0, 0, 0)
    assert lanes.renew(second, **USING, seconds=30)


def test_an_epoch_that_went_back_fences_all_the_same(site):
    """After a failover to an old copy the token still tells the owners apart."""
    first = take()
    Lane.objects.filter(number=0).update(epoch=first.epoch - 1, token="", leased_until=0)
    second = take()
    assert second.epoch == first.epoch
    assert not lanes.renew(first, **USING, seconds=30)


def test_a_released_lane_is_free_at_once(site):
    """With its floor and its pause written down."""
    lease = take()
    lease.pause, lease.failures, lease.failing_since = 30, 2, 5
    lanes.release([lease], **USING)
    seen = view()
    assert (seen.busy_for, seen.token, seen.failures, seen.failing_since) == (0, "", 2, 5)
    assert 0 < seen.paused_for <= 30


@pytest.mark.parametrize("column", ["leased_until", "paused_until"])
def test_an_instant_too_far_ahead_counts_as_over(site, column):
    """It comes from a clock that jumped; nobody waits for it."""
    view()
    Lane.objects.filter(number=0).update(token="x", **{column: now_ms("default") + 7_200_000})
    assert view().busy_for == view().paused_for == 0
    assert take() is not None


def test_the_first_message_of_each_lane_is_found(site):
    """From the floor, or in a sweep from zero."""
    cio.track("42", "a")
    number = lane_of("id:42")
    first = OutboxMessage.objects.get().id
    assert view(number).first_id == first
    assert view(number + 1 if number < 63 else 0).first_id is None
    Lane.objects.update(floor=first)
    assert view(number).first_id is None
    assert view(number, sweep=True).first_id == first


def test_what_commits_late_is_found_by_a_sweep(site, drain):
    """A lower id than the floor is not forgotten."""
    cio.track("42", "late")
    [late] = OutboxMessage.objects.all()
    OutboxMessage.objects.all().delete()
    Lane.objects.all().delete()
    lanes.create(**USING, workspace="default")
    Lane.objects.update(floor=late.id + 10_000)
    late.save(force_insert=True)
    assert drain(sweep=False).accepted == 0
    assert drain().accepted == 1


def test_what_commits_late_still_goes_before_what_follows_it(site, drain):
    """Floors steer where a look begins, not what of a lane is read."""
    cio.track("42", "first")
    [late] = OutboxMessage.objects.all()
    OutboxMessage.objects.all().delete()
    lanes.create(**USING, workspace="default")
    Lane.objects.update(floor=late.id + 10_000)
    late.save(force_insert=True)
    cio.track("42", "second")
    OutboxMessage.objects.filter(name="second").update(id=late.id + 20_000)
    drain()
    assert site.actions() == ["first", "second"]


def test_a_lower_id_that_commits_a_little_late_is_found_without_a_sweep(site, drain):
    """Neighbours commit in another order than they count."""
    cio.track("42", "a")
    cio.track("42", "b")
    first = OutboxMessage.objects.earliest("id")
    OutboxMessage.objects.filter(pk=first.pk).delete()
    assert drain(sweep=False).accepted == 1
    first.save(force_insert=True)
    assert drain(sweep=False).accepted == 1


def test_lanes_are_given_back(site, drain):
    """After a drain, and after one that failed."""
    cio.track("42", "a")
    drain()
    assert not Lane.objects.exclude(token="").exists()
    cio.track("42", "a")

    def fail(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(progress=fail)
    assert not Lane.objects.exclude(token="").exists()


def test_busy_lanes_are_left_alone(site, drain):
    """Another worker's lane is not touched; the report says when to look again."""
    cio.track("42", "a")
    lease = take(lane_of("id:42"))
    report = drain()
    assert (report.outcome, report.requests) == ("busy", 0)
    assert 0 < report.resume_in <= 30
    lanes.release([lease], **USING)
    assert drain().accepted == 1


def test_a_worker_that_lost_its_lane_sends_nothing_more(site, drain, customerio, monkeypatch):
    """The request would end after the lease: it is renewed first, and if lost, not sent."""
    cio.track("42", "a")
    real = lanes.Lease.outlasts

    def oversleep(lease, seconds):
        Lane.objects.filter(id=lease.id).update(epoch=lease.epoch + 5, token="thief")
        return False

    monkeypatch.setattr(lanes.Lease, "outlasts", oversleep)
    report = drain()
    assert report.requests == 0
    assert OutboxMessage.objects.count() == 1
    monkeypatch.setattr(lanes.Lease, "outlasts", real)
    Lane.objects.update(token="", leased_until=0)
    assert drain().accepted == 1


def test_two_workers_share_the_lanes(site, drain):
    """Each message is sent once, and people keep their order."""
    for number in range(400):
        cio.track(str(number % 40), f"step_{number // 40}")
    reports = []

    def run():
        reports.append(drain())
        connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for _ in range(20):
        if not OutboxMessage.objects.exists():
            break
        reports.append(drain())
    assert sum(report.accepted for report in reports) == 400
    assert site.repeats == 0
    for person in range(40):
        mine = [e["name"] for e in site.events() if e["identifiers"] == {"id": str(person)}]
        assert mine == [f"step_{n}" for n in range(10)]


def test_a_payload_that_kills_its_worker_is_found_in_small_steps(site, drain):
    """After lapses the lane goes in smaller and smaller batches, then one by one, counted."""
    for number in range(60):
        cio.track("42", f"step_{number}")
    number = lane_of("id:42")

    def lapse():
        Lane.objects.filter(number=number).update(token="dead", leased_until=1)

    lanes.create(**USING, workspace="default")
    sizes = []
    for lapses in range(4):
        Lane.objects.filter(number=number).update(lapses=lapses)
        site.requests.clear()

        def die(request):
            return 503, {}

        site.answer = die
        drain()
        sizes.append(len(site.batches[0].items))
        Lane.objects.filter(number=number).update(paused_until=0, failures=0)
        WorkspaceStatus.objects.update(paused_until=0, failures=0)
    assert sizes == [60, 50, 5, 1]
    first = OutboxMessage.objects.earliest("id")
    assert first.attempts == 0, "the worker lived"
    lapse()
    OutboxMessage.objects.filter(pk=first.pk).update(attempts=12, retry_at=0)
    Lane.objects.filter(number=number).update(lapses=3)
    WorkspaceStatus.objects.update(paused_until=0, failures=0)
    site.answer = None
    drain()
    dead = OutboxMessage.objects.get(state="dead")
    assert (dead.pk, "vanished" in dead.answer) == (first.pk, True)
    assert [e["name"] for e in site.events()] == [f"step_{n}" for n in range(1, 60)]
    assert Lane.objects.get(number=number).lapses == 0


def test_a_deep_lane_recovers_from_lapses(site, drain):
    """Its steps grow again when what may have killed its owner is past."""
    for _ in range(700):
        cio.track("42", "x")
    lanes.create(**USING, workspace="default")
    Lane.objects.update(lapses=3)
    drain()
    assert len(site.batches) < 40
    assert len(site.events()) == 700
