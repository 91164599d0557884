"""Workers of django.tasks drain: Django's own, or the backport's, with a database backend."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import import_module

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

import django_customerio as cio
from django_customerio import delivery, senders
from django_customerio.checks import settings as checks
from django_customerio.models import OutboxMessage
from django_customerio.report import Report
from django_customerio.senders import remote
from django_customerio.senders import tasks as tasks_sender
from django_customerio.testmode import sending_allowed

from . import queues
from .processes import wait_until

pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")

from django_tasks_db.backend import DatabaseBackend
from django_tasks_db.models import DBTaskResult

LIBRARY = tasks_sender.library().__name__
import_module(f"{LIBRARY}.signals")  # forgets its backends with the setting
DATABASE = {"BACKEND": "django_tasks_db.DatabaseBackend"}


class UndelayedBackend(DatabaseBackend):
    """Takes no task for later."""

    supports_defer = False


@pytest.fixture
def use(settings, customerio):
    """Choose the backends."""

    def change(**options):
        settings.TASKS = {"default": DATABASE, **options}
        customerio(SENDER="tasks", DATABASES=["default"])

    yield change
    senders.get_sender().close()


@pytest.fixture
def sender(site, use):
    """The sender of a site without a worker."""
    use()
    return senders.get_sender()


def worker(settings, *options):
    """A worker of the database backend."""
    quick = ["--interval", "0.1", "--no-startup-delay", "--no-reload"]
    return queues.process("django", "db_worker", *quick, *options, tasks=settings.TASKS)


def test_a_worker_sends_what_was_committed(sender, site, settings):
    """After the commit, in another process; a pause is slept through."""
    answers = iter([(503, {}, {"Retry-After": "1"})])
    site.answer = lambda request: next(answers, None)
    with worker(settings):
        with transaction.atomic():
            cio.track("42", "first")
            assert not DBTaskResult.objects.exists()
        for number in range(10):
            cio.track(f"{number}", f"event {number}")
            time.sleep(0.1)
        names = {"first", *(f"event {number}" for number in range(10))}
        wait_until(lambda: set(site.actions()) == names)
        wait_until(lambda: not OutboxMessage.objects.exists())
        wait_until(lambda: not DBTaskResult.objects.exclude(status="SUCCESSFUL").exists())


def test_a_killed_workers_people_are_sent_by_another(site, use, settings, customerio):
    """The lost task is found by the next look at everything."""
    use()
    customerio(SENDER="tasks", DATABASES=["default"], LEASE=5, TIMEOUT=4)
    site.answer = lambda request: time.sleep(3)
    with worker(settings) as first:
        cio.track("42", "a")
        wait_until(lambda: site.requests)
        queues.kill(first)
    site.answer = None
    senders.get_sender().start()
    with worker(settings):
        wait_until(lambda: not OutboxMessage.objects.exists())
    assert site.actions() == ["a"]
    assert len(site.requests) == 2


def test_many_commits_make_two_tasks(sender):
    """The first at once, the last for all the others, and neither names anybody."""
    for _ in range(100):
        cio.track("secret-person", "secret-event")
    tasks = list(DBTaskResult.objects.order_by("enqueued_at"))
    assert 2 <= len(tasks) <= 8
    assert tasks[0].task_path == "django_customerio.senders.drain_task.drain"
    assert {str(each.args_kwargs) for each in tasks} == {
        str({"args": ["default"], "kwargs": {"sweep": False}})
    }
    later = [each.run_after.year < 9000 for each in tasks]
    assert later == [False, *[True] * (len(tasks) - 1)]


def test_an_alias_and_a_queue_of_our_name_are_taken(site, use):
    """So that a site can give us workers of our own."""
    use()
    cio.track("42", "a")
    use(customerio={**DATABASE, "QUEUES": ["mail", "customerio"]})
    cio.track("42", "b")
    use(default={**DATABASE, "QUEUES": []})
    cio.track("42", "c")
    rows = DBTaskResult.objects.order_by("enqueued_at")
    assert [(each.backend_name, each.queue_name) for each in rows] == [
        ("default", "default"),
        ("customerio", "customerio"),
        ("default", "default"),
    ]


def test_a_backend_that_cannot_wait_gets_a_task_a_commit(site, use, monkeypatch):
    """And the end of a pause is left to the sweep."""
    use(default={"BACKEND": f"{__name__}.UndelayedBackend"})
    for _ in range(3):
        cio.track("42", "a")
    assert DBTaskResult.objects.count() == 3
    paused = Report(outcome="paused", resume_in=5.0)
    monkeypatch.setattr(delivery, "drain", lambda **options: paused)
    remote.work("default", sweep=False)
    assert DBTaskResult.objects.count() == 3
    monkeypatch.setattr(delivery, "drain", lambda **options: Report(outcome="stopped"))
    remote.work("default", sweep=False)
    assert DBTaskResult.objects.count() == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"BACKEND": f"{LIBRARY}.backends.immediate.ImmediateBackend"}, "is ImmediateBackend"),
        ({"BACKEND": f"{LIBRARY}.backends.dummy.DummyBackend"}, "is DummyBackend"),
        ({"BACKEND": "nowhere.Backend"}, "cannot be used (InvalidTaskBackend"),
        ({**DATABASE, "QUEUES": ["mail"]}, 'neither a queue "customerio" nor "default"'),
    ],
)
def test_a_backend_without_workers_is_refused(site, use, caplog, options, expected):
    """By a check, and at use: it would send inside the web request."""
    use(default=options)
    with transaction.atomic():
        cio.track("42", "a")
    assert expected in caplog.text
    assert not site.requests
    assert OutboxMessage.objects.count() == 1
    [error] = checks.check_task_queue()
    assert error.id == checks.UNUSABLE_QUEUE
    assert expected in error.msg
    assert error.msg.startswith('CUSTOMERIO["SENDER"] is "tasks", but TASKS["default"]')


def test_the_task_drains(sender, site):
    """Under the path that stands in the queue."""
    cio.track("42", "a")
    import_string("django_customerio.senders.drain_task.drain").call("default", sweep=True)
    assert site.actions() == ["a"]


def test_the_check_is_content_with_workers(use):
    """Whether one runs is seen by its heartbeat, not by a check."""
    with sending_allowed():
        use()
        assert checks.check_task_queue() == []


def test_without_a_library_the_extra_is_named(use, monkeypatch):
    """As on Django 5.2 without the backport."""
    use()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "django.tasks", None)
        patch.setitem(sys.modules, "django_tasks", None)
        with pytest.raises(ImproperlyConfigured, match=r"django-customerio\[tasks\]"):
            tasks_sender.library()


def test_nothing_makes_a_backend_before_it_is_needed():
    """Importing the sender leaves TASKS alone."""
    code = (
        "import django; from django.conf import settings;"
        "settings.configure(INSTALLED_APPS=['django_customerio'], TASKS={'default':"
        "{'BACKEND': 'nowhere.Backend'}}, CUSTOMERIO={'SENDER': 'tasks'},"
        "DEFAULT_AUTO_FIELD='django.db.models.BigAutoField'); django.setup();"
        "from django_customerio import senders; senders.get_sender()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=queues.ROOT
    )
    assert done.returncode == 0, done.stderr
