"""The app's start: what it connects, and that it touches neither database nor network."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks.registry import registry as checks
from django.core.signals import request_started
from django.db.models.signals import post_save, pre_delete
from django.test import modify_settings

import django_customerio as cio
from django_customerio import signals
from django_customerio.checks import TAG
from django_customerio.mapping import registry
from django_customerio.testing import capture
from tests.shop.models import Customer, Plan, Visitor

ROOT = Path(__file__).resolve().parent.parent


def python(code: str) -> str:
    """The output of a fresh interpreter, in which warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def listeners() -> list[int]:
    """How many receivers our start can have connected, and how many checks."""
    ours = (signals.message_queued, signals.message_sent, signals.message_failed)
    every = (post_save, pre_delete, request_started, *ours, signals.message_dead)
    return [len(each.receivers) for each in every] + [len(checks.registered_checks)]


def test_names() -> None:
    """The app is called as documented."""
    config = apps.get_app_config("django_customerio")
    assert config.name == "django_customerio"
    assert config.verbose_name == "Customer.io"
    assert config.default_auto_field == "django.db.models.BigAutoField"


def test_names_of_the_package_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are there and listed, and the version is that of the installed package."""
    assert set(cio.__all__) <= set(dir(cio))
    assert all(getattr(cio, name) for name in cio.__all__)
    monkeypatch.setattr(importlib.metadata, "version", {"django-customerio": "1.2.3"}.get)
    assert cio.__version__ == "1.2.3"
    with pytest.raises(AttributeError, match="'django_customerio' has no attribute 'trak'"):
        cio.trak  # noqa: B018


def test_maps_are_discovered() -> None:
    """Each app's ``customerio_maps`` is imported, and mixin models bring their own map."""
    assert type(registry.get(Visitor)).__module__ == "tests.shop.customerio_maps"
    assert registry.get(Customer) is not None
    assert registry.get(Plan) is None


def test_checks_are_registered() -> None:
    """All checks have our tag."""
    tagged = {
        check.__name__ for check in checks.registered_checks if TAG in getattr(check, "tags", ())
    }
    assert {
        "check_settings",
        "check_environment",
        "check_sender",
        "check_addresses",
        "check_databases",
        "check_sqlite",
        "check_maps",
    } <= tagged


def test_ready_again_connects_nothing_twice() -> None:
    """``modify_settings(INSTALLED_APPS)`` runs the start again."""
    before = listeners()
    with modify_settings(INSTALLED_APPS={"remove": ["django.contrib.messages"]}):
        assert listeners() == before
    apps.get_app_config("django_customerio").ready()
    assert listeners() == before


@pytest.mark.django_db
def test_one_save_is_told_once_after_a_second_start() -> None:
    """Running the start again does not double what is said."""
    apps.get_app_config("django_customerio").ready()
    with capture() as captured:
        Visitor.objects.create(email="a@example.com")
    assert len(captured) == 1


def test_the_start_touches_no_database_and_no_network() -> None:
    """A start with every socket and every connection forbidden succeeds."""
    output = python(
        """
import socket
from django.db.backends.base.base import BaseDatabaseWrapper

def refuse(*args, **kwargs):
    raise AssertionError("the start opened a connection")

BaseDatabaseWrapper.ensure_connection = BaseDatabaseWrapper.connect = refuse
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import django
django.setup()
from django.core.checks import run_checks
run_checks(tags=['customerio'])
print("started")
"""
    )
    assert output == "started\n"


def test_importing_the_package_needs_no_django_set_up() -> None:
    """The root can be imported while INSTALLED_APPS is being loaded, and costs nothing."""
    output = python(
        "import sys; before = set(sys.modules); import django_customerio;"
        "loaded = set(sys.modules) - before;"
        "print(sorted(loaded & {'django', 'importlib.metadata', 'requests'}))"
    )
    assert output == "[]\n"


def test_a_start_without_settings_of_ours() -> None:
    """Without CUSTOMERIO and without credentials the site starts, and a check says so."""
    output = python(
        """
from django.conf import settings
del settings.CUSTOMERIO
import django
django.setup()
from django.core.checks import run_checks
print(*(each.id for each in run_checks(tags=['customerio']) if each.obj is None))
"""
    )
    assert "django_customerio.W001" in output
    assert "django_customerio.E" not in output


def test_a_start_with_wrong_settings() -> None:
    """Wrong settings do not keep the site from starting: the check tells them."""
    output: Any = python(
        """
from django.conf import settings
settings.CUSTOMERIO = {"REGION": "mars"}
import django
django.setup()
from django.core.checks import run_checks
print(*(each.id for each in run_checks(tags=['customerio']) if each.obj is None))
"""
    )
    assert output == "django_customerio.E001\n"
