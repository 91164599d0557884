"""What ``customerio_doctor`` looks at. Reads and asks; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from django_customerio.client import get_client
from django_customerio.clock import now_ms
from django_customerio.conf import Settings, WorkspaceSettings, get_settings
from django_customerio.delivery import outbox_aliases
from django_customerio.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationFailed,
    RetriesExhausted,
    SendingRefused,
    WrongEndpoint,
)
from django_customerio.figures import Figures, read_figures

from .options import duration, plural

OK, WARNING, PROBLEM = "ok", "warning", "problem"

SKEW = 2.0
"""Seconds by which clocks may differ without a word."""

LATE = 120.0
"""Seconds after which a pending message that no worker looks after is a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence, how bad it is, and what to do."""

    level: str
    topic: str
    text: str
    cure: str = ""


def examine(*, workspace: str | None, ask_customerio: bool) -> Iterator[Finding]:
    """Look at everything, from the settings outwards."""
    try:
        settings = get_settings()
    except ImproperlyConfigured as error:
        yield Finding(level=PROBLEM, topic="settings", text=str(error))
        return
    if workspace is not None and workspace not in settings.workspaces:
        yield Finding(
            level=PROBLEM,
            topic="settings",
            text=f"There is no workspace {workspace!r}.",
            cure=f"CUSTOMERIO has {', '.join(settings.workspaces)}.",
        )
        return
    yield from _settings(settings)
    chosen = [workspace] if workspace else list(settings.workspaces)
    if ask_customerio:
        for name in chosen:
            yield _credentials(settings, settings.workspaces[name])
    for alias in outbox_aliases():
        yield from _database(settings, alias, chosen)


def _settings(settings: Settings) -> Iterator[Finding]:
    found = [each for each in checks.run_checks(tags=["customerio"]) if not each.is_silenced()]
    for each in found:
        yield Finding(
            level=PROBLEM if each.level >= checks.ERROR else WARNING,
            topic=f"check {each.id}",
            text=str(each.msg),
            cure=str(each.hint or ""),
        )
    if not settings.enabled:
        yield Finding(
            level=WARNING,
            topic="settings",
            text="Customer.io is turned off: nothing is queued and nothing sent.",
            cure=f"Remove {settings.path('ENABLED')} to turn it on.",
        )
    if not found:
        yield Finding(
            level=OK,
            topic="settings",
            text=f"in order; sender {settings.sender!r}, "
            f"{plural(len(settings.workspaces), 'workspace')}.",
        )


def _credentials(settings: Settings, workspace: WorkspaceSettings) -> Finding:
    topic = f"workspace {workspace.alias}"
    key = settings.path("API_KEY", workspace=workspace.alias)
    site = settings.path("SITE_ID", workspace=workspace.alias)
    region = settings.path("REGION", workspace=workspace.alias)
    if not workspace.configured:
        return Finding(
            level=PROBLEM,
            topic=topic,
            text="It has no credentials: messages are kept and nothing is sent.",
            cure=f"Set {site} and {key}.",
        )
    try:
        actual = get_client(workspace.alias).region()
    except (APIError, SendingRefused) as error:
        return _refusal(error, topic, site=site, key=key, region=region)
    if actual.region != workspace.region:
        return Finding(
            level=PROBLEM,
            topic=topic,
            text=f"The region is set to {workspace.region!r}, but the account lives in "
            f"{actual.region!r}.",
            cure=f"Set {region} to {actual.region!r}.",
        )
    return Finding(
        level=OK,
        topic=topic,
        text=f"Customer.io accepts the credentials; region {actual.region!r}, environment "
        f"{actual.environment_id}.",
    )


def _refusal(error: Exception, topic: str, *, site: str, key: str, region: str) -> Finding:
    cause = error.last if isinstance(error, RetriesExhausted) else error
    if isinstance(cause, AuthenticationFailed):
        text = "Customer.io refuses the credentials."
        cure = (
            f"Compare {site} and {key} with the Track API key in the workspace's settings at "
            f"Customer.io; a key of the other region is refused as well ({region})."
        )
    elif isinstance(cause, WrongEndpoint):
        text = f"What answers is not the Track API: {cause}"
        cure = f"Check TRACK_URL, if it is set, and {region}."
    elif isinstance(cause, APIConnectionError):
        text = f"Customer.io cannot be reached: {cause}"
        cure = "Check name resolution, firewall and proxy of this machine."
    else:
        text, cure = str(cause), ""
    return Finding(level=PROBLEM, topic=topic, text=text, cure=cure)


def _database(settings: Settings, alias: str, workspaces: list[str]) -> Iterator[Finding]:
    topic = f"database {alias}"
    try:
        missing = _unapplied(alias)
    except DatabaseError as error:
        yield Finding(
            level=PROBLEM, topic=topic, text=f"It cannot be used: {type(error).__name__}."
        )
        return
    if missing:
        yield Finding(
            level=PROBLEM,
            topic=topic,
            text=f"{plural(len(missing), 'migration')} not applied: {', '.join(missing)}.",
            cure=f"Run manage.py migrate --database {alias}.",
        )
        return
    yield Finding(level=OK, topic=topic, text="the outbox is there; migrations are applied.")
    yield _clocks(alias, topic)
    for each in read_figures(alias, workspaces):
        if each.workspace in workspaces:
            yield from _sending(settings, each)
        elif each.waiting and each.workspace not in settings.workspaces:
            yield Finding(
                level=WARNING,
                topic=f"{alias} / {each.workspace}",
                text=f"{plural(each.waiting)} of a workspace that the settings do not name.",
                cure="Name the workspace again, or discard them in the admin.",
            )


def _unapplied(alias: str) -> list[str]:
    executor = MigrationExecutor(connections[alias])
    targets = executor.loader.graph.leaf_nodes("django_customerio")
    plan = executor.migration_plan(targets)
    return [migration.name for migration, _backwards in plan if _is_ours(migration.app_label)]


def _is_ours(app_label: str) -> bool:
    return app_label == "django_customerio"


def _clocks(alias: str, topic: str) -> Finding:
    before = time.time()
    there = now_ms(alias) / 1000
    here = (before + time.time()) / 2
    skew = there - here
    if abs(skew) <= SKEW:
        return Finding(level=OK, topic=topic, text="its clock and this machine's agree.")
    return Finding(
        level=WARNING,
        topic=topic,
        text=f"Its clock is {duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this "
        f"machine's. Leases are judged by its clock and hold; times of events and ages are off.",
        cure="Let both follow a time server.",
    )


_CURES = {
    "thread": "With the sender 'thread' a running web process sends; start one, or run "
    "manage.py flush_customerio.",
    "command": "With the sender 'command' keep manage.py flush_customerio --loop running.",
    "celery": "With the sender 'celery' keep a Celery worker and Celery beat running.",
    "tasks": "With the sender 'tasks' keep a worker of django.tasks running.",
    "immediate": "With the sender 'immediate' the next save sends; or run manage.py "
    "flush_customerio.",
}


def _sending(settings: Settings, each: Figures) -> Iterator[Finding]:
    topic = f"{each.database} / {each.workspace}"
    if each.paused_for is not None:
        yield Finding(
            level=PROBLEM,
            topic=topic,
            text=f"Sending is paused for another {duration(each.paused_for)}: "
            f"{each.pause_reason or 'no reason is known'}.",
        )
    age, seen = each.oldest_pending_age, each.heartbeat
    if age is not None and age > LATE and (seen is None or seen > LATE):
        looked = "no worker ever looked" if seen is None else f"none looked for {duration(seen)}"
        yield Finding(
            level=PROBLEM,
            topic=topic,
            text=f"Nobody sends: the oldest of {plural(each.pending)} waits for "
            f"{duration(age)}, and {looked}.",
            cure=_CURES.get(settings.sender, "Start the sender."),
        )
    if each.dead:
        yield Finding(
            level=WARNING,
            topic=topic,
            text=f"{plural(each.dead)} dead.",
            cure="Their answers are in the admin; then resend or discard them.",
        )
    if each.held:
        yield Finding(
            level=WARNING,
            topic=topic,
            text=f"{plural(each.held)} held: queued for another SITE_ID than this site's.",
            cure="Discard them, or resend them to send them to this one.",
        )
    last = "never" if each.last_success is None else f"{duration(each.last_success)} ago"
    yield Finding(
        level=OK, topic=topic, text=f"{plural(each.pending)} pending; last success {last}."
    )
