"""Who drains: in the caller, in a thread, or nobody here."""

from __future__ import annotations

import contextvars
import os
import threading
import time

import pytest
from django.core.signals import request_started
from django.db import connections, transaction

import django_customerio as cio
from django_customerio import breaker, delivery, lanes, senders
from django_customerio.clock import now_ms
from django_customerio.models import Lane, OutboxMessage, WorkspaceStatus
from django_customerio.senders import immediate
from django_customerio.senders import thread as thread_module
from django_customerio.senders.thread import ThreadSender, needs_caller
from django_customerio.signals import message_sent

from .shop.models import Reader


def until(condition, seconds: float = 10.0) -> bool:
    """Wait for something another thread or process does."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.01)
    return False


def begin_request() -> None:
    """As a server does, in a context of its own."""
    context = contextvars.copy_context()
    context.run(request_started.send, object, environ={"PATH_INFO": "/"})


@pytest.fixture
def threaded(site, customerio, monkeypatch):
    """The thread sender, which is ended with the test."""
    monkeypatch.setattr(thread_module, "SWEEP", 0.2)
    customerio(SENDER="thread", DATABASES=["default"])
    yield senders.get_sender()
    senders.get_sender().close()


def test_command_leaves_it_to_the_command(site, customerio):
    """Nothing is sent until somebody drains."""
    customerio(SENDER="command")
    cio.track("42", "a")
    senders.get_sender().start()
    senders.get_sender().close()
    assert OutboxMessage.objects.count() == 1
    assert site.requests == []


def test_immediate_sends_before_the_caller_goes_on(site, customerio):
    """After the commit, not before."""
    customerio(SENDER="immediate")
    with transaction.atomic():
        cio.track("42", "a")
        assert site.requests == []
    assert site.actions() == ["a"]


def test_immediate_does_not_wait_for_ever(site, customerio, monkeypatch):
    """A slow Customer.io costs the caller its patience and no more; the message stays."""
    monkeypatch.setattr(immediate, "PATIENCE", 0.2)
    customerio(SENDER="immediate", RETRIES=3)
    site.delay = 1.0
    cio.track("42", "a")
    assert site.actions() == []
    assert OutboxMessage.objects.count() == 1
    # And nobody asks again at once.
    cio.track("42", "b")
    assert len(site.requests) <= 1


def test_immediate_leaves_a_backlog_to_others(site, customerio, monkeypatch):
    """It is not one caller's to send."""
    cio.track("42", "a")
    monkeypatch.setattr(immediate, "BUDGET", 0.0)
    customerio(SENDER="immediate")
    cio.track("42", "b")
    assert site.requests == []


def test_immediate_sends_what_a_receiver_of_our_signals_adds(site, customerio):
    """Without beginning another drain inside the first."""
    customerio(SENDER="immediate")
    added = []

    def add(**kwargs):
        if not added:
            added.append(1)
            cio.track("42", "b")

    message_sent.connect(add)
    try:
        cio.track("42", "a")
    finally:
        message_sent.disconnect(add)
    assert site.actions() == ["a", "b"]


def test_one_workspace_in_trouble_keeps_nothing_from_the_others(site, settings, caplog):
    """The error is logged when all had their turn."""
    settings.CUSTOMERIO = {
        "SENDER": "immediate",
        "WORKSPACES": {
            # Not on this machine, so the client refuses in a test.
            "default": {"SITE_ID": "A", "API_KEY": "K"},
            "brand_b": {"SITE_ID": "B", "API_KEY": "K", "TRACK_URL": site.url},
        },
    }
    cio.track("42", "bought", workspace="brand_b")
    assert site.actions() == ["bought"]
    assert "this machine" in caplog.text


def test_the_thread_sends_after_the_commit(threaded, site):
    """In a thread of its own, which is not there before it is needed."""
    assert not threaded.is_alive
    caller = threading.get_ident()
    seen = []
    message_sent.connect(lambda **kwargs: seen.append(threading.get_ident()), weak=False,
                         dispatch_uid="seen")  # fmt: skip
    try:
        with transaction.atomic():
            Reader.objects.create(email="a@example.com")
        assert until(lambda: "email:a@example.com" in site.people)
        assert until(lambda: seen)
    finally:
        message_sent.disconnect(dispatch_uid="seen")
    assert threaded.is_alive
    assert caller not in seen
    assert until(lambda: not OutboxMessage.objects.exists())


def test_the_first_request_starts_it_for_what_was_left(threaded, site, customerio):
    """A backlog drains without a new commit."""
    customerio(SENDER="command")
    cio.track("42", "left")
    customerio(SENDER="thread", DATABASES=["default"])
    begin_request()
    assert until(lambda: site.actions() == ["left"])


def test_wrong_settings_cost_no_request(site, settings, caplog):
    """They are logged, and told by a system check."""
    settings.CUSTOMERIO = {"SENDER": "carrier pigeon"}
    begin_request()
    assert "cannot start" in caplog.text


def test_a_request_in_a_test_run_starts_nothing(settings, db):
    """Invariant 13."""
    settings.CUSTOMERIO = {"SITE_ID": "S", "API_KEY": "K", "SENDER": "thread"}
    begin_request()
    assert not senders.get_sender().is_alive


def test_a_lost_wake_up_is_found_by_the_sweep(threaded, site, monkeypatch):
    """The wake-up carries nothing."""
    cio.track("42", "a")
    assert until(lambda: site.actions() == ["a"])
    monkeypatch.setattr(threaded, "wake", lambda using, sweep=False: None)
    cio.track("42", "b")
    assert until(lambda: site.actions() == ["a", "b"])


def test_it_outlives_the_database(threaded, site, monkeypatch, caplog):
    """A connection that dies is opened anew; the log holds no values."""
    monkeypatch.setattr(thread_module, "RECONNECT", 0.05)
    real, failures = delivery.drain, []

    def drain(**options):
        if len(failures) < 2:
            failures.append(1)
            connections[options["using"]].close()
            from django.db import OperationalError

            raise OperationalError("hush") if len(failures) == 1 else RuntimeError("hush")
        return real(**options)

    monkeypatch.setattr(delivery, "drain", drain)
    cio.track("42", "a")
    assert until(lambda: site.actions() == ["a"])
    assert "OperationalError" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "hush" not in caplog.text


def test_closing_ends_the_thread_and_gives_lanes_back(threaded, site):
    """And a later wake-up starts another."""
    cio.track("42", "a")
    assert until(lambda: site.actions() == ["a"])
    threaded.close()
    assert not threaded.is_alive
    assert not Lane.objects.exclude(token="").exists()
    threaded.close()
    cio.track("42", "b")
    assert until(lambda: site.actions() == ["a", "b"])


def test_small_requests_wait_for_company(threaded, site, customerio):
    """The first goes at once; what comes right after it shares a request."""
    cio.track("0", "first")
    assert until(lambda: site.actions() == ["first"])
    for number in range(30):
        cio.track(str(number), "later")
        time.sleep(0.005)
    assert until(lambda: len(site.applied) == 31)
    first, last = site.batches[0].at, site.batches[-1].at
    assert len(site.batches) <= (last - first) / breaker.COMPANY + 2


def test_workers_share_the_slot_of_small_requests(site, drain):
    """It belongs to the workspace: while another worker has it, one waits, and then sends."""
    slot = {"using": "default", "workspace": "default"}
    drain()
    assert breaker.take_slot(**slot)
    assert not breaker.take_slot(**slot)
    cio.track("42", "a")
    assert drain(company=True).accepted == 1
    WorkspaceStatus.objects.update(slot=now_ms("default") + 10_000_000)
    cio.track("42", "a")
    assert drain(company=True).accepted == 1


def test_a_slot_that_another_worker_snatches_is_waited_for(site, drain, monkeypatch):
    """Whoever loses looks again."""
    real, lost = breaker.take_slot, []

    def take_slot(**where):
        if not lost:
            lost.append(real(**where))
        return real(**where)

    monkeypatch.setattr(breaker, "take_slot", take_slot)
    cio.track("42", "a")
    assert drain(company=True).accepted == 1
    assert lost == [True]


def test_a_backlog_waits_for_nobody(site, drain):
    """Full batches follow each other."""
    for _ in range(1500):
        cio.track("42", "a")
    report = drain(company=True)
    assert (report.accepted, report.requests) == (1500, 3)


def test_it_looks_again_when_a_pause_is_over(threaded, site):
    """Without another wake-up."""
    answers = iter([(503, {}, {"Retry-After": "1"})])
    site.answer = lambda request: next(answers, None)
    cio.track("42", "a")
    assert until(lambda: site.actions() == ["a"])


def test_on_plain_sqlite_the_caller_sends(site, customerio, monkeypatch):
    """A second writer would break the site's own transactions there."""
    connection = connections["default"]
    options = {**connection.settings_dict.get("OPTIONS", {})}
    options.pop("transaction_mode", None)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert needs_caller("default") is (connection.vendor == "sqlite")
    customerio(SENDER="thread", DATABASES=["default"])
    sender = senders.get_sender()
    if connection.vendor != "sqlite":
        sender.close()
        return
    sender.start()
    cio.track("42", "a")
    assert site.actions() == ["a"]
    assert not sender.is_alive


def test_another_process_has_a_thread_of_its_own(threaded, site):
    """A forked child knows by the pid that the thread is not there."""
    cio.track("42", "a")
    assert until(lambda: site.actions() == ["a"])
    threaded._pid = os.getpid() + 1
    assert not threaded.is_alive
    threaded._closing.set()
    threaded._news.set()
    cio.track("42", "b")
    assert until(lambda: site.actions() == ["a", "b"])


def test_two_threads_start_one(threaded, site):
    """Whoever comes second finds it alive."""
    barrier = threading.Barrier(4)

    def run():
        barrier.wait()
        threaded.wake("default")

    threads = [threading.Thread(target=run) for _ in range(4)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert [each.name for each in threading.enumerate()].count("django_customerio") == 1
    with threaded._lock:
        late = threading.Thread(target=threaded._start_thread)
        late.start()
    late.join()


def test_nothing_starts_when_the_interpreter_ends(threaded, monkeypatch):
    """Python starts no thread then."""
    monkeypatch.setattr(thread_module, "_process_ends", lambda: True)
    threaded.wake("default")
    assert not threaded.is_alive


def test_a_dotted_path_names_a_sender_of_ones_own(site, customerio):
    """Made once, without arguments."""
    customerio(SENDER="django_customerio.senders.immediate.ImmediateSender")
    assert type(senders.get_sender()).__name__ == "ImmediateSender"


def test_the_base_is_no_sender():
    """It says what to write."""
    with pytest.raises(NotImplementedError):
        senders.Sender().wake("default")


def test_a_busy_thread_sweeps_all_the_same(threaded, site, customerio):
    """What committed late is found while wake-ups never end."""
    customerio(SENDER="command")
    cio.track("42", "late")
    [late] = OutboxMessage.objects.all()
    lanes.create(using="default", workspace="default")
    Lane.objects.update(floor=late.id + 10_000)
    customerio(SENDER="thread", DATABASES=["default"])

    def found():
        senders.wake("default")
        return site.events("late")

    assert until(found)
    senders.get_sender().close()


def test_a_workspace_without_end_of_work_leaves_others_their_turn(threaded, site, settings):
    """After a while the next one is looked at."""
    options = dict(settings.CUSTOMERIO)
    keys = {name: options.pop(name) for name in ("SITE_ID", "API_KEY", "TRACK_URL")}
    settings.CUSTOMERIO = {**options, "WORKSPACES": {"default": keys, "brand": keys}}
    ended = threading.Event()

    def add(request):
        if not ended.is_set():
            cio.track("42", "busy")
            connections.close_all()
        return None

    site.answer = add
    try:
        cio.track("42", "busy")
        assert until(lambda: site.events("busy"))
        cio.track("42", "other", workspace="brand")
        assert until(lambda: site.events("other"))
    finally:
        ended.set()
        senders.get_sender().close()


def test_a_lock_held_at_the_fork_stops_no_child():
    """The thread that held it is not there."""
    sender = ThreadSender()
    with sender._lock:
        pid = os.fork()
        if not pid:
            starts = threading.Thread(target=sender._start_thread, daemon=True)
            starts.start()
            starts.join(5)
            os._exit(int(starts.is_alive()))
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_thread_that_cannot_start_costs_no_request(threaded, monkeypatch, caplog):
    """It is logged."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: 1 / 0)
    begin_request()
    assert "cannot start" in caplog.text


def test_the_thread_may_be_closed_by_its_own_work(threaded, site):
    """A receiver that changes the settings, say: it does not wait for itself."""
    closed = []

    def close(**kwargs):
        threaded.close()
        closed.append(threading.current_thread().name)

    message_sent.connect(close)
    try:
        cio.track("42", "a")
        assert until(lambda: closed)
    finally:
        message_sent.disconnect(close)
    assert closed == ["django_customerio"]
    assert until(lambda: not threaded.is_alive)
    assert site.actions() == ["a"]
