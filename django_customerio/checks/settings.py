"""Checks of ``CUSTOMERIO`` and of the environment."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_customerio import environment
from django_customerio.conf import Settings, WorkspaceSettings, get_settings
from django_customerio.senders import Sender, get_sender
from django_customerio.testmode import is_quiet
from django_customerio.validators import SENDERS, listing

WRONG_SETTING = "django_customerio.E001"
"""A setting is unknown or has a wrong value; everything that needs it raises the same text."""
HALF_CREDENTIALS = "django_customerio.E002"
"""A site id without API key, or the reverse."""
UNUSABLE_SENDER = "django_customerio.E003"
"""The dotted path of SENDER cannot be imported or is no Sender class."""
UNUSABLE_QUEUE = "django_customerio.E004"
"""The task queue of the sender is not there, or would send inside the web request."""
NO_CREDENTIALS = "django_customerio.W001"
"""A workspace has no credentials: messages are kept, and nothing is sent."""
MISSPELT_VARIABLE = "django_customerio.W002"
"""An environment variable that nothing reads looks like one of ours."""
SHARED_SITE = "django_customerio.W003"
"""Two aliases are one workspace, between which no order is kept."""
PLAIN_HTTP = "django_customerio.W004"
"""Keys and personal data would travel unencrypted."""


def usable_settings() -> Settings | None:
    """The settings, or None where ``check_settings`` reports them as wrong."""
    try:
        return get_settings()
    except ImproperlyConfigured:
        return None


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Are the settings right, and are there credentials?"""
    try:
        settings = get_settings()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), hint="Correct it: nothing is sent.", id=WRONG_SETTING)]
    found: list[checks.CheckMessage] = []
    aliases = defaultdict(list)
    for alias, workspace in settings.workspaces.items():
        found += _check_credentials(settings, workspace)
        if workspace.site_id:
            aliases[workspace.site_id, workspace.track_url].append(alias)
    found += [
        checks.Warning(
            f"The workspaces {', '.join(each)} have the same SITE_ID. A person's messages keep "
            "no order between them.",
            hint="Give each its own, or use one alias.",
            id=SHARED_SITE,
        )
        for each in aliases.values()
        if len(each) > 1
    ]
    return found


def _check_credentials(
    settings: Settings, workspace: WorkspaceSettings
) -> list[checks.CheckMessage]:
    site_id = settings.path("SITE_ID", workspace=workspace.alias)
    api_key = settings.path("API_KEY", workspace=workspace.alias)
    if workspace.configured or not settings.enabled:
        return []
    if workspace.site_id or workspace.api_key:
        has, lacks = (site_id, api_key) if workspace.site_id else (api_key, site_id)
        problem, cure = f"{has} is set, but {lacks} is not.", f"Set {lacks}"
        if settings.shape == "environment" and environment.is_of_the_line(has):
            held = "a site id and no API key" if workspace.site_id else "an API key and no site id"
            problem = f"{environment.LINE} holds {held}, nor is {lacks} set."
            cure = f"Write customerio://SITE_ID:API_KEY@REGION, or set {lacks}"
        return [
            checks.Error(
                problem,
                hint=f"{cure}: the Track API wants both. Customer.io shows them side by "
                "side in the workspace's API credentials.",
                id=HALF_CREDENTIALS,
            )
        ]
    # Of the environment's names one may think that they belong into the settings' module.
    is_environment = settings.shape == "environment"
    elsewhere = " in the environment, or CUSTOMERIO in the settings" if is_environment else ""
    return [
        checks.Warning(
            f"{site_id} and {api_key} are not set: messages are kept in the outbox, and "
            "nothing is sent.",
            hint=f"Set both{elsewhere}, or {settings.path('ENABLED')} to False where nothing "
            "shall be kept either.",
            id=NO_CREDENTIALS,
        )
    ]


def check_environment(**kwargs: Any) -> list[checks.CheckMessage]:
    """Is a variable of the environment misspelt? Asked only where it is read."""
    settings = usable_settings()
    if settings is None or settings.shape != "environment":
        return []
    return [
        checks.Warning(
            f"The environment variable {name} is not read. Did you mean {meant}?",
            hint="Rename it, or give it a name that does not begin with CUSTOMERIO_.",
            id=MISSPELT_VARIABLE,
        )
        for name, meant in environment.misspelt().items()
    ]


def check_sender(**kwargs: Any) -> list[checks.CheckMessage]:
    """Does a dotted ``SENDER`` lead to a Sender class?"""
    settings = usable_settings()
    if settings is None or "." not in settings.sender:
        return []
    where = settings.path("SENDER")
    try:
        sender = import_string(settings.sender)
    except ImportError as error:
        problem = f"{where} cannot be imported ({type(error).__name__}: {error})."
    else:
        if isinstance(sender, type) and issubclass(sender, Sender):
            return []
        problem = f"{where} is not a subclass of django_customerio.senders.Sender."
    return [
        checks.Error(
            problem,
            hint=f"Give the dotted path to a Sender class, or one of {listing(SENDERS)}.",
            id=UNUSABLE_SENDER,
        )
    ]


def check_task_queue(**kwargs: Any) -> list[checks.CheckMessage]:
    """Can the senders "celery" and "tasks" work here?

    Not asked in a test run, whose settings often have tasks run at once, and which sends
    nothing.
    """
    settings = usable_settings()
    if settings is None or settings.sender not in ("celery", "tasks"):
        return []
    if not settings.enabled or is_quiet():
        return []
    try:
        get_sender().validate()
    except ImproperlyConfigured as error:
        return [
            checks.Error(
                str(error),
                hint="Until then messages wait in the outbox.",
                id=UNUSABLE_QUEUE,
            )
        ]
    return []


def check_addresses(**kwargs: Any) -> list[checks.CheckMessage]:
    """Do keys and personal data leave this machine unencrypted?"""
    settings = usable_settings()
    if settings is None:
        return []
    return [
        checks.Warning(
            f"{settings.path(key, workspace=alias)} begins with http:// and is not on this "
            "machine: the key and personal data would travel unencrypted.",
            hint="Use https://. Plain http:// is for a sandbox on a loopback address.",
            id=PLAIN_HTTP,
        )
        for alias, workspace in settings.workspaces.items()
        for key, url in (("TRACK_URL", workspace.track_url), ("APP_URL", workspace.app_url))
        if url.startswith("http://") and not _is_loopback(urlsplit(url).hostname or "")
    ]


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
