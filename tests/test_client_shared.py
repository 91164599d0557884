"""``get_client``: one client per process and workspace, and none that sends unasked."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured

from django_customerio.client import (
    AppClient,
    TrackClient,
    get_app_client,
    get_client,
    sending_allowed,
    transport,
)
from django_customerio.exceptions import SendingRefused

LOOPBACK = {
    "SITE_ID": "SITE",
    "API_KEY": "KEY",
    "APP_API_KEY": "APPKEY",
    "TRACK_URL": "http://127.0.0.1:1",
    "APP_URL": "http://localhost:1",
}
EITHER = pytest.mark.parametrize("get", [get_client, get_app_client])
Get = Callable[..., TrackClient | AppClient]


@pytest.fixture
def allowed() -> Iterator[None]:
    """As in testing.live()."""
    with sending_allowed():
        yield


@EITHER
def test_one_client_per_workspace(settings: Any, allowed: None, get: Get) -> None:
    """It is made when first asked for, and kept."""
    settings.CUSTOMERIO = {"WORKSPACES": {"default": LOOPBACK, "brand_b": LOOPBACK}}
    first = get()
    assert get("default") is first
    assert get("brand_b") is not first
    assert get("brand_b") is get("brand_b")


@EITHER
def test_threads_get_the_same_client(settings: Any, allowed: None, get: Get) -> None:
    """Even those that ask first at the same time."""
    for _ in range(20):
        settings.CUSTOMERIO = dict(LOOPBACK)
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: get(), range(16)))
        assert len(found) == 1


@EITHER
def test_a_changed_setting_makes_a_new_client(settings: Any, allowed: None, get: Get) -> None:
    """override_settings works as everywhere; other settings change nothing."""
    settings.CUSTOMERIO = dict(LOOPBACK)
    first = get()
    settings.DEBUG = not settings.DEBUG
    assert get() is first
    settings.CUSTOMERIO = {**LOOPBACK, "TIMEOUT": 3}
    assert get() is not first


@EITHER
def test_another_process_has_another_client(
    settings: Any, allowed: None, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child does not take what its parent made."""
    settings.CUSTOMERIO = dict(LOOPBACK)
    first = get()
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert get() is not first


@pytest.mark.parametrize(
    ("get", "missing", "named"),
    [
        (get_client, "SITE_ID", 'CUSTOMERIO["SITE_ID"]'),
        (get_client, "API_KEY", 'CUSTOMERIO["API_KEY"]'),
        (get_app_client, "APP_API_KEY", 'CUSTOMERIO["APP_API_KEY"]'),
    ],
)
def test_missing_credentials_are_named(
    settings: Any, allowed: None, get: Get, missing: str, named: str
) -> None:
    """There is no silent mock: the error says which setting is missing."""
    given = {name: value for name, value in LOOPBACK.items() if name != missing}
    settings.CUSTOMERIO = given
    with pytest.raises(ImproperlyConfigured) as caught:
        get()
    assert named in str(caught.value)
    settings.CUSTOMERIO = {"WORKSPACES": {"brand_b": given}}
    with pytest.raises(ImproperlyConfigured) as caught:
        get("brand_b")
    assert f'CUSTOMERIO["WORKSPACES"]["brand_b"]["{missing}"]' in str(caught.value)


@EITHER
def test_an_unknown_workspace(settings: Any, allowed: None, get: Get) -> None:
    """It is no reason to send to another one."""
    settings.CUSTOMERIO = dict(LOOPBACK)
    with pytest.raises(ImproperlyConfigured, match="brand_x"):
        get("brand_x")


@EITHER
def test_nothing_is_sent_when_switched_off(settings: Any, allowed: None, get: Get) -> None:
    """ENABLED is asked each time."""
    settings.CUSTOMERIO = dict(LOOPBACK)
    get()
    settings.CUSTOMERIO = {**LOOPBACK, "ENABLED": False}
    with pytest.raises(SendingRefused, match="ENABLED"):
        get()


@EITHER
def test_a_test_run_sends_nothing_unasked(settings: Any, get: Get) -> None:
    """Not even with a client that was made before."""
    settings.CUSTOMERIO = dict(LOOPBACK)
    with sending_allowed(), sending_allowed():
        get()
    with pytest.raises(SendingRefused, match=r"testing\.capture"):
        get()


@EITHER
@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.9.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://cio.localhost", True),
        ("https://track.customer.io", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        (None, False),
    ],
)
def test_a_test_run_sends_to_this_machine_only(
    settings: Any, allowed: None, get: Get, url: str | None, fine: bool
) -> None:
    """A test that asks for sending does not reach Customer.io by accident."""
    settings.CUSTOMERIO = {**LOOPBACK, "TRACK_URL": url, "APP_URL": url}
    if fine:
        assert get()
    else:
        with pytest.raises(SendingRefused, match="this machine"):
            get()


@EITHER
def test_outside_of_test_runs_it_simply_works(
    settings: Any, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    """Django's sign of a test run is missing there."""
    monkeypatch.delattr(mail, "outbox")
    settings.CUSTOMERIO = {"SITE_ID": "SITE", "API_KEY": "KEY", "APP_API_KEY": "APPKEY"}
    assert "customer.io" in repr(get())


def test_the_settings_reach_the_clients(settings: Any, allowed: None) -> None:
    """Address, patience and retries are the site's own."""
    settings.CUSTOMERIO = {**LOOPBACK, "RETRIES": 1, "RETRY_BASE": 0.01, "RETRY_CAP": 0.01}
    from django_customerio.exceptions import RetriesExhausted

    for call in (
        lambda: get_client().region(),
        lambda: get_app_client().find_by_email("a@e.com"),
    ):
        with pytest.raises(RetriesExhausted) as caught:
            call()
        assert caught.value.attempts == 2


BARE = """
    from django_customerio.client import AppClient, TrackClient
    track = TrackClient(site_id="S", api_key="K", url="http://127.0.0.1:1", retries=0)
    try:
        track.identify(5, {"plan": "pro"})
    except Exception as error:
        print(type(error).__name__)
"""


def test_the_bare_client_needs_no_settings_and_no_models() -> None:
    """Whoever wants the API alone imports the client, without a Django project."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(BARE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if "DJANGO" not in key},
    )
    assert (done.stdout, done.stderr) == ("RetriesExhausted\n", "")


def test_a_checkout_that_is_not_installed_has_a_user_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a version, which only an installed package knows."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    transport.user_agent.cache_clear()
    assert transport.user_agent() == "django-customerio/source"
    transport.user_agent.cache_clear()
