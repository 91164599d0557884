"""Celery's workers drain: real brokers, real workers."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections, transaction

import django_customerio as cio
from django_customerio import delivery, lanes, senders
from django_customerio import tasks as tasks_module
from django_customerio.checks import settings as checks
from django_customerio.models import Lane, OutboxMessage, WorkspaceStatus
from django_customerio.senders import remote
from django_customerio.senders.immediate import ImmediateSender
from django_customerio.testmode import sending_allowed

from . import queues
from .fake import serve
from .processes import free_port, wait_until
from .test_senders import begin_request

pytest.importorskip("celery", reason="Celery is not installed")

from celery import Celery, _state

from django_customerio.senders import celery as celery_module

from .queue_app import configure


@pytest.fixture(scope="module")
def server():
    """One Customer.io for all tests, so that a worker can serve several."""
    with serve() as running:
        yield running


@pytest.fixture
def fake(server):
    """It remembers nothing of other tests."""
    server.requests.clear()
    server.applied.clear()
    server.people.clear()
    server.answer, server.delay = None, 0.0
    return server


@pytest.fixture(scope="module", params=list(queues.BROKERS))
def broker(request):
    """Each broker's address."""
    address = queues.BROKERS[request.param]
    if reason := queues.ask(address):
        pytest.skip(reason)
    return address


@pytest.fixture
def queue(broker):
    """A queue that no worker takes."""
    name = queues.new_queue()
    yield name
    queues.remove(broker, name)


@pytest.fixture
def use():
    """Make a Celery app the current one, as a site does that imports its own."""
    before, default = _state._tls.current_app, _state.default_app
    apps = []

    def change(broker: str, queue: str = "cio_test_nowhere") -> Celery:
        app = Celery("shop")
        app.set_default()  # other threads' as well
        configure(app, broker, queue)
        apps.append(app)
        return app

    yield change
    _state._set_current_app(before)
    _state.set_default_app(default)
    for app in apps:
        app.close()


@pytest.fixture
def sender(site, customerio, use, broker, queue):
    """The sender of a site whose messages no worker takes."""
    use(broker, queue)
    customerio(SENDER="celery", DATABASES=["default"])
    yield senders.get_sender()
    senders.get_sender().close()


def _told(server, *workspaces):
    keys = {"API_KEY": "hush-key", "TRACK_URL": server.url}
    return {
        "WORKSPACES": {each: {"SITE_ID": each, **keys} for each in workspaces},
        "SENDER": "celery",
        "DATABASES": ["default"],
        "RETRIES": 0,
    }


@pytest.fixture(scope="module")
def worker_queue(broker, server, django_db_setup, django_db_blocker):
    """A queue with a worker: on Redis of the pool ``solo``, on RabbitMQ of ``prefork``.

    It knows one workspace only: looks that it still has to make do nothing to other tests.
    """
    from django.test import override_settings

    name = queues.new_queue()
    told = _told(server, "worked")
    with override_settings(CUSTOMERIO=told):
        pool = "solo" if broker.startswith("redis") else "prefork"
        with queues.celery_worker(broker, name, pool=pool):
            yield name
    queues.remove(broker, name)


@pytest.fixture
def worked(site, fake, settings, use, broker, worker_queue):
    """A site with a worker."""
    app = use(broker, worker_queue)
    settings.CUSTOMERIO = _told(fake, "default", "worked")
    yield app
    senders.get_sender().close()


def test_a_worker_sends_what_was_committed(worked, fake):
    """After the commit, in another process; every commit is followed by a look."""
    with transaction.atomic():
        cio.track("42", "first", workspace="worked")
        assert not fake.requests
    for number in range(15):
        cio.track(f"{number}", f"event {number}", workspace="worked")
        time.sleep(0.1)
    names = {"first", *(f"event {number}" for number in range(15))}
    wait_until(lambda: names == set(fake.actions()))
    wait_until(lambda: not OutboxMessage.objects.exists())


def test_the_sweep_finds_what_a_lost_message_left(worked, fake, monkeypatch):
    """The message carries nothing."""
    monkeypatch.setattr(senders.get_sender(), "send", lambda *args, **kwargs: None)
    cio.track("42", "lost", workspace="worked")
    assert not fake.requests
    worked.send_task(celery_module.SWEEP, ignore_result=True)
    wait_until(lambda: fake.actions() == ["lost"])


def test_a_pause_is_slept_through(worked, fake):
    """The worker asks for another look by itself."""
    answers = iter([(503, {}, {"Retry-After": "1"})])
    fake.answer = lambda request: next(answers, None)
    cio.track("42", "a", workspace="worked")
    wait_until(lambda: fake.actions() == ["a"])
    assert [request.path for request in fake.requests] == ["/api/v2/batch"] * 2


def test_a_killed_workers_message_goes_to_another(site, fake, settings, use, broker, queue):
    """And it waits until the dead one's lease has lapsed."""
    if broker.startswith("redis"):
        pytest.skip("Redis gives a dead worker's messages to another after an hour: the sweep")
    use(broker, queue)
    settings.CUSTOMERIO = _told(fake, "default") | {"LEASE": 5, "TIMEOUT": 4}
    fake.answer = lambda request: time.sleep(3)
    with queues.celery_worker(broker, queue, pool="prefork") as first:
        cio.track("42", "a")
        wait_until(lambda: fake.requests)
        queues.kill(first)
    fake.answer = None
    with queues.celery_worker(broker, queue):
        wait_until(lambda: not OutboxMessage.objects.exists())
    # The first request took effect too, and nobody was there to hear of it.
    assert fake.actions() == ["a"]
    assert len(fake.requests) == 2
    senders.get_sender().close()


def test_beat_asks_for_the_sweep(site, fake, customerio, use, broker, queue, tmp_path):
    """As the documentation tells to set it up."""
    if broker.startswith("amqp"):
        pytest.skip("beat does not care for the broker")
    use(broker, queue)
    customerio(SENDER="celery", DATABASES=["default"])
    schedule = str(tmp_path / "schedule")
    with queues.process(
        *("celery", "-A", "tests.queue_app", "beat", "-s", schedule, "--max-interval", "1"),
        broker=broker,
        queue=queue,
    ):
        [message, *_] = wait_until(lambda: queues.messages(broker, queue))
    assert _headers(message)["task"] == celery_module.SWEEP


def test_many_commits_send_two_messages(sender, broker, queue):
    """The first at once, the last for all the others, and neither names anybody."""
    for _ in range(200):
        cio.track("secret-person", "secret-event")
    found = queues.messages(broker, queue)
    # A slow machine may need more than a window for it.
    assert 2 <= len(found) <= 8
    bodies = [_text(each) for each in found]
    assert not [body for body in bodies if "secret" in body]
    headers = [_headers(each) for each in found]
    assert {each["task"] for each in headers} == {celery_module.DRAIN}
    assert [bool(each["eta"]) for each in headers] == [False, *[True] * (len(found) - 1)]
    assert all(each["expires"] and each["ignore_result"] for each in headers)


def _headers(message):
    return message.headers if hasattr(message, "headers") else message["headers"]


def _text(message):
    return str(getattr(message, "body", message))


def test_the_first_request_asks_for_a_look_at_everything(sender, broker, queue):
    """Once in a process, for what an earlier one left."""
    begin_request()
    begin_request()
    [message] = queues.messages(broker, queue)
    assert "sweep" in _text(message) or "c3dlZXA" in _text(message)


def test_a_connection_that_was_cut_while_idle_is_replaced(site, customerio, use, broker, queue):
    """At once, so that no wake-up is lost by it."""
    proxy = queues.Proxy(("127.0.0.1", 6379 if broker.startswith("redis") else 5672))
    scheme, _, rest = broker.partition("://")
    user = "guest:guest@" if scheme == "amqp" else ""
    use(f"{scheme}://{user}127.0.0.1:{proxy.port}/{rest.partition('/')[2]}", queue)
    customerio(SENDER="celery", DATABASES=["default"])
    sender = senders.get_sender()
    sender.ask("default", sweep=False)
    opened = proxy.accepted
    assert opened
    proxy.cut()
    sender.ask("default", sweep=True)
    assert proxy.accepted > opened
    assert not sender.is_resting()
    assert len(queues.messages(broker, queue)) == 2
    proxy.is_stalled, opened = True, proxy.accepted
    sender.ask("other", sweep=True)
    assert sender.is_resting()
    assert proxy.accepted == opened, "one wait for a broker that hangs is enough"
    sender.close()
    proxy.close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_down_breaks_nothing(scheme, site, customerio, use, caplog, monkeypatch):
    """The caller goes on, the log holds no values, and the broker is left alone for a while."""
    port = free_port()
    use(f"{scheme}://hush-user:hush-word@127.0.0.1:{port}/0;{scheme}://127.0.0.1:{port}/1")
    customerio(SENDER="celery", DATABASES=["default"])
    cio.track("hush-person", "hush-event")
    cio.track("hush-person", "hush-event")
    assert OutboxMessage.objects.count() == 2
    [record] = [each for each in caplog.records if each.name == "django_customerio.senders.remote"]
    assert "No worker could be told" in record.getMessage()
    assert "hush" not in caplog.text
    assert str(port) not in record.getMessage()
    assert record.exc_info is None
    senders.get_sender().process.rests_until = 0.0
    cio.track("hush-person", "hush-event")
    assert caplog.text.count("No worker could be told") == 2
    begin_request()


def test_who_waited_for_a_broker_that_is_down_does_not_try_it(site, customerio, use, caplog):
    """Threads that were behind the first one go on."""
    use(f"redis://127.0.0.1:{free_port()}/0")
    customerio(SENDER="celery")
    sender = senders.get_sender()
    with sender.process.lock:
        late = threading.Thread(target=sender.ask, args=("default",), kwargs={"sweep": True})
        late.start()
        wait_until(lambda: sender.process.looks._asked)
        sender.rest()
    late.join()
    assert "No worker" not in caplog.text


def test_without_an_app_it_is_refused(site, customerio, monkeypatch, caplog):
    """Celery would make one up that talks to a broker on this machine."""
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr(_state._tls, "current_app", None)
    customerio(SENDER="celery")
    cio.track("42", "a")
    assert "no Celery app is loaded" in caplog.text
    [error] = checks.check_task_queue()
    assert error.id == checks.UNUSABLE_QUEUE


def test_tasks_that_run_at_once_are_refused(site, customerio, use, caplog):
    """They would send inside the web request."""
    use("memory://").conf.task_always_eager = True
    customerio(SENDER="celery")
    cio.track("42", "a")
    assert "task_always_eager" in caplog.text
    assert not site.requests
    [error] = checks.check_task_queue()
    assert error.id == checks.UNUSABLE_QUEUE
    assert error.msg.startswith('CUSTOMERIO["SENDER"] is "celery"')


def test_the_check_is_content(customerio, use, settings):
    """With an app and a broker, whether it answers or not; with other senders; when off."""
    use("redis://127.0.0.1:1/0").conf.task_always_eager = False
    with sending_allowed():
        customerio(SENDER="celery")
        assert checks.check_task_queue() == []
        customerio(SENDER="command")
        assert checks.check_task_queue() == []
        settings.CUSTOMERIO = {"SENDER": "carrier pigeon"}
        assert checks.check_task_queue() == []
    use("memory://").conf.task_always_eager = True
    customerio(SENDER="celery")
    assert checks.check_task_queue() == [], "a test run sends nothing"
    with sending_allowed():
        customerio(SENDER="celery", ENABLED=False)
        assert checks.check_task_queue() == []


def test_celery_that_is_not_installed_is_named(customerio, monkeypatch):
    """With the extra that brings it; another missing module is told as it is."""
    monkeypatch.delitem(sys.modules, "django_customerio.senders.celery")
    monkeypatch.setitem(sys.modules, "celery", None)
    customerio(SENDER="celery")
    with pytest.raises(ImproperlyConfigured, match=r"django-customerio\[celery\]"):
        senders.get_sender()
    with sending_allowed():
        [error] = checks.check_task_queue()
    assert "not installed" in error.msg
    customerio(SENDER="nowhere.Sender")
    with pytest.raises(ModuleNotFoundError):
        senders.get_sender()


def test_tasks_are_found_by_celery_alone(monkeypatch):
    """Another task queue that looks for tasks does not load Celery."""
    assert importlib.reload(tasks_module).celery is celery_module
    monkeypatch.delattr(tasks_module, "celery")
    monkeypatch.delitem(sys.modules, "celery")
    assert not hasattr(importlib.reload(tasks_module), "celery")


class Clock:
    """Time that a test moves."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(remote, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_each_commit_is_followed_by_a_look(monkeypatch):
    """Whatever the pace: a look that was asked for begins after it, within a window."""
    clock = Clock(monkeypatch)
    looks = remote.Looks()
    asked, commits = [], []
    for pause in [0, 0.01, 0.3, 0.3, 0.3, 0.3, 1.5, 0.2, 0.9, 0.05, 3, *[0.04] * 200]:
        clock.now += pause
        commits.append(clock.now)
        wait = looks.claim("default", sweep=False)
        if wait is not None:
            asked.append(clock.now + wait)
    for commit in commits:
        assert any(commit <= at <= commit + remote.WINDOW for at in asked)
    assert len(asked) <= (commits[-1] - commits[0]) / remote.WINDOW + 2


def test_looks_after_a_pause_do_not_multiply(monkeypatch):
    """Many wake-ups during a pause leave one later look, and one earlier if there is need."""
    clock = Clock(monkeypatch)
    looks = remote.Looks()
    assert looks.claim("default", sweep=False, delay=60) == 60
    for _ in range(20):
        clock.now += 0.9
        assert looks.claim("default", sweep=False, delay=60) is None
    assert looks.claim("default", sweep=False) == 0
    assert looks.claim("default", sweep=False, delay=10) == 10
    assert looks.claim("other", sweep=False, delay=10) == 10
    assert looks.claim("default", sweep=True) == 0
    looks.forget("default", sweep=False)
    assert looks.claim("default", sweep=False) == 0


def test_a_child_process_begins_anew(sender):
    """It shares no connection, no lock and no promise with its parent."""
    sender.wake("default")
    mine = sender.process
    assert mine.connection is not None
    mine.pid += 1
    assert sender.process is not mine
    assert sender.process.connection is None
    sender._process = mine
    mine.pid -= 1


def test_it_looks_again_while_there_is_more(sender, site, monkeypatch, broker, queue):
    """When its time is over, at once; with lanes that others hold, later."""
    lanes.create(using="default", workspace="default")
    cio.track("42", "a")
    cio.track("43", "b")
    queues.messages(broker, queue)
    sender.process.looks = remote.Looks()
    remote.work("default", sweep=False, budget=0.0)
    [message] = queues.messages(broker, queue)
    assert not _headers(message)["eta"]
    assert not site.requests
    Lane.objects.update(token="other", leased_until=int(time.time() * 1000) + 20_000)
    sender.process.looks = remote.Looks()
    remote.work("default", sweep=True)
    [message] = queues.messages(broker, queue)
    assert _headers(message)["eta"]
    Lane.objects.update(token="", leased_until=0)
    celery_module._drain("default")
    assert sorted(site.actions()) == ["a", "b"]


def test_each_workspace_has_its_share(site, settings, fake):
    """A backlog of the first does not starve the second."""
    keys = {"SITE_ID": "SITE", "API_KEY": "K", "TRACK_URL": fake.url}
    settings.CUSTOMERIO = {
        "WORKSPACES": {"default": keys, "b": {**keys, "SITE_ID": "B"}},
        "SENDER": "command",
        "RETRIES": 0,
    }
    cio.track("42", "a")
    cio.track("42", "b", workspace="b")
    celery_module._sweep()
    assert sorted(site.actions()) == ["a", "b"]


def test_a_database_without_an_outbox_is_dropped(site, caplog):
    """A message may come from a machine with other settings."""
    remote.work("elsewhere", sweep=False)
    assert "has no outbox here" in caplog.text


def test_a_failing_database_is_tried_again(sender, monkeypatch, broker, queue, caplog):
    """Later; anything else is left to the sweep. The log holds no values."""
    closed = []
    monkeypatch.setattr(connections["default"], "close", lambda: closed.append(1))

    def fail(error):
        def drain(**options):
            raise error

        monkeypatch.setattr(delivery, "drain", drain)
        sender.process.looks = remote.Looks()
        remote.work("default", sweep=False)
        return queues.messages(broker, queue)

    [message] = fail(OperationalError("hush"))
    assert _headers(message)["eta"]
    assert closed
    assert fail(RuntimeError("hush")) == []
    assert fail(ImproperlyConfigured("SITE_ID is missing")) == []
    assert "OperationalError" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "SITE_ID is missing" in caplog.text
    assert "hush" not in caplog.text
    monkeypatch.undo()


def test_nothing_is_asked_for_by_a_paused_sweep_of_another_sender(site, customerio, use):
    """The sweep serves any sender, and comes again by itself."""
    customerio(SENDER="command")
    cio.track("42", "a")
    WorkspaceStatus.objects.update_or_create(
        workspace="default", defaults={"paused_until": int(time.time() * 1000) + 60_000}
    )
    remote.work_everywhere()
    assert not site.requests
    assert not isinstance(senders.get_sender(), remote.RemoteSender)


def test_the_base_says_what_to_write():
    """A sender over another queue."""
    with pytest.raises(NotImplementedError):
        remote.RemoteSender().send("default", sweep=False, delay=0.0)
    assert ImmediateSender().validate() is None
