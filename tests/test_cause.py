"""What made the site say something."""

from __future__ import annotations

import contextvars
import sys
from types import SimpleNamespace

import pytest
from django.http import HttpResponse
from django.urls import path

from django_customerio import cause
from django_customerio.cause import current_cause

SEEN: list[str] = []


def view(request, pk):
    SEEN.append(current_cause())
    return HttpResponse()


urlpatterns = [path("account/<int:pk>/", view)]


@pytest.fixture
def within(settings):
    """Runs in a context of its own, as a request does."""
    settings.ROOT_URLCONF = __name__
    context = contextvars.copy_context()
    return context.run


def begin(**kwargs):
    cause._begin_request(object, **kwargs)


def test_the_test_client_is_a_server_too(settings, client):
    """Requests are heard of by Django's signals, and forgotten with their end."""
    settings.ROOT_URLCONF = __name__
    client.get("/account/4711/")
    assert SEEN.pop() == "/account/<int:pk>/"
    assert current_cause().startswith("program ")


def test_a_request_is_named_by_its_route(within):
    """Not by its path, which holds a name or a token."""
    within(begin, environ={"PATH_INFO": "/account/4711/"})
    assert within(current_cause) == "/account/<int:pk>/"
    assert within(current_cause) == "/account/<int:pk>/"


def test_under_asgi_too(within):
    """There the scope tells it."""
    within(begin, scope={"path": "/account/4711/"})
    assert within(current_cause) == "/account/<int:pk>/"


def test_a_path_without_a_route_is_not_told(within):
    """It may be anything."""
    within(begin, environ={"PATH_INFO": "/secret-token"})
    assert within(current_cause) == "(unknown route)"


def test_a_path_that_is_no_text_is_ignored(within):
    """Some server's oddity must not break the request."""
    within(begin, environ={"PATH_INFO": b"/account/1/"})
    assert within(current_cause).startswith("program ")


def test_after_the_request_it_is_over(within, monkeypatch):
    """A thread of a server goes on to other things."""
    within(begin, environ={"PATH_INFO": "/account/4711/"})
    within(cause._end_request)
    assert within(current_cause).startswith("program ")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["manage.py", "import_orders", "file"], "command import_orders"),
        (["/usr/bin/django-admin", "shell"], "command shell"),
        (["/lib/django/__main__.py", "shell"], "command shell"),
        (["manage.py"], "program manage.py"),
        (["/lib/pytest/__main__.py", "-p"], "program __main__.py"),
        (["gunicorn", "site.wsgi"], "program gunicorn"),
        ([""], ""),
        ([], ""),
    ],
)
def test_without_a_request_the_command_is_named(monkeypatch, argv, named):
    """Or the program."""
    monkeypatch.setattr(sys, "argv", argv)
    assert current_cause() == named


def test_a_task_of_celery_is_named(monkeypatch):
    """Where the site itself has loaded Celery."""
    task = SimpleNamespace(name="shop.tasks.remind")
    monkeypatch.setitem(sys.modules, "celery", SimpleNamespace(current_task=task))
    assert current_cause() == "task shop.tasks.remind"


def test_the_release_is_added(settings, monkeypatch):
    """If one is set; and all of it fits its column."""
    settings.CUSTOMERIO = {"RELEASE": "v1.2"}
    monkeypatch.setattr(sys, "argv", ["manage.py", "x" * 300])
    assert len(current_cause()) == 200
    monkeypatch.setattr(sys, "argv", ["manage.py", "shell"])
    assert current_cause() == "command shell @ v1.2"
