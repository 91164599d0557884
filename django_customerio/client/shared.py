"""The clients that a process shares, one for each workspace of the settings."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.views.decorators.debug import sensitive_variables

from django_customerio.client.app import AppClient
from django_customerio.client.track import TrackClient
from django_customerio.conf import Settings, WorkspaceSettings, get_settings, get_workspace
from django_customerio.exceptions import SendingRefused
from django_customerio.testmode import in_test_run, is_quiet, sending_allowed

__all__ = ["get_app_client", "get_client", "sending_allowed"]

# By process id, so that a forked child makes its own and never waits for a lock of its
# parent's.
_track: dict[tuple[int, str], TrackClient] = {}
_app: dict[tuple[int, str], AppClient] = {}


def get_client(workspace: str = "default") -> TrackClient:
    """The Track API client of a workspace, made when it is first asked for.

    One per process and workspace, shared by all threads, and made anew when the setting
    changes or the process forks.

    Raises:
        ImproperlyConfigured: The credentials are not set; the text names the setting.
        SendingRefused: Sending is switched off, or this is a test run that did not ask.
    """
    settings, account = get_settings(), get_workspace(workspace)
    _check_may_send(settings, account.track_url)
    key = os.getpid(), workspace
    client = _track.get(key)
    if client is None:
        for name, value in (("SITE_ID", account.site_id), ("API_KEY", account.api_key)):
            _check_given(value, name, settings, account)
        client = _track.setdefault(key, _make_track(settings, account))
    return client


def get_app_client(workspace: str = "default") -> AppClient:
    """The App API client of a workspace; see ``get_client``.

    Raises:
        ImproperlyConfigured: The key is not set; the text names the setting.
        SendingRefused: Sending is switched off, or this is a test run that did not ask.
    """
    settings, account = get_settings(), get_workspace(workspace)
    _check_may_send(settings, account.app_url)
    key = os.getpid(), workspace
    client = _app.get(key)
    if client is None:
        _check_given(account.app_api_key, "APP_API_KEY", settings, account)
        client = _app.setdefault(key, _make_app(settings, account))
    return client


@sensitive_variables()
def _make_track(settings: Settings, account: WorkspaceSettings) -> TrackClient:
    return TrackClient(
        site_id=account.site_id,
        api_key=account.api_key,
        region=account.region,
        url=account.track_url,
        timeout=settings.timeout,
        retries=settings.retries,
        retry_base=settings.retry_base,
        retry_cap=settings.retry_cap,
    )


@sensitive_variables()
def _make_app(settings: Settings, account: WorkspaceSettings) -> AppClient:
    return AppClient(
        api_key=account.app_api_key,
        region=account.region,
        url=account.app_url,
        timeout=settings.timeout,
        retries=settings.retries,
        retry_base=settings.retry_base,
        retry_cap=settings.retry_cap,
    )


@sensitive_variables("value", "account")
def _check_given(value: str, name: str, settings: Settings, account: WorkspaceSettings) -> None:
    if not value:
        raise ImproperlyConfigured(
            f"{settings.path(name, workspace=account.alias)} is not set. It stands in"
            " Customer.io under Account settings, API credentials."
        )


def _check_may_send(settings: Settings, url: str) -> None:
    if not settings.enabled:
        raise SendingRefused(
            f"{settings.path('ENABLED')} is False: nothing is sent. Set it to True to send."
        )
    if not in_test_run():
        return
    if is_quiet():
        raise SendingRefused(
            "This is a test run: nothing is sent. See what would be said with"
            " django_customerio.testing.capture(), or send to a server on this machine within"
            " django_customerio.testing.live()."
        )
    if not _is_loopback(url):
        raise SendingRefused(
            "A test run sends to this machine only: set TRACK_URL and APP_URL in CUSTOMERIO to"
            " an address such as http://127.0.0.1:8001."
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "CUSTOMERIO":
        _track.clear()
        _app.clear()


setting_changed.connect(_forget, dispatch_uid="django_customerio.client")
